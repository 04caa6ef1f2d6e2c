#!/bin/bash
# Whether ordinary rings notice the patches: the same work in a patched kernel and in the same kernel unpatched gives the same results, and
# takes as many instructions.
#
# Drained requests and writes to files go through worker threads. When they are woken up is a matter of chance: from one run of a kernel to
# the next, such a job varies by 7 per cent. So these may take 10 per cent more, the others 1. And where a job takes more than it may, both
# kernels run again, five times at most, and the least that a job took in each counts.
# Usage: compare.sh REPO PATCHED PLAIN WORKLOAD
set -euo pipefail
repo=$1 patched=$2 plain=$3 workload=$4
rounds=5

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Lines of a job, its results and the instructions for a request, of all runs in a kernel: the least of each.
least() {
	awk '
		!($1 in least) { jobs[++count] = $1 }
		!($1 in least) || $3 < least[$1] { least[$1] = $3 }
		$1 in results && results[$1] != $2 { $2 = "differ" }
		{ results[$1] = $2 }
		END { for (i = 1; i <= count; i++) print jobs[i], results[jobs[i]], least[jobs[i]] }' "$work/$1".*
}

for ((round = 1; round <= rounds; round++)); do
	for kernel in "$patched" "$plain"; do
		"$repo/dev" vm --kernel "$kernel" --time 300 --icount -- "$workload" >"$work/$kernel.$round"
	done
	status=0
	join <(least "$plain") <(least "$patched") | awk -v round=$round '
		BEGIN { printf "%-28s %10s %10s   (runs: %d)\n", "instructions for a request", "plain", "patched", round }
		{
			limit = $1 ~ /drained|file-write/ ? 1000 : 100 # hundredths of a per cent
			difference = ($5 - $3) / $3 * 10000
			printf "%-28s %10.1f %10.1f  %+.2f %%%s%s\n", $1, $3, $5, difference / 100, ($2 == $4 ? "" : "  OTHER RESULTS"),
				(difference <= limit ? "" : "  MORE")
			if ($2 != $4)
				other = 1
			if (difference > limit)
				more = 1
		}
		END { exit other || NR < 20 ? 2 : more }' || status=$?
	((status == 1)) || break
done
exit $status
