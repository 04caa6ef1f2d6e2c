#!/bin/sh
# Runs test programs one after the other, and shows what those print that fail; fails if one does.
# Usage: run_all.sh PROGRAM…
failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for program in "$@"; do
	begin=$(cut -d' ' -f1 /proc/uptime)
	status=0
	timeout 200 "$program" --order rand >"$output" 2>&1 || status=$?
	took=$(awk -v begin="$begin" '{ printf "%.1f s", $1 - begin }' /proc/uptime)
	# 4: all of its tests were skipped
	if [ $status -eq 0 ] || [ $status -eq 4 ]; then
		echo "$(basename "$program"): $took, $(tail -n 2 "$output" | head -n 1)"
	else
		failed=1
		echo "== $program failed with status $status after $took:"
		cat "$output"
	fi
done
exit $failed
