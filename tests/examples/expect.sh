#!/bin/bash
# Runs a program that has to end with status 0 and to print text that a regular expression matches. ctest's PASS_REGULAR_EXPRESSION
# would ignore the status.
# Usage: expect.sh REGULAR-EXPRESSION PROGRAM [ARGUMENTS…]
#
# The expression is an extended one of POSIX. Its `.` matches the end of a line, too.
set -u
expression=$1
shift
status=0
output=$("$@") || status=$?
printf '%s\n' "$output"
if ((status != 0)); then
	echo "FAILED: ended with status $status instead of 0: $*" >&2
	exit 1
fi
if [[ ! $output =~ $expression ]]; then
	printf 'FAILED: printed nothing that matches: %s\n' "$expression" >&2
	exit 1
fi
