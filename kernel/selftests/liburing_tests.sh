#!/bin/bash
# Checks that the patches do not affect programs without loops. Runs liburing's own tests in a patched kernel and in the same kernel unpatched.
# Fails if a program that passes without the patches does not pass with them.
#
# Usage: liburing_tests.sh REPO PATCHED PLAIN TESTS [PROGRAM…]
#        liburing_tests.sh --here TESTS [PROGRAM…]
#   PATCHED, PLAIN   names of kernels, as for ./dev vm
#   TESTS            the folder of liburing's tests, which ./dev kernel tests builds and prints
#   PROGRAM          a program to run, without its .t (nop, poll, read-write). Without any, all run
#   --here           run in this kernel and compare with nothing. Only for a machine of ./dev vm, because it overwrites /dev/nvme0n1
#
# An emulated machine is slow, and some of the programs depend on timing. So the programs that look worse with the patches run again alone,
# three times in each kernel, with twice the time. A program counts as worse if it then never passes with the patches and passes at least once
# without them. Complaints of the kernel do not depend on timing: a single crash, WARNING or BUG that the unpatched kernel does not have is a
# failure.
set -euo pipefail

# The time limit of each program, in seconds. Some programs need more, because an emulated machine copies each page and each message.
# LIBURING_TESTS_PATIENCE multiplies all limits.
limit=60
declare -A limits=([futex]=240 [send-zerocopy]=600)
patience=${LIBURING_TESTS_PATIENCE:-1}
# How many programs run in one virtual machine.
chunk=50
# A virtual machine hangs if it prints nothing for this many seconds. Starting one may take three tries of a minute each.
silence=240
# The largest number of programs that run again. More of them are no accident, and would take hours.
again_at_most=20
complaints='(WARNING|BUG|KASAN|UBSAN|INFO): '

# --- In the virtual machine -----------------------------------------------------------------------------------------------------------------
#
# Prints these lines:
#   kernel RELEASE
#   start NAME
#   | …                   the end of the output of a program that did not pass
#   end NAME RESULT SECONDS
#   alive                 every 20 seconds
# RESULT is pass, skip, fail or timeout; stuck if the program cannot be killed; or complaint if the kernel complained, regardless of the
# program's result. NAME is also (boot) or (end), for complaints before the first program and after the last.

# judge NAME RESULT SECONDS: prints the end of a program. The kernel's messages since the last call belong to that program.
judge() {
	local name=$1 result=$2 seconds=$3 messages
	messages=$(dmesg --read-clear)
	if grep -qE "$complaints" <<<"$messages"; then
		result=complaint
		grep -E -A 30 "$complaints" <<<"$messages" | head -n 40 | sed 's/^/| kernel: /'
	fi
	echo "end $name $result $seconds"
}

wait_for() {
	local tries=0
	until [[ -b $1 ]]; do
		((tries++ < 50)) || return 1
		sleep 0.1
	done
}

make_disk() {
	mkfs.ext4 -q /dev/nvme0n1
	mount /dev/nvme0n1 $disk
}

limit_of() {
	echo $((${limits[$1]:-$limit} * patience))
}

run_program() {
	local tests=$1 name=$2 status result=fail start=$SECONDS wanted=0 time
	local -a device=()
	# liburing gives this name to programs that must fail.
	[[ $name != xfail* ]] || wanted=1
	# These use the whole disk.
	case $name in
		cmd-discard) device=(/dev/nvme0n1) ;;
		io_uring_passthrough) device=(/dev/ng0n1) ;;
	esac
	time=$(limit_of "$name")
	echo "start $name"
	((${#device[@]} == 0)) || umount $disk
	mkdir "$disk/$name"
	cd "$disk/$name"
	# Some programs run this one, and some of those open it for writing first.
	cp "$tests/exec-target.t" .
	# timeout makes a process group, so that all processes that the program leaves behind can be killed.
	{
		status=0
		timeout --kill-after 2 "$time" "$tests/$name.t" "${device[@]}" >"$disk/$name.output" 2>&1 </dev/null &
		wait $! || status=$?
		kill -KILL -- -$! || true
		echo "$status" >&"$done"
	} 2>/dev/null &
	if ! read -r -t $((time + 10)) -u "$done" status; then
		judge "$name" stuck $((SECONDS - start))
		exit 1
	fi
	case $status in
		"$wanted") result=pass ;;
		77) result=skip ;;
		124 | 137) ((SECONDS - start < time)) || result=timeout ;;
	esac
	[[ $result == pass ]] || tail -n 8 "$disk/$name.output" | tr -cd '[:print:]\n' | cut -c 1-200 | sed 's/^/| /'
	cd /
	rm -rf "${disk:?}/$name" "$disk/$name.output"
	((${#device[@]} == 0)) || make_disk
	judge "$name" "$result" $((SECONDS - start))
}

run_here() {
	local tests=$1 name heart
	shift
	[[ -n ${RINGSTEP_VM_KERNEL:-} ]] || fail "--here is for a machine of ./dev vm: it overwrites /dev/nvme0n1"
	# In Debian's kernels, the driver is a module.
	modprobe nvme 2>/dev/null || true
	wait_for /dev/nvme0n1 || fail "there is no disk: ./dev vm --disk 1024"
	(($#)) || mapfile -t all < <(programs "$tests")
	(($#)) || set -- "${all[@]}"
	disk=/tmp/disk
	mkdir $disk
	make_disk
	echo 64 >/proc/sys/vm/nr_hugepages
	mkfifo /tmp/done
	exec {done}<>/tmp/done
	ulimit -c 0
	echo "kernel $(uname -r)"
	judge '(boot)' pass 0
	while sleep 20; do echo alive; done &
	heart=$!
	for name in "$@"; do
		run_program "$tests" "$name"
	done
	# The kernel frees rings after their process has ended.
	sleep 1
	judge '(end)' pass 0
	kill $heart
}

# --- Outside --------------------------------------------------------------------------------------------------------------------------------

fail() {
	echo "liburing_tests.sh: $*" >&2
	exit 1
}

programs() {
	(cd "$1" && printf '%s\n' *.t | sed 's/\.t$//')
}

# run_machine KERNEL RESULTS PROGRAM…: runs programs in one virtual machine. Adds their results to RESULTS and their output to RESULTS.log. If
# a program crashes the machine, it is the last one in RESULTS.
run_machine() {
	local kernel=$1 results=$2 line name='' status=0 out machine complained='' time=60
	shift 2
	for name in "$@"; do
		time=$((time + $(limit_of "$name") + 15))
	done
	name=
	exec {out}< <(exec setpriv --pdeathsig KILL "$repo/dev" vm --kernel "$kernel" --time $time --disk 1024 \
		--append nvme.poll_queues=1 --env "LIBURING_TESTS_PATIENCE=$patience" -- "${BASH_SOURCE[0]}" --here "$tests" "$@" 2>>"$results.log")
	machine=$!
	while IFS= read -r -t "$silence" -u "$out" line; do
		[[ $line == alive ]] || echo "$line" >>"$results.log"
		case $line in
			'start '*) name=${line#start } ;;
			'end '*)
				echo "${line#end }" >>"$results"
				name=
				[[ $line != *' complaint '* ]] || complained=yes
				;;
			'kernel '*) echo "${line#kernel }" >"$results.kernel" ;;
		esac
	done
	kill $machine 2>/dev/null || true
	wait $machine || status=$?
	exec {out}<&-
	[[ -z $name ]] || echo "$name crash 0" >>"$results"
	# The kernel complained while it shut down.
	[[ $status != 126 || -n $complained ]] || echo "(end) complaint 0" >>"$results"
}

# run_kernel KERNEL RESULTS PROGRAM…: runs programs in as many virtual machines as they need.
run_kernel() {
	local kernel=$1 results=$2 before
	local -a left
	shift 2
	: >"$results"
	left=("$@")
	while ((${#left[@]})); do
		before=${#left[@]}
		run_machine "$kernel" "$results" "${left[@]:0:chunk}"
		mapfile -t left < <(printf '%s\n' "${left[@]}" | awk 'NR == FNR { done[$1] = 1; next } !($1 in done)' "$results" -)
		if ((${#left[@]} == before)); then
			tail -n 30 "$results.log" >&2
			echo "$kernel does not get as far as the first program" >&2
			return 1
		fi
	done
	# There is one (boot) and one (end) for each machine. The worst of them counts.
	awk '!($1 in result) || $2 == "complaint" { result[$1] = $2; seconds[$1] = $3 }
		END { for (name in result) print name, result[name], seconds[name] }' "$results" | sort >"$results.sorted"
	mv "$results.sorted" "$results"
}

# worse PLAIN PATCHED: prints the programs that pass without the patches and not with them.
worse() {
	join "$1" "$2" | awk '$2 == "pass" && $4 != "pass" { print $1 }'
}

# passes NAME RESULTS…: prints in how many of these results a program passed.
passes() {
	local name=$1
	shift
	awk -v name="$name" '$1 == name && $2 == "pass" { count++ } END { print count + 0 }' "$@"
}

# said LOG…: prints the complaints of kernels in the logs of their machines, a line for each kind. Omits numbers, which differ from run to run.
said() {
	sed -n -E 's/^(\| kernel:|    ) +(\[[^]]*\] *)?(.*(WARNING|BUG|KASAN|UBSAN): .*)/\3/p; s/^dev: vm: the kernel \(.*\) crashed.*/it crashed/p' "$@" |
		sed -E 's/, CPU#.*//; s/[0-9a-f]*[0-9][0-9a-f]*/N/g' | sort -u
}

# Fails if the patched kernel has complaints that the unpatched one does not have.
same_complaints() {
	local more
	more=$(comm -13 <(said "$work"/plain*.log) <(said "$work"/patched*.log))
	[[ -n $more ]] || return 0
	printf 'COMPLAINT, only with the patches: %s\n' "${more//$'\n'/; }"
	return 1
}

summary() {
	awk -v kernel="$(cat "$1.kernel")" '
		$1 !~ /^\(/ { count[$2]++; all++; sum += $3 }
		END {
			printf "%-24s %4d programs: %d passed, %d skipped, %d failed, %d timed out, %d hung or crashed it, %d complaints (%d s)\n", kernel, all,
				count["pass"], count["skip"], count["fail"], count["timeout"], count["crash"] + count["stuck"], count["complaint"], sum
		}' "$1"
}

compare() {
	local name try other failed=0 with without
	local -a suspects=() again=()
	run_kernel "$plain" "$work/plain" "$@" &
	other=$!
	run_kernel "$patched" "$work/patched" "$@" || failed=1
	wait $other || failed=1
	((failed == 0)) || fail "no results to compare"
	echo "liburing $(basename "$(dirname "$tests")")"
	summary "$work/plain"
	summary "$work/patched"
	join "$work/plain" "$work/patched" | awk '$2 != $4 { printf "differs: %-24s %s without the patches, %s with them\n", $1, $2, $4 }'

	mapfile -t suspects < <(worse "$work/plain" "$work/patched")
	if ((${#suspects[@]} == 0)); then
		same_complaints
		return
	fi
	((${#suspects[@]} <= again_at_most)) || fail "${#suspects[@]} programs are worse with the patches: ${suspects[*]}"
	for name in "${suspects[@]}"; do
		# Each run has (boot) and (end) anyway.
		[[ $name == '('* ]] || again+=("$name")
	done
	((${#again[@]})) || again=(nop)
	patience=$((patience * 2))
	for try in 1 2 3; do
		run_kernel "$plain" "$work/plain.$try" "${again[@]}" || fail "no results to compare"
		run_kernel "$patched" "$work/patched.$try" "${again[@]}" || fail "no results to compare"
	done
	for name in "${suspects[@]}"; do
		without=$(passes "$name" "$work"/plain.[123])
		with=$(passes "$name" "$work"/patched.[123])
		if ((with == 0 && without > 0)); then
			failed=1
			echo "WORSE: $name passes $without of 3 times without the patches, and never with them:"
			sed -n "/^start $name\$/,/^end $name /p" "$work/patched.1.log" | sed 's/^/    /'
		else
			echo "again: $name passes $without of 3 times without the patches, $with of 3 with them"
		fi
	done
	same_complaints || failed=1
	return $failed
}

if [[ ${1:-} == --here ]]; then
	shift
	run_here "$@"
	exit
fi
(($# >= 4)) || fail "usage: liburing_tests.sh REPO PATCHED PLAIN TESTS [PROGRAM…]"
repo=$1 patched=$2 plain=$3 tests=$4
shift 4
(($#)) || mapfile -t all < <(programs "$tests")
(($#)) || set -- "${all[@]}"
(($#)) || fail "there are no programs in $tests: ./dev kernel tests builds them"
for name in "$@"; do
	[[ -x $tests/$name.t ]] || fail "there is no program $name in $tests"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Builds missing kernels now, because that may take longer than a machine may be silent.
for kernel in "$plain" "$patched"; do
	"$repo/dev" vm --kernel "$kernel" --time 120 -- true || true
done
compare "$@"
