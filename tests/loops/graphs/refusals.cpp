// SPDX-License-Identifier: MIT
// Programs as ringstep_add_graph() makes them, for graphs that no loop can be made of. refusals.sh runs them.
#include <ringstep/detail/graph_source.hpp>

#include <string_view>

namespace {

ringstep::chain::Graph endless() {
    ringstep::chain::Graph graph;
    const auto first = graph.nop();
    const auto second = graph.nop();
    first.then(second).then(first);
    graph.begin(first);
    return graph;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view which = argc > 1 ? argv[1] : "";
    return ringstep::chain::detail::generate_graph(argc, argv, [&] {
        ringstep::chain::Graph graph;
        if (which == "endless") return endless();
        if (which != "empty") (void)graph.nop();
        return graph;
    });
}
