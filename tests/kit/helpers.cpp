// SPDX-License-Identifier: MIT
// A step made of functions that take the turn, which the compiler leaves out of line.
#include <ringstep/compiled/helpers.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

TEST_CASE("A step may be made of functions that take the turn, on any ring") {
    const bool long_entries = GENERATE(false, true);
    const bool rewind = GENERATE(true, false);
    const unsigned entries = GENERATE(4U, 64U, 4096U);
    ringstep::Ring ring{
        {.sq_entries = entries, .cq_entries = 2 * entries, .cqe32 = long_entries, .sqe128 = long_entries, .sq_rewind = rewind}};
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
    {
        ringstep::LoopProgram<ringstep::loops::helpers> program{ring};
        const auto& state = program.state();
        state->left = 100;
        state->fd = ends[0];
        const ringstep::LoopExit exit = program.run();
        CHECK(exit.reason == ringstep::ExitReason::stopped);
        CHECK(exit.code == 7);
        CHECK(exit.submitted == 100);
        CHECK(exit.completions == 100);
        CHECK(state->failures == 0);
        CHECK(std::accumulate(std::begin(state->by_place), std::end(state->by_place), std::uint64_t{0}) == 100);
        std::uint64_t received = 0;
        std::array<char, 4096> bytes{};
        while (const ssize_t count = ::recv(ends[1], bytes.data(), bytes.size(), MSG_DONTWAIT)) {
            if (count < 0) break;
            received += static_cast<std::uint64_t>(count);
        }
        CHECK(received == state->sent);
    }
    for (const int fd : ends) ::close(fd);
}
