# Part of `dev`, which reads this file: the kernels of the archive.
#
# The name of a kernel is its full version, as uname -r prints it, for example 7.3.4+deb13-cloud-amd64. Debian builds each version in several
# flavours. Machines run `cloud`, the small one for virtual machines, and `rt`, with PREEMPT_RT, where its name ends with -rt. In the cache:
#   kernels/index-…      the package names that the archive has, refreshed once a day; named by the suites that it is made from
#   kernels/VERSION/     vmlinuz, vmlinux, config, modules/, feature (yes or no), added (empty: from a package that ./dev kernels --add was given)
#
# vmlinux is the unpacked kernel. QEMU starts it directly (PVH), which saves a second on each start of a machine, and always puts it at one
# address. bpftool can read its types: ./dev run -- bpftool btf dump file …/vmlinux format c

# The oldest kernel series with the feature, and those without it that tests run on: the oldest that rings can be opened on, and the
# stable one. The first is that of the Debian release before.
first_series=7.1
series_without=(6.1 6.12)
older_suite=bookworm
feature_type=io_uring_bpf_ops
kernel_index=$cache/kernels/index-$suite-$older_suite-flavours

# Runs apt with a configuration of our own. It leaves the machine's package lists unchanged, and works for an ordinary user.
apt_kernels() {
	local program=$1
	shift
	"$program" -o Dir::Etc::SourceList="$cache/apt/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$cache/apt/lists" -o Dir::Cache="$cache/apt/cache" -o Dir::State::Status=/dev/null \
		-o APT::Sandbox::User=root -o Acquire::Languages=none -o APT::Update::Error-Mode=any -o Acquire::Retries=2 "$@"
}

# The sources of this system's own packages; the same place's backports, where newer kernels are; and the release before, where an older
# one is. apt itself says what they are, in the form 'http://HOST/debian/dists/SUITE/InRelease' …, whichever way they are written down.
write_kernel_sources() {
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	apt-get update --print-uris | sed -n -E "s,^'([^' ]*/debian(-security)?)/dists/([^' /]*)/.*,\\1 \\3,p" |
		while read -r uri release; do
			[[ $release == "$suite" || $release == "$suite"-* ]] || continue
			echo "deb [signed-by=$keyring] $uri $release main"
			[[ $release != "$suite" ]] || echo "deb [signed-by=$keyring] $uri $suite-backports main"
			[[ $release == *-backports ]] || echo "deb [signed-by=$keyring] $uri $older_suite${release#"$suite"} main"
		done | sort -u
}

update_index() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
	write_kernel_sources >"$cache/apt/sources.list" || return
	[[ -s $cache/apt/sources.list ]] || { echo "no $suite archive in this system's apt sources"; return 1; }
	if ! apt_kernels apt-get update; then
		# A mirror may have dropped the older release, which matters less than the others.
		sed -i "/ $older_suite/d" "$cache/apt/sources.list"
		apt_kernels apt-get update || return
	fi
	apt_kernels apt-cache search --names-only '^linux-(binary|binary-unsigned|image|modules|base)-[0-9].*-(cloud|rt)-amd64$' |
		cut -d ' ' -f 1 >"$kernel_index.tmp" || return
	[[ -s $kernel_index.tmp ]] || { echo "no kernel packages in the archive"; return 1; }
	mv "$kernel_index.tmp" "$kernel_index"
}

index_is_fresh() {
	[[ -n $(find "$kernel_index" -mmin -1440 2>/dev/null) ]]
}

refresh_index() {
	local lock
	index_is_fresh && return
	mkdir -p "$cache/kernels"
	exec {lock}>"$cache/kernels/lock"
	flock $lock
	if ! index_is_fresh && ! step "Looking which kernels there are" update_index; then
		say "going on with the kernels that are known or in the cache"
		# Try again in an hour.
		[[ ! -f $kernel_index ]] || touch -d '23 hours ago' "$kernel_index"
	fi
	exec {lock}>&-
}

# Lists the kernels in the cache that are from the archive.
cached_kernels() {
	local folder
	for folder in "$cache"/kernels/[0-9]*/; do
		[[ ! -f $folder/vmlinux || -f $folder/added ]] || basename "$folder"
	done
}

# Lists the kernels in the cache that are from packages of somebody else.
added_kernels() {
	local folder
	for folder in "$cache"/kernels/[0-9]*/; do
		[[ ! -f $folder/added ]] || basename "$folder"
	done
}

# Lists all kernels of the archive and of the cache, newest first: those for virtual machines, or those of a flavour.
all_kernels() {
	{
		sed -n -E 's/^linux-(binary-unsigned|binary|image)-([0-9].*)$/\2/p' "$kernel_index" 2>/dev/null || true
		cached_kernels
	} | sed -n "/-${1:-cloud}-amd64\$/p" | sort -Vru
}

series_of() {
	grep -oE '^[0-9]+\.[0-9]+' <<<"$1"
}

series_has_feature() {
	[[ $(printf '%s\n%s\n' "$1" $first_series | sort -V | sed -n 1p) == "$first_series" ]]
}

# Lists the series with the feature, oldest first.
series_with_feature() {
	all_kernels | while read -r version; do
		series_of "$version"
	done | sort -Vu | while read -r series; do
		! series_has_feature "$series" || echo "$series"
	done
}

# Lists the kernels that a name stands for, best first. An added kernel has no other name than its full one.
candidates() {
	local name=${1%-rt} flavour=cloud
	if [[ -f $cache/kernels/$1/added ]]; then
		echo "$1"
		return
	fi
	[[ $1 != *-rt ]] || flavour=rt
	[[ $1 != *-rt-amd64 ]] || name=$1 flavour=rt
	case $name in
		newest) name=$(series_with_feature | tail -n 1) ;;
		oldest) name=$(series_with_feature | sed -n 1p) ;;
	esac
	[[ -n $name ]] || return 0
	all_kernels $flavour | while read -r version; do
		[[ $version != "$name" && $version != "$name".* && $version != "$name"+* ]] || echo "$version"
	done
}

# Unpacks the compressed part of a kernel image. The image's header has its position (Documentation/arch/x86/boot.rst).
unpack_image() {
	local image=$1 sectors offset length unpack
	sectors=$(od -An -tu1 -j497 -N1 "$image")
	read -r offset length < <(od -An -tu4 -j584 -N8 "$image")
	offset=$(((sectors + 1) * 512 + offset))
	case $(od -An -tx1 -j$offset -N4 "$image" | tr -d ' ') in
		28b52ffd) unpack=(zstd --decompress --stdout --quiet) ;;
		fd377a58) unpack=(xz --decompress --stdout) ;;
		02214c18) unpack=(lz4 --decompress --stdout --quiet) ;;
		*) return 1 ;;
	esac
	# The last four bytes are the unpacked size, and not part of the compressed data.
	dd if="$image" iflag=skip_bytes,count_bytes skip=$offset count=$((length - 4)) bs=1M status=none | "${unpack[@]}"
}

# Starts an empty folder to unpack a kernel in. The caller must hold the lock.
begin_kernel() {
	rm -rf "$cache/kernels/tmp"
	mkdir -p "$cache/kernels/tmp/packages" "$cache/kernels/tmp/kernel"
}

# Unpacks the packages of one kernel, which are in kernels/tmp/packages, into kernels/VERSION. Without a version, that of the kernel image is
# taken. Sets $kernel_version. The caller must hold the lock.
unpack_kernel() {
	local work=$cache/kernels/tmp package image
	local root=$work/root
	kernel_version=${1:-}
	for package in "$work"/packages/*.deb; do
		dpkg-deb -x "$package" "$root" || return
	done
	# Debian 12 and older have /lib beside /usr.
	if [[ -d $root/lib ]]; then
		mkdir -p "$root/usr"
		cp -a "$root/lib" "$root/usr/" && rm -r "${root:?}/lib" || return
	fi
	image=$(find "$root"/boot/vmlinuz-* "$root"/usr/lib/modules/*/vmlinuz 2>/dev/null | grep -F "${kernel_version:-vmlinuz}" | sed -n 1p)
	[[ -n $image ]] || { echo "no kernel image in the package"; return 1; }
	if [[ -z $kernel_version ]]; then
		[[ $image == */boot/* ]] && kernel_version=${image##*/vmlinuz-} || kernel_version=$(basename "$(dirname "$image")")
	fi
	if [[ -d $root/usr/lib/modules/$kernel_version/kernel ]]; then
		depmod -b "$root/usr" -m /lib/modules "$kernel_version" 2>/dev/null || depmod -b "$root" "$kernel_version" || true
		cp -a "$root/usr/lib/modules/$kernel_version" "$work/kernel/modules" || return
		rm -f "$work/kernel/modules/vmlinuz" "$work/kernel/modules/System.map"
	fi
	cp "$image" "$work/kernel/vmlinuz" || return
	cp "$root/boot/config-$kernel_version" "$work/kernel/config" 2>/dev/null ||
		cp "$root/usr/lib/modules/$kernel_version/config" "$work/kernel/config" 2>/dev/null || true
	unpack_image "$image" >"$work/kernel/vmlinux" || { echo "cannot unpack the kernel image of $kernel_version"; return 1; }
	if grep --quiet --text "$feature_type" "$work/kernel/vmlinux"; then
		echo yes >"$work/kernel/feature"
	else
		echo no >"$work/kernel/feature"
	fi
	rm -rf "${cache:?}/kernels/$kernel_version"
	mv "$work/kernel" "$cache/kernels/$kernel_version"
	rm -rf "$work"
}

# Downloads a kernel and unpacks it into kernels/VERSION. The caller must hold the lock.
fetch_kernel() {
	local version=$1 work=$cache/kernels/tmp package
	begin_kernel
	if grep -qx "linux-binary-$version" "$kernel_index"; then
		package=linux-binary-$version
	elif grep -qx "linux-binary-unsigned-$version" "$kernel_index"; then
		package=linux-binary-unsigned-$version
	else
		package=linux-image-$version
	fi
	(cd "$work/packages" && apt_kernels apt-get download "$package") || return
	# Modules and configuration. Superseded series lose these packages first; the kernel runs without them.
	for package in "linux-modules-$version" "linux-base-$version"; do
		! grep -qx "$package" "$kernel_index" ||
			(cd "$work/packages" && apt_kernels apt-get download "$package") || true
	done
	unpack_kernel "$version"
}

# add_kernel PACKAGE: unpacks the kernel of a Debian package that is not from the archive, and sets $kernel_version.
add_kernel() {
	local lock
	[[ -f $1 ]] || fail "there is no file $1 in the tool box. It sees the repository and the current folder"
	mkdir -p "$cache/kernels"
	exec {lock}>"$cache/kernels/lock"
	flock $lock
	begin_kernel
	cp "$1" "$cache/kernels/tmp/packages/kernel.deb"
	unpack_kernel || fail "$1 is no package of a kernel that can be run"
	# One that the archive has keeps its other names.
	grep -qxF -e "linux-image-$kernel_version" -e "linux-binary-$kernel_version" -e "linux-binary-unsigned-$kernel_version" "$kernel_index" 2>/dev/null ||
		touch "$cache/kernels/$kernel_version/added"
	exec {lock}>&-
}

# Sets $kernel_version and $kernel_folder to the best kernel for a name, and gets it into the cache if it is not there.
find_kernel() {
	local name=$1 version lock
	if is_patched_kernel "$name"; then
		find_patched_kernel "$name"
		return
	fi
	refresh_index
	kernel_version=
	for version in $(candidates "$name"); do
		if [[ ! -f $cache/kernels/$version/vmlinux ]]; then
			# It failed less than an hour ago.
			[[ -z $(find "$cache/kernels/failed-$version" -mmin -60 2>/dev/null) ]] || continue
			exec {lock}>"$cache/kernels/lock"
			flock $lock
			if [[ ! -f $cache/kernels/$version/vmlinux ]] && ! step "Fetching kernel $version" fetch_kernel "$version"; then
				touch "$cache/kernels/failed-$version"
				rm -rf "$cache/kernels/tmp"
				exec {lock}>&-
				continue
			fi
			exec {lock}>&-
			rm -f "$cache/kernels/failed-$version"
		fi
		kernel_version=$version
		kernel_folder=$cache/kernels/$version
		return
	done
	fail "no kernel $name: neither in the archive nor in the cache. ./dev kernels lists what there is"
}

# Lists the kernels that tests run on: the oldest and the newest series with the feature, and the one in the middle.
test_series() {
	local -a all
	mapfile -t all < <(series_with_feature)
	((${#all[@]})) || return 0
	printf '%s\n' "${all[0]}" "${all[${#all[@]} / 2]}" "${all[-1]}" | sort -Vu
}

help_kernels() {
	cat <<-'END'
		./dev kernels [--fetch KERNEL]… [--add PACKAGE]… | --where KERNEL

		Lists the kernels that ./dev vm can run: newest point release of each series, whether it has the feature, what is in the cache.

		  --fetch KERNEL   download that one now
		  --add PACKAGE    unpack the kernel of a Debian package (linux-image-….deb), one that your machines run, for example. Its name for
		                   ./dev vm and ./dev test is then the full version, which this prints
		  --where KERNEL   print nothing but the folder that it is in
	END
}

command_kernels() {
	local series version feature state name
	local -a fetch=()
	while (($#)); do
		case $1 in
			--fetch)
				(($# > 1)) || usage_error "kernels: --fetch needs a kernel" kernels
				fetch+=("$2")
				shift 2
				;;
			--add)
				(($# > 1)) || usage_error "kernels: --add needs a package" kernels
				add_kernel "$2"
				say "added: $kernel_version"
				shift 2
				;;
			--where)
				(($# == 2)) || usage_error "kernels: --where needs one kernel" kernels
				find_kernel "$(full_kernel_name "$2")"
				echo "$kernel_folder"
				return
				;;
			*) usage_error "kernels: unknown argument $1" kernels ;;
		esac
	done
	refresh_index
	for name in "${fetch[@]}"; do
		find_kernel "$name"
	done
	printf '%-8s %-32s %-8s %s\n' series 'newest point release' feature 'in the cache'
	for series in $(all_kernels | grep -oE '^[0-9]+\.[0-9]+' | sort -Vu); do
		version=$(candidates "$series" | sed -n 1p)
		feature=no
		! series_has_feature "$series" || feature=yes
		state=-
		if [[ -f $cache/kernels/$version/vmlinux ]]; then
			feature=$(cat "$cache/kernels/$version/feature")
			state=$(du -sh "$cache/kernels/$version" | cut -f 1)
			[[ -d $cache/kernels/$version/modules ]] || state+=", no modules"
			[[ -f $cache/kernels/$version/config ]] || state+=", no configuration file"
		fi
		printf '%-8s %-32s %-8s %s\n' "$series" "$version" "$feature" "$state"
		for name in $(cached_kernels); do
			[[ $(series_of "$name") == "$series" && $name != "$version" ]] || continue
			state=superseded
			[[ $name != "$(candidates "$series-rt" | sed -n 1p)" ]] || state='PREEMPT_RT'
			printf '%-8s %-32s %-8s %s\n' '' "$name" "$(cat "$cache/kernels/$name/feature")" "$state"
		done
	done
	for name in $(added_kernels); do
		printf '%-8s %-32s %-8s %s\n' '' "$name" "$(cat "$cache/kernels/$name/feature")" "$(du -sh "$cache/kernels/$name" | cut -f 1), added"
	done
	# ./dev kernel builds these.
	for series in $(patched_series_list); do
		for name in "$series-ringstep" "$series-ringstep-debug" "$series-ringstep-rt" "$series-plain"; do
			have_patched_kernel "$name" || continue
			feature=yes
			[[ $name != *-plain || $series == next ]] || feature=no
			printf '%-8s %-32s %-8s %s\n' '' "$name" "$feature" "$(du -sh "$(cached_patched_kernel "$name")" | cut -f 1)"
		done
	done
}
