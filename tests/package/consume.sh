#!/bin/sh
# Builds the program of an outside project, by one way of using ringstep, after prepare.sh.
# Usage: consume.sh REPO WORK WAY [COMPILER]
set -eu
repo=$1
work=$2
way=$3
compiler=${4:-g++}
here=$repo/tests/package
build=$work/$way
rm -rf "$build"
mkdir -p "$build"

fail() {
	echo "$way: $*" >&2
	exit 1
}

# by_cmake PROJECT GENERATOR [ARGUMENT…]: configures and builds. The project sets no warnings, no optimisation and no debug
# information, so where its commands have any, they come from ringstep.
by_cmake() {
	project=$1
	generator=$2
	shift 2
	cmake -S "$here/$project" -B "$build" -G "$generator" -DCMAKE_CXX_COMPILER="$compiler" \
		-DCMAKE_EXPORT_COMPILE_COMMANDS=ON "$@"
	cmake --build "$build"
	commands=$(grep -B 1 "\"file\": \"\($here\|$build\)/.*\.cpp" "$build/compile_commands.json" | grep '"command":') ||
		fail "no compile commands"
	if echo "$commands" | grep -E -e ' -(W|pedantic|O|g|f(no-|sanitize|exceptions|rtti))'; then
		fail "options of ringstep's own in the commands of the project"
	fi
}

# In a PATH of programs that the prebuilt loops need: no clang, no bpftool.
without_bpf_tools() {
	mkdir -p "$work/bin"
	for tool in sh cmake ninja gcc g++ as ld ar ranlib nm pkg-config ccache grep mkdir; do
		found=$(command -v $tool) || continue
		ln -sf "$found" "$work/bin/$tool"
	done
	PATH=$work/bin
	for tool in clang clang-19 llvm-strip llvm-strip-19 bpftool; do
		! command -v $tool || fail "the PATH should have no tools for BPF"
	done
}

case $way in
prebuilt)
	without_bpf_tools
	by_cmake find_package Ninja -DCMAKE_PREFIX_PATH="$work/installed"
	# CMake also looks in places that are not in the PATH.
	! grep -E '^RINGSTEP_(CLANG|LLVM_STRIP|BPFTOOL)' "$build/CMakeCache.txt" || fail "the tools for BPF were looked for"
	;;
without-fmt)
	by_cmake without_fmt Ninja -DCMAKE_PREFIX_PATH="$work/installed"
	if grep -q -e "[-]lfmt" -e FMT_ -e "fmt::" "$build/compile_commands.json"; then
		fail "fmt in the commands of a project that does not use it"
	fi
	;;
own-loop)
	cp -r "$repo/examples/hello" "$build/example"
	by_cmake own_loop "Unix Makefiles" -DCMAKE_PREFIX_PATH="$work/installed" -DEXAMPLE="$build/example"
	;;
own-graph)
	by_cmake own_graph Ninja -DCMAKE_PREFIX_PATH="$work/installed"
	;;
add-subdirectory)
	by_cmake add_subdirectory "Unix Makefiles" -DRINGSTEP_SOURCE="$repo"
	;;
fetch-content)
	by_cmake fetch_content Ninja -DRINGSTEP_SOURCE="$repo"
	;;
deb)
	by_cmake find_package Ninja -DCMAKE_PREFIX_PATH="$work/root/usr"
	;;
pkg-config*)
	# This project is strict about warnings, and finds ringstep in no system folder.
	export PKG_CONFIG_PATH="$work/installed/lib/pkgconfig"
	make -C "$build" -f "$here/pkg_config/Makefile" CXX="${CMAKE_CXX_COMPILER_LAUNCHER:-} $compiler" \
		CXXFLAGS="-Wall -Wextra -Wconversion -Wshadow -Wpedantic -Wold-style-cast -Werror"
	;;
versions)
	export PKG_CONFIG_PATH="$work/installed/lib/pkgconfig"
	version=$(pkg-config --modversion ringstep)
	cmake -S "$here/versions" -B "$build" -G Ninja -DCMAKE_PREFIX_PATH="$work/installed" -DVERSION="$version"
	! pkg-config --exists "ringstep > $version" || fail "pkg-config takes any version"
	;;
*)
	fail "no such way"
	;;
esac
