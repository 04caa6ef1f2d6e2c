// SPDX-License-Identifier: MIT
// C++ face of the loop "scripted", and small helpers for tests that use it.
#pragma once

#include <ringstep/compiled/scripted.hpp>
#include <ringstep/program.hpp>

#include "loops/scripted.h"

#include <liburing.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <thread>

using scripted_loop = ringstep::loops::scripted;

/// Adds a request to the script; fill it in with liburing's helpers. user_data is its number unless the test sets another.
inline io_uring_sqe* add_request(const ringstep::RegionView<scripted>& state) {
    const std::uint32_t number = state->sqe_count++;
    auto* sqe = reinterpret_cast<io_uring_sqe*>(state->templates[number]);
    std::memset(sqe, 0, sizeof state->templates[number]);
    sqe->user_data = number;
    if (state->sqes_per_turn == 0) state->sqes_per_turn = SCRIPTED_SQES;
    return sqe;
}

/// Adds so many nops; they complete with result 0.
inline void add_nops(const ringstep::RegionView<scripted>& state, std::uint32_t count) {
    while (count-- > 0) {
        io_uring_sqe* sqe = add_request(state);
        const std::uint64_t number = sqe->user_data;
        io_uring_prep_nop(sqe);
        sqe->user_data = number;
    }
}

/// Waits until the loop has had a turn. For other threads than the loop's.
inline void wait_for_a_turn(const ringstep::RegionView<scripted>& state) {
    while (state.load(&scripted::turns) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

inline std::span<const scripted_record> records(const ringstep::RegionView<scripted>& state) {
    return {state->records, state->recorded};
}
