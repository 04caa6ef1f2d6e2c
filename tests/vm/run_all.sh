#!/bin/sh
# Runs test programs one after the other; fails if one does.
# Usage: run_all.sh PROGRAM…
failed=0
for program in "$@"; do
	echo "== $program"
	timeout 200 "$program" --order rand || failed=1
done
exit $failed
