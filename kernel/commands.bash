# Part of `dev`, which reads this file: the command `kernel`, and kernels that are built here rather than fetched.
#
# In the cache, beside those of the archive:
#   patched/SERIES-ringstep/HASH-SOURCE/   vmlinux, vmlinuz, config, version; -ringstep-debug and -plain likewise. HASH is that of all
#                                          that makes it but the source, SOURCE is the version of the source package
#   patched/source/                        the newest source package of each series
#   patched/build/SERIES/                  where it is built; removed afterwards

is_patched_kernel() {
	[[ $1 =~ ^[^/-]+-(ringstep|ringstep-debug|plain)$ ]]
}

# patched_parts NAME: sets $patched_series and $patched_kind, and $patched_hash.
patched_parts() {
	local -a parts=("$repo/kernel/build" "$repo/kernel/config/lean.config")
	patched_series=${1%%-*}
	patched_kind=${1#*-}
	[[ -n $patched_series && -d $repo/kernel/$patched_series ]] ||
		fail "there are no patches for Linux $patched_series in $repo/kernel"
	[[ ! -f $repo/kernel/$patched_series/series.config ]] || parts+=("$repo/kernel/$patched_series/series.config")
	[[ $patched_kind != *-debug ]] || parts+=("$repo/kernel/config/debug.config")
	[[ $patched_kind == plain ]] || parts+=("$repo/kernel/$patched_series"/*.patch)
	patched_hash=$(cat "${parts[@]}" | sha256sum | cut -c 1-12)
}

# The source package of a series. `next` is for the newest kernel with the feature, whichever that is.
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

# The newest version of a source package ($1) that the archive has, or else the cache.
source_version() {
	{
		apt_kernels apt-cache show "$1" 2>/dev/null | sed -n 's/^Version: //p' || true
		find "$cache/patched/source" -name "$1_*.deb" -printf '%f\n' 2>/dev/null | cut -d _ -f 2 || true
	} | sort -Vu | tail -n 1
}

# fetch_source PACKAGE VERSION FILE, in place of older ones
fetch_source() {
	local package=$1 version=$2 file=$3 folder
	folder=$(dirname "$file")
	rm -rf "$folder/tmp"
	mkdir -p "$folder/tmp"
	(cd "$folder/tmp" && apt_kernels apt-get download "$package=$version") || return
	rm -f "$folder/${package}"_*.deb
	mv "$folder/tmp/${package}"_*.deb "$file"
}

# build_patched_kernel PACKAGE VERSION OUT. Only called with the lock held.
build_patched_kernel() {
	local package=$1 version=$2 out=$3 free
	local source=$cache/patched/source/${package}_${version}_all.deb
	free=$(df --output=avail --block-size=1M "$cache" | tail -n 1)
	((free > 6000)) || fail "$cache has $free MB free, and building a kernel takes 6 GB"
	[[ -f $source ]] || step "Fetching $package ($version)" fetch_source "$package" "$version" "$source" || return
	export CCACHE_DIR=$cache/ccache
	step "Building Linux $patched_series for our tests ($patched_kind, ${RINGSTEP_JOBS:-$(nproc)} at a time; a quarter to half an hour)" \
		"$repo/kernel/build" "$patched_series" "$patched_kind" "$source" "$cache/patched/build/$patched_series" "$out" || return
	rm -rf "$cache/patched/build/$patched_series"
}

# The series that there are patches for: older kernels, to which they bring the feature; and `next`.
patched_older_series() {
	local folder
	for folder in "$repo"/kernel/[0-9]*/; do
		[[ ! -d $folder ]] || basename "$folder"
	done
}

patched_series_list() {
	patched_older_series
	echo next
}

# full_kernel_name NAME: the one under which others know it.
full_kernel_name() {
	[[ $1 == next ]] && echo next-ringstep || echo "$1"
}

# The newest of the kernels that a name stands for and that are in the cache, or nothing.
cached_patched_kernel() {
	find "$cache/patched/$1" -mindepth 1 -maxdepth 1 -name "$patched_hash-*" ! -name '*.tmp' 2>/dev/null | sort -V | tail -n 1 || true
}

have_patched_kernel() {
	patched_parts "$1"
	[[ -n $(cached_patched_kernel "$1") ]]
}

# Sets $kernel_version and $kernel_folder to a kernel with our patches, building it where it is missing. With "newest" as the second
# argument it has to be of the newest source; otherwise of any.
find_patched_kernel() {
	local name=$1 which=${2:-any} package version lock
	patched_parts "$name"
	kernel_folder=
	[[ $which != any ]] || kernel_folder=$(cached_patched_kernel "$name")
	if [[ -z $kernel_folder ]]; then
		refresh_index
		package=$(source_package "$patched_series") || exit 1
		version=$(source_version "$package")
		[[ -n $version ]] || fail "the archive has no package $package"
		kernel_folder=$cache/patched/$name/$patched_hash-$version
		mkdir -p "$cache/patched/$name" "$cache/patched/build"
		exec {lock}>"$cache/patched/lock"
		flock --nonblock $lock || { say "waiting for another ./dev that builds a kernel"; flock $lock; }
		if [[ ! -f $kernel_folder/vmlinux ]]; then
			build_patched_kernel "$package" "$version" "$kernel_folder" || fail "no kernel $name"
		fi
		exec {lock}>&-
	fi
	kernel_version=$(cat "$kernel_folder/version")
}

command_kernel() {
	local series='' kind=ringstep
	[[ ${1:-} == build ]] || usage_error "kernel: what to do? build" kernel
	shift
	while (($#)); do
		case $1 in
			--debug) kind=ringstep-debug ;;
			--plain) kind=plain ;;
			-*) usage_error "kernel: unknown option $1" kernel ;;
			*)
				[[ -z $series ]] || usage_error "kernel: unknown argument $1" kernel
				series=$1
				;;
		esac
		shift
	done
	[[ -n $series ]] || usage_error "kernel: build which series?" kernel
	find_patched_kernel "$series-$kind" newest
	say "Linux $kernel_version is in $kernel_folder"
}

help_kernel() {
	cat <<-'END'
		./dev kernel build SERIES [--debug | --plain]

		Builds a kernel with the patches in kernel/SERIES/, from the newest source package of that series in the archive (for `next`: of
		the newest series that there is), and puts it into the cache. Nothing is done where it is there already: same patches, same
		configuration, same source. Half an hour on two processors, a third of that when the compiler cache has seen the source. RINGSTEP_JOBS says how many compilers at a time.

		  --debug   with KASAN, lock checking (PROVE_LOCKING), DEBUG_ATOMIC_SLEEP and UBSAN
		  --plain   without the patches: the same configuration and compiler, to compare with

		Other commands know it as SERIES-ringstep, SERIES-ringstep-debug and SERIES-plain, and build it when it is missing; next-ringstep
		is also just `next`:

		  ./dev vm --kernel 6.12-ringstep -- build/tests/test-exits
		  ./dev test --kernel 6.12-ringstep
		  ./dev test --kernel next

		kernel/README.md says what the patches are.
	END
}

