// SPDX-License-Identifier: MIT
// Runs of chains, and their results.
#pragma once

#include <ringstep/chain/chains.hpp>

#include "nops.hpp"

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace chaining {

/// A nop with a result.
inline io_uring_sqe nop_of(int result) {
    io_uring_sqe sqe = nops::nop(0, 1);
    sqe.len = static_cast<std::uint32_t>(result);
    return sqe;
}

/// Runs until there is nothing left to do. An interruption is none of these tests' business: io_uring_enter(2) may report one
/// at any time, and going on is all that it asks for.
inline ringstep::LoopExit run(auto& chains) {
    ringstep::LoopExit all = chains.run();
    while (all.reason == ringstep::ExitReason::interrupted) {
        const ringstep::LoopExit before = all;
        all = chains.run();
        all.submitted += before.submitted;
    }
    return all;
}

/// Takes the result of the one chain that there was. Nothing of it is left.
inline ringstep::chain::ChainResult only(auto& chains) {
    std::optional<ringstep::chain::ChainResult> result = chains.pop();
    REQUIRE(result);
    CHECK(chains.ready() == 0);
    CHECK(chains.in_flight() == 0);
    CHECK(chains.active() == 0);
    CHECK(chains.state()->requests.cancels == 0);
    CHECK(chains.state()->requests.foreign == 0);
    return std::move(*result);
}

/// Runs a chain, and takes its result.
inline ringstep::chain::ChainResult result_of(auto& chains) {
    REQUIRE(run(chains).ok());
    return only(chains);
}

}  // namespace chaining
