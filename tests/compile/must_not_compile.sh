#!/bin/sh
# Compiles each case of a file alone. Its headers, which are most of the work, are compiled once for all of them.
# Usage: must_not_compile.sh COMPILER REPO FILE
set -eu
compiler=$1
repo=$2
file=$3
failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
grep '^#include' "$file" >"$dir/headers.hpp"
"$compiler" -std=c++20 -I"$repo/include" -x c++-header "$dir/headers.hpp" -o "$dir/headers.hpp.gch"
sed -n 's|^ *//! \([0-9]*\): \(.*\)|\1 \2|p' "$file" | {
	count=0
	while read -r case expected; do
		count=$((count + 1))
		status=0
		said=$("$compiler" -std=c++20 -fsyntax-only -I"$repo/include" -include "$dir/headers.hpp" -DCASE="$case" "$file" 2>&1) || status=$?
		if [ "$expected" = OK ]; then
			[ "$status" -eq 0 ] || { printf 'case %s should compile:\n%s\n' "$case" "$said" && failed=1; }
		elif [ "$status" -eq 0 ]; then
			echo "case $case compiles, and must not" && failed=1
		elif ! printf '%s' "$said" | grep -Eq "$expected"; then
			printf 'case %s fails, but not with "%s":\n%s\n' "$case" "$expected" "$said" && failed=1
		fi
	done
	echo "$count cases"
	[ "$count" -ge 10 ] || failed=1
	exit $failed
}
