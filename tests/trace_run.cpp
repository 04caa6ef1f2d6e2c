// SPDX-License-Identifier: MIT
// What RINGSTEP_TRACE=1 says of runs.
#include <ringstep/compiled/wide.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "child.hpp"
#include "loops/wide.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using ringstep::Engine;
using ringstep::LoopProgram;
using ringstep::Ring;

namespace {

/// Runs a function with tracing in a child process, and returns the lines of the trace.
template <class F>
std::vector<std::string> traced(F&& function) {
    const Outcome outcome = in_child([&]() -> std::string {
        ::setenv("RINGSTEP_TRACE", "1", 1);  // NOLINT(concurrency-mt-unsafe)
        function();
        return "done";
    });
    CHECK(outcome.out == "done");
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < outcome.err.size();) {
        const std::size_t end = std::min(outcome.err.find('\n', at), outcome.err.size());
        lines.push_back(outcome.err.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

/// Returns the number of completions that the trace shows in each turn.
std::vector<std::size_t> completions_of(const std::vector<std::string>& lines) {
    std::vector<std::size_t> counts;
    for (const std::string& line : lines) {
        if (line.find(": turn ") != std::string::npos) counts.push_back(0);
        if (line.find(":   completed ") != std::string::npos) counts.back()++;
    }
    return counts;
}

}  // namespace

TEST_CASE("The trace shows every completion that a loop takes in a turn") {
    const std::uint32_t total = GENERATE(20U, 32U, 33U, 100U, 128U, 200U);
    CAPTURE(total);
    const auto lines = traced([&] {
        Ring ring{{.sq_entries = 256, .cq_entries = 512}};
        LoopProgram<ringstep::loops::wide> program(ring, {.engine = Engine::user});
        program.state()->total = total;
        if (!program.run().ok() || program.state()->most_in_a_turn != std::min(total, 128U)) ::_exit(1);
    });
    std::vector<std::size_t> expected{0, std::min(total, 128U)};
    if (total > 128) expected.push_back(total - 128);
    CHECK(completions_of(lines) == expected);
}

TEST_CASE("A loop with the usual limit is shown with that") {
    const auto lines = traced([&] {
        Ring ring{{.sq_entries = 64, .cq_entries = 128}};
        LoopProgram<ringstep::loops::nop_chain> program(ring, {.engine = Engine::user});
        program.state()->total = program.state()->depth = 50;
        if (!program.run().ok()) ::_exit(1);
    });
    const auto counts = completions_of(lines);
    REQUIRE(counts.size() >= 3);
    CHECK(counts[1] == RINGSTEP_CQE_BATCH);
    CHECK(counts[2] == 50 - RINGSTEP_CQE_BATCH);
}

TEST_CASE("A run that is refused says who may run the loop") {
    const auto lines = traced([&] {
        Ring ring;
        LoopProgram<ringstep::loops::nop_chain> program(ring, {.engine = Engine::user});
        std::thread([&] { (void)program.run(); }).join();
    });
    REQUIRE(!lines.empty());
    CHECK(lines.back().find("wrong thread") != std::string::npos);
    CHECK(lines.back().find("Call run() on the thread that opened the ring") != std::string::npos);
}
