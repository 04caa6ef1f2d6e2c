// SPDX-License-Identifier: MIT
// Copies a file in the background. Its writes begin at a chosen rate in KiB a second, even if the disk is faster.
#include <ringstep/format.hpp>
#include <ringstep/loops/pace.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <system_error>
#include <vector>

#include "../common/program.hpp"

namespace {

constexpr std::size_t block_size = 16 << 10;
constexpr std::size_t blocks = 16;  // in flight at a time

// Writes all bytes that were read, or throws.
void write_all(ringstep::Pace& pace, int output, std::vector<std::byte>& data, std::uint64_t offset) {
    std::size_t done = 0;
    for (std::size_t at = 0; at < data.size(); at += block_size) {
        io_uring_sqe sqe{};
        io_uring_prep_write(&sqe, output, &data[at], static_cast<unsigned>(std::min(block_size, data.size() - at)),
                            offset + at);
        pace.push(sqe);
    }
    ringstep::LoopExit exit;
    do {
        exit = pace.run();
    } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
    if (!exit.ok()) throw std::system_error(exit.error, std::generic_category(), "running the loop");
    for (const auto& completion : pace.completions()) {
        if (!completion.ok()) throw std::system_error(completion.error(), std::generic_category(), "write");
        done += static_cast<std::size_t>(completion.result);
    }
    if (done != data.size()) throw std::system_error(EIO, std::generic_category(), "write came back short");
}

int run(int argc, char** argv) {
    if (argc != 4) {
        program::print_error("usage: background-copy FROM TO KIB-A-SECOND\n");
        return 2;
    }
    const int input = ::open(argv[1], O_RDONLY | O_CLOEXEC);
    if (input < 0) throw std::system_error(errno, std::generic_category(), argv[1]);
    const int output = ::open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (output < 0) throw std::system_error(errno, std::generic_category(), argv[2]);

    ringstep::Ring ring;
    ringstep::Pace pace{ring};
    pace.set_rate(0, {.bytes = std::strtoull(argv[3], nullptr, 10) << 10, .bytes_burst = 4 * block_size});

    std::uint64_t copied = 0;
    std::vector<std::byte> data;
    for (;;) {
        data.resize(blocks * block_size);
        const ssize_t got = ::read(input, data.data(), data.size());
        if (got < 0) throw std::system_error(errno, std::generic_category(), "read");
        if (got == 0) break;
        data.resize(static_cast<std::size_t>(got));
        write_all(pace, output, data, copied);
        copied += data.size();
    }
    ::close(input);
    if (::close(output) != 0) throw std::system_error(errno, std::generic_category(), "close");
    fmt::print("{} bytes in {} writes\n", copied, pace.begun(0));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("background-copy", [&] { return run(argc, argv); });
}
