#include <ringstep/graphs/read_file.hpp>

#include "read_file.hpp"

#include <array>
#include <cstdio>

int run_nops();  // second.cpp

int main() {
    ringstep::Ring ring;
    ringstep::chain::CompiledChains<ringstep::loops::read_file> chains(ring);
    const read_file plan;
    const ringstep::chain::GraphId id = chains.add(plan.graph);
    std::array<char, 64> buffer{};
    chains.start(id, {plan.path("/proc/self/comm"), plan.buffer(buffer.data())});
    if (!chains.run().ok()) return 1;
    for (const ringstep::chain::ChainResult& result : chains.results())
        std::printf("%lld bytes: %s", static_cast<long long>(result.result(plan.read)), buffer.data());
    return run_nops();
}
