#!/bin/sh
# Compiles loops with the running kernel's own vmlinux.h in front of the kit, for the kernel and for user space, and runs them.
# Usage: vmlinux.sh REPO RUN_OBJECT [all]; without "all", for the kernel only: compiling takes its time in an emulated machine.
set -eu
repo=$1
run_object=$2
loops="$repo/bpf/nop_chain $repo/bpf/copy"
[ "${3:-}" != all ] || loops="$loops $repo/tests/kit/both_worlds"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

PATH=$PATH:/usr/sbin:/sbin
clang=$(command -v clang-19 || command -v clang)
# Kernels are compiled with -fms-extensions, which their types need, too.
options="-O2 -std=gnu11 -fms-extensions"
bpftool btf dump file /sys/kernel/btf/vmlinux format c >"$dir/vmlinux.h"
grep -q __VMLINUX_H__ "$dir/vmlinux.h"

for loop in $loops; do
	name=${loop##*/}
	printf '#include "vmlinux.h"\n#include "%s"\n' "$loop.bpf.c" >"$dir/$name.bpf.c"
	# shellcheck disable=SC2086 # a list of options
	"$clang" -target bpf -mcpu=v3 -g $options -Wall -Wextra -Werror -Wno-microsoft-anon-tag -I"$dir" -I"$repo/bpf" -I"$repo/include" \
		-idirafter "/usr/include/$(uname -m)-linux-gnu" -c "$dir/$name.bpf.c" -o "$dir/$name.bpf.o"
	echo "compiled $name with the vmlinux.h of $(uname -r)"
done
"$run_object" nop_chain "$dir/nop_chain.bpf.o"
[ "${3:-}" = all ] || exit 0

for compiler in gcc "$clang"; do
	# -w: what they say of the kernel's types is not the kit's business.
	# shellcheck disable=SC2086 # a list of options
	"$compiler" $options -w -fno-strict-aliasing -fPIC -shared -isystem "$repo/bpf/ringstep/user" -isystem "$repo/bpf" \
		-isystem "$repo/include" -I"$dir" "$dir/both_worlds.bpf.c" -luring -o "$dir/${compiler##*/}.so"
done
for object in both_worlds.bpf.o gcc.so "${clang##*/}.so"; do
	"$run_object" both_worlds "$dir/$object"
done
