#!/bin/bash
# background-copy copies every byte.
#
#   background_copy.sh PROGRAM
set -euo pipefail
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for size in 0 1 16384 1234567; do
	head -c "$size" /dev/urandom >"$folder/source"
	output=$("$program" "$folder/source" "$folder/copy" 20000)
	cmp "$folder/source" "$folder/copy"
	[[ $output == "$size bytes in $(((size + 16383) / 16384)) writes" ]] || {
		printf 'background-copy printed: %s\n' "$output" >&2
		exit 1
	}
done

if "$program" "$folder/missing" "$folder/copy" 1000 2>/dev/null; then
	echo "background-copy did not notice a missing file" >&2
	exit 1
fi
