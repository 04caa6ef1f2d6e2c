#!/bin/sh
# Runs the commands of a document: each block that begins with ```sh, in a shell of its own, up to the first that fails.
# Usage: commands.sh DOCUMENT FOLDER…      (folders with the programs that it names)
set -eu
document=$1
shift
for folder; do
	PATH=$folder:$PATH
done
export PATH
work=$(mktemp -d)
mounts() { cut -d ' ' -f 2 /proc/self/mounts | sort; }
mounts >"$work.mounts"
touch "$work.begin"

# The commands may leave what their reader is to keep, mounts and files in /tmp. In a virtual machine, that goes with the test.
clean_up() {
	[ -n "${RINGSTEP_VM_KERNEL:-}" ] || { rm -rf "$work" "$work".*; return; }
	mounts | comm -13 "$work.mounts" - | sort -r | xargs -r umount
	find /tmp -mindepth 1 -maxdepth 1 -newer "$work.begin" -exec rm -rf {} +
	rm -rf "$work" "$work.output" "$work.mounts" "$work.begin"
}
trap clean_up EXIT

# The name of a block is the line that it begins on.
awk -v work="$work" '
	/^```sh$/ { file = sprintf("%s/%04d", work, NR); next }
	/^```/ { file = "" }
	file { print > file }
' "$document"

count=0
for block in "$work"/*; do
	[ -f "$block" ] || break
	count=$((count + 1))
	if ! timeout 60 sh -eux "$block" >"$work.output" 2>&1; then
		echo "$document:${block##*/}: this block failed:"
		cat "$work.output"
		exit 1
	fi
done
[ "$count" -gt 0 ] || { echo "$document has no commands"; exit 1; }
echo "$count blocks of commands"
