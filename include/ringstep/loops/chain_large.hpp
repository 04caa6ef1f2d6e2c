// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/compiled/chain_large.hpp>
#include <ringstep/program.hpp>

namespace ringstep::inline v0::loops {

/**
 * Runs graphs of requests, thousands at once, as the loop `chain` does with hundreds. This is the bare loop: Graph
 * (ringstep/chain/graph.hpp) builds graphs, and LargeChains (ringstep/chain/chains_large.hpp) runs them.
 *
 * LoopExit::code is an `enum ringstep_requests_code`.
 *
 * **Example**:
 *
 *     ringstep::chain::LargeChains chains{ring};    // has a LoopProgram<ringstep::loops::chain_large>
 */
struct chain_large;

}  // namespace ringstep::inline v0::loops
