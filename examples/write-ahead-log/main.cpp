// SPDX-License-Identifier: MIT
// A write-ahead log: a record is written, then synced, and only then is its writer notified. Writers are threads. Each starts a
// chain for a record while the loop runs, sleeps until it is notified, and may rely on the record from then on. Many records
// are in progress at the same time. On the kernel engine, none of them costs the thread that runs the loop a system call.
#include <ringstep/format.hpp>
#include <ringstep/chain/chains.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "../common/program.hpp"

namespace {

constexpr unsigned writers = 4;
constexpr unsigned records = 25;  // of each writer
constexpr std::size_t record_size = 16;

/// The arguments of the graph for a record.
struct Commit {
    ringstep::chain::Graph graph;
    ringstep::chain::Parameter<ringstep::chain::Address> record = graph.parameter<ringstep::chain::Address>();
    ringstep::chain::Parameter<ringstep::chain::Offset> offset = graph.parameter<ringstep::chain::Offset>();
    ringstep::chain::Parameter<ringstep::chain::Fd> waiting = graph.parameter<ringstep::chain::Fd>();

    explicit Commit(int log) {
        const auto write = graph.write(log, record, record_size, offset);  // writes all of it, or fails
        const auto sync = graph.fsync(log, IORING_FSYNC_DATASYNC);
        const auto notify = graph.write(waiting, "s", 1, ~0ULL);  // a pipe: no offset
        const auto failed = graph.write(waiting, "f", 1, ~0ULL);
        write.then(sync).then(notify);
        write.on_failure(failed);
        sync.on_failure(failed);
    }
};

int run() {
    // Without this, a write to a pipe without a reader would end the process. Now the write only fails.
    (void)std::signal(SIGPIPE, SIG_IGN);

    std::string path = (std::filesystem::temp_directory_path() / "ringstep-log-XXXXXX").string();
    const int log = ::mkstemp(path.data());
    if (log < 0) throw std::system_error(errno, std::generic_category(), path);

    const Commit commit(log);
    ringstep::Ring ring;
    ringstep::chain::Chains chains(ring);
    const ringstep::chain::GraphId id = chains.add(commit.graph);
    chains.set_stay(true);  // more records may follow

    std::atomic<std::uint64_t> places{0};
    std::atomic<unsigned> safe{0};
    std::atomic<unsigned> working{writers};
    const auto write_records = [&](unsigned writer) {
        std::array<int, 2> told{};
        if (::pipe(told.data()) == 0) {
            for (unsigned i = 0; i < records; i++) {
                const std::string record = fmt::format("writer {} {:6}\n", writer, i);
                const std::uint64_t offset = places.fetch_add(1) * record_size;
                chains.start(id, {commit.record(record.data()), commit.offset(offset), commit.waiting(told[1])});
                char answer = 0;
                std::array<char, record_size> found{};
                if (::read(told[0], &answer, 1) == 1 && answer == 's' &&
                    ::pread(log, found.data(), found.size(), static_cast<off_t>(offset)) == record_size &&
                    std::string_view(found.data(), found.size()) == record)
                    safe++;
            }
            ::close(told[0]);
            ::close(told[1]);
        }
        if (--working == 0) chains.set_stay(false);  // now the loop ends when it has no work left
    };
    std::vector<std::jthread> threads;
    for (unsigned writer = 0; writer < writers; writer++) threads.emplace_back(write_records, writer);

    ringstep::LoopExit exit;
    do {
        exit = chains.run();
    } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
    threads.clear();
    unsigned completed = 0;
    for (const ringstep::chain::ChainResult& record : chains.results()) completed += record.ok() ? 1U : 0U;
    ::close(log);
    std::filesystem::remove(path);
    fmt::print("{} records, {} of them safe when their writers were told, {} chains completed. The loop {}\n",
               writers * records, safe.load(), completed, exit);
    return exit.ok() && safe == writers * records ? 0 : 1;
}

}  // namespace

int main() { return program::run("write-ahead-log", run); }
