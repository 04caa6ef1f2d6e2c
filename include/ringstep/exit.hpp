// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <cstdint>
#include <string_view>

namespace ringstep::inline v0 {

/// Why a run ended.
enum class ExitReason : std::uint8_t {
    stopped,         ///< the loop called ringstep_stop(); its code is in LoopExit::code
    stop_requested,  ///< request_stop() or the stop token ended the run; another run() continues it
    interrupted,     ///< a signal or a debugger ended the run without a stop request (EINTR); another run() continues it
    detached,        ///< the loop was detached during the run or before it (EFAULT)
    bad_return,      ///< the step returned neither continue nor stop (EINVAL); its value is in LoopExit::code
    wrong_thread,    ///< run() was called on a thread other than the ring's owning thread (EEXIST)
    disabled,        ///< the ring was opened with start_disabled and is not enabled yet (EBADFD)
    sq_full,         ///< the step found no free SQE, and the kernel took none of the claimed ones (EAGAIN)
    rings_changed,   ///< the rings differ from those that the loop was loaded for, for instance after a resize (ESTALE)
    failed,          ///< io_uring_enter(2) failed for another reason; see LoopExit::error
};

/// Returns the reason in words, for example "wrong thread".
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

/// Returns what to do about a run that was refused or broken off, or an empty text if the reason says enough.
[[nodiscard]] constexpr std::string_view advice(ExitReason reason) noexcept {
    switch (reason) {
        case ExitReason::wrong_thread: return "Call run() on the thread that opened the ring, or that enabled it.";
        case ExitReason::disabled: return "Call Ring::enable() first, on the thread that is to run the loop.";
        case ExitReason::detached: return "Attach the loop again, by another LoopProgram.";
        case ExitReason::rings_changed: return "Do not resize a ring that has a loop.";
        default: return {};
    }
}

/// How a run of a loop ended, with the counts of that run.
struct LoopExit {
    ExitReason reason = ExitReason::stopped;  ///< why the run ended
    int error = 0;                            ///< errno; 0 for stopped and stop_requested
    std::int64_t code = 0;                    ///< the argument of ringstep_stop(), or the step's bad return value
    std::uint64_t turns = 0;                  ///< turns of this run
    std::uint64_t calls = 0;  ///< calls of the loop's program in this run, each of one or several turns; 0 by the user engine
    std::uint64_t submitted = 0;    ///< SQEs that the kernel took in this run
    std::uint64_t completions = 0;  ///< CQEs that the step took in this run
    std::uint64_t enters = 0;       ///< calls of io_uring_enter(2): one, or with the user engine about one for each turn

    /// Returns true if the loop stopped by itself with code 0.
    [[nodiscard]] bool ok() const noexcept { return reason == ExitReason::stopped && code == 0; }
    /// Returns true after a stop request or a signal. Another `run()` then continues where this one ended. A program that runs
    /// until it is asked to stop should repeat `run()` only after ExitReason::interrupted. With `resumable()` as the condition,
    /// a stop request would not end it.
    [[nodiscard]] bool resumable() const noexcept {
        return reason == ExitReason::stop_requested || reason == ExitReason::interrupted;
    }
};

}  // namespace ringstep::inline v0
