#!/bin/sh
# Usage: must_not_compile.sh COMPILER REPO FILE
set -eu
compiler=$1
repo=$2
file=$3
failed=0
sed -n 's|^ *//! \([0-9]*\): \(.*\)|\1 \2|p' "$file" | {
	count=0
	while read -r case expected; do
		count=$((count + 1))
		status=0
		said=$("$compiler" -std=c++20 -fsyntax-only -I"$repo/include" -DCASE="$case" "$file" 2>&1) || status=$?
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
