// SPDX-License-Identifier: MIT
// Runs nop_chain and both_worlds as they were compiled elsewhere. Usage: run_object LOOP FILE
//   LOOP  nop_chain or both_worlds
//   FILE  its object for the kernel, or, with the ending .so, a library with the loop for user space
#include <ringstep/format.hpp>
#include <ringstep/c/loops/nop_chain.h>
#include <ringstep/program.hpp>

#include "kit/both_worlds.h"

#include <fmt/format.h>

#include <dlfcn.h>

#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

std::vector<char> elf;
const ringstep_user_loop* user_loop;

struct nop_chain {
    using state = ::ringstep_nop_chain;
    static constexpr std::string_view name = "nop_chain";
    static std::span<const std::byte> object() { return std::as_bytes(std::span(elf)); }
    static const ringstep_user_loop& user() { return *user_loop; }
};

struct both {
    using state = ::both_worlds;
    static constexpr std::string_view name = "both_worlds";
    static std::span<const std::byte> object() { return nop_chain::object(); }
    static const ringstep_user_loop& user() { return nop_chain::user(); }
};

ringstep::LoopOptions options() { return {.engine = user_loop != nullptr ? ringstep::Engine::user : ringstep::Engine::kernel}; }

ringstep::LoopExit run_nop_chain(ringstep::Ring& ring) {
    ringstep::LoopProgram<nop_chain> program(ring, options());
    program.state()->total = 1000;
    program.state()->depth = 3;
    return program.run();
}

ringstep::LoopExit run_both_worlds(ringstep::Ring& ring) {
    ringstep::LoopProgram<both> program(ring, options());
    program.state()->count = 10;
    return program.run();
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 3) return 2;
    const std::string loop = argv[1], file = argv[2];
    if (file.ends_with(".so")) {
        void* const library = ::dlopen(file.c_str(), RTLD_NOW);
        if (library != nullptr) {
            user_loop = static_cast<const ringstep_user_loop*>(::dlsym(library, ("ringstep_user_" + loop).c_str()));
        }
        if (user_loop == nullptr) {
            fmt::print("{}\n", ::dlerror());
            return 1;
        }
    } else {
        std::ifstream stream(file, std::ios::binary);
        elf.assign(std::istreambuf_iterator<char>(stream), {});
    }
    ringstep::Ring ring;
    const bool nops = loop == "nop_chain";
    const ringstep::LoopExit exit = nops ? run_nop_chain(ring) : run_both_worlds(ring);
    fmt::print("{}: {}\n", loop, exit);
    return exit.ok() && exit.completions == (nops ? 1000 : 2) ? 0 : 1;
} catch (const ringstep::Error& error) {
    fmt::print("{}\n", error);
    return 1;
}
