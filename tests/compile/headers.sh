#!/bin/sh
# Compiles every public header alone, twice in one translation unit, with both compilers and all warnings as errors. By way of the compiler
# cache where there is one: only what has changed takes time.
# Usage: headers.sh REPO BUILD HEADER…
set -eu
repo=$1
build=$2
shift 2
dir=$build/tests/headers
mkdir -p "$dir"
cache=
[ -z "${CCACHE_DIR:-}" ] || cache=$(command -v ccache || true)
clang=$(command -v clang++-19 || command -v clang++)
. "$repo/tests/compile/includes.sh"
warnings='-Wall -Wextra -Wconversion -Wshadow -Wpedantic -Wstrict-aliasing=2 -Werror'
failed=0
for header in "$@"; do
	file=$dir/$(echo "$header" | tr / _).cpp
	printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$file"
	for compiler in g++ "$clang"; do
		# shellcheck disable=SC2086 # lists of options
		if ! $cache "$compiler" -std=c++20 -O1 -fstrict-aliasing $warnings $includes -c "$file" -o "$dir/header.o"; then
			echo "$header does not compile alone with $compiler" >&2
			failed=1
		fi
	done
done
printf '#include <ringstep/c/abi.h>\n#include <ringstep/c/loops/nop_chain.h>\n#include <ringstep/c/loops/copy.h>\n' >"$dir/shared.c"
for compiler in gcc "${clang%++*}${clang##*++}"; do
	"$compiler" -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -I"$repo/include" "$dir/shared.c" || failed=1
done
exit $failed
