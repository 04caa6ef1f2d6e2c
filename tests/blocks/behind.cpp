// SPDX-License-Identifier: MIT
// What lies behind the state: LoopOptions::extra_bytes.
#include <ringstep/compiled/behind.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <cstring>
#include <numeric>

using ringstep::Ring;
using Behind = ringstep::LoopProgram<ringstep::loops::behind>;

TEST_CASE("A loop uses a table behind its state") {
    Ring ring;
    Behind program(ring, {.extra_bytes = sizeof(behind_table)});
    REQUIRE(program.state().extra().size() >= sizeof(behind_table));
    auto* const words = reinterpret_cast<std::uint64_t*>(program.state().extra().data());
    std::iota(words, words + BEHIND_WORDS, 1);
    program.state()->place = ~std::uint64_t{0};
    CHECK(program.run().code == 0);
    CHECK(program.state()->room == program.state().extra().size());
    CHECK(program.state()->sum == std::uint64_t{BEHIND_WORDS} * (BEHIND_WORDS + 1) / 2);
    CHECK(words[BEHIND_WORDS - 1] == reinterpret_cast<std::uintptr_t>(words));
}

TEST_CASE("A loop that looks how much room is behind its state loads, and says that there is too little") {
    Ring ring;
    Behind program(ring);
    const auto extra = program.state().extra();
    REQUIRE(extra.size() < sizeof(behind_table));
    std::memset(extra.data(), 1, extra.size());
    CHECK(program.run().code == 1);
    CHECK(program.state()->room == extra.size());
    CHECK(program.state()->sum == 0);
}

TEST_CASE("What is behind the state stays when another program comes, up to the size of the ring's region") {
    Ring ring;
    {
        Behind program(ring, {.extra_bytes = sizeof(behind_table)});
        program.state().extra()[100] = std::byte{7};
        program.state()->sum = 5;
    }
    Behind program(ring);
    CHECK(program.state().extra().size() >= sizeof(behind_table));
    CHECK(program.state().extra()[100] == std::byte{7});
    CHECK(program.state()->sum == 0);
    CHECK(program.run().code == 0);
}
