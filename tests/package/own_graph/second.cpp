#include <ringstep/graphs/two_nops.hpp>

#include "two_nops.hpp"

#include <cstdio>

int run_nops() {
    ringstep::Ring ring;
    ringstep::chain::CompiledChains<ringstep::loops::two_nops> chains(ring);
    const ringstep::chain::GraphId id = chains.add(two_nops());
    for (int i = 0; i < 1000; i++) chains.start(id);
    if (!chains.run().ok()) return 1;
    unsigned ended = 0;
    for (const ringstep::chain::ChainResult& result : chains.results()) ended += result.ok() ? 1U : 0U;
    std::printf("%u chains\n", ended);
    return 0;
}
