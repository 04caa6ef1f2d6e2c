// SPDX-License-Identifier: MIT
// On a kernel that cannot run loops.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "error_of.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string_view>

using ringstep::LoopProgram;
using ringstep::Ring;
using ringstep::detail::NoLoops;

TEST_CASE("The error says what the kernel lacks and what it takes") {
    Ring ring;
    const auto error =
        error_of([&] { LoopProgram<ringstep::loops::nop_chain> program(ring, {.engine = ringstep::Engine::kernel}); });
    INFO(error.what());
    CHECK(error.error_number() != 0);
    CHECK(error.tried() == "loading of loop 'nop_chain' into the kernel");
    CHECK(error.advice().find("io_uring_bpf_ops") != std::string_view::npos);
    CHECK(error.advice().find("7.1") != std::string_view::npos);
    CHECK(error.verifier_log().empty());
    CHECK_FALSE(ring.has_loop());
    CHECK(ring.region() == nullptr);
    // This type, and no wording, tells the library not to ask this kernel again.
    CHECK_THROWS_AS((LoopProgram<ringstep::loops::nop_chain>(ring, {.engine = ringstep::Engine::kernel})), NoLoops);
    // The ring is as good as before.
    io_uring_prep_nop(ring.sq().claim());
    CHECK(ring.submit_and_wait(1).count == 1);
}

TEST_CASE("By itself the library takes the user engine, and says why") {
    Ring ring;
    // The second program knows from the first that there is no need to ask the kernel.
    for (int round = 0; round < 2; round++) {
        LoopProgram<ringstep::loops::nop_chain> program(ring);
        CHECK(program.engine() == ringstep::Engine::user);
        CHECK(program.engine_reason().find("io_uring_bpf_ops") != std::string::npos);
        program.state()->total = 100;
        program.state()->depth = 7;
        CHECK(program.run().ok());
    }
}
