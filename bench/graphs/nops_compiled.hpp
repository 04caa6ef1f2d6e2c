// SPDX-License-Identifier: MIT
// The graph of a sequence of nops. The build compiles it into a loop.
#pragma once

#include <ringstep/chain/graph.hpp>

#include <vector>

struct nops_compiled {
    static constexpr unsigned steps = 30;

    explicit nops_compiled(unsigned length = steps) {
        std::vector<ringstep::chain::Node<ringstep::chain::Number>> nodes;
        for (unsigned i = 0; i < length; i++) {
            nodes.push_back(graph.nop());
            if (i > 0) nodes[i - 1].then(nodes[i]);
        }
    }

    ringstep::chain::Graph graph;
};
