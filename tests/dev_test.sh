#!/bin/bash
# What `./dev test` and .ci/run make of tests that fail: which of them run again, and which are named as failed.
# Usage: dev_test.sh REPO
set -u
repo=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failures=0

complain() {
	printf 'FAILED: %s\n' "$*"
	sed 's/^/    /' "$work/said"
	failures=$((failures + 1))
}

# --- ./dev test: its part that runs ctest, with a project of a few tests ---

# A test whose second try passes. With an argument, a machine's client has written down that its kernel has complained.
cat >"$work/flaky" <<-TEST
	#!/bin/bash
	echo >>"$work/tries"
	[[ -z \${1:-} ]] || echo 7.3/\$1 >>"\$RINGSTEP_VM_FAULTS"
	((\$(wc -l <"$work/tries") > 1))
TEST
chmod 755 "$work/flaky"
mkdir "$work/build"
cat >"$work/build/CTestTestfile.cmake" <<-TESTS
	add_test(7.3/passes true)
	add_test(7.3/flaky "$work/flaky")
	add_test(7.3/fault "$work/flaky" fault)
	add_test(7.3/fails false)
	add_test(host/flaky "$work/flaky")
	add_test(7.3/machine-stop "$work/flaky")
TESTS

# tests STATUS TRIES REGEX [TEXT]: how the tests end that the regular expression chooses, and how often the flaky one runs. With tried=1 in
# front, it has run once before.
tests() {
	local status=0
	rm -f "$work/tries"
	touch "$work/tries"
	[[ -z ${tried:-} ]] || echo >>"$work/tries"
	(
		build=$work/build
		say() { echo "dev: $*"; }
		# shellcheck source=../tools/dev/testing.bash
		source "$repo/tools/dev/testing.bash"
		run_tests 0 -R "$3"
	) >"$work/said" 2>&1 || status=$?
	((status == $1)) || complain "$3 ends with $status instead of $1"
	[[ $(wc -l <"$work/tries") == "$2" ]] || complain "$3 ran $(wc -l <"$work/tries") times instead of $2"
	[[ -z ${4:-} ]] || grep -qF -- "$4" "$work/said" || complain "$3: nothing says \"$4\""
}

tests 0 0 '^7.3/passes$'
tests 0 2 '^7.3/flaky$' 'passed only when run alone: 7.3/flaky'
# A name that no test has, after a run whose failed test would pass now.
tried=1 tests 8 1 '^7.3/passses$' 'No tests were found'
tests 8 1 '^7.3/fault$' 'not run again, because the kernel complained or crashed, or because something was left behind: 7.3/fault'
tests 8 1 '^7.3/(fault|fails)$' '7.3/fault'
tests 8 0 '^7.3/fails$' 'again, one at a time: 7.3/fails'
tests 8 1 '^host/flaky$'
tests 8 1 '^7.3/machine-stop$'
# A name that no test has.
tests 8 0 '^7.3/passses$' 'No tests were found'

# --- Two ./dev in one build folder: one configures or builds after the other ---

(
	build=$work/build
	say() { echo "dev: $*"; }
	# shellcheck source=../tools/dev/testing.bash
	source "$repo/tools/dev/testing.bash"
	# Whoever is alone finds no file of the other one.
	claim() { mkdir "$work/claimed" && sleep 1 && rmdir "$work/claimed"; }
	alone claim &
	alone claim && wait $!
) >"$work/said" 2>&1 || complain "two ./dev build at the same time"
grep -q 'waiting for another ./dev that builds in' "$work/said" || complain "nothing says that a build waits"

# --- .ci/run, with a `dev` that runs tests of its own, and less patience ---

mkdir -p "$work/ci/.ci" "$work/ci/build" "$work/bin"
cp "$repo/.ci/run" "$work/ci/.ci/run"
cat >"$work/ci/build/CTestTestfile.cmake" <<-TESTS
	add_test(7.3/passes true)
	add_test(7.3/fails false)
	add_test(7.3/crashes sh -c "kill -SEGV \$\$")
	add_test(7.3/skipped sh -c "exit 4")
	set_tests_properties(7.3/skipped PROPERTIES SKIP_RETURN_CODE 4)
	add_test(7.3/never-ends sleep 100)
TESTS
cat >"$work/ci/dev" <<-DEV
	#!/bin/bash
	case "\$*" in
		kernels) printf '  %s \n' 6.12-ringstep next-ringstep ;;
		"test --kernel 6.12-ringstep -- -E"*) exec ctest --test-dir "$work/ci/build" ;;
		"test --kernel next-ringstep --"*)
			mkdir -p "$work/ci/build/Testing/Temporary"
			echo "7:next/failed" >"$work/ci/build/Testing/Temporary/LastTestsFailed.log"
			exit 8
			;;
	esac
DEV
printf '#!/bin/bash\nshift 2\nexec %s --kill-after=1 20 "$@"\n' "$(command -v timeout)" >"$work/bin/timeout"
chmod 755 "$work/ci/dev" "$work/bin/timeout"
status=0
RINGSTEP_BUILD_DIR=build RINGSTEP_CI_MINUTES=60 PATH=$work/bin:$PATH "$work/ci/.ci/run" >"$work/said" 2>&1 || status=$?
((status == 1)) || complain ".ci/run ends with $status instead of 1"
grep -q 'Left out: 6.12-ringstep .*(not done in time)' "$work/said" || complain ".ci/run does not say what was not done in time"
[[ $(sed -n '/^Failed:/,$p' "$work/said") == "$(printf 'Failed:\n  %s\n  %s\n  %s' 7.3/crashes 7.3/fails next/failed)" ]] ||
	complain ".ci/run does not name what has failed, and that alone"

((failures == 0)) && echo "all passed"
exit $((failures > 0))
