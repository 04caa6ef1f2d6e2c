#!/bin/bash
# Checks that the patches do not affect rings without loops. The same jobs in a patched kernel and in the same kernel unpatched must give the
# same results, and must take about as many instructions.
#
# Worker threads carry out drained requests and writes to files. They wake up at random times, so such a job varies by 7 per cent from one run
# to the next. It may take 10 per cent more instructions in the patched kernel; other jobs may take 1 per cent more. If a job takes more than
# that, both kernels run again, up to five times, and the smallest number of each job in each kernel counts.
# Usage: compare.sh REPO PATCHED PLAIN WORKLOAD
set -euo pipefail
repo=$1 patched=$2 plain=$3 workload=$4
rounds=5

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# least KERNEL: prints a line for each job: its name, its results, and the fewest instructions for a request in all runs in that kernel.
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
