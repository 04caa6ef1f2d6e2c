#!/bin/sh
# clang-tidy over the public headers, used as an application uses them. With more files, over those instead: half a minute each.
# Usage: tidy.sh REPO BUILD [FILE…]
set -eu
repo=$1
build=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
tidy=$(command -v clang-tidy-19 || command -v clang-tidy)
. "$repo/tests/compile/includes.sh"
cp "$repo/.clang-tidy" "$dir/"
cat >"$dir/use.cpp" <<'END'
#include <ringstep/format.hpp>
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/loops/stages.hpp>
#include <ringstep/ringstep.hpp>
#include <check/support.hpp>

int main() {
    ringstep::Ring ring;
    ringstep::LoopProgram<ringstep::loops::nop_chain> program(ring);
    const ringstep::LoopExit exit = program.run(std::stop_token{});
    ringstep::Enter enter(ring);
    ringstep::Stages stages(ring);
    if (!enter.submit_and_wait(1) || !stages.submit_and_wait()) return 1;
    for (const auto& completion : ring.cq()) fmt::print("{} {}\n", completion, exit);
    return program.state().load(&ringstep_nop_chain::total) != 0 ? 1 : 0;
}
END
[ $# -gt 0 ] || set -- "$dir/use.cpp"
# shellcheck disable=SC2086 # a list of options
"$tidy" --quiet "$@" -- -std=c++20 $includes
