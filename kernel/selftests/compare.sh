#!/bin/bash
# Whether ordinary rings notice the patches: the same work in a patched kernel and in the same kernel unpatched gives the same results, and
# takes as many instructions.
# Usage: compare.sh REPO PATCHED PLAIN WORKLOAD
set -euo pipefail
repo=$1 patched=$2 plain=$3 workload=$4
# How much more a job may take, in hundredths of a per cent.
limit=100

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for kernel in "$patched" "$plain"; do
	"$repo/dev" vm --kernel "$kernel" --time 300 --icount -- "$workload" >"$work/$kernel"
done
join "$work/$plain" "$work/$patched" | awk -v limit=$limit '
	BEGIN { printf "%-28s %10s %10s\n", "instructions for a request", "plain", "patched" }
	{
		difference = ($5 - $3) / $3 * 10000
		printf "%-28s %10.1f %10.1f  %+.2f %%%s%s\n", $1, $3, $5, difference / 100, ($2 == $4 ? "" : "  OTHER RESULTS"),
			(difference <= limit ? "" : "  MORE")
		if ($2 != $4 || difference > limit)
			failed = 1
	}
	END { exit failed || NR < 20 }'
