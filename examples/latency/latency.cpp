// SPDX-License-Identifier: MIT
// Counts the requests of an application by opcode and shows how long they take. The application makes its requests as before.
#include <ringstep/format.hpp>
#include <ringstep/loops/enter_loop.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <system_error>

#include <ringstep/compiled/latency.hpp>  // ringstep_add_loop() makes this from latency.bpf.c and latency.h

#include "../common/program.hpp"

namespace {

constexpr unsigned rounds = 2000;
constexpr unsigned depth = 8;

/// Does the application's own work: in each round, some reads and writes of a file and a nop.
void work(ringstep::Ring& ring, ringstep::EnterLoop<ringstep::loops::latency>& enter, int fd) {
    static std::array<std::array<char, 4096>, depth> buffers;
    std::uint64_t number = 0;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < depth; i++) {
            io_uring_sqe* sqe = ring.sq().claim();
            const std::uint64_t offset = std::uint64_t{(round + i) % 64} * 4096;
            if (i == 0) {
                io_uring_prep_nop(sqe);
            } else if (i % 4 == 0) {
                io_uring_prep_write(sqe, fd, buffers[i].data(), 4096, offset);
            } else {
                io_uring_prep_read(sqe, fd, buffers[i].data(), 4096, offset);
            }
            sqe->user_data = ++number;
        }
        ringstep::Entered entered;
        do {
            entered = enter.submit_and_wait(depth);
        } while (entered.end == ringstep::EnterEnd::interrupted);  // by a debugger, for example
        if (!entered) throw std::system_error(entered.error, std::generic_category(), "waiting for requests");
        for ([[maybe_unused]] const ringstep::Completion& completion : ring.cq()) {
        }
    }
}

void print(const latency& state) {
    for (unsigned opcode = 0; opcode < LATENCY_OPCODES; opcode++) {
        if (state.requests[opcode] == 0) continue;
        fmt::print("{:<8} {:>8}\n", ringstep::detail::opcode_name(opcode), state.requests[opcode]);
    }
    fmt::print("{:<8} {:>8}\n\n", "failed", state.failed);
    std::uint64_t samples = 0;
    std::uint64_t most = 1;
    for (const std::uint64_t count : state.histogram) {
        samples += count;
        most = std::max(most, count);
    }
    fmt::print("{} were timed, from the submit until the completion was seen:\n", samples);
    for (unsigned i = 0; i < 64; i++) {
        const std::uint64_t count = state.histogram[i];
        if (count != 0)
            fmt::print("{:>12} ns {:>8} {}\n", std::uint64_t{1} << i, count,
                       std::string(static_cast<std::size_t>(1 + count * 39 / most), '#'));
    }
}

int run() {
    std::FILE* file = std::tmpfile();
    if (file == nullptr) throw std::system_error(errno, std::generic_category(), "making of a file");
    ringstep::Ring ring;
    ringstep::EnterLoop<ringstep::loops::latency> enter{ring};
    work(ring, enter, ::fileno(file));
    print(*enter.state());
    (void)std::fclose(file);
    return enter.state()->failed == 0 ? 0 : 1;
}

}  // namespace

int main() { return program::run("latency", run); }
