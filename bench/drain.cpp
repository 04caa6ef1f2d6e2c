// SPDX-License-Identifier: MIT
// Measures nops with barriers: with the loop drain and with IOSQE_IO_DRAIN.
#include <memory>

#include "../examples/common/program.hpp"
#include "drain_ways.hpp"
#include "order.hpp"

namespace {

int run_all(int argc, char** argv) {
    bench::OrderBench bench("drain", "Nops with barriers", "a barrier every");
    return bench.main(argc, argv, {0, 2, 8, 32}, [&bench] {
        bench.add(std::make_unique<bench::drain::KernelDrain>());
        bench.add(std::make_unique<bench::drain::Loop>(ringstep::Engine::user, 2048));
        bench.add(std::make_unique<bench::drain::Loop>(ringstep::Engine::kernel, 64));
        bench.add(std::make_unique<bench::drain::Loop>(ringstep::Engine::kernel, 2048));
    });
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-drain", [&] { return run_all(argc, argv); });
}
