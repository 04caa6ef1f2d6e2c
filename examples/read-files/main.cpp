// SPDX-License-Identifier: MIT
// Reads whole files into memory, however large each is: open, statx, allocate, read, close, as one graph. On the kernel engine,
// one system call for 4,096 files.
#include <ringstep/format.hpp>
#include <ringstep/loops/chains.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "../common/program.hpp"

namespace {

int run(int argc, char** argv) {
    // What is done with each file. Values go from node to node: the descriptor, the size, the memory.
    ringstep::Graph graph;
    const auto path = graph.parameter<ringstep::Address>();
    const auto open = graph.open(path, O_RDONLY | O_CLOEXEC);
    const auto stat = graph.statx(open);
    const auto memory = graph.allocate(stat.size());
    const auto read = graph.read(open, memory.result(), stat.size(), 0).all();
    const auto close = graph.close(open);
    open.then(stat).then(memory).then(read);
    open.finally(close);  // however it ends, once it is open

    ringstep::Ring ring;
    ringstep::Chains chains(ring);
    const ringstep::GraphId read_file = chains.add(graph);
    std::vector<std::byte> arena(std::size_t{256} << 20);
    chains.set_arena(arena);

    int failed = 0;
    for (int next = 1; next < argc;) {
        while (next < argc && chains.try_start(read_file, {path(argv[next])}, {.user_data = static_cast<std::uint64_t>(next)}))
            next++;
        ringstep::LoopExit exit;
        do {
            exit = chains.run();
        } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, say
        for (const ringstep::ChainResult& file : chains.results()) {
            const char* const name = argv[file.user_data()];
            if (file.ok()) {
                const std::string_view text(reinterpret_cast<const char*>(file.address(memory)),
                                            static_cast<std::size_t>(file.result(read)));
                fmt::print("{}: {} bytes, the first line: {}\n", name, text.size(), text.substr(0, text.find('\n')));
            } else {
                program::print_error("{}: {} failed: {}\n", name, graph.name(file.failed_node()), std::strerror(file.error()));
                failed = 1;
            }
        }
        if (!exit.ok()) {
            program::print_error("read-files: the loop {}\n", exit);
            return 2;
        }
    }
    return failed;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("read-files", [&] { return run(argc, argv); });
}
