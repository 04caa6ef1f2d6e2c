#!/bin/sh
# Runs the programs that consume.sh has built, and looks at what they print. RINGSTEP_ENGINE may choose the engine.
# Usage: run.sh WORK WAY…
set -eu
work=$1
shift
failed=0
for way in "$@"; do
	status=0
	said=$("$work/$way/program" 2>&1) || status=$?
	case $way in
	own-loop) expected='1000 requests completed. The loop stopped with code 0' ;;
	own-graph) expected='8 bytes: program
1000 chains' ;;
	without-fmt) expected='nop_chain: 1000 requests' ;;
	*) expected='nop_chain: 1000 requests
copy: 100000 bytes' ;;
	esac
	printf '%s:\n%s\n' "$way" "$said"
	case $status,$said in
	0,*"$expected"*) ;;
	*)
		echo "$way: this (status $status) should be: $expected" >&2
		failed=1
		;;
	esac
done
exit $failed
