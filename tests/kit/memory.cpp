// SPDX-License-Identifier: MIT
// Numbers in the ring's memory that no kernel, no loop and no library has written: they are not believed.
#include <ringstep/program.hpp>

#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cstdint>

using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Scripted = LoopProgram<scripted_loop>;

namespace {

ringstep_control& control_of(Scripted& program) { return reinterpret_cast<ringstep_control*>(&*program.state())[-1]; }

/// Makes the ring's memory say that so many SQEs are claimed.
void claim(Ring& ring, ringstep_control& control, std::uint32_t count) {
    const io_uring& native = ring.native();
    control.claimed = count;
    if (!ring.geometry().rewinds()) *native.sq.ktail = *native.sq.khead + count;
}

}  // namespace

TEST_CASE("More claimed SQEs than the SQ holds are none") {
    const bool rewind = GENERATE(false, true);
    const std::uint32_t wrong = GENERATE(9U, 64U, 1000U, 0x80000000U, 0xffffffffU);
    Ring ring{{.sq_entries = 8, .cq_entries = 256, .sq_rewind = rewind}};
    Scripted program(ring);
    add_nops(program.state(), 8);  // they stay in the SQ
    program.state()->stop_at = 8;
    program.state()->wait = 8;
    REQUIRE(program.run().submitted == 8);
    claim(ring, control_of(program), wrong);
    add_nops(program.state(), 30);
    program.state()->stop_at = 38;
    program.state()->wait = 1;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.submitted == 30);
    REQUIRE(records(program.state()).size() == 38);
    for (std::uint64_t i = 0; i < 38; i++) CHECK(records(program.state())[i].user_data == i);
}

TEST_CASE("Without a loop, more claimed SQEs than the SQ holds are none, too") {
    const bool rewind = GENERATE(false, true);
    const std::uint32_t wrong = GENERATE(9U, 1000U, 0xffffffffU);
    Ring ring{{.sq_entries = 8, .cq_entries = 256, .sq_rewind = rewind}};
    Scripted program(ring);
    program.detach();
    claim(ring, control_of(program), wrong);
    CHECK(ring.sq().claimed() == 0);
    CHECK(ring.sq().space_left() == 8);
    for (std::uint64_t i = 0; i < 8; i++) {
        io_uring_sqe* const sqe = ring.sq().claim();
        REQUIRE(sqe != nullptr);
        io_uring_prep_nop(sqe);
        sqe->user_data = i;
    }
    CHECK(ring.sq().claim() == nullptr);
    CHECK(ring.submit().count == 8);
    std::uint64_t next = 0;
    for (const ringstep::Completion& completion : ring.cq()) CHECK(completion.user_data == next++);
    CHECK(next == 8);
    claim(ring, control_of(program), wrong);
    CHECK(ring.submit().count == 0);
    CHECK(ring.cq().ready() == 0);
}

TEST_CASE("While the CQ has more completions than it holds, none is taken") {
    const std::uint32_t entries = GENERATE(16U, 64U);
    const std::uint32_t more = GENERATE(1U, 4U, 1000U, 0x80000000U);
    Ring ring{{.sq_entries = 8, .cq_entries = entries, .sq_rewind = GENERATE(false, true)}};
    Scripted program(ring);
    add_nops(program.state(), 3);
    program.state()->stop_at = 3;
    *ring.native().cq.ktail += entries + more;  // until the kernel posts the next completion
    CHECK(program.run().ok());
    REQUIRE(records(program.state()).size() == 3);
    for (std::uint64_t i = 0; i < 3; i++) CHECK(records(program.state())[i].user_data == i);
}
