// SPDX-License-Identifier: MIT
// Chains of linked requests: a log that notifies its readers of each record only when the record is on the disk. Each record is
// a chain: write, sync, notify. All chains are pushed at the same time. One of them fails, and only the rest of that chain is
// cancelled.
#include <ringstep/format.hpp>
#include <ringstep/loops/link.hpp>
#include <ringstep/ringstep.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "../common/program.hpp"

namespace {

constexpr std::uint64_t records = 100;
constexpr std::uint64_t broken = 42;  // the record that cannot be written

int run() {
    // Without this, a write to a pipe without a reader would end the process. Now the write only fails.
    (void)std::signal(SIGPIPE, SIG_IGN);

    std::string path = (std::filesystem::temp_directory_path() / "ringstep-linked-XXXXXX").string();
    const int log = ::mkstemp(path.data());
    if (log < 0) throw std::system_error(errno, std::generic_category(), path);
    std::array<int, 2> readers{};
    if (::pipe2(readers.data(), O_CLOEXEC) < 0) throw std::system_error(errno, std::generic_category(), "pipe");

    ringstep::Ring ring;
    ringstep::Link link{ring};
    std::vector<std::string> texts;
    for (std::uint64_t record = 0; record < records; record++) texts.push_back(fmt::format("record {:4}\n", record));
    for (std::uint64_t record = 0; record < records; record++) {
        const std::string& text = texts[record];
        std::array<io_uring_sqe, 3> chain{};
        io_uring_prep_write(&chain[0], record == broken ? -1 : log, text.data(), static_cast<unsigned>(text.size()),
                            record * text.size());
        io_uring_prep_fsync(&chain[1], log, IORING_FSYNC_DATASYNC);
        io_uring_prep_write(&chain[2], readers[1], "x", 1, 0);
        chain[0].flags = chain[1].flags = IOSQE_IO_LINK;
        for (std::uint64_t step = 0; step < chain.size(); step++) chain.at(step).user_data = step;
        link.push(chain, {.continue_short = true, .group = record});
    }

    ringstep::LoopExit exit;
    do {
        exit = link.run();
    } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
    std::uint64_t notified = 0;
    std::uint64_t cancelled = 0;
    for (const auto& completion : link.completions()) {
        if (completion.result == -ECANCELED) {
            cancelled++;
        } else if (!completion.ok()) {
            fmt::print("record {}: step {} failed: {}\n", completion.own.group, completion.user_data,
                       std::generic_category().message(completion.error()));
        } else if (completion.user_data == 2) {
            notified++;
        }
    }
    for (const int fd : {log, readers[0], readers[1]}) ::close(fd);
    std::filesystem::remove(path);
    fmt::print("{} of {} records are safe and announced, {} requests were cancelled. The loop {}.\n", notified, records,
               cancelled, exit);
    return exit.ok() && notified == records - 1 && cancelled == 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main() { return program::run("linked", run); }
