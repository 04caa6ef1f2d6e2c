#!/bin/sh
# Compiles the loops with the running kernel's own vmlinux.h in front of the kit, and runs nop_chain as it comes out.
# Usage: vmlinux.sh REPO RUN_OBJECT
set -eu
repo=$1
run_object=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

PATH=$PATH:/usr/sbin:/sbin
clang=$(command -v clang-19 || command -v clang)
bpftool btf dump file /sys/kernel/btf/vmlinux format c >"$dir/vmlinux.h"
grep -q __VMLINUX_H__ "$dir/vmlinux.h"
for loop in nop_chain copy; do
	printf '#include "vmlinux.h"\n#include "%s"\n' "$repo/bpf/$loop.bpf.c" >"$dir/$loop.bpf.c"
	# Kernels are compiled with -fms-extensions, which their types need, too.
	"$clang" -target bpf -mcpu=v3 -O2 -g -std=gnu11 -fms-extensions -Wno-microsoft-anon-tag -Wall -Wextra -Werror -I"$dir" -I"$repo/bpf" -I"$repo/include" \
		-idirafter "/usr/include/$(uname -m)-linux-gnu" -c "$dir/$loop.bpf.c" -o "$dir/$loop.bpf.o"
	echo "compiled $loop with the vmlinux.h of $(uname -r)"
done
"$run_object" "$dir/nop_chain.bpf.o"
