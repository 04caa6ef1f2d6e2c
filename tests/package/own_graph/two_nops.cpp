#include "two_nops.hpp"

ringstep::chain::Graph two_nops() {
    ringstep::chain::Graph graph;
    graph.nop().then(graph.nop());
    return graph;
}
