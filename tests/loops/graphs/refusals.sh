#!/bin/sh
# The program that ringstep_add_graph() runs fails, and says why, where no loop can be made.
# Usage: refusals.sh PROGRAM
set -eu
program=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# refuse GRAPH LOOP EXPECTED…
refuse() {
	graph=$1
	loop=$2
	shift 2
	if said=$("$program" "$graph" "$loop" "$dir/header.hpp" 0 2>&1); then
		echo "$graph: was not refused" >&2
		failed=1
	fi
	for expected in "ringstep_add_graph($graph): " "$@"; do
		case $said in
		*"$expected"*) ;;
		*)
			echo "$graph: this should have \"$expected\" in it: $said" >&2
			failed=1
			;;
		esac
	done
}

refuse empty "$dir/loop.c" "It has no nodes"
refuse endless "$dir/loop.c" "node 0 (nop)" "It leads back to itself. Say how often it may begin, with repeat()"
refuse good "$dir/none/loop.c" "writing $dir/none/loop.c"
"$program" good "$dir/loop.c" "$dir/header.hpp" 0
grep -q 'RINGSTEP_LOOP(good, struct ringstep_chain_compiled)' "$dir/loop.c" || failed=1
grep -q 'CompiledGraph<ringstep::loops::good>' "$dir/header.hpp" || failed=1
exit $failed
