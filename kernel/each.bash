# Part of `dev`, which reads this file: `./dev kernel each`, which tries a series patch by patch.
#
# The message of a patch names the selftests that fail before it and pass after it. So the kernel with the first patches of a series must pass all
# selftests but those that a later patch names, and fail those that the next one names.

# find_named_tests SERIES: sets the array $named_tests. For each patch, in their order, it has the names of the selftests in its message, between spaces.
# $all_tests is set to the names of all selftests.
find_named_tests() {
	local patch program word
	named_tests=()
	all_tests=
	for program in "${each_programs[@]}"; do
		all_tests+=" $("$program" "$(dirname "$program")" --list | paste -sd' ')"
	done
	for patch in "$repo/kernel/$1"/*.patch; do
		named_tests+=(' ')
		while read -r word; do
			[[ " $all_tests " != *" $word "* ]] || named_tests[-1]+="$word "
		done < <(sed '/^---$/q' "$patch" | grep -oE '\w+_\w+' | sort -u)
	done
}

# run_in_each NUMBER LOG PROGRAM [TEST…]: runs selftests in the kernel with the first NUMBER patches. Returns their exit status, or 126 if the kernel
# complained although they succeeded or were skipped.
run_in_each() {
	local number=$1 log=$2 program=$3 status=0
	"$repo/dev" vm --own --kernel "$each_kernels/$number/vmlinux" --time 500 -- env RINGSTEP_SELFTEST_SECONDS="$each_seconds" \
		"$program" "$(dirname "$program")" "${@:4}" >"$log" 2>&1 || status=$?
	((status != 4)) || status=0
	((status != 0)) || ! grep -q '^dev: vm: the kernel (.*) complained:' "$log" || status=126
	return $status
}

# try_number NUMBER LOG: tries the kernel with the first NUMBER patches. Returns 1 if it is not as the messages of the patches say.
try_number() {
	local number=$1 log=$2 failed=0 program name later next
	local -a tests
	local -r at=$((10#$number))
	# Before the patch that adds loops, there is nothing for the selftests to test. Other requests must work.
	if ! grep -aq io_uring_bpf_ops "$each_kernels/$number/vmlinux"; then
		run_in_each "$number" "$log" "$build/kernel/selftests/kernel-workload" || { cat "$log" >&2; failed=1; }
		say "$number: $( ((failed)) && echo failed || echo passed): kernel-workload"
		return $failed
	fi
	later=" ${named_tests[*]:at} "
	for program in "${each_programs[@]}"; do
		tests=()
		while read -r name; do
			[[ $later == *" $name "* ]] || tests+=("$name")
		done < <("$program" "$(dirname "$program")" --list)
		each_seconds=150
		if run_in_each "$number" "$log" "$program" "${tests[@]}"; then
			say "$number: passed: $(basename "$program"), $(grep -c '^ok [0-9]* \w*$' "$log") tests. Skipped: $(grep -c '# SKIP$' "$log")"
		else
			cat "$log" >&2
			say "$number: failed: $(basename "$program"), $(sed -n 's/^not ok [0-9]* //p' "$log" | paste -sd' ')"
			failed=1
		fi
	done
	((at < ${#named_tests[@]})) || return $failed
	# One machine for each: a fault may leave nothing of it usable.
	for next in ${named_tests[at]}; do
		for program in "${each_programs[@]}"; do
			"$program" "$(dirname "$program")" --list | grep -qx "$next" || continue
			each_seconds=20
			if run_in_each "$number" "$log" "$program" "$next"; then
				cat "$log" >&2
				say "$number: $next passes before the patch that names it"
				failed=1
			else
				say "$number: $next fails, as it should: $(grep -m 1 -E '^not ok|Kernel panic|WARNING: |BUG: ' "$log" || echo 'the machine hung')"
			fi
		done
	done
	return $failed
}

# try_each SERIES: builds the kernel after each patch of a series, without a warning of the compiler, and runs the selftests in each.
try_each() {
	local series=$1 selftests=$build/kernel/selftests log number failed=0 package version # the last two by find_source
	local each_kernels=$build/each-$series all_tests each_seconds
	local -a each_programs=("$selftests/kernel-selftests") named_tests
	[[ $series != next ]] || each_programs+=("$selftests/kernel-selftests-next")
	configure
	build_targets "${each_programs[@]##*/}" kernel-workload
	find_named_tests "$series"
	find_source "$series"
	lock_kernel_builds
	need_free_space 6000
	need_source "$package" "$version" || exit 1
	use_compiler_cache
	step "Building a kernel after each patch" "$repo/kernel/build" "$series" ringstep-each "$source_file" "$cache/patched/build/$series" \
		"$each_kernels" || exit 1
	rm -rf "$cache/patched/build/$series"
	exec {kernel_lock}>&-
	log=$(mktemp)
	remove_at_exit "$log"
	for number in $(ls "$each_kernels"); do
		try_number "$number" "$log" || failed=$((failed + 1))
	done
	((failed == 0)) || fail "$failed kernels of $series are not as the messages of their patches say"
}
