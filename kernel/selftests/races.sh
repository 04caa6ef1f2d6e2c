#!/bin/bash
# Runs a command in a kernel with KCSAN, and then prints the races of data that the kernel has reported meanwhile: a line for each pair of
# functions with how often it was reported. If one of the two is a function of io_uring, the line ends with "in io_uring" and the first report follows.
# Usage: races.sh COMMAND ARGUMENTS…
set -u
# KCSAN delays an access that it watches by this many microseconds. The usual 80 are too few in an emulated machine: the other processor hardly
# does anything in that time. This is set here because the kernel does not boot with long delays.
echo 2000 >/sys/module/kcsan/parameters/udelay_task
# The tests take longer by that, and their time limits are for kernels without KCSAN.
export RINGSTEP_SELFTEST_SECONDS=900
messages=$(mktemp)
dmesg --follow --notime >"$messages" 2>/dev/null &
reader=$!
"$@" >&2
status=$?
sleep 1
kill $reader
grep -E '^(setup_watchpoints|data_races): ' /sys/kernel/debug/kcsan >&2
awk '
	function in_io_uring(title) { return title ~ /(^|[ \/])_*(bpf_)?(io_|tctx_|create_io_|create_worker_)/ }
	/BUG: KCSAN: / { title = $0; sub(/.*BUG: KCSAN: /, "", title); count[title]++; first = count[title] == 1 && in_io_uring(title); lines = 0 }
	first && lines++ < 60 { report[title] = report[title] "    " $0 "\n" }
	/^=====/ && lines > 3 { first = 0 }
	END { for (title in count) { printf "race: %s\t%d%s\n%s", title, count[title], in_io_uring(title) ? "\tin io_uring" : "", report[title] } }' "$messages"
# A race is what is looked for, and the caller judges it. Nothing else may happen.
! grep -aE '(WARNING|BUG|KASAN|UBSAN|INFO): ' "$messages" | grep -v 'BUG: KCSAN: ' >&2 || status=1
exit $status
