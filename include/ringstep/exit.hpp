// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <cstdint>
#include <string_view>

namespace ringstep::inline v0 {

/// Why a loop returned.
enum class ExitReason : std::uint8_t {
    stopped,         ///< the loop decided so: ringstep_stop(); its word is in LoopExit::code
    stop_requested,  ///< the application did: request_stop() or the stop token; run() goes on where it was
    interrupted,     ///< a signal or a debugger came (EINTR), and nobody asked for a stop; run() goes on where it was
    detached,        ///< the program was taken off the ring while it ran (EFAULT), or was not on it any more
    bad_return,      ///< the step returned something that is neither continue nor stop (EINVAL); it is in LoopExit::code
    wrong_thread,    ///< called on another thread than the ring's owner (EEXIST)
    disabled,        ///< the ring was opened with start_disabled and is not enabled yet (EBADFD)
    sq_full,         ///< the step claimed more SQEs than there are, and the kernel took none (EAGAIN)
    rings_changed,   ///< the rings are not those that the loop was loaded for, for instance after a resize (ESTALE)
    failed,          ///< io_uring_enter failed otherwise; see LoopExit::error
};

/// A word for it, as in "wrong thread".
[[nodiscard]] constexpr std::string_view to_string(ExitReason reason) noexcept {
    switch (reason) {
        case ExitReason::stopped: return "stopped";
        case ExitReason::stop_requested: return "stop requested";
        case ExitReason::interrupted: return "interrupted";
        case ExitReason::detached: return "detached";
        case ExitReason::bad_return: return "bad return value";
        case ExitReason::wrong_thread: return "wrong thread";
        case ExitReason::disabled: return "ring disabled";
        case ExitReason::sq_full: return "submission queue full";
        case ExitReason::rings_changed: return "rings changed";
        case ExitReason::failed: return "failed";
    }
    return "unknown";
}

/// How a run of a loop ended, and what it did.
struct LoopExit {
    ExitReason reason = ExitReason::stopped;  ///< in one word
    int error = 0;                            ///< errno; 0 for stopped and stop_requested
    std::int64_t code = 0;                    ///< what the loop said to ringstep_stop(), or its bad return value
    std::uint64_t turns = 0;                  ///< calls of the step in this run
    std::uint64_t submitted = 0;              ///< SQEs that the kernel took in this run
    std::uint64_t completions = 0;            ///< CQEs that the step saw in this run
    std::uint64_t enters = 0;  ///< calls of io_uring_enter(2) in this run: one, or in user space about one for each turn

    /// The loop came to its own end, with code 0.
    [[nodiscard]] bool ok() const noexcept { return reason == ExitReason::stopped && code == 0; }
    /// Nothing is wrong and nothing is over: calling run() again goes on. What runs until it is asked to stop goes on after
    /// ExitReason::interrupted alone; with this as its condition, a request to stop would not end it.
    [[nodiscard]] bool resumable() const noexcept {
        return reason == ExitReason::stop_requested || reason == ExitReason::interrupted;
    }
};

}  // namespace ringstep::inline v0
