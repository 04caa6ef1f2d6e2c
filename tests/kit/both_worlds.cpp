// SPDX-License-Identifier: MIT
// What a loop may use in both worlds does the same in both.
#include <ringstep/compiled/both_worlds.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <ctime>

#include <cstdint>

namespace {

std::uint64_t nanoseconds(clockid_t clock) {
    timespec now{};
    REQUIRE(::clock_gettime(clock, &now) == 0);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

TEST_CASE("Loops, clocks, atomics and printing") {
    ringstep::Ring ring;
    ringstep::LoopProgram<ringstep::loops::both_worlds> program{ring};
    both_worlds& state = *program.state();
    state.count = 10;

    const std::uint64_t monotonic = nanoseconds(CLOCK_MONOTONIC), boot = nanoseconds(CLOCK_BOOTTIME),
                        tai = nanoseconds(CLOCK_TAI);
    const ringstep::LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(state.rounds == 2);

    CHECK(state.sum_for == 3 + 4 + 5 + 6 + 7 + 8 + 9);
    CHECK(state.last_for == 9);
    CHECK(state.empty_for == 0);
    CHECK(state.sum_negative == -3);
    CHECK(state.shrinking == 5);
    CHECK(state.sum_repeat == 7);
    CHECK(state.sum_while == 10);

    CHECK(state.now >= monotonic);
    CHECK(state.now <= nanoseconds(CLOCK_MONOTONIC));
    CHECK(state.since_boot >= boot);
    CHECK(state.since_boot <= nanoseconds(CLOCK_BOOTTIME));
    CHECK(state.international >= tai);
    CHECK(state.international <= nanoseconds(CLOCK_TAI));
    CHECK(state.later >= state.now);

    CHECK(state.before_add == 40);
    CHECK(state.added == 42);
    CHECK(state.ored == 7);
    CHECK(state.anded == 6);
    CHECK(state.xored == 2);
    CHECK(state.before_swap == 1);
    CHECK(state.swapped == 2);
    CHECK(state.compared == 3);

    CHECK(state.stored == 101);
    CHECK(state.loaded == 101);
    CHECK(state.offset == offsetof(both_worlds, rounds));
    CHECK(state.address == reinterpret_cast<std::uintptr_t>(&state.rounds));
}
