// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/compiled/nop_chain.hpp>
#include <ringstep/program.hpp>

namespace ringstep::inline v0::loops {

/**
 * Runs `total` nops, `depth` at a time, and checks that each completes once and in order. It measures what a request costs in a
 * loop. LoopExit::code is the number of nops that failed the check.
 *
 * **Example**:
 *
 *     ringstep::LoopProgram<ringstep::loops::nop_chain> nops{ring};
 *     nops.state()->total = 1'000'000;
 *     nops.state()->depth = 1;
 *     ringstep::LoopExit exit = nops.run();    // one system call
 */
struct nop_chain;

}  // namespace ringstep::inline v0::loops
