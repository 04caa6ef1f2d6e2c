// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/compiled/chain.hpp>
#include <ringstep/program.hpp>

namespace ringstep::inline v0::loops {

/**
 * Runs graphs of requests, hundreds at once. This is the bare loop: Graph (ringstep/chain/graph.hpp) builds graphs, and
 * Chains (ringstep/chain/chains.hpp) runs them.
 *
 * LoopExit::code is an `enum ringstep_requests_code`.
 *
 * **Example**:
 *
 *     ringstep::chain::Chains chains{ring};    // has a LoopProgram<ringstep::loops::chain>
 */
struct chain;

}  // namespace ringstep::inline v0::loops
