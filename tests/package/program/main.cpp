// SPDX-License-Identifier: MIT
// The application of the outside projects: two source files that both include the library, and a loop for each.
#include "copy.hpp"

#include <ringstep/format.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

int main() try {
    ringstep::Ring ring;
    ringstep::LoopProgram<ringstep::loops::nop_chain> program{ring};
    program.state()->total = 1000;
    program.state()->depth = 1;
    const ringstep::LoopExit exit = program.run();
    fmt::print("nop_chain: {} requests\n", program.state()->completed);
    fmt::print("copy: {} bytes\n", copy_between_memory_files(100'000));
    return exit.ok() ? 0 : 1;
} catch (const ringstep::Error& error) {
    fmt::print(stderr, "{}\n", error);
    return 1;
}
