// SPDX-License-Identifier: MIT
// Runs a loop in a project that knows nothing of fmt.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/ringstep.hpp>

#include <cstdio>

int main() {
    try {
        ringstep::Ring ring;
        ringstep::LoopProgram<ringstep::loops::nop_chain> program{ring};
        program.state()->total = 1000;
        program.state()->depth = 1;
        const ringstep::LoopExit exit = program.run();
        std::printf("nop_chain: %llu requests\n", static_cast<unsigned long long>(program.state()->completed));
        return exit.ok() ? 0 : 1;
    } catch (const ringstep::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
