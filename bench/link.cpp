// SPDX-License-Identifier: MIT
// Measures chains of nops: with the loop link, with the kernel's links, and with one enter for each step.
#include <memory>

#include "../examples/common/program.hpp"
#include "link_ways.hpp"
#include "order.hpp"

namespace {

int run_all(int argc, char** argv) {
    bench::OrderBench bench("link", "Nops in chains", "chain length");
    return bench.main(argc, argv, {2, 8, 32}, [&bench] {
        bench.add(std::make_unique<bench::link::Steps>());
        bench.add(std::make_unique<bench::link::KernelLinks>());
        bench.add(std::make_unique<bench::link::Loop>(ringstep::Engine::user, 2048));
        bench.add(std::make_unique<bench::link::Loop>(ringstep::Engine::kernel, 64));
        bench.add(std::make_unique<bench::link::Loop>(ringstep::Engine::kernel, 2048));
    });
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-link", [&] { return run_all(argc, argv); });
}
