// SPDX-License-Identifier: MIT
#include <ringstep/c/identity.h>
#include <ringstep/loops/nop_chain.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cstdint>

using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;

TEST_CASE("Nops run one after the other, or several at a time") {
    const std::uint64_t total = GENERATE(1U, 2U, 31U, 32U, 33U, 1000U);
    Ring ring{{.sq_entries = 32, .cq_entries = 64}};
    Nops program(ring);
    for (const std::uint64_t depth : {1U, 2U, 7U, 32U, 64U, 1000U}) {
        CAPTURE(total, depth);
        program.state()->submitted = 0;
        program.state()->completed = 0;
        program.state()->total = total;
        program.state()->depth = depth;
        const LoopExit exit = program.run();
        CHECK(exit.ok());
        CHECK(exit.submitted == total);
        CHECK(exit.completions == total);
        CHECK(program.state()->submitted == total);
        CHECK(program.state()->completed == total);
        CHECK(program.state()->failed == 0);
        // The user engine submits at the end of a turn. In the kernel, a turn goes on with what completes at once.
        const bool submits_in_the_turn = program.engine() == ringstep::Engine::kernel;
        if (submits_in_the_turn) CHECK(exit.turns <= (total + 31) / 32 + 1);
        if (!submits_in_the_turn && depth == 1) CHECK(exit.turns == total + 1);
        if (!submits_in_the_turn && depth == 32) CHECK(exit.turns == (total + 31) / 32 + 1);
    }
}

TEST_CASE("Nothing to do is done at once") {
    Ring ring;
    Nops program(ring);
    program.state()->depth = 1;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.turns == 1);
    CHECK(exit.submitted == 0);
}

TEST_CASE("Completions that are not its own are counted as failed") {
    Ring ring;
    io_uring_sqe* sqe = ring.sq().claim();
    io_uring_prep_nop(sqe);
    sqe->user_data = 12345;
    Nops program(ring);
    program.state()->total = 3;
    program.state()->depth = 1;
    const LoopExit exit = program.run();
    CHECK(exit.reason == ringstep::ExitReason::stopped);
    CHECK(exit.code > 0);
    CHECK(program.state()->failed > 0);
}

TEST_CASE("Completions of another loop's requests are left alone") {
    Ring ring;
    io_uring_sqe* sqe = ring.sq().claim();
    io_uring_prep_nop(sqe);
    sqe->user_data = ringstep_identity_of_loop(0);
    Nops program(ring);
    program.state()->total = 3;
    program.state()->depth = 1;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.code == 0);
    CHECK(exit.completions == 4);
    CHECK(program.state()->foreign == 1);
    CHECK(program.state()->completed == 3);
}

TEST_CASE("A million nops are one run") {
    Ring ring;
    Nops program(ring);
    program.state()->total = 1000000;
    program.state()->depth = 1;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.completions == 1000000);
    CHECK(exit.turns <= 1000001);
}
