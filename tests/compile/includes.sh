# shellcheck shell=sh
# Sets $includes: the folders that a program of this build includes headers from, as options for a compiler. Wants $repo and $build.

# Other tests, which may run meanwhile, build projects of their own in the folders that are left out.
generated=$(find "$build" \( -path "$build/tests/package" -o -path "$build/tests/docs" \) -prune -o \
	-type d -path '*/loops/*/include' -printf '-isystem %p ')
# shellcheck disable=SC2034 # for who reads this file
includes="-I$repo/include -I$repo/tools $generated"
