// SPDX-License-Identifier: MIT
// Reads whole files of any size into memory: open, read, close, as one graph. On the kernel engine, one system call
// reads 4,096 files.
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
#include "plan.hpp"

namespace {

struct Job {
    const char* name;
    std::uint64_t room = ReadFile::small;  // bytes of memory for the file
    ReadFile::From from = ReadFile::From::cache;
};

int run(int argc, char** argv) {
    const ReadFile from_cache(ReadFile::From::cache);
    const ReadFile from_file(ReadFile::From::file);

    ringstep::Ring ring;
    ring.register_files_sparse(ring.geometry().cq_entries);  // no more files are open at a time
    ringstep::chain::LargeChains chains(ring);
    const ringstep::chain::GraphId from_cache_id = chains.add(from_cache.graph);
    const ringstep::chain::GraphId from_file_id = chains.add(from_file.graph);
    std::vector<std::byte> arena(std::size_t{256} << 20);

    int failed = 0;
    const auto failure = [&failed](const char* name, std::string_view what, int error) {
        program::print_error("{}: {} failed: {}\n", name, what, std::strerror(error));
        failed = 1;
    };
    std::deque<Job> jobs;
    for (int i = 1; i < argc; i++) jobs.push_back({argv[i]});
    while (!jobs.empty()) {
        std::vector<Job> started;
        std::size_t used = 0;  // bytes of the arena
        const auto start = [&](const Job& job) {
            const bool cache = job.from == ReadFile::From::cache;
            const ReadFile& plan = cache ? from_cache : from_file;
            return chains
                .try_start(cache ? from_cache_id : from_file_id,
                           {plan.path(job.name), plan.buffer(&arena[used]), plan.room(job.room)}, {.user_data = started.size()})
                .has_value();
        };
        while (!jobs.empty()) {
            const Job job = jobs.front();
            if (job.room > arena.size()) {
                failure(job.name, "allocate", ENOMEM);
            } else if (job.room <= arena.size() - used && start(job)) {
                started.push_back(job);
                used += job.room;
            } else {
                break;
            }
            jobs.pop_front();
        }
        ringstep::LoopExit exit;
        do {
            exit = chains.run();
        } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
        for (const ringstep::chain::ChainResult& file : chains.results()) {
            const Job& job = started[file.user_data()];
            const ReadFile& plan = job.from == ReadFile::From::cache ? from_cache : from_file;
            if (!file.ok()) {
                failure(job.name, plan.graph.name(file.failed_node()), file.error());
                continue;
            }
            const ReadFile::Contents contents = plan.contents(file);
            std::error_code ignored;
            if (contents.complete) {
                const std::string_view text(reinterpret_cast<const char*>(contents.bytes.data()), contents.bytes.size());
                fmt::print("{}: {} bytes, the first line: {}\n", job.name, text.size(), text.substr(0, text.find('\n')));
            } else if (contents.bytes.size() < job.room) {
                jobs.push_back({job.name, job.room, ReadFile::From::file});  // only part of it was cached
            } else if (std::filesystem::is_regular_file(job.name, ignored)) {
                jobs.push_back({job.name, 4 * job.room, ReadFile::From::file});  // it is longer
            } else {
                failure(job.name, "reading a second time, which pipes and devices do not allow,", EFBIG);
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
