# Part of `dev`, which reads this file: building and testing.

ctest_tests_failed=8 # its exit status

help_build() {
	cat <<-'END'
		./dev build [TARGET…]

		Configures (CMake, Ninja, RelWithDebInfo, ccache) and builds all targets, or those named.
	END
}

# Makes paths in the repository relative for ccache, so that another clone finds the results of this one. ccache stores what is compiled with a
# precompiled header, as the sanitized tests are, only with this sloppiness. In depend mode, it learns from the compiler which headers a source
# includes. Otherwise it preprocesses each source that is not in the cache, which takes up to a fifth of the time to compile it.
use_compiler_cache() {
	export CCACHE_DIR=$cache/ccache CCACHE_BASEDIR=$repo CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1 CCACHE_SLOPPINESS=pch_defines,time_macros
	# For the projects that tests build as an application would.
	export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
}

# alone COMMAND…: runs a command while no other ./dev configures or builds in the same folder.
alone() {
	local lock status=0
	mkdir -p "$build"
	exec {lock}>"$build/lock"
	flock --nonblock $lock || { say "waiting for another ./dev that builds in $build"; flock $lock; }
	"$@" {lock}>&- || status=$?
	exec {lock}>&-
	return $status
}

# Debug information has lines and functions, which profiles and stack traces need. It leaves out variables: to describe those of optimized code,
# GCC needs up to a third of the time that it takes for a benchmark.
configure() {
	use_compiler_cache
	alone cmake -S "$repo" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DCMAKE_C_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" \
		-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@"
}

build_targets() {
	local -a targets=()
	(($# == 0)) || targets=(--target "$@")
	alone cmake --build "$build" "${targets[@]}"
}

command_build() {
	configure
	build_targets "$@"
}

help_test() {
	cat <<-'END'
		./dev test [--kernel KERNEL]… [--thorough] [--] [ctest arguments…]

		Builds, fetches the kernels, and runs all tests as one ctest run: on this machine, in the oldest kernel series that has the
		feature, in the newest, in one between them, and what works without it in two that lack it.

		  --kernel KERNEL   only the tests in that kernel (7.1, 7.3.4, newest, 7.3-rt, 6.12-ringstep, next …); may be given
		                    more than once. 7.3-rt is the kernel with PREEMPT_RT
		  --thorough        repeat and soak for as long as it takes to find what is rare: most of an hour more

		Everything else goes to ctest: ./dev test -R copy --verbose

		Tests that fail in a virtual machine, four at most, are run once more, one at a time, and named at the end if they pass then.
		That is for tests that the machine was too slow for: after a complaint or a crash of the kernel, or if a test has left something
		behind, nothing is run again. If the arguments choose no test, that is a failure.
		Afterwards there is a table of what took longest.
	END
}

command_test() {
	local kernel kernels without labels='' versions='' whole='' built
	local -a only=() fetch
	while (($#)); do
		case $1 in
			--kernel)
				(($# > 1)) || usage_error "test: --kernel needs a kernel" test
				only+=("$(full_kernel_name "$2")")
				shift 2
				;;
			--thorough)
				# Tests read it, here and in virtual machines.
				export RINGSTEP_THOROUGH=1
				shift
				;;
			--) shift; break ;;
			*) break ;;
		esac
	done
	(($#)) || whole=yes
	refresh_index
	mapfile -t fetch < <(test_series)
	kernels=$(IFS=';'; echo "${fetch[*]}")
	without=$(IFS=';'; echo "${series_without[*]}")
	fetch+=("${series_without[@]}")
	if ((${#only[@]})); then
		for kernel in "${only[@]}"; do
			# In front: the last one is the newest, which some tests are for.
			[[ " ${fetch[*]} " == *" $kernel "* ]] || kernels="$kernel;$kernels"
			labels+="${labels:+|}^kernel-${kernel//./\\.}\$"
		done
		fetch=("${only[@]}")
		set -- --label-regex "$labels" "$@"
	fi
	if [[ "$kernels;" == *-ringstep\;* ]]; then
		# In a process of its own first, as it ends that if the archive does not have them.
		if (find_liburing_tests); then find_liburing_tests; else say "leaving liburing's tests out"; fi
	fi
	configure -DRINGSTEP_TEST_KERNELS="$kernels" -DRINGSTEP_TEST_KERNELS_WITHOUT="$without" \
		-DRINGSTEP_LIBURING_TESTS="${liburing_tests:-}"
	built=$SECONDS
	build_targets
	built=$((SECONDS - built))
	for kernel in "${fetch[@]}"; do
		if [[ $kernel != */* ]]; then
			find_kernel "$kernel"
			versions+=" $kernel_version"
			# What it is compared with. With only some of the tests that may not be needed, and otherwise the test gets it.
			[[ -z $whole || $kernel != *-ringstep ]] || find_kernel "${kernel%-ringstep}-plain"
		fi
	done
	say "kernels:$versions"
	run_tests "$built" "$@" || exit $?
}

# run_tests BUILT [ctest arguments…]: runs the tests in $build. BUILT is for the table at the end: how many seconds it took to build.
# Returns the exit status of ctest.
run_tests() {
	local built=$1 status=0 tested=$SECONDS results=$build/Testing/results.xml
	shift
	# The clients of the machines (vm/client.py) write down which tests have met a fault: a line NAME for each.
	export RINGSTEP_VM_FAULTS=$build/Testing/faults
	mkdir -p "$build/Testing"
	rm -f "$results" "$RINGSTEP_VM_FAULTS"
	touch "$build/Testing/begin"
	# Twice as many as there are processors, because tests often wait.
	ctest --test-dir "$build" --no-tests=error --output-on-failure --output-junit "$results" -j$(($(nproc) * 2)) "$@" || status=$?
	show_slowest "$results" "$built" $((SECONDS - tested))
	if ((status == ctest_tests_failed)) && run_again; then
		status=0
	fi
	return $status
}

# Emulated processors that share a busy machine may be slower than a test can wait. So a test that failed in a virtual machine runs once
# more, alone, and its name is shown. Other tests do not run again, and neither do many failed tests, because those failures are real.
# That is true as well of tests whose kernel has complained or crashed, and of those that have left something behind.
run_again() {
	local failed=$build/Testing/Temporary/LastTestsFailed.log names faults
	# ctest leaves the log of an earlier run if it has found no tests.
	[[ -s $failed && ! $failed -ot $build/Testing/begin ]] || return 1
	names=$(cut -d: -f2- "$failed")
	(($(wc -l <<<"$names") <= 4)) || return 1
	# What a kernel complains of when no test runs is no matter of time.
	! grep -q '/machine-' <<<"$names" || return 1
	! grep -vqE '^([0-9]+\.[0-9]+|next)[^/]*/' <<<"$names" || return 1
	if faults=$(grep -xF -e "$names" "$RINGSTEP_VM_FAULTS" 2>/dev/null); then
		say "not run again, because the kernel complained or crashed, or because something was left behind: $(sort -u <<<"$faults" | paste -sd' ')"
		return 1
	fi
	say "again, one at a time: $(paste -sd' ' <<<"$names")"
	ctest --test-dir "$build" --no-tests=error --output-on-failure --rerun-failed || return 1
	say "passed only when run alone: $(paste -sd' ' <<<"$names")"
}

# show_slowest RESULTS BUILT TESTED: where the time has gone, of what ctest wrote down and of how many seconds it took to build and to test.
show_slowest() {
	local results=$1 times
	[[ -s $results ]] || return 0
	# SECONDS NAME
	times=$(sed -n -E 's/.*<testcase name="([^"]*)".* time="([0-9.]+)".*/\2 \1/p' "$results")
	say "building took $2 s, the tests $3 s. Seconds by place, and the slowest tests:"
	{
		awk '{ sub(/\/.*/, "", $2); sum[$2] += $1; count[$2]++ }
			END { for (place in sum) printf "%8.1f  %s: %d tests\n", sum[place], place, count[place] }' <<<"$times" | sort -rn
		echo
		sort -rn <<<"$times" | awk 'NR <= 15 { printf "%8.1f  %s\n", $1, $2 }'
	} >&2
}
