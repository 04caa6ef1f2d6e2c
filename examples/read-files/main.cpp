// SPDX-License-Identifier: MIT
// Reads whole files of any size into memory: open, statx, allocate, read, close, as one graph. On the kernel engine, one system
// call reads 4,096 files.
#include <ringstep/format.hpp>
#include <ringstep/chain/chains_large.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string_view>
#include <vector>

#include "../common/program.hpp"

namespace {

struct Job {
    const char* name;
    std::uint64_t room;  // bytes of memory for the file, at least
};

int run(int argc, char** argv) {
    // The plan for each file. Values pass from node to node: the descriptor, the size, the memory.
    ringstep::chain::Graph graph;
    const auto path = graph.parameter<ringstep::chain::Address>();
    const auto least = graph.parameter<ringstep::chain::Length>();
    const auto size = graph.variable<ringstep::chain::Length>();
    const auto room = graph.variable<ringstep::chain::Length>();
    const auto open = graph.open(path, O_RDONLY | O_CLOEXEC);
    const auto stat = graph.statx(open);
    // Only a read that returns nothing shows the end of a file. A file may grow, and in /proc its size is 0. So read one byte
    // more.
    const auto known = graph.set(size, stat.size());
    const auto one_more = graph.set(size, size + 1);
    const auto enough = graph.set(room, max(size, least));
    const auto memory = graph.allocate(room);
    const auto read = graph.read(open, memory.result(), room, ~0ULL).all();  // without an offset, because pipes have none
    const auto whole = graph.finish(0);
    const auto full = graph.finish(1);
    const auto close = graph.close(open);
    open.then(stat).then(known).then(one_more).then(enough).then(memory).then(read);
    read.on_short(whole);
    read.on_end(whole);
    read.then(full);
    open.finally(close);  // closes the file after every outcome, once it is open

    ringstep::Ring ring;
    ringstep::chain::LargeChains chains(ring);
    const ringstep::chain::GraphId read_file = chains.add(graph);
    std::vector<std::byte> arena(std::size_t{256} << 20);

    int failed = 0;
    const auto failure = [&failed](const char* name, std::string_view what, int error) {
        program::print_error("{}: {} failed: {}\n", name, what, std::strerror(error));
        failed = 1;
    };
    std::deque<Job> jobs;
    for (int i = 1; i < argc; i++) jobs.push_back({argv[i], 16 << 10});
    while (!jobs.empty()) {
        chains.set_arena(arena);  // makes all its memory free
        std::vector<Job> started;
        while (!jobs.empty() && chains.try_start(read_file, {path(jobs.front().name), least(jobs.front().room)},
                                                 {.user_data = started.size()})) {
            started.push_back(jobs.front());
            jobs.pop_front();
        }
        std::vector<Job> crowded;  // files that found no memory left
        ringstep::LoopExit exit;
        do {
            exit = chains.run();
        } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
        for (const ringstep::chain::ChainResult& file : chains.results()) {
            const Job& job = started[file.user_data()];
            std::error_code ignored;
            if (!file.ok() && file.error() == ENOMEM) {
                crowded.push_back(job);
            } else if (!file.ok()) {
                failure(job.name, graph.name(file.failed_node()), file.error());
            } else if (file.code() == 0) {
                const std::string_view text(reinterpret_cast<const char*>(file.address(memory)),
                                            static_cast<std::size_t>(file.result(read)));
                fmt::print("{}: {} bytes, the first line: {}\n", job.name, text.size(), text.substr(0, text.find('\n')));
            } else if (std::filesystem::is_regular_file(job.name, ignored)) {
                jobs.push_back({job.name, 4 * static_cast<std::uint64_t>(file.result(read))});  // it is longer: try again
            } else {
                failure(job.name, "reading a second time, which pipes and devices do not allow,", EFBIG);
            }
        }
        for (const Job& job : crowded) {
            if (crowded.size() < started.size()) {
                jobs.push_back(job);
            } else {
                failure(job.name, "allocate", ENOMEM);
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
