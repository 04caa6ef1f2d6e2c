# Part of `dev`, which reads this file: the smaller commands, each with its help.

help_demo() {
	cat <<-'END'
		./dev demo [--] [arguments of ringstep-demo…]

		Builds ringstep-demo and runs it in the newest kernel that has the feature (in this machine's own where it has it and you are
		root): a million operations in one system call, and a copy of a large file.
	END
}

# Makes a file of real data from the tool box's largest libraries and programs, 256 MiB in total.
make_demo_file() {
	local file=$1
	mkdir -p "$(dirname "$file")"
	find /usr/lib/llvm-19 /usr/lib/gcc /usr/lib/x86_64-linux-gnu /usr/bin -type f -printf '%s %p\n' | sort -rn |
		awk 'size < 256 * 1024 * 1024 { size += $1; sub(/^[0-9]+ /, ""); print }' |
		tar --create --file "$file.tmp" --absolute-names --files-from - || return
	mv "$file.tmp" "$file"
}

command_demo() {
	local file=$cache/demo/data.tar status=0
	[[ ${1:-} != -- ]] || shift
	configure
	build_targets ringstep-demo
	[[ -f $file ]] || step "Making a large file to copy" make_demo_file "$file"
	if grep -qs --text "$feature_type" /sys/kernel/btf/vmlinux && [[ ${RINGSTEP_HOST_ROOT:-} == yes ]]; then
		say "this machine's own kernel ($(uname -r)) has the feature: running there"
		"$build/bench/ringstep-demo" --file "$file" "$@" || status=$?
		exit $status
	fi
	command_vm --kernel newest -- "$build/bench/ringstep-demo" --file "$file" "$@"
}

help_bench() {
	cat <<-'END'
		./dev bench [--] [arguments…]
		./dev bench profile [arguments…] WAY…
		./dev bench guard [--write]

		Builds the benchmarks and runs bench/run with these arguments in the tool box. ./dev bench -- --help says what they are.

		profile prints where the instructions of a loop or of one of its baselines go, by function or by basic block, in any kernel.
		./dev bench profile --list names them, ./dev bench profile --help says what the arguments are.

		guard compares what each loop takes in its main case with bench/instructions.csv, as the test guard does. With --write, it
		measures in the newest kernel and writes that file. Half a minute.
	END
}

command_bench() {
	case ${1:-} in
		profile | guard)
			configure >/dev/null
			build_targets bench-ways >&2
			python3 -B "$repo/tools/profile/$1.py" "${@:2}"
			return
			;;
		--) shift ;;
	esac
	configure
	build_targets ringstep-bench-all
	[[ -x $repo/bench/run ]] || fail "there is no bench/run"
	"$repo/bench/run" "$@"
}

help_fuzz() {
	cat <<-'END'
		./dev fuzz [SECONDS] [LOOP]

		Builds the fuzzer of steps (tests/fuzz/step.cpp, with AddressSanitizer and UndefinedBehaviorSanitizer) and runs it on this
		machine, for 60 seconds where nothing else is said, with all the loops that it has or with one (nop_chain, copy, gate …).

		The corpus is kept in the cache, in fuzz/corpus, so each run goes on where the last one ended. It begins with the inputs in
		tests/fuzz/corpus, which the tests host/fuzz/LOOP also use. Inputs that make a loop fail
		are put into fuzz/findings. To see one of them again:

		  ./dev run -- build/tests/sanitized/fuzz-step ~/.cache/ringstep/fuzz/findings/crash-…

		(for one that was found with LOOP, with FUZZ_LOOP=LOOP in the environment).
	END
}

command_fuzz() {
	local seconds=${1:-60} loop=${2:-} folder=$cache/fuzz status=0
	[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage_error "fuzz: $seconds is no number of seconds" fuzz
	(($# <= 2)) || usage_error "fuzz: unknown argument $3" fuzz
	# The program itself knows which loops it has.
	[[ $loop =~ ^[a-z_]*$ ]] || usage_error "fuzz: there is no loop $loop" fuzz
	configure
	build_targets fuzz-step
	mkdir -p "$folder/corpus/${loop:-all}" "$folder/findings"
	FUZZ_LOOP=$loop UBSAN_OPTIONS=print_stacktrace=1 "$build/tests/sanitized/fuzz-step" -max_total_time="$seconds" -max_len=1024 \
		-len_control=20 -timeout=30 -print_final_stats=1 -artifact_prefix="$folder/findings/" "$folder/corpus/${loop:-all}" "$repo/tests/fuzz/corpus/$loop" || status=$?
	((status == 0)) || say "findings are in $folder/findings: ./dev fuzz --help says how to see one again"
	exit $status
}

help_budgets() {
	cat <<-'END'
		./dev budgets

		Measures, in each kernel that tests run in, how many instructions the verifier follows in each loop and how much stack that takes,
		and writes bpf/budgets.csv: the figures and a quarter. The tests verifier-budgets hold loops to it. A minute.
	END
}

# Prints the lines of the table for a kernel, by the name that it has there.
measure_budgets() {
	# Uses a process of its own, because a virtual machine's exit status ends the script.
	"$repo/dev" vm --kernel "$1" --time 120 -- "$build/tests/verifier-budgets" measure "$build/tests/verifier/loops" "$2" ||
		fail "budgets: no figures from $1; the table stays as it is"
}

command_budgets() {
	local series lines='kernel,loop,ring,instructions,stack' measured
	local -a all
	(($# == 0)) || usage_error "budgets: unknown argument $1" budgets
	refresh_index
	mapfile -t all < <(test_series)
	configure
	build_targets verifier-budgets
	for series in "${all[@]}"; do
		measured=$(measure_budgets "$series" "$series")
		lines+=$'\n'$measured
	done
	# Measures our patched kernels if they are built. The budgets of others stay.
	for series in $(patched_series_list); do
		if have_patched_kernel "$series-ringstep"; then
			measured=$(measure_budgets "$series-ringstep" "$series")
			lines+=$'\n'$measured
		elif measured=$(grep "^${series//./\\.}," "$repo/bpf/budgets.csv"); then
			lines+=$'\n'$measured
		fi
	done
	printf '%s\n' "$lines" >"$repo/bpf/budgets.csv"
	say "bpf/budgets.csv is made anew"
}

help_docs() {
	cat <<-'END'
		./dev docs

		Writes the reference of the C++ library to build/docs/html, made of the comments in include/ringstep. Fails if a comment is missing.
	END
}

command_docs() {
	(($# == 0)) || usage_error "docs: unknown argument $1" docs
	"$repo/docs/make_reference.sh" "$repo" "$build/docs"
	say "the reference is in $build/docs/html/index.html"
}

help_shell() {
	cat <<-'END'
		./dev shell [--kernel KERNEL [other options of ./dev vm]]

		A shell in the tool box; with --kernel, in a virtual machine that runs that kernel.
	END
}

command_shell() {
	if (($#)); then
		command_vm "$@"
	fi
	PS1='(tool box) \w\$ ' bash --norc -i
}

help_run() {
	cat <<-'END'
		./dev run [--] COMMAND ARGUMENTS…

		Runs a command in the tool box: same folder, same environment, the tool box's programs. The repository, the build folder, the
		cache and the current folder are there; more with RINGSTEP_MOUNT=/path:/other/path.

		/tmp, /var/tmp, /dev/shm and /run are the tool box's own, and empty at the start. What a command leaves there is thrown away;
		the files are named at the end. The rest of the tool box is read-only.
	END
}

command_run() {
	local status=0
	[[ ${1:-} != -- ]] || shift
	(($#)) || usage_error "run: no command" run
	use_compiler_cache
	"$@" || status=$?
	exit $status
}
