#!/bin/sh
# Compiles every public header with both compilers and all warnings as errors. GCC gets each header alone, twice in one translation unit, which
# shows that it includes what it uses. clang gets all of them in one translation unit. By way of the compiler cache where there is one: only what
# has changed takes time.
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
# compile COMPILER FILE
compile() {
	# shellcheck disable=SC2086 # lists of options
	$cache "$1" -std=c++20 -O1 -fstrict-aliasing $warnings $includes -MD -MF "$dir/header.d" -c "$2" -o "$dir/header.o"
}
all=$dir/all.cpp
: >"$all"
for header in "$@"; do
	file=$dir/$(echo "$header" | tr / _).cpp
	printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$file"
	printf '#include <%s>\n' "$header" >>"$all"
	if ! compile g++ "$file"; then
		echo "$header does not compile alone with g++" >&2
		failed=1
	fi
done
if ! compile "$clang" "$all"; then
	echo "the headers do not compile with $clang" >&2
	failed=1
fi
printf '#include <ringstep/c/abi.h>\n#include <ringstep/c/loops/nop_chain.h>\n#include <ringstep/c/loops/copy.h>\n' >"$dir/shared.c"
for compiler in gcc "${clang%++*}${clang##*++}"; do
	"$compiler" -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -I"$repo/include" "$dir/shared.c" || failed=1
done
exit $failed
