#!/bin/sh
# Compiles loops with a kernel's own vmlinux.h in front of the kit, for the kernel and for user space, and runs them there.
# Usage: vmlinux.sh compile REPO FOLDER KERNEL [all]   into FOLDER, on this machine; without "all", for the kernel only
#        vmlinux.sh run FOLDER RUN_OBJECT              in a virtual machine with that kernel
set -eu

if [ "$1" = run ]; then
	dir=$2
	run_object=$3
	[ "$(cat "$dir/release")" = "$(uname -r)" ] || { echo "the loops are compiled for $(cat "$dir/release"), and this is $(uname -r)" >&2; exit 1; }
	"$run_object" nop_chain "$dir/nop_chain.bpf.o"
	for object in both_worlds.bpf.o gcc.so clang.so; do
		[ ! -f "$dir/$object" ] || "$run_object" both_worlds "$dir/$object"
	done
	exit 0
fi

repo=$2
dir=$3
kernel=$4
loops="$repo/bpf/loops/nop_chain $repo/bpf/loops/copy"
[ "${5:-}" != all ] || loops="$loops $repo/tests/kit/both_worlds"
rm -rf "$dir"
mkdir -p "$dir"

PATH=$PATH:/usr/sbin:/sbin
clang=$(command -v clang-19 || command -v clang)
# Kernels are compiled with -fms-extensions, which their types need, too.
options="-O2 -std=gnu11 -fms-extensions"
image=$("$repo/dev" kernels --where "$kernel")/vmlinux
# "Linux version 7.3.4+deb13-cloud-amd64 (…" is in each kernel.
strings -n 20 "$image" | sed -n 's/^Linux version \([^ %]*\) .*/\1/p' | head -n 1 >"$dir/release"
bpftool btf dump file "$image" format c >"$dir/vmlinux.h"
grep -q __VMLINUX_H__ "$dir/vmlinux.h"

for loop in $loops; do
	name=${loop##*/}
	printf '#include "vmlinux.h"\n#include "%s"\n' "$loop.bpf.c" >"$dir/$name.bpf.c"
	# shellcheck disable=SC2086 # a list of options
	"$clang" -target bpf -mcpu=v3 -g -ftrivial-auto-var-init=zero $options -Wall -Wextra -Werror -Wno-microsoft-anon-tag -I"$dir" -I"$repo/bpf" -I"$repo/include" \
		-idirafter "/usr/include/$(uname -m)-linux-gnu" -c "$dir/$name.bpf.c" -o "$dir/$name.bpf.o"
	echo "compiled $name with the vmlinux.h of $(cat "$dir/release")"
done
[ "${5:-}" = all ] || exit 0

for compiler in gcc "$clang"; do
	name=${compiler##*/}
	# -w: what they say of the kernel's types is not the kit's business.
	# shellcheck disable=SC2086 # a list of options
	"$compiler" $options -w -fno-strict-aliasing -fPIC -shared -isystem "$repo/bpf/ringstep/user" -isystem "$repo/bpf" \
		-isystem "$repo/include" -I"$dir" "$dir/both_worlds.bpf.c" -luring -o "$dir/${name%%-*}.so"
done
