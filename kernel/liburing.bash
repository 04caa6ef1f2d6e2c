# Part of `dev`, which reads this file: liburing's own tests, for kernel/selftests/liburing_tests.sh.
#
# The cache has the programs in liburing/VERSION-HASH/test/. They are built from the source of the tool box's liburing with the patches in
# kernel/liburing/ applied, which add tests of what kernel/next repairs. HASH is the hash of these patches.

# Builds the programs if they are missing, and sets $liburing_tests to their folder.
find_liburing_tests() {
	local version lock
	version=$(dpkg-query --show --showformat '${source:Version}' liburing-dev)
	local -a patches=("$repo"/kernel/liburing/*.patch)
	liburing_tests=$cache/liburing/$version-$(cat "${patches[@]}" | sha256sum | cut -c 1-12)/test
	[[ ! -d $liburing_tests ]] || return 0
	mkdir -p "$cache/liburing"
	exec {lock}>"$cache/liburing/lock"
	flock $lock
	if [[ ! -d $liburing_tests ]]; then
		step "Fetching the source of liburing $version" fetch_liburing "$version" "$cache/liburing/tmp" ||
			fail "no source of liburing $version in the archive"
		step "Building its tests" build_liburing_tests "$cache/liburing/tmp" || fail "no tests of liburing"
		mv "$cache/liburing/tmp" "$(dirname "$liburing_tests")"
	fi
	exec {lock}>&-
}

# fetch_liburing VERSION FOLDER: fetches the source without Debian's changes. Its lists of source packages go into FOLDER and are removed
# afterwards, because they are large and nothing else needs them.
fetch_liburing() {
	local version=$1 folder=$2
	local -a apt=(apt_kernels apt-get -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::State::Lists="$folder/lists")
	rm -rf "$folder"
	mkdir -p "$folder/lists/partial" "$cache/apt/cache/archives/partial"
	write_kernel_sources | sed -n -E "/ $suite(-security|-updates)? main\$/s/^deb /deb-src /p" >"$folder/sources.list" || return
	"${apt[@]}" update || return
	(cd "$folder" && "${apt[@]}" source --download-only --only-source "liburing=$version") || return
	tar -xf "$folder"/liburing_*.orig.tar.*[!c] -C "$folder" --strip-components 1 || return
	rm -r "$folder"/lists "$folder"/sources.list "$folder"/liburing_*
}

# build_liburing_tests FOLDER
build_liburing_tests() {
	local patch
	use_compiler_cache
	for patch in "$repo"/kernel/liburing/*.patch; do
		# Below nobody's repository: git would take the paths for that one's.
		GIT_CEILING_DIRECTORIES=$(dirname "$1") git -C "$1" apply --whitespace=nowarn "$patch" || return
	done
	cd "$1" && ./configure --cc='ccache gcc' --cxx='ccache g++' || return
	make --jobs "${RINGSTEP_JOBS:-$(nproc)}" -C src && make --jobs "${RINGSTEP_JOBS:-$(nproc)}" -C test
}

# clean_liburing [all]: removes the tests of all versions but the newest, or of all versions with an argument. Removes nothing while another
# ./dev builds tests.
clean_liburing() {
	local folder lock
	local -a folders
	[[ -d $cache/liburing ]] || return 0
	exec {lock}>"$cache/liburing/lock"
	if flock --nonblock $lock; then
		remove_tree "$cache/liburing/tmp"
		mapfile -t folders < <(find "$cache/liburing" -mindepth 1 -maxdepth 1 -type d | sort -V | head -n "-$((${#1} == 0))")
		for folder in "${folders[@]}"; do
			remove_tree "$folder"
		done
	else
		say "leaving $cache/liburing, because another ./dev is building there"
	fi
	exec {lock}>&-
}
