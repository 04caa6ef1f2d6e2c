// SPDX-License-Identifier: MIT
// Barriers between requests. Several files are written at the same time, block by block in any order. Each file is synced when
// all its blocks are written, and no file waits for another one. At the end, behind a barrier of the whole ring, a last file is
// written that reports the success.
#include <ringstep/format.hpp>
#include <ringstep/loops/drain.hpp>
#include <ringstep/ringstep.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../common/program.hpp"

namespace {

constexpr std::uint64_t files = 8;
constexpr std::uint64_t blocks = 64;
constexpr unsigned block_size = 4096;

int create(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), path.string());
    return fd;
}

std::uint64_t size_of(int fd) {
    struct stat status{};
    return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

int run() {
    std::string folder = (std::filesystem::temp_directory_path() / "ringstep-barriers-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) throw std::system_error(errno, std::generic_category(), folder);
    std::vector<int> fds;
    for (std::uint64_t file = 0; file < files; file++) fds.push_back(create(folder + "/" + std::to_string(file)));
    const int marker = create(folder + "/complete");

    ringstep::Ring ring;
    ringstep::Drain drain{ring};
    const std::string block(block_size, 'x');
    io_uring_sqe sqe{};
    for (std::uint64_t number = 0; number < blocks; number++) {
        for (std::uint64_t file = 0; file < files; file++) {
            io_uring_prep_write(&sqe, fds[file], block.data(), block_size, number * block_size);
            drain.push(sqe, file);  // the file is the group
        }
    }
    for (std::uint64_t file = 0; file < files; file++) {
        io_uring_prep_fsync(&sqe, fds[file], 0);
        drain.barrier(sqe, file);  // starts when all requests pushed for this file have completed
    }
    constexpr std::string_view text = "complete\n";
    io_uring_prep_write(&sqe, marker, text.data(), text.size(), 0);
    drain.barrier_of_all(sqe);  // starts when all requests have completed

    ringstep::LoopExit exit;
    do {
        exit = drain.run();
    } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
    std::uint64_t failed = 0;
    for (const auto& completion : drain.completions()) {
        if (completion.ok()) continue;
        failed++;
        program::print_error("file {}: {}\n", completion.own.group, std::generic_category().message(completion.error()));
    }
    std::uint64_t bytes = 0;
    for (const int fd : fds) bytes += size_of(fd);
    const std::uint64_t marked = size_of(marker);
    for (const int fd : fds) ::close(fd);
    ::close(marker);
    std::filesystem::remove_all(folder);
    fmt::print("{} bytes in {} files, {} barriers, {} failed, marker of {} bytes. The loop {}.\n", bytes, files,
               drain.state()->barriers, failed, marked, exit);
    return exit.ok() && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main() { return program::run("barriers", run); }
