#!/bin/sh
# What only the kernel has is refused where a loop is compiled for user space, in words that say so, and compiles for the kernel.
# Usage: kernel_only.sh REPO
set -eu
repo=$1
file=$repo/tests/kit/kernel_only.bpf.c
kit="-isystem $repo/bpf -isystem $repo/include"
bpf_clang=$(command -v clang-19 || command -v clang)
failed=0
count=0
fail() {
	echo "$*" >&2
	failed=1
}

# compile CASE COMPILER [OPTION…]: sets $status and $said
compile() {
	case=$1
	shift
	status=0
	# shellcheck disable=SC2086 # a list of options
	said=$("$@" $kit -std=gnu11 -O2 -Wall -Wextra -fno-strict-aliasing -DCASE="$case" -c "$file" -o /dev/null 2>&1) || status=$?
}

compilers=
for compiler in gcc gcc-12 clang-19 clang-17; do
	! command -v $compiler >/dev/null || compilers="$compilers $compiler"
done
for one in gcc clang; do
	case $compilers in *" $one"*) ;; *) fail "there is no $one to try" ;; esac
done

for case in $(sed -n 's|.*//! \([0-9]*\): .*|\1|p' "$file"); do
	expected=$(sed -n "s|.*//! $case: ||p" "$file")
	compile "$case" "$bpf_clang" -target bpf -mcpu=v3 -g -idirafter "/usr/include/$(uname -m)-linux-gnu"
	[ "$status$said" = 0 ] || fail "case $case, for the kernel: $said"
	for compiler in $compilers; do
		count=$((count + 1))
		compile "$case" "$compiler" -isystem "$repo/bpf/ringstep/user"
		if [ "$expected" = OK ]; then
			[ "$status$said" = 0 ] || fail "case $case, by $compiler, should compile: $said"
		elif [ "$status" -eq 0 ]; then
			fail "case $case compiles by $compiler, and must not"
		elif ! printf '%s' "$said" | tr -d "'‘’" | grep -q "error: .*$expected"; then
			fail "case $case, by $compiler, fails, but not with \"$expected\": $said"
		fi
	done
done
echo "$count compilations"
[ "$count" -ge 16 ] || failed=1
exit $failed
