#!/bin/bash
# read-all reads every byte of files of all sizes, in one run, and reports those that it cannot.
#
#   read_all.sh PROGRAM
set -euo pipefail
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

expected=
files=()
for size in 0 1 4095 4096 4097 300000 5000001; do
	file=$folder/$size
	# Bytes of the value 65, so that the sum is known.
	head -c "$size" /dev/zero | tr '\0' A >"$file"
	files+=("$file")
	expected+="$file: $size bytes, sum $((65 * size))"$'\n'
done

output=$("$program" "${files[@]}")
[[ $output == "$expected"*" reads. The loop stopped"* ]] || {
	printf 'read-all printed:\n%s\ninstead of:\n%s\n' "$output" "$expected" >&2
	exit 1
}

# More blocks than there are slots. Not in virtual machines, where copying so much takes a minute and longer: what the loop does then,
# its own tests show there.
if [[ ${RINGSTEP_ENGINE:-} != kernel ]]; then
	head -c 80000000 /dev/zero | tr '\0' B >"$folder/large"
	output=$("$program" "$folder/large" "$folder/4097")
	[[ $output == "$folder/large: 80000000 bytes, sum 5280000000"$'\n'"$folder/4097: 4097 bytes, sum 266305"$'\n'"19534 reads."* ]] || {
		printf 'read-all printed:\n%s\n' "$output" >&2
		exit 1
	}
fi

# Files that do not tell their size are read until a read finds nothing.
mkfifo "$folder/fifo"
(printf AAA && sleep 0.2 && printf AA) >"$folder/fifo" &
output=$("$program" /proc/cmdline "$folder/4097" /proc/devices "$folder/fifo" /dev/null)
for line in "/proc/cmdline: $(wc -c </proc/cmdline) bytes" "/proc/devices: $(wc -c </proc/devices) bytes" "$folder/fifo: 5 bytes, sum 325" \
	"/dev/null: 0 bytes, sum 0" "$folder/4097: 4097 bytes, sum 266305"; do
	[[ $output == *"$line"* ]] || {
		printf 'read-all printed:\n%s\nwithout:\n%s\n' "$output" "$line" >&2
		exit 1
	}
done

if output=$("$program" "$folder/4096" "$folder/missing"); then
	echo "read-all did not notice a missing file" >&2
	exit 1
fi
[[ $output == *"missing: No such file or directory"* && $output == *"4096: 4096 bytes, sum 266240"* ]]
