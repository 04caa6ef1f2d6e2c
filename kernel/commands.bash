# Part of `dev`, which reads this file: the command `kernel`, and kernels that are built here rather than fetched.
#
# The cache has these folders besides those of the archive's kernels:
#   patched/NAME/HASH-SOURCE/   vmlinux, vmlinuz, config and version of a kernel. NAME is SERIES-ringstep, SERIES-ringstep-debug,
#                               SERIES-ringstep-kcsan, SERIES-ringstep-rt, SERIES-plain or SERIES-ringstep-debug+FAULT. HASH is the hash of
#                               everything that the kernel is made of except the source. SOURCE is the version of the source package
#   patched/source/             the newest source packages of each series
#   patched/build/SERIES/       the folder of a build, removed afterwards

is_patched_kernel() {
	[[ $1 =~ ^[^/-]+-(ringstep|plain|ringstep-kcsan|ringstep-rt|ringstep-debug(\+[^/+]+)?)$ ]]
}

# patched_parts NAME: sets $patched_series, $patched_kind, $patched_hash, and $patched_faults, an array with the patch of a fault or empty.
patched_parts() {
	local -a parts=("$repo/kernel/build" "$repo/kernel/tree.bash" "$repo/kernel/config/lean.config")
	local name=${1%%+*}
	patched_series=${name%%-*}
	patched_kind=${name#*-}
	patched_faults=()
	if [[ $1 == *+* ]]; then
		patched_faults=("$repo/kernel/faults/$patched_series/${1#*+}.patch")
		[[ -f ${patched_faults[0]} ]] || fail "there is no ${patched_faults[0]}"
	fi
	[[ -n $patched_series && -d $repo/kernel/$patched_series ]] ||
		fail "there are no patches for Linux $patched_series in $repo/kernel"
	[[ ! -f $repo/kernel/$patched_series/series.config ]] || parts+=("$repo/kernel/$patched_series/series.config")
	[[ ! -f $repo/kernel/config/${patched_kind#ringstep-}.config ]] || parts+=("$repo/kernel/config/${patched_kind#ringstep-}.config")
	[[ $patched_kind == plain ]] || parts+=("$repo/kernel/$patched_series"/*.patch)
	patched_hash=$(cat "${parts[@]}" "${patched_faults[@]}" | sha256sum | cut -c 1-12)
}

# source_package SERIES: prints the name of the source package of a series. `next` stands for the newest kernel with the feature.
source_package() {
	local newest
	if [[ $1 != next ]]; then
		echo "linux-source-$1"
		return
	fi
	newest=$({
		apt_kernels apt-cache search --names-only '^linux-source-[0-9]+\.[0-9]+$' 2>/dev/null | cut -d ' ' -f 1 || true
		find "$cache/patched/source" -name 'linux-source-*.deb' -printf '%f\n' 2>/dev/null | cut -d _ -f 1 || true
	} | sort -Vu | tail -n 1)
	[[ $(printf '%s\n' "linux-source-$first_series" "$newest" | sort -V | tail -n 1) == "$newest" ]] ||
		fail "the archive has no source package of Linux $first_series or later"
	echo "$newest"
}

# source_version PACKAGE: prints the newest version of a source package in the archive or in the cache.
source_version() {
	{
		apt_kernels apt-cache show "$1" 2>/dev/null | sed -n 's/^Version: //p' || true
		find "$cache/patched/source" -name "$1_*.deb" -printf '%f\n' 2>/dev/null | cut -d _ -f 2 || true
	} | sort -Vu | tail -n 1
}

# find_source SERIES: sets $package to the name of the source package of a series, and $version to the newest version of it.
find_source() {
	refresh_index
	package=$(source_package "$1") || exit 1
	version=$(source_version "$package")
	[[ -n $version ]] || fail "the archive has no package $package"
}

# fetch_package PACKAGE VERSION FILE: fetches a package into FILE and removes older versions.
fetch_package() {
	local package=$1 version=$2 file=$3 folder
	folder=$(dirname "$file")
	rm -rf "$folder/tmp"
	mkdir -p "$folder/tmp"
	(cd "$folder/tmp" && apt_kernels apt-get download "$package=$version") || return
	rm -f "$folder/${package}"_*.deb
	mv "$folder/tmp/${package}"_*.deb "$file"
}

# need_source PACKAGE VERSION [ARCHITECTURE]: fetches a package if it is missing, and sets $source_file to its path.
need_source() {
	source_file=$cache/patched/source/${1}_${2}_${3:-all}.deb
	[[ -f $source_file ]] || step "Fetching $1 ($2)" fetch_package "$1" "$2" "$source_file"
}

# need_free_space MEGABYTES: fails if the cache has less free space.
need_free_space() {
	local free
	free=$(df --output=avail --block-size=1M "$cache" | tail -n 1)
	((free > $1)) || fail "$cache has $free MB free, and building this kernel takes $1 MB"
}

# lock_kernel_builds: waits until nobody else builds a kernel, and keeps others from it until this process ends or runs exec {kernel_lock}>&-.
lock_kernel_builds() {
	mkdir -p "$cache/patched/build"
	exec {kernel_lock}>"$cache/patched/lock"
	flock --nonblock "$kernel_lock" || { say "waiting for another ./dev that builds a kernel"; flock "$kernel_lock"; }
}

# build_minutes NAME: prints how long the build of a kernel takes on two processors. It takes a few minutes if the compiler cache has the source.
build_minutes() {
	case $1 in
		*-debug* | *-kcsan) echo "40 minutes" ;;
		*-rt) echo "25 minutes" ;;
		*) echo "20 minutes" ;;
	esac
}

# build_patched_kernel NAME PACKAGE VERSION OUT: builds a kernel in OUT. The caller must hold the lock.
build_patched_kernel() {
	local name=$1 package=$2 version=$3 out=$4
	need_free_space 6000
	need_source "$package" "$version" || return
	use_compiler_cache # also where the library is not built: with other settings, ccache does not find what it has stored
	step "Building the kernel $name (${RINGSTEP_JOBS:-$(nproc)} compilers at a time; $(build_minutes "$name"))" \
		"$repo/kernel/build" "$patched_series" "$patched_kind" "$source_file" "$cache/patched/build/$patched_series" "$out" \
		"${patched_faults[@]}" || return
	rm -rf "$cache/patched/build/$patched_series"
}

# Prints the series of older kernels that have a folder of patches here.
patched_older_series() {
	local folder
	for folder in "$repo"/kernel/[0-9]*/; do
		[[ ! -d $folder ]] || basename "$folder"
	done
}

# Prints all series that have a folder of patches here.
patched_series_list() {
	patched_older_series
	echo next
}

# full_kernel_name NAME: prints the name that other commands and folders have for a kernel.
full_kernel_name() {
	[[ $1 == next ]] && echo next-ringstep || echo "$1"
}

# cached_patched_kernel NAME: prints the folder of the newest kernel of that name in the cache, or nothing. Needs $patched_hash.
cached_patched_kernel() {
	find "$cache/patched/$1" -mindepth 1 -maxdepth 1 -name "$patched_hash-*" ! -name '*.tmp' 2>/dev/null | sort -V | tail -n 1 || true
}

have_patched_kernel() {
	patched_parts "$1"
	[[ -n $(cached_patched_kernel "$1") ]]
}

# find_patched_kernel NAME [newest]: builds a kernel if it is missing, and sets $kernel_version and $kernel_folder. With `newest`, the kernel
# must be of the newest source.
find_patched_kernel() {
	local name=$1 which=${2:-any} package version # which find_source sets
	patched_parts "$name"
	kernel_folder=
	[[ $which != any ]] || kernel_folder=$(cached_patched_kernel "$name")
	if [[ -z $kernel_folder ]]; then
		find_source "$patched_series"
		kernel_folder=$cache/patched/$name/$patched_hash-$version
		mkdir -p "$cache/patched/$name"
		lock_kernel_builds
		if [[ ! -f $kernel_folder/vmlinux ]]; then
			build_patched_kernel "$name" "$package" "$version" "$kernel_folder" || fail "no kernel $name"
		fi
		exec {kernel_lock}>&-
	fi
	kernel_version=$(cat "$kernel_folder/version")
}

# clean_patched_kernels [all]: removes kernels whose patches or configuration have changed, and the remains of interrupted builds. With an
# argument, removes all patched kernels.
clean_patched_kernels() {
	local everything=$1 folder name kernel
	[[ -d $cache/patched ]] || return 0
	for folder in "$cache"/patched/*-*/; do
		[[ -d $folder ]] || continue
		name=$(basename "$folder")
		if [[ -n $everything ]] || ! is_patched_kernel "$name" || ! (patched_parts "$name") 2>/dev/null; then
			remove_tree "$folder"
			continue
		fi
		patched_parts "$name"
		for kernel in "$folder"*; do
			[[ $(basename "$kernel") == "$patched_hash"-* && $kernel != *.tmp ]] || remove_tree "$kernel"
		done
	done
	exec {kernel_lock}>"$cache/patched/lock"
	if flock --nonblock "$kernel_lock"; then
		remove_tree "$cache/patched/build"
		[[ -z $everything ]] || remove_tree "$cache/patched"
	else
		say "leaving $cache/patched/build, because another ./dev is building a kernel there"
	fi
	exec {kernel_lock}>&-
}

# build_packages SERIES FLAVOUR OUT UNTIL: builds Debian packages of a series in OUT, with the configuration of a flavour. UNTIL is `packages`,
# or `objects` to compile only what the patches change.
build_packages() {
	local series=$1 flavour=$2 out=$3 until=$4 source package version # the last two by find_source
	find_source "$series"
	lock_kernel_builds
	need_free_space "$([[ $until == objects ]] && echo 6000 || echo 40000)"
	need_source "$package" "$version" || exit 1
	source=$source_file
	need_source "${package/source/config}" "$version" amd64 || exit 1
	# These are thousands of large objects. In the usual cache, they would take the place of the library's. A build that is repeated after an
	# interruption finds here what it had compiled.
	export CCACHE_DIR=$cache/patched/ccache CCACHE_MAXSIZE=15G
	step "Building $until of $package $version, as Debian configures $flavour" \
		"$repo/kernel/package" "$series" "$flavour" "$source" "$source_file" "$cache/patched/build/$series" "$out" "$until" || exit 1
	rm -rf "$cache/patched/build/$series"
	exec {kernel_lock}>&-
}

# try_packages FOLDER: installs the packages in FOLDER in a fresh Debian system, boots it and runs a test of the library there.
try_packages() {
	local work=$cache/patched/try status=0
	local -a packages=("$1"/linux-image-*.deb)
	[[ ${#packages[@]} == 1 && -f ${packages[0]} ]] || fail "$1 does not have one package linux-image-*.deb. ./dev kernel deb makes packages"
	need_free_space 4000
	configure
	build_targets test-exits ringstep-check
	refresh_index
	rm -rf "$work"
	mkdir -p "$work"
	remove_at_exit "$work"
	step "Fetching mmdebstrap" fetch_mmdebstrap apt_kernels || exit 1
	sed -n "/ $suite\(-updates\|-security\)\{0,1\} /p" "$cache/apt/sources.list" >"$work/sources.list"
	step "Installing ${packages[0]} in a fresh system" "$repo/kernel/install-package" "$cache/mmdebstrap/usr/bin/mmdebstrap" "$suite" \
		"$work/sources.list" "${packages[0]}" "$build" "$work/system" || exit 1
	boot_disk "$work/system" || status=$?
	[[ ! -f $work/system/console ]] || sed -n '/^ringstep: booted/,$p' "$work/system/console" | tr -d '\r'
	((status == 0)) && grep -qa '^ringstep: status 0' "$work/system/console" || fail "the kernel in ${packages[0]} does not run the library"
}

# boot_disk FOLDER: boots the system that install-package has made in FOLDER, with its own kernel and initramfs, until it powers off. Its console
# goes to FOLDER/console.
boot_disk() {
	local -a kernel=("$1"/root/boot/vmlinuz-*) initrd=("$1"/root/boot/initrd.img-*)
	local -a accelerator
	vm_icount='' choose_accelerator
	timeout 400 qemu-system-x86_64 "${accelerator[@]}" -M q35 -smp 2 -m 2048 -nodefaults -no-user-config -display none -no-reboot \
		-kernel "${kernel[0]}" -initrd "${initrd[0]}" -append "root=/dev/vda rw init=/ringstep/init console=ttyS0 quiet panic=-1" \
		-drive "file=$1/disk,format=raw,if=none,id=disk,cache=unsafe" -device virtio-blk-pci,drive=disk -serial "file:$1/console" </dev/null
}

# find_races SERIES: runs the selftests in a kernel with KCSAN. Prints the races of data that the kernel reports, and fails if one of them is in
# io_uring and not in config/kcsan.known. A race that was not seen may still be there, because KCSAN looks at samples.
find_races() {
	local series=$1 selftests=$build/kernel/selftests log status title new=0 command
	local known=$repo/kernel/config/kcsan.known
	local -a commands=("$selftests/kernel-selftests $selftests" "$selftests/kernel-random-calls $selftests 120")
	[[ $series != next ]] || commands+=("$selftests/kernel-selftests-next $selftests")
	configure
	build_targets kernel-selftests kernel-selftests-next kernel-random-calls
	log=$(mktemp)
	remove_at_exit "$log"
	remove_at_exit "$log.said"
	for command in "${commands[@]}"; do
		status=0
		# shellcheck disable=SC2086 # split on purpose
		"$repo/dev" vm --own --kernel "$series-ringstep-kcsan" --time 3600 -- "$repo/kernel/selftests/races.sh" $command >"$log" 2>"$log.said" || status=$?
		# 126: the kernel has complained, which a race is
		if ((status != 0 && status != 126)); then
			cat "$log" "$log.said" >&2
			fail "${command%% *} failed in $series-ringstep-kcsan (status $status)"
		fi
		((status == 0)) || grep -q '^race: ' "$log" || fail "the kernel complained, and ${command%% *} lists no race"
		grep -qE '^setup_watchpoints: [1-9]' "$log.said" || fail "KCSAN has watched no access of ${command%% *}"
		say "$(basename "${command%% *}"): $(grep -c '^race: ' "$log") pairs of functions race. $(grep -E '^(setup_watchpoints|data_races): ' "$log.said" | paste -sd' ')"
		cat "$log"
		while read -r title; do
			grep -v '^#' "$known" | cut -f 1 | grep -qxEf - <(echo "$title") || { say "not known: $title"; new=$((new + 1)); }
		done < <(sed -n 's/^race: \(.*\)\t[0-9]*\tin io_uring$/\1/p' "$log")
	done
	((new == 0)) || fail "$new races in io_uring are not in $known"
}

# call_randomly SERIES SECONDS: makes random calls in the debugging kernel of a series, beginning with the corpus in the repository. Says which parts of
# io_uring they have reached, and leaves the corpus that it has found in build/random-calls.
call_randomly() {
	local series=$1 seconds=$2 selftests=$build/kernel/selftests out=$build/random-calls
	local corpus=$repo/kernel/selftests/random_calls.corpus
	configure
	build_targets kernel-random-calls
	find_patched_kernel "$series-ringstep-debug"
	mkdir -p "$out"
	"$repo/dev" vm --own --kernel "$series-ringstep-debug" --time $((seconds + 600)) -- "$selftests/kernel-random-calls" "$selftests" "$seconds" \
		--from "$corpus" --into "$out/corpus" --places "$out/places" ||
		fail "random calls failed in $series-ringstep-debug (status $?). The episode that ran last is in $out/corpus.running, those that were kept before in $out/corpus"
	"$repo/kernel/selftests/coverage.sh" "$kernel_folder/points" "$out/places" loop.c bpf-ops.c
	say "the corpus is in $out/corpus"
}

# run_kselftest SERIES: makes the patch that adds the selftests to a kernel tree, and builds, installs and runs them as the kernel's own are.
run_kselftest() {
	local series=$1 out=$build/kselftest status=0 package version # the last two by find_source
	find_source "$series"
	find_patched_kernel "$series-ringstep"
	lock_kernel_builds
	need_free_space 4000
	need_source "$package" "$version" || exit 1
	use_compiler_cache
	step "Building the selftests in the tree of $package $version" \
		"$repo/kernel/kselftest/build" "$series" "$source_file" "$cache/patched/build/$series" "$out" || exit 1
	rm -rf "$cache/patched/build/$series"
	exec {kernel_lock}>&-
	"$repo/dev" vm --own --kernel "$series-ringstep" --time 900 -- bash -c 'cd "$1" && ./run_kselftest.sh' - "$out/installed" | tee "$out/output" ||
		status=$?
	# run_kselftest.sh succeeds whatever its tests do.
	((status == 0)) && grep -qx 'ok 1 selftests: io_uring: loop_abi' "$out/output" && grep -qx 'ok 2 selftests: io_uring: loop_next' "$out/output" && ! grep -q '^not ok' "$out/output" ||
		fail "the selftests failed in $series-ringstep"
	say "the patch is in $out, and so is what checkpatch says"
}

# fault_line PATCH KEY: prints a line of the description of a fault, such as Test or Caught-by.
fault_line() {
	sed -n "s/^$2: //p;/^---/q" "$1"
}

# try_fault SERIES NAME: fails unless the tests of a fault pass without the fault and show the expected complaint with it.
try_fault() {
	local series=$1 name=$2 expected program kind log status complaint
	local -a tests
	local patch=$repo/kernel/faults/$series/$name.patch
	[[ -f $patch ]] || fail "there is no $patch"
	expected=$(fault_line "$patch" Caught-by)
	read -ra tests < <(fault_line "$patch" Test)
	[[ -n $expected && -n ${tests[*]} ]] || fail "$patch needs the lines 'Caught-by: REGEX' and 'Test: NAME…'"
	for kind in '' -next -injection; do
		program=$build/kernel/selftests/kernel-selftests$kind
		! grep -qx "${tests[0]}" <<<"$("$program" "$(dirname "$program")" --list)" || break
	done
	log=$(mktemp)
	status=0
	"$repo/dev" vm --kernel "$series-ringstep-debug" --time 300 -- "$program" "$(dirname "$program")" "${tests[@]}" >"$log" 2>&1 || status=$?
	if ((status != 0)); then
		cat "$log" >&2
		say "$name: ${tests[*]} fails without the fault"
		return 1
	fi
	# The exit status does not matter, because the fault may crash the machine.
	"$repo/dev" vm --kernel "$series-ringstep-debug+$name" --time 300 --verbose -- "$program" "$(dirname "$program")" "${tests[@]}" >"$log" 2>&1 ||
		true
	if ! complaint=$(grep -Eam 1 "$expected" "$log"); then
		cat "$log" >&2
		say "$name: nothing in ${tests[*]} says \"$expected\""
		return 1
	fi
	rm -f "$log"
	say "$name: caught by ${tests[*]}: ${complaint#*] }"
}

command_kernel() {
	local what=${1:-} series='' kind=ringstep fault='' flavour=amd64 until=packages out=$build/kernel-packages name failed=0
	local -a names=()
	case $what in
		build | each | deb | faults | races | random | kselftest) ;;
		try)
			(($# < 3)) || usage_error "kernel: unknown argument $3" kernel
			try_packages "${2:-$out}"
			return
			;;
		tests)
			(($# == 1)) || usage_error "kernel: unknown argument $2" kernel
			find_liburing_tests
			echo "$liburing_tests"
			return
			;;
		'') usage_error "kernel: say what to do: build, each, deb, try, faults, races, random, kselftest or tests" kernel ;;
		*) usage_error "kernel: cannot $what. It can build, each, deb, try, faults, races, random, kselftest or tests" kernel ;;
	esac
	shift
	while (($#)); do
		case $what:$1 in
			build:--debug | build:--kcsan | build:--rt) kind=ringstep-${1#--} ;;
			build:--plain) kind=plain ;;
			build:--fault)
				(($# > 1)) || usage_error "kernel: --fault needs the name of a patch in kernel/faults" kernel
				kind=ringstep-debug fault=+$2
				shift
				;;
			deb:--flavour)
				(($# > 1)) || usage_error "kernel: --flavour needs one: amd64, cloud-amd64 or rt-amd64" kernel
				flavour=$2
				shift
				;;
			deb:--objects) until=objects ;;
			*:-*) usage_error "kernel $what: unknown option $1" kernel ;;
			*)
				[[ -z $series || $what == faults || ($what == random && ${#names[@]} == 0 && $1 =~ ^[0-9]+$) ]] || usage_error "kernel: unknown argument $1" kernel
				[[ -z $series ]] && series=$1 || names+=("$1")
				;;
		esac
		shift
	done
	[[ -n $series ]] || usage_error "kernel: say which series to $what: $(patched_series_list | paste -sd' ')" kernel
	[[ -d $repo/kernel/$series && " $(patched_series_list | paste -sd' ') " == *" $series "* ]] ||
		usage_error "kernel: there are no patches for $series. There are for $(patched_series_list | paste -sd' ')" kernel
	[[ $what != kselftest || $series == next ]] || usage_error "kernel kselftest: only the series next is to be posted" kernel
	case $what in
		build)
			find_patched_kernel "$series-$kind$fault" newest
			say "Linux $kernel_version is in $kernel_folder"
			;;
		deb)
			build_packages "$series" "$flavour" "$out" "$until"
			[[ $until == objects ]] || say "the packages are in $out"
			;;
		each) try_each "$series" ;;
		races) find_races "$series" ;;
		kselftest) run_kselftest "$series" ;;
		random) call_randomly "$series" "${names[0]:-600}" ;;
		faults)
			configure
			build_targets kernel-selftests kernel-selftests-next kernel-selftests-injection
			((${#names[@]})) || mapfile -t names < <(cd "$repo/kernel/faults/$series" && printf '%s\n' *.patch | sed 's/\.patch$//')
			for name in "${names[@]}"; do
				try_fault "$series" "$name" || failed=$((failed + 1))
			done
			((failed == 0)) || fail "$failed faults of $series were not caught"
			;;
	esac
}

help_kernel() {
	cat <<-'END'
		./dev kernel build SERIES [--debug | --kcsan | --rt | --plain | --fault NAME]
		./dev kernel each SERIES
		./dev kernel deb SERIES [--flavour FLAVOUR] [--objects]
		./dev kernel try [FOLDER]
		./dev kernel faults SERIES [NAME…]
		./dev kernel races SERIES
		./dev kernel random SERIES [SECONDS]
		./dev kernel kselftest next
		./dev kernel tests

		build: build a kernel for tests, with the patches in kernel/SERIES/, from the newest source package of that series in the archive
		(for `next`: of the newest series). The kernel goes into the cache. A kernel with the same patches, the same configuration and
		the same source is not built again. RINGSTEP_JOBS sets how many compilers run at a time.

		  --debug        add KASAN, lock checking (PROVE_LOCKING), DEBUG_ATOMIC_SLEEP and UBSAN
		  --kcsan        add what finds races of data (KCSAN)
		  --rt           add PREEMPT_RT, and what finds sleeping locks that are taken where nothing may sleep
		  --plain        leave out the patches and keep configuration and compiler, for comparisons
		  --fault NAME   like --debug, and also apply kernel/faults/SERIES/NAME.patch

		Other commands call these kernels SERIES-ringstep, SERIES-ringstep-debug, SERIES-ringstep-kcsan, SERIES-ringstep-rt, SERIES-plain and
		SERIES-ringstep-debug+NAME, and build them if they are missing. `next` is short for next-ringstep:

		  ./dev vm --kernel 6.12-ringstep -- build/tests/test-exits
		  ./dev test --kernel 6.12-ringstep
		  ./dev test --kernel next

		each: build a kernel after each patch of a series, and run the selftests in each kernel. Fail if a patch does not apply or compiles with a
		warning, if a test fails that no later patch names in its message, or if one passes that the next patch names.

		deb: build packages for machines in build/kernel-packages, with the configuration of Debian's own. This takes hours on two
		processors, and 40 GB.

		  --flavour FLAVOUR   amd64 (default), cloud-amd64 or rt-amd64
		  --objects           only make the configuration and compile what the patches change; takes minutes

		try: install the packages in a folder (build/kernel-packages) in a fresh Debian system, boot that from a disk with the initramfs that
		the installation has made, and run a test of the library in it.

		faults: build a debugging kernel for each patch in kernel/faults/SERIES/, or for those named. Each patch breaks something, and names
		a selftest and a complaint. Fail if the selftest does not cause the complaint.

		races: run the selftests in a kernel with KCSAN, and show the races of data that it reports. Fail if one is in io_uring and not in
		kernel/config/kcsan.known.

		random: make random calls of loops in the debugging kernel, for 600 seconds or as many as you say, and show which parts of io_uring
		they have reached. They begin with kernel/selftests/random_calls.corpus. What was found worth keeping is in build/random-calls/corpus.

		kselftest: make a patch that adds the selftests to a kernel tree, in the form of the kernel's own (tools/testing/selftests/io_uring), in
		build/kselftest. Build, install and run them there as the kernel's own are.

		tests: fetch and build the tests that come with the tool box's liburing, and print their folder. The ctest entries liburing-tests
		of patched kernels run them.

		kernel/README.md describes the patches.
	END
}
