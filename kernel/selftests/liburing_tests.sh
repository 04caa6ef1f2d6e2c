#!/bin/bash
# Whether other people's programs notice the patches: liburing's own tests in a patched kernel and in the same kernel unpatched. Fails if a
# program that passes without the patches does not pass with them.
#
# Usage: liburing_tests.sh REPO PATCHED PLAIN TESTS [PROGRAM…]
#        liburing_tests.sh --here TESTS [PROGRAM…]
#   PATCHED, PLAIN   kernels, by the names that ./dev vm has for them
#   TESTS            liburing's test folder, built: what ./dev kernel tests prints
#   PROGRAM          only these, as they are called without .t (nop, poll, read-write)
#   --here           in the kernel that is running, without a comparison. Only in a machine of ./dev vm: it overwrites /dev/nvme0n1
#
# An emulated machine is slow, and some of the programs are a matter of timing. So those that look worse with the patches run again alone,
# three times in each kernel and with twice the time. A program counts as worse if it passes in none of these and without the patches in one.
# What the kernel itself says is no matter of timing: a crash, a WARNING or a BUG that the unpatched one does not have fails, once is enough.
set -euo pipefail

# Seconds for each program; those that need many more, where each page and each message is copied by an emulation; and how many times that.
# What takes longer has timed out, in either kernel.
limit=60
declare -A limits=([futex]=240 [send-zerocopy]=600)
patience=${LIBURING_TESTS_PATIENCE:-1}
# Programs for one virtual machine.
chunk=50
# No sign of life from a virtual machine for so long: it hangs. Starting one may take three tries of a minute each.
silence=240
# More than these are not an accident, and running all of them again would take hours.
again_at_most=20
complaints='(WARNING|BUG|KASAN|UBSAN|INFO): '

# --- In the virtual machine -----------------------------------------------------------------------------------------------------------------
#
# Prints, a line each:
#   kernel RELEASE
#   start NAME
#   | …                   the end of its output, unless it passed
#   end NAME RESULT SECONDS
#   alive                 now and then
# RESULT: pass, skip, fail, timeout; stuck: it cannot be killed; complaint: the kernel had something to say, whatever the program thinks.
# Beside the programs there are (boot) and (end): complaints from before the first program and after the last.

# The kernel's messages since the last call are what it says about $1.
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
	# So liburing calls those that have to fail.
	[[ $name != xfail* ]] || wanted=1
	# These want the whole disk.
	case $name in
		cmd-discard) device=(/dev/nvme0n1) ;;
		io_uring_passthrough) device=(/dev/ng0n1) ;;
	esac
	time=$(limit_of "$name")
	echo "start $name"
	((${#device[@]} == 0)) || umount $disk
	mkdir "$disk/$name"
	cd "$disk/$name"
	# Some start it, and some of those open it for writing before.
	cp "$tests/exec-target.t" .
	# timeout makes a process group. What the program leaves running goes with it.
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
	# Debian's kernels have it as a module.
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
	# Rings are taken down by work that outlives their process.
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

# run_machine KERNEL RESULTS PROGRAM…: one virtual machine. Adds to RESULTS, and to RESULTS.log what it said. A program that takes the
# machine with it is the last one in RESULTS.
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
	# What the kernel says while it shuts down.
	[[ $status != 126 || -n $complained ]] || echo "(end) complaint 0" >>"$results"
}

# run_kernel KERNEL RESULTS PROGRAM…: as many machines as it takes.
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
	# (boot) and (end) come once for each machine. The worst counts.
	awk '!($1 in result) || $2 == "complaint" { result[$1] = $2; seconds[$1] = $3 }
		END { for (name in result) print name, result[name], seconds[name] }' "$results" | sort >"$results.sorted"
	mv "$results.sorted" "$results"
}

# worse PLAIN PATCHED: the programs that pass in one and not in the other.
worse() {
	join "$1" "$2" | awk '$2 == "pass" && $4 != "pass" { print $1 }'
}

# passes NAME RESULTS…: in how many of them it passed
passes() {
	local name=$1
	shift
	awk -v name="$name" '$1 == name && $2 == "pass" { count++ } END { print count + 0 }' "$@"
}

# What kernels complained of, in the logs of their machines: a line for each kind. Without numbers, which differ from run to run.
said() {
	sed -n -E 's/^(\| kernel:|    ) +(\[[^]]*\] *)?(.*(WARNING|BUG|KASAN|UBSAN): .*)/\3/p; s/^dev: vm: the kernel \(.*\) crashed.*/it crashed/p' "$@" |
		sed -E 's/, CPU#.*//; s/[0-9a-f]*[0-9][0-9a-f]*/N/g' | sort -u
}

# Whether the patched kernel complained of nothing else than the unpatched one.
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
		# (boot) and (end) are in each run.
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
# A kernel that is not there is built now, which may take longer than a machine may be silent.
for kernel in "$plain" "$patched"; do
	"$repo/dev" vm --kernel "$kernel" --time 120 -- true || true
done
compare "$@"
