// SPDX-License-Identifier: MIT
// Runs a nop_chain that was compiled elsewhere. Usage: run_object FILE
#include <ringstep/format.hpp>
#include <ringstep/loops/nop_chain.h>
#include <ringstep/program.hpp>

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <span>
#include <string_view>
#include <vector>

namespace {

std::vector<char> file;

struct from_file {
    using state = ::ringstep_nop_chain;
    static constexpr std::string_view name = "nop_chain";
    static std::span<const std::byte> object() { return std::as_bytes(std::span(file)); }
};

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 2) return 2;
    std::ifstream stream(argv[1], std::ios::binary);
    file.assign(std::istreambuf_iterator<char>(stream), {});
    ringstep::Ring ring;
    ringstep::LoopProgram<from_file> program(ring);
    program.state()->total = 1000;
    program.state()->depth = 3;
    const ringstep::LoopExit exit = program.run();
    fmt::print("{}\n", exit);
    return exit.ok() && exit.completions == 1000 ? 0 : 1;
} catch (const ringstep::Error& error) {
    fmt::print("{}\n", error);
    return 1;
}
