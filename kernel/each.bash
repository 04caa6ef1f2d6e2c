# Part of `dev`, which reads this file: `./dev kernel each`, which tries a series patch by patch.
#
# The message of a patch names the selftests that fail before it and pass after it. So the kernel with the first patches of a series must pass all
# selftests but those that a later patch names, and fail those that the next one names. The kernel may give a warning that the message of a later
# patch quotes.
#
# try_each sets these for the functions that it calls:
#   each_kernels    the folder of the kernels: 0000 is without patches, 0001 has the first one, and so on
#   each_programs   the programs with the selftests
#   named_tests     for each patch, in their order, the names of the selftests in its message, between spaces
#   named_warnings  for each patch, the functions whose warnings its message quotes, between spaces

# list_tests PROGRAM: prints the names of its selftests, one in a line.
list_tests() {
	"$1" "$(dirname "$1")" --list
}

# warnings_of: prints the functions whose warnings, by the kernel's WARN_ON(), are in the input. Prints ? for any other complaint.
warnings_of() {
	sed -nE '/(WARNING|BUG|KASAN|UBSAN): /{s/.*WARNING: .* at (\w+)\+0x.*/\1/;s/.*(WARNING|BUG|KASAN|UBSAN): .*/?/;p}' | sort -u
}

# find_named_tests SERIES: sets $named_tests and $named_warnings.
find_named_tests() {
	local patch program word all=''
	for program in "${each_programs[@]}"; do
		all+=" $(list_tests "$program" | paste -sd' ') "
	done
	named_tests=()
	named_warnings=()
	for patch in "$repo/kernel/$1"/*.patch; do
		named_tests+=(' ')
		while read -r word; do
			[[ $all != *" $word "* ]] || named_tests[-1]+="$word "
		done < <(sed '/^---$/q' "$patch" | grep -oE '\w+_\w+' | sort -u)
		named_warnings+=(" $(sed '/^---$/q' "$patch" | warnings_of | paste -sd' ') ")
	done
}

# What ./dev vm says when the kernel has complained or has stood still.
each_complaint='^dev: vm: the kernel (.*) complained:'
each_timeout='^dev: vm: ended after'

# run_in_each NUMBER SECONDS LOG PROGRAM [TEST…]: runs selftests in the kernel with the first NUMBER patches. SECONDS limits each test. Returns 0
# if they have passed or were skipped, 126 if the kernel has complained although they have, and otherwise their exit status.
run_in_each() {
	local number=$1 seconds=$2 log=$3 program=$4 status=0
	env -u RINGSTEP_VERBOSE "$repo/dev" vm --own --kernel "$each_kernels/$number/vmlinux" --time 500 -- \
		env RINGSTEP_SELFTEST_SECONDS="$seconds" "$program" "$(dirname "$program")" "${@:5}" >"$log" 2>&1 || status=$?
	((status != 4)) || status=0
	((status != 0)) || ! grep -q "$each_complaint" "$log" || status=126
	return $status
}

# warns_as_named NUMBER LOG: returns 0 if the message of a patch after the first NUMBER quotes each warning of the kernel.
warns_as_named() {
	local warning later=" ${named_warnings[*]:10#$1} "
	for warning in $(warnings_of <"$2"); do
		[[ $later == *" $warning "* ]] || return 1
	done
}

# passes_in_each NUMBER LOG REPAIRED PROGRAM [TEST…]: runs selftests that must pass, and says whether they do. Those in REPAIRED may not be skipped.
passes_in_each() {
	local number=$1 log=$2 repaired=$3 program=$4 what skipped status=0
	run_in_each "$number" 150 "$log" "$program" "${@:5}" || status=$?
	if ((status == 126)) && warns_as_named "$number" "$log"; then
		say "$number: the kernel gave a warning that a later patch is about: $(warnings_of <"$log" | paste -sd' ')"
	elif ((status != 0)); then
		cat "$log" >&2
		say "$number: failed: $(basename "$program") $(sed -n 's/^not ok [0-9]* //p' "$log" | paste -sd' ')"
		return 1
	fi
	what=$(basename "$program")
	! grep -q '^TAP version' "$log" || what+=", $(grep -c '^ok [0-9]* \w*$' "$log") tests. Skipped: $(grep -c '# SKIP$' "$log")"
	say "$number: passed: $what"
	for skipped in $(sed -n 's/^ok [0-9]* \(.*\) # SKIP$/\1/p' "$log"); do
		[[ $repaired != *" $skipped "* ]] || { say "$number: $skipped was skipped, although a patch up to this one names it"; return 1; }
	done
}

# fails_in_each NUMBER LOG PROGRAM TEST: runs a selftest that must fail, or make the kernel complain or stand still, and says what it did. A fault
# that is a race may not show each time, so it has five attempts.
fails_in_each() {
	local number=$1 log=$2 program=$3 test=$4 reason attempt=1
	while run_in_each "$number" 20 "$log" "$program" "$test"; do
		if grep -q '# SKIP$' "$log"; then
			say "$number: $test was skipped"
			return 1
		fi
		if ((attempt++ == 5)); then
			cat "$log" >&2
			say "$number: $test passes before the patch that names it"
			return 1
		fi
	done
	# Before its header is printed, the test has not begun, so it was something else that failed.
	reason=$(grep -m 1 -E "^not ok [0-9]+ $test\$|Kernel panic|WARNING: |BUG: |$each_complaint|$each_timeout" "$log")
	if [[ -z $reason ]] || ! grep -q '^TAP version' "$log"; then
		cat "$log" >&2
		say "$number: $test could not be run"
		return 1
	fi
	say "$number: $test fails, as it should: $reason"
}

# try_number SERIES NUMBER LOG: tries the kernel with the first NUMBER patches. Returns 1 if it is not as the messages of the patches say.
try_number() {
	local series=$1 number=$2 log=$3 failed=0 program name repaired later next
	local -a tests
	local -r at=$((10#$number))
	# The last patch of an older series attaches loops. Before it, there is nothing for the selftests to test, and other requests must work.
	if [[ $series != next ]] && ((at < ${#named_tests[@]})); then
		passes_in_each "$number" "$log" ' ' "$build/kernel/selftests/kernel-workload"
		return
	fi
	repaired=" ${named_tests[*]:0:at} "
	later=" ${named_tests[*]:at} "
	for program in "${each_programs[@]}"; do
		tests=()
		while read -r name; do
			[[ $later == *" $name "* ]] || tests+=("$name")
		done < <(list_tests "$program")
		passes_in_each "$number" "$log" "$repaired" "$program" "${tests[@]}" || failed=1
	done
	((at < ${#named_tests[@]})) || return $failed
	# One machine for each: a fault may leave nothing of it usable.
	for next in ${named_tests[at]}; do
		for program in "${each_programs[@]}"; do
			list_tests "$program" | grep -qx "$next" || continue
			fails_in_each "$number" "$log" "$program" "$next" || failed=1
		done
	done
	return $failed
}

# wait_for_kernel NUMBER BUILDER: waits until the process BUILDER has made a kernel. Returns 1 if it has ended without it.
wait_for_kernel() {
	until [[ -d $each_kernels/$1 ]]; do
		if ! kill -0 "$2" 2>/dev/null; then
			# It may have made the kernel just before.
			[[ -d $each_kernels/$1 ]]
			return
		fi
		sleep 1
	done
}

# try_each SERIES: builds the kernel after each patch of a series, without a warning of the compiler, and runs the selftests in each. It tries one
# kernel while it builds the next one. The compiler has a low priority, so the tests do not have to wait for it.
try_each() {
	local series=$1 selftests=$build/kernel/selftests log built number failed=0 builder package version # the last two by find_source
	local each_kernels=$build/each-$series
	local -a each_programs=("$selftests/kernel-selftests") named_tests named_warnings
	[[ $series != next ]] || each_programs+=("$selftests/kernel-selftests-next")
	configure
	build_targets "${each_programs[@]##*/}" kernel-workload
	find_named_tests "$series"
	find_source "$series"
	lock_kernel_builds
	need_free_space 6000
	need_source "$package" "$version" || exit 1
	use_compiler_cache
	rm -rf "$each_kernels"
	log=$(mktemp)
	built=$(mktemp)
	remove_at_exit "$log"
	remove_at_exit "$built"
	say "Building a kernel after each patch, and trying each while the next one is built …"
	{
		"$repo/kernel/build" "$series" ringstep-each "$source_file" "$cache/patched/build/$series" "$each_kernels" &&
			rm -rf "$cache/patched/build/$series"
	} >"$built" 2>&1 </dev/null &
	builder=$!
	kill_at_exit $builder
	exec {kernel_lock}>&- # the builder has inherited the lock, and holds it until it ends
	for number in $(seq --format=%04.0f 0 ${#named_tests[@]}); do
		wait_for_kernel "$number" $builder || break
		try_number "$series" "$number" "$log" || failed=$((failed + 1))
	done
	if ! wait $builder; then
		say "the build failed. The end of its output:"
		tail -n 20 "$built" | sed 's/^/     /' >&2
		fail "the kernel $number of $series could not be built. Of those before it, $failed are not as the messages of their patches say"
	fi
	((failed == 0)) || fail "$failed kernels of $series are not as the messages of their patches say"
}
