// SPDX-License-Identifier: MIT
// Nops with results of the test's choice.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <cerrno>
#include <cstdint>

namespace nops {

/// Makes a nop's result that of its `len`.
inline constexpr std::uint32_t inject_result = 1U << 0;  // IORING_NOP_INJECT_RESULT

/// Whether this kernel's nops can have results: Linux 6.10 and later.
inline bool have_results() {
    static const bool have = [] {
        io_uring ring{};
        REQUIRE(io_uring_queue_init(1, &ring, 0) == 0);
        io_uring_sqe* sqe = io_uring_get_sqe(&ring);
        io_uring_prep_nop(sqe);
        sqe->nop_flags = inject_result;
        sqe->len = 7;
        io_uring_cqe* cqe = nullptr;
        REQUIRE(io_uring_submit_and_wait(&ring, 1) == 1);
        REQUIRE(io_uring_peek_cqe(&ring, &cqe) == 0);
        const int result = cqe->res;
        io_uring_queue_exit(&ring);
        return result == 7;
    }();
    return have;
}

/// Skips the test where nops cannot have results. For the test's own thread, as every SKIP.
inline void need_results() {
    if (!have_results()) SKIP("nops with results need Linux 6.10");
}

/// A nop with that result. Skips the test where that cannot be had.
inline io_uring_sqe nop(std::uint64_t user_data, int result = 0) {
    io_uring_sqe sqe{};
    io_uring_prep_nop(&sqe);
    sqe.user_data = user_data;
    if (result != 0) {
        need_results();
        sqe.nop_flags = inject_result;
        sqe.len = static_cast<std::uint32_t>(result);
    }
    return sqe;
}

}  // namespace nops
