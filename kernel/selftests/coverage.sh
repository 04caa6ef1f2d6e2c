#!/bin/bash
# Says which parts of io_uring a run of kernel-random-calls has reached: for each source file, how many of the places that kcov can report, and the
# lines of FILE… where it has been at none.
# Usage: coverage.sh POINTS PLACES [FILE…]
#   POINTS   the file `points` of a debugging kernel, which kernel/build makes
#   PLACES   the addresses that the run has written (--places)
set -euo pipefail
points=$1 places=$2
shift 2
[[ -s $places ]] || { echo "there are no places in $places" >&2; exit 1; }
awk -v files=" $* " '
	NR == FNR { seen[$1] = 1; next }
	{
		split($3, where, ":")
		file = where[1]
		all[file]++
		if ($1 in seen) { reached[file]++; all_reached++; been[$3] = 1 }
		else if (index(files, " " file " ")) missed[$3] = $2
	}
	END {
		for (file in all) printf "%6d of %6d  %s\n", reached[file], all[file], file | "sort -k4"
		close("sort -k4")
		printf "%6d of %6d  in all\n", all_reached, FNR
		for (line in missed) if (!(line in been)) print "not reached: " line " in " missed[line] | "sort -t: -k2,2 -k3n"
	}' "$places" "$points"
