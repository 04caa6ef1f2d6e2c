// SPDX-License-Identifier: MIT
// Runs a graph of requests that was compiled when the application was built.
#pragma once

#include <ringstep/chain/chains_class.hpp>

namespace ringstep::inline v0::chain {

/**
 * Runs one graph, which ringstep_add_graph() has compiled: each node is a few instructions of the loop, and nothing is read
 * from tables. For the rest, it is like Chains. add() takes the graph that was compiled, and no other.
 *
 * **Example**:
 *
 *     #include <ringstep/graphs/read_file.hpp>     // ringstep_add_graph(read_file SOURCE read_file.hpp)
 *     #include "read_file.hpp"
 *
 *     read_file plan;
 *     ringstep::chain::CompiledChains<ringstep::loops::read_file> chains{ring};
 *     const ringstep::chain::GraphId id = chains.add(plan.graph);
 */
template <LoopDefinition Loop>
class CompiledChains : public ChainsClass<Loop> {
public:
    using ChainsClass<Loop>::ChainsClass;
};

}  // namespace ringstep::inline v0::chain
