#!/bin/bash
# Whether the machines that tests share catch what a test may do to them, and name it, and whether the tests after it still run.
# Usage: machines.sh DEV KERNEL
set -uo pipefail
dev=$1 kernel=$2

work=$(mktemp -d)
# What is planted here is no fault of the tests that ./dev test runs.
export RINGSTEP_VM_FAULTS=$work/faults
# Nothing here takes long, so that a machine that hangs is known for it soon.
export RINGSTEP_VM_HUNG_AFTER=15
# A machine that no other test has.
machine=(--kernel "$kernel" --cpus 1 --memory 1023)
trap '"$dev" vm --test-stop "${machine[@]}" >/dev/null 2>&1; rm -rf "$work"' EXIT
failures=0

complain() {
	printf 'FAILED: %s\n' "$*"
	sed 's/^/    stdout: /' "$work/out"
	sed 's/^/    stderr: /' "$work/err"
	failures=$((failures + 1))
}

# planted NAME STATUS SCRIPT TEXT…: runs the script as a test; it has to end with that status, and each TEXT has to be in what is said.
planted() {
	local name=$1 expected=$2 script=$3 status=0 text start=$SECONDS
	shift 3
	timeout 200 "$dev" vm "${machine[@]}" --test "planted/$name" --time "${limit:-60}" -- bash -c "$script" >"$work/out" 2>"$work/err" || status=$?
	((status == expected)) || complain "$name ended with $status instead of $expected"
	for text in "$@"; do
		cat "$work/out" "$work/err" | grep -qF -- "$text" || complain "$name: nothing says \"$text\""
	done
	echo "$name: $((SECONDS - start)) s"
}

# silent NAME SCRIPT: a test that is as it should be; nothing is said about it.
silent() {
	planted "$1" 0 "$2"
	[[ ! -s $work/err ]] || complain "$1: something is said about it"
}

silent "before all" 'true'

# What a test says and how it ends arrives as it was.
planted "status" 7 'echo to stdout; echo to stderr >&2; exit 7'
[[ $(<"$work/out") == "to stdout" && $(<"$work/err") == "to stderr" ]] || complain "the output is another one"
planted "signal" $((128 + 6)) 'kill -ABRT $$'
silent "much output" 'seq 200000'
[[ $(md5sum <"$work/out") == "$(seq 200000 | md5sum)" ]] || complain "much output is another one"
silent "environment" '[[ $RINGSTEP_VM_KERNEL && $RINGSTEP_VM_ACCEL ]] && [[ $PWD == '"'$PWD'"' ]] && [[ ! -t 0 ]] && ! read -r'

# Programs that are built while the machine runs are seen.
printf '#!/bin/sh\necho first\n' >"$PWD/machines-program.$$"
chmod 755 "$PWD/machines-program.$$"
silent "a program" "./machines-program.$$"
printf '#!/bin/sh\necho second, and longer\n' >"$work/other"
chmod 755 "$work/other"
mv "$work/other" "$PWD/machines-program.$$"
silent "the program built anew" "./machines-program.$$"
rm "$PWD/machines-program.$$"
grep -q '^second, and longer$' "$work/out" || complain "the machine runs the old program"

# Whatever a test leaves behind is its failure.
planted "leaves things behind" 126 '
	setsid sleep 1234 &
	mount -t tmpfs left /mnt
	echo data >/tmp/left
	mkdir /dev/shm/left_folder
	echo 7 >/proc/sys/vm/laptop_mode' \
	"process" "(sleep 1234)" "mount /mnt (tmpfs)" "file /tmp/left" "file /dev/shm/left_folder" "/proc/sys/vm/laptop_mode: '0\\n' became '7\\n'"
planted "depends on another test's file" 1 'cat /tmp/left' "/tmp/left: No such file or directory"
silent "another test's leftovers" '! pgrep -x sleep && ! mountpoint -q /mnt && [[ $(</proc/sys/vm/laptop_mode) == 0 ]]'

silent "writes to the disk" '[[ ! -b /dev/nvme0n1 ]] || { echo data; head -c 10000000 /dev/urandom; } >/dev/nvme0n1'
silent "finds the disk empty" '[[ ! -b /dev/nvme0n1 ]] || cmp -n 10000000 /dev/nvme0n1 /dev/zero'

# The kernel complains.
planted "WARNING" 126 'echo "<4>WARNING: planted by a test" >/dev/kmsg' "the kernel" "complained" "WARNING: planted by a test"
silent "a complaint that kernels are known for" 'echo "<4>WARNING: kernel/sched/core.c:1 at set_task_cpu+0x0/0x0" >/dev/kmsg'
silent "after a WARNING" 'echo "<4>something else" >/dev/kmsg'

# A test that takes too long: where it was is said, and what the kernel has said.
limit=10 planted "hang" 124 'echo "<4>the last words" >/dev/kmsg; trap "" TERM INT; sleep 1234' \
	"ended after 10 s" "(sleep 1234)" "the last words" "nanosleep"
silent "after a hang" 'true'

# The kernel crashes.
planted "crash" 125 'echo c >/proc/sysrq-trigger; sleep 20' "the machine is gone" "sysrq triggered crash"
silent "after a crash" 'true'

# The client of a test is ended: what the test has started ends as well, also when the test itself is over by then.
leave() {
	local client tries=0
	"$dev" vm "${machine[@]}" --test planted/left-alone -- bash -c "$1" >"$work/out" 2>"$work/err" &
	client=$!
	until grep -q started "$work/out" || ((tries++ > 600)); do sleep 0.1; done
	sleep 0.3
	kill $client
	wait $client
}
leave 'setsid sleep 4321 & echo started; sleep 4321'
silent "after a client that went while its test ran" '! pgrep -x sleep'
leave 'setsid sleep 4321 & echo started'
silent "after a client that went when its test was over" '! pgrep -x sleep'

# A test kills what looks after it.
planted "a supervisor that is killed" 125 'setsid sleep 4321 & kill -KILL $PPID; sleep 4321' "the job's supervisor was killed"
silent "after a supervisor that was killed" '! pgrep -x sleep'

# A machine that does not answer any more: its agent stands still.
limit=10 planted "a machine that hangs" 124 'kill -STOP $(pgrep -o -f agent.py); sleep 1234' "does not answer"
silent "after a machine that hangs" 'true'

# The kernel crashes when no test runs: it starts a program that does that, for a process that has dumped core.
printf '#!/bin/sh\n{ sleep 15; echo c >/proc/sysrq-trigger; } </dev/null &\n' >"$PWD/machines-crash.$$"
chmod 755 "$PWD/machines-crash.$$"
silent "before a crash" '
	pattern=$(</proc/sys/kernel/core_pattern)
	echo "|'"$PWD/machines-crash.$$"'" >/proc/sys/kernel/core_pattern
	sleep 60 &
	disown
	kill -SEGV $!
	sleep 1
	echo "$pattern" >/proc/sys/kernel/core_pattern
	exit 0'
sleep 30
rm "$PWD/machines-crash.$$"
silent "after a crash when nothing ran" 'true'

# Where the machines of this process namespace are.
folders=/tmp/ringstep-machines-$(stat -L -c %i /proc/self/ns/pid)-

# The kernel complains when no test runs, in two parts, here by way of the file that its console goes to.
folder=("$folders"*/*memory-1023*/)
printf '[    1.0] WARN' >>"${folder[0]}console"
sleep 1
echo "ING: planted when nothing ran" >>"${folder[0]}console"
sleep 2

# stops STATUS TEXT…: ends the machine.
stops() {
	local expected=$1 status=0 text
	shift
	"$dev" vm --test-stop "${machine[@]}" >"$work/out" 2>"$work/err" || status=$?
	((status == expected)) || complain "the end of the machine says $status instead of $expected"
	for text in "$@"; do
		grep -q -- "$text" "$work/err" || complain "the end of the machine does not say \"$text\""
	done
}

# Whichever the keeper sees first: what the kernel says of its crash, or the end of the machine.
stops 126 'after planted/before a crash, when nothing ran, the \(machine was lost: it went down\|kernel complained\)' 'sysrq triggered crash' \
	'after planted/after a crash when nothing ran, when nothing ran, the kernel complained' 'WARNING: planted when nothing ran' \
	'commands ran, in 8 machines$' # one more than there were faults
stops 0 'the machine was not started'

# The keeper dies, at the end and between two tests.
for next in "" "true"; do
	silent "before its keeper dies" 'true'
	folder=("$folders"*/*memory-1023*/)
	kill -KILL "$(<"${folder[0]}pid")"
	sleep 0.5
	[[ -z $next ]] || silent "after its keeper died" "$next"
	stops 125 "keeper ended by itself" "up after"
done

# ./dev test knows which of these were no matter of time.
sort -u "$RINGSTEP_VM_FAULTS" | cmp - <(printf 'planted/%s\n' "WARNING" "a machine that hangs" "a supervisor that is killed" "crash" "leaves things behind" | sort) ||
	complain "the tests that met a fault: $(sort -u "$RINGSTEP_VM_FAULTS" | paste -sd,)"

((failures == 0)) && echo "all planted faults were caught"
exit $((failures > 0))
