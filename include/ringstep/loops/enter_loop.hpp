// SPDX-License-Identifier: MIT
// The C++ class of loops that do what io_uring_enter(2) does and have hooks (written with bpf/ringstep/hooks.bpf.h).
#pragma once

#include <ringstep/c/loops/enter.h>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/loops/loop_class.hpp>
#include <ringstep/options.hpp>
#include <ringstep/queues.hpp>
#include <ringstep/ring.hpp>

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <stop_token>
#include <string_view>
#include <utility>

namespace ringstep::inline v0 {

/// A loop like `enter`: its state has a `struct ringstep_enter` with the name "enter". See bpf/ringstep/hooks.bpf.h.
template <class Loop>
concept EnterLoopDefinition = LoopDefinition<Loop> && requires(typename Loop::state state) {
    { state.enter } -> std::same_as<ringstep_enter&>;
};

/// Why a submit-and-wait returned.
enum class EnterEnd : std::uint8_t {
    complete,        ///< the wanted completions are there
    timed_out,       ///< the timeout is over, and completions are missing
    partial,         ///< the kernel did not take all SQEs, so there was no wait. The others are still claimed
    interrupted,     ///< a signal arrived
    stop_requested,  ///< by request_stop() or the stop token
    cq_full,         ///< the CQ is full, and may lack wanted completions: take some out
    failed,          ///< see Entered::error, and Entered::exit
};

/// Returns a description of the end, such as "timed out".
[[nodiscard]] constexpr std::string_view to_string(EnterEnd end) noexcept {
    switch (end) {
        case EnterEnd::complete: return "complete";
        case EnterEnd::timed_out: return "timed out";
        case EnterEnd::partial: return "submitted in part";
        case EnterEnd::interrupted: return "interrupted";
        case EnterEnd::stop_requested: return "stop requested";
        case EnterEnd::cq_full: return "completion queue full";
        case EnterEnd::failed: return "failed";
    }
    return "unknown";
}

/// The result of a submit-and-wait. With any end, submitted requests stay submitted, and completions are in Ring::cq().
struct Entered {
    EnterEnd end = EnterEnd::complete;  ///< why the call returned
    int error = 0;                      ///< errno: EAGAIN if the kernel took no SQE, EINTR after a signal, or the error
    std::uint32_t submitted = 0;        ///< SQEs of the application that the kernel took
    std::uint32_t completions = 0;      ///< completions in the CQ now, including earlier ones
    LoopExit exit{};                    ///< the loop's exit; its counts include the loop's own requests

    /// Returns true if the wanted completions are there.
    [[nodiscard]] explicit operator bool() const noexcept { return end == EnterEnd::complete; }
};

/**
 * The C++ class of loops that do what io_uring_enter(2) does and have hooks; `Enter` (loops/enter.hpp) has none. The
 * application uses the ring like one without a loop. It claims requests from Ring::sq(), calls submit_and_wait(), and takes
 * completions from Ring::cq().
 *
 * Differences from a ring without a loop:
 * - In the kernel, a wait with a timeout is a request of the loop. It shows in two ways: a request with IOSQE_IO_DRAIN waits
 *   for it, and the CQ should have room for two more completions. In user space, there is no such request.
 * - A signal always ends the wait in the kernel. In user space, it ends the wait only if nothing has completed since the wait
 *   began. A handler that calls request_stop() ends the wait with both engines, with EnterEnd::stop_requested.
 * - A wait for more completions than the CQ holds becomes a wait for a full CQ, as with io_uring_enter(2).
 *
 * Use the object only on the ring's owning thread. Only `request_stop()` and `wake()` may be called from any thread, while the
 * object exists. A stop request ends a wait with EnterEnd::stop_requested.
 *
 * Kernel engine: Linux 7.1. User engine: Linux 6.1.
 *
 * **Example**:
 *
 *     ringstep::Ring ring;
 *     ringstep::Enter enter{ring};
 *     io_uring_prep_read(ring.sq().claim(), fd, buffer, size, 0);
 *     ringstep::Entered entered = enter.submit_and_wait(1, 10ms);
 *     if (entered.end == ringstep::EnterEnd::timed_out) ...
 *     for (const ringstep::Completion& completion : ring.cq()) ...
 */
template <EnterLoopDefinition Loop>
class EnterLoop : public LoopClass<Loop> {
    using Base = LoopClass<Loop>;

public:
    using Base::program;
    using Base::state;

    /// Attaches the loop to the ring, whose requests in flight and completions are kept. Throws Error.
    explicit EnterLoop(Ring& ring, const LoopOptions& options = {}) : Base(ring, options) {}

    /// Submits all claimed SQEs without waiting. Must be called on the ring's owning thread. Never throws.
    Entered submit() noexcept { return submit_and_wait(0); }

    /// Submits all claimed SQEs and waits until `completions` completions are in the CQ, including earlier ones. `timeout`
    /// counts from now; if it is over at once (see Duration), the function only checks. Must be called on the ring's owning
    /// thread. Never throws.
    Entered submit_and_wait(std::uint32_t completions, Duration timeout = for_ever, std::stop_token token = {}) noexcept {
        Entered entered;
        if (refused(entered)) return entered;
        ringstep_enter& enter = state()->enter;
        enter.min_complete = completions;
        enter.deadline = completions != 0 ? detail::deadline_after(timeout) : ~std::uint64_t{0};
        enter.wake_at = ~std::uint64_t{0};
        return run_allowed(std::move(token));
    }

    /// Waits again as the last wait did, for as many completions and until the same deadline, after it was interrupted, for
    /// example. Submits all claimed SQEs before. The first run without an earlier wait only submits. Must be called on the
    /// ring's owning thread. Never throws.
    Entered run(std::stop_token token = {}) noexcept {
        Entered entered;
        return refused(entered) ? entered : run_allowed(std::move(token));
    }

    /// Returns a range that takes completions out of the CQ, like Ring::cq(). Throws Error (EBADF) if the ring is closed.
    [[nodiscard]] CompletionQueue completions() {
        if (!ring_core().open()) detail::raise(EBADF, "use of a closed ring", "Open another one.");
        return detail::QueueAccess::cq(ring_core().queues());
    }

    /// Cancels all submitted requests with this user_data, as IORING_ASYNC_CANCEL_ALL does. Returns false if the kernel has
    /// none, for example because they are complete, or claimed and not yet submitted. Each request still completes, usually
    /// with -ECANCELED; a request that is already being executed may also succeed. The cancellation itself is no request: it
    /// has no completion, and takes no entry of the SQ. Must be called on the ring's owning thread. Never throws.
    bool cancel(std::uint64_t user_data) noexcept { return ring_core().cancel(user_data, IORING_ASYNC_CANCEL_ALL) > 0; }

protected:
    using Base::ring_core;

    /// Returns true, and fills in `entered`, if the loop cannot run on this thread. For classes that set more of the state than
    /// this one: they must not touch the state then, because a run on the owning thread may be using it.
    [[nodiscard]] bool refused(Entered& entered) noexcept {
        if (!detail::ProgramAccess::refused(program(), entered.exit)) [[likely]]
            return false;
        classify(entered);
        entered.completions = ready();
        return true;
    }

    /// Runs the loop like run(), after refused() has returned false on this thread.
    Entered run_allowed(std::stop_token token = {}) noexcept {
        ringstep_enter& enter = state()->enter;
        enter.phase = RINGSTEP_ENTER_BEGIN;
        Entered entered;
        entered.exit = token.stop_possible() ? detail::ProgramAccess::run_allowed(program(), std::move(token))
                                             : detail::ProgramAccess::run_allowed(program());
        if (entered.exit.turns != 0) entered.submitted = take_stock(enter);
        classify(entered);
        if (enter.walks != 0) finish(entered);
        entered.completions = ready();
        return entered;
    }

private:
    [[nodiscard]] std::uint32_t claimed() noexcept { return detail::QueueAccess::sq(ring_core().queues()).claimed(); }
    [[nodiscard]] std::uint32_t ready() noexcept {
        return ring_core().open() ? detail::QueueAccess::cq(ring_core().queues()).ready() : 0;
    }

    // Counts the SQEs that the kernel left in the SQ: first the application's, then those that hooks have claimed. Returns how
    // many of the application's SQEs the kernel took.
    std::uint32_t take_stock(ringstep_enter& enter) noexcept {
        if (!ring_core().open() || enter.phase == RINGSTEP_ENTER_BEGIN) return 0;
        const std::uint32_t left = claimed();
        const bool all = enter.phase == RINGSTEP_ENTER_WAITING;
        left_ = all ? 0 : left < enter.begun ? left : enter.begun;
        enter.added = left - left_;
        enter.hooked = left;
        return enter.begun - left_;
    }

    // The hook must see every completion. Those that arrived after its last call are handed to it now.
    void finish(Entered& entered) noexcept {
        if (finish_stopped(entered) && entered.end != EnterEnd::stop_requested) program().request_stop();  // for the next wait
    }

    // Hands the missed completions to the hook, and returns whether a stop was requested meanwhile.
    bool finish_stopped(Entered& entered) noexcept {
        ringstep_enter& enter = state()->enter;
        bool stop = false;
        for (int tries = 0; tries < 100 && ring_core().open() && program().attached(); tries++) {
            const detail::QueueMemory& queues = ring_core().queues();
            if (queues.word(queues.geometry.cq_tail_offset).load(std::memory_order_acquire) == enter.seen) break;
            enter.phase = RINGSTEP_ENTER_FINISH;
            const LoopExit exit = program().run();
            stop |= exit.reason == ExitReason::stop_requested;
            if (exit.turns == 0 && !exit.resumable()) break;
            const std::uint32_t left = claimed();
            enter.added = left - left_;
            enter.hooked = left;
            entered.exit.turns += exit.turns;
            entered.exit.calls += exit.calls;
            entered.exit.submitted += exit.submitted;
            entered.exit.completions += exit.completions;
            entered.exit.enters += exit.enters;
        }
        return stop;
    }

    static void classify(Entered& entered) noexcept {
        entered.error = entered.exit.error;
        switch (entered.exit.reason) {
            case ExitReason::stopped:
                switch (entered.exit.code) {
                    case RINGSTEP_ENTER_COMPLETE: entered.end = EnterEnd::complete; break;
                    case RINGSTEP_ENTER_TIMED_OUT: entered.end = EnterEnd::timed_out; break;
                    case RINGSTEP_ENTER_PARTIAL:
                        entered.end = EnterEnd::partial;
                        if (entered.submitted == 0) entered.error = EAGAIN;
                        break;
                    default: entered.end = EnterEnd::failed; break;
                }
                break;
            case ExitReason::interrupted: entered.end = EnterEnd::interrupted; break;
            case ExitReason::stop_requested: entered.end = EnterEnd::stop_requested; break;
            default: entered.end = EnterEnd::failed; break;
        }
    }

    std::uint32_t left_ = 0;  // the application's SQEs that the kernel did not take
};

}  // namespace ringstep::inline v0
