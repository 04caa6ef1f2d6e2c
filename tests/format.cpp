// SPDX-License-Identifier: MIT
#include <ringstep/format.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cerrno>

using ringstep::Completion;
using ringstep::ExitReason;
using ringstep::LoopExit;

TEST_CASE("Exits read as a sentence") {
    CHECK(fmt::format("{}", LoopExit{.code = 3, .turns = 1, .submitted = 2, .completions = 2}) ==
          "stopped with code 3 after 1 turn: 2 submitted, 2 completed");
    CHECK(fmt::format("{}", LoopExit{.reason = ExitReason::bad_return, .error = EINVAL, .code = 7}) ==
          "bad return value 7 [Invalid argument (errno 22)] after 0 turns: 0 submitted, 0 completed");
    CHECK(fmt::format("{}", LoopExit{.reason = ExitReason::interrupted, .error = EINTR, .turns = 5}) ==
          "interrupted [Interrupted system call (errno 4)] after 5 turns: 0 submitted, 0 completed");
}

TEST_CASE("Every reason has a name of its own") {
    for (int i = 0; i <= static_cast<int>(ExitReason::failed); i++) {
        const auto name = to_string(static_cast<ExitReason>(i));
        CHECK(name != "unknown");
        for (int j = 0; j < i; j++) CHECK(name != to_string(static_cast<ExitReason>(j)));
    }
    CHECK(fmt::format("{:>14}", ExitReason::wrong_thread) == "  wrong thread");
}

TEST_CASE("Completions show result, errno and flags") {
    CHECK(fmt::format("{}", Completion{.user_data = 42, .result = 4096}) == "completion of 0x2a: 4096");
    CHECK(fmt::format("{}", Completion{.user_data = 1, .result = -EIO}) == "completion of 0x1: Input/output error (errno 5)");
    CHECK(fmt::format("{}",
                      Completion{.user_data = 1, .result = 9, .flags = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE | 7U << 16}) ==
          "completion of 0x1: 9, buffer 7, more to come");
    CHECK(fmt::format("{}", Completion{.flags = IORING_CQE_F_NOTIF}) == "completion of 0x0: 0, notification");
}

TEST_CASE("Geometry and errors") {
    CHECK(fmt::format(
              "{}",
              ringstep::Geometry{.sq_entries = 8, .cq_entries = 32, .sqe_size = 64, .cqe_size = 16, .setup_flags = 1U << 20}) ==
          "SQ 8 x 64 bytes, CQ 32 x 16 bytes, flags 0x100000, rewinding");
    CHECK(fmt::format("{}", ringstep::Error(EPERM, "this", "That.")) == "this: Operation not permitted (errno 1). That.");
}

TEST_CASE("An exit that asks for something to be done says what") {
    CHECK(fmt::format("{}", ringstep::LoopExit{.reason = ExitReason::wrong_thread, .error = EEXIST}) ==
          "wrong thread [File exists (errno 17)] after 0 turns: 0 submitted, 0 completed. Call run() on the thread that opened "
          "the "
          "ring, or that enabled it.");
    CHECK(fmt::format("{}", ringstep::LoopExit{}) == "stopped with code 0 after 0 turns: 0 submitted, 0 completed");
}
