// SPDX-License-Identifier: MIT
// How the benchmarks count system calls. As root, where tracefs is mounted.
#include "../../bench/common/system_calls.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <filesystem>
#include <iterator>

namespace {

std::size_t open_files() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST_CASE("A counter of system calls counts those of the work alone", "[bench]") {
    const bench::SystemCallCounter counter;
    const bench::SystemCalls calls = counter.count([] {
        for (int i = 0; i < 5; i++) (void)::syscall(SYS_getppid);
        (void)::syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0);
    });
    CHECK(calls.all == 6);
    CHECK(calls.enter == 1);
    CHECK(counter.count([] {}).all == 0);
}

// As long as the kernel has such a counter, each system call takes a longer way, and more instructions.
TEST_CASE("A counter of system calls is open only while it counts", "[bench]") {
    const std::size_t before = open_files();
    const bench::SystemCallCounter counter;
    CHECK(open_files() == before);
    std::size_t meanwhile = 0;
    (void)counter.count([&] { meanwhile = open_files(); });
    CHECK(meanwhile == before + 2);
    CHECK(open_files() == before);
}

}  // namespace
