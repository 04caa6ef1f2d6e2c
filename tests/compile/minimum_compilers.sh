#!/bin/sh
# Compiles one file with all public headers by the oldest compilers that the README names, with all warnings as errors.
# Usage: minimum_compilers.sh REPO BUILD HEADER…
set -eu
repo=$1
build=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. "$repo/tests/compile/includes.sh"
printf '#include <%s>\n' "$@" >"$dir/all.cpp"
echo 'int main() {}' >>"$dir/all.cpp"
failed=0
for compiler in g++-12 clang++-17; do
	# shellcheck disable=SC2086 # a list of options
	if ! "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror $includes "$dir/all.cpp"; then
		echo "the headers do not compile with $compiler" >&2
		failed=1
	fi
done
exit $failed
