#!/bin/sh
# What cannot be a loop is refused when it is built, in words that say what to write; what comes near to it is not.
# Usage: refused_builds.sh REPO COMPILER
set -eu
repo=$1
compiler=$2
clang=$(command -v clang-19 || command -v clang)
bpftool=$(command -v bpftool || echo /usr/sbin/bpftool)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# build: a loop out of what stands on standard input, as ringstep_add_loop() does it, and then what includes it
build() {
	rm -rf "$dir/loop.o" "$dir/include"
	mkdir -p "$dir/include/ringstep/skeletons" "$dir/include/ringstep/compiled"
	"$clang" -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fno-strict-aliasing -ftrivial-auto-var-init=zero -Wall -Wextra "-I$dir" "-I$repo/bpf" "-I$repo/include" \
		-idirafter "/usr/include/$(uname -m)-linux-gnu" -c "$dir/loop.bpf.c" -o "$dir/loop.o" &&
		cmake "-DBPFTOOL=$bpftool" "-DOBJECT=$dir/loop.o" -DNAME=tried_bpf -DLOOP=tried \
			"-DOUTPUT=$dir/include/ringstep/skeletons/tried.skel.h" -P "$repo/cmake/RingstepSkeleton.cmake" &&
		cmake "-DBPFTOOL=$bpftool" "-DOBJECT=$dir/loop.o" -DNAME=tried -DSTATE=loop.h -DKERNEL_ONLY=OFF \
			"-DOUTPUT=$dir/include/ringstep/compiled/tried.hpp" -P "$repo/cmake/RingstepCompiled.cmake" &&
		"$compiler" -std=c++20 -fsyntax-only "-I$dir" "-I$repo/include" -isystem "$dir/include" "$dir/use.cpp"
}

# case NAME EXPECTED STATE: the loop's source is on standard input; EXPECTED is empty if it builds
case_of() {
	cat >"$dir/loop.bpf.c"
	printf '#include <ringstep/compiled/tried.hpp>\n' >"$dir/use.cpp"
	printf '#pragma once\n#include <linux/types.h>\nstruct tried { %s };\n' "$3" >"$dir/loop.h"
	status=0
	said=$(build 2>&1) || status=$?
	# cmake breaks its lines
	flat=$(printf '%s' "$said" | tr '\n' ' ' | tr -s ' ')
	if [ -z "$2" ]; then
		[ "$status" -eq 0 ] || { failed=1; printf '%s is refused:\n%s\n' "$1" "$said"; }
	elif [ "$status" -eq 0 ]; then
		failed=1
		echo "$1 is not refused"
	else
		case $flat in *"$2"*) ;; *) failed=1; printf '%s is refused, but not with "%s":\n%s\n' "$1" "$2" "$said" ;; esac
	fi
}

plain='#include <ringstep/loop.bpf.h>
#include "loop.h"
RINGSTEP_LOOP(tried, struct tried)
{
	state->b++;
	return ringstep_wait(turn, 1);
}'

helper() {
	cat <<END
#include <ringstep/loop.bpf.h>
#include "loop.h"
$1 int send_answer(struct ringstep_turn *turn, struct tried *state)
{
	ringstep_prep_nop(ringstep_get_sqe(turn));
	return state->b++;
}
RINGSTEP_LOOP(tried, struct tried)
{
	if (send_answer(turn, state) > 2)
		send_answer(turn, state);
	return ringstep_submit_and_wait(turn, 1);
}
END
}

helper "static" | case_of "a static function" "" "__u64 a, b;"
helper "static __noinline" | case_of "a static function out of line" "" "__u64 a, b;"
helper "" | case_of "a function that is not static" \
	'ringstep_add_loop(tried): send_answer() takes the turn and is not static: write `static` in front of it' "__u64 a, b;"

case_of "a function of the C library" \
	'ringstep_add_loop(tried): the loop calls memchr(), which is not in its source, and the kernel has no C library' "char a[64]; __u64 b;" <<END
#include <ringstep/loop.bpf.h>
#include "loop.h"
extern void *memchr(const void *memory, int byte, __SIZE_TYPE__ size);
RINGSTEP_LOOP(tried, struct tried)
{
	state->b = memchr(state->a, 10, 64) != NULL;
	return ringstep_wait(turn, 1);
}
END

echo "$plain" | case_of "a state of nearly 512 MiB" "" "__u8 a[(512 << 20) - 16]; __u64 b;"
for more in "__u8 a[512 << 20]; __u64 b;" "__u8 a[513 << 20]; __u64 b;" "__u64 b; __u8 a[512 << 20];" "__u8 a[4ULL << 30]; __u64 b;"; do
	echo "$plain" | case_of "a state with $more" "the state has 512 MiB or more, and no loop in the kernel reaches that far" "$more"
	said=$(gcc -std=gnu11 -isystem "$repo/bpf/ringstep/user" "-I$dir" -isystem "$repo/bpf" -isystem "$repo/include" -fsyntax-only "$dir/loop.bpf.c" 2>&1) &&
		{ failed=1; echo "a state with $more is not refused for user space"; }
	case $said in *"the state has 512 MiB or more"*) ;; *) failed=1; echo "for user space: $said" ;; esac
done

exit $failed
