#!/bin/sh
# A state header that is not the one the loop was compiled with is noticed when C++ is compiled.
# Usage: other_layout.sh COMPILER REPO HELLO_GENERATED_INCLUDES
set -eu
compiler=$1
repo=$2
generated=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf '#include <ringstep/compiled/hello.hpp>\n' >"$dir/use.cpp"
compile() {
	"$compiler" -std=c++20 -fsyntax-only -I"$dir" -I"$repo/include" -isystem "$generated" "$dir/use.cpp" 2>&1
}

cp "$repo/examples/hello/hello.h" "$dir/hello.h"
compile || { echo "the right header is refused" && exit 1; }

refused() {
	said=$(compile) && { echo "$1: not noticed" && exit 1; }
	printf '%s' "$said" | grep -q 'the state of loop hello is not laid out in C++ as in the program' ||
		{ printf '%s: noticed, but not so that one understands it:\n%s\n' "$1" "$said" && exit 1; }
}
sed 's/__u64 completed;/__u64 completed; __u64 more;/' "$repo/examples/hello/hello.h" >"$dir/hello.h"
refused "another size"
sed -e 's/countdown;/tmp;/' -e 's/in_flight;/countdown;/' -e 's/tmp;/in_flight;/' "$repo/examples/hello/hello.h" >"$dir/hello.h"
refused "another order"
