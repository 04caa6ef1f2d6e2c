// SPDX-License-Identifier: MIT
// The face of loops that do what io_uring_enter(2) does and have hooks: of those written with bpf/ringstep/enter.bpf.h.
#pragma once

#include <ringstep/duration.hpp>
#include <ringstep/loops/enter.h>
#include <ringstep/program.hpp>
#include <ringstep/ring.hpp>

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0 {

/// A loop of the kind of enter: its state has a `struct ringstep_enter` with the name "enter". See bpf/ringstep/enter.bpf.h.
template <class Loop>
concept EnterLoopDefinition = LoopDefinition<Loop> && requires(typename Loop::state state) {
    { state.enter } -> std::same_as<ringstep_enter&>;
};

/// Why a submit-and-wait came back.
enum class EnterEnd : std::uint8_t {
    complete,        ///< what was waited for is there
    timed_out,       ///< it is not, and the time is up
    partial,         ///< the kernel did not take all SQEs; it was not waited. The others are still claimed
    interrupted,     ///< a signal came
    stop_requested,  ///< request_stop(), or the stop token
    cq_full,         ///< what was waited for may be among completions that find no room in the CQ: take some out
    failed,          ///< see Entered::error, and Entered::exit
};

/// A word for it, as in "timed out".
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

/// What a submit-and-wait did. Whatever its end, what it submitted is submitted, and what has completed is in Ring::cq().
struct Entered {
    EnterEnd end = EnterEnd::complete;  ///< why it came back
    int error = 0;                      ///< errno: EAGAIN if the kernel took no SQE, EINTR after a signal, or what went wrong
    std::uint32_t submitted = 0;        ///< SQEs of the application's that the kernel took
    std::uint32_t completions = 0;      ///< in the CQ now, those that were there before included
    LoopExit exit{};                    ///< of the loop; its counts are those of the loop's own requests, too

    /// What was waited for is there.
    [[nodiscard]] explicit operator bool() const noexcept { return end == EnterEnd::complete; }
};

/**
 * The face of loops that do what io_uring_enter(2) does and have hooks: with `Enter` (loops/enter.hpp) there are none. The
 * application uses the ring as it would without a loop: requests go into Ring::sq(), completions come out of Ring::cq(),
 * submit_and_wait() is in between.
 *
 * What differs from a ring without a loop:
 * - A wait with a time-out is a request of the loop's own in the kernel, of which nothing is seen but that a request with
 *   IOSQE_IO_DRAIN waits for it, and that the CQ had better have room for two completions more. In user space it is not.
 * - A signal ends the wait in the kernel, in user space only if nothing has completed since the wait began.
 * - More completions than the CQ holds cannot be waited for: that is taken as all that it holds, as io_uring_enter(2) does.
 *
 * Belongs to the ring's thread, like the ring. request_stop() is for any thread, while the object lives.
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
class EnterLoop {
public:
    /// The struct that application and loop share.
    using state_type = typename Loop::state;

    /// Puts the loop on the ring, whose requests in flight and completions stay as they are. Throws Error.
    explicit EnterLoop(Ring& ring, const LoopOptions& options = {}) : ring_(ring.core()), program_(ring, options) {}

    EnterLoop(const EnterLoop&) = delete;
    EnterLoop& operator=(const EnterLoop&) = delete;
    ~EnterLoop() = default;

    /// Submits what is in the SQ. Never throws; on the ring's thread only.
    Entered submit() noexcept { return submit_and_wait(0); }

    /// Submits what is in the SQ and waits until so many completions are in the CQ, those there before included. Never throws;
    /// on the ring's thread only. `timeout` is from now; if it is over at once (see Duration), it does not wait, only looks.
    Entered submit_and_wait(std::uint32_t completions, Duration timeout = for_ever, std::stop_token token = {}) noexcept {
        ringstep_enter& enter = program_.state()->enter;
        enter.min_complete = completions;
        enter.deadline = completions != 0 ? detail::deadline_after(timeout) : ~std::uint64_t{0};
        enter.wake_at = ~std::uint64_t{0};
        return run(std::move(token));
    }

    /// Runs the loop with its state as it is: for faces of loops that set more than this one does.
    Entered run(std::stop_token token = {}) noexcept {
        ringstep_enter& enter = program_.state()->enter;
        enter.phase = RINGSTEP_ENTER_BEGIN;
        Entered entered;
        entered.exit = token.stop_possible() ? program_.run(std::move(token)) : program_.run();
        if (entered.exit.turns != 0) entered.submitted = take_stock(enter);
        classify(entered);
        if (enter.walks != 0) finish(entered);
        entered.completions = ready();
        return entered;
    }

    /// Ends the wait under way with EnterEnd::stop_requested; if none is, the next one. Any thread, and signal handlers.
    void request_stop() noexcept { program_.request_stop(); }

    /// The state that application and loop share. Its member `enter` is this class's business.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return program_.state(); }
    /// What runs the loop: see LoopProgram.
    [[nodiscard]] Engine engine() const noexcept { return program_.engine(); }
    /// Why it is not the kernel: see LoopProgram.
    [[nodiscard]] const std::string& engine_reason() const noexcept { return program_.engine_reason(); }
    /// The loop on the ring.
    [[nodiscard]] LoopProgram<Loop>& program() noexcept { return program_; }

private:
    [[nodiscard]] std::uint32_t claimed() noexcept { return SubmissionQueue(ring_->queues()).claimed(); }
    [[nodiscard]] std::uint32_t ready() noexcept { return ring_->open() ? CompletionQueue(ring_->queues()).ready() : 0; }

    // What the kernel left in the SQ: the application's first, then what hooks have claimed. Returns how many of the
    // application's it took.
    std::uint32_t take_stock(ringstep_enter& enter) noexcept {
        if (!ring_->open() || enter.phase == RINGSTEP_ENTER_BEGIN) return 0;
        const std::uint32_t left = claimed();
        const bool all = enter.phase == RINGSTEP_ENTER_WAITING;
        left_ = all ? 0 : left < enter.begun ? left : enter.begun;
        enter.added = left - left_;
        enter.hooked = left;
        return enter.begun - left_;
    }

    // Nothing goes past the hook for completions: what came after it was last called is handed to it now.
    void finish(Entered& entered) noexcept {
        ringstep_enter& enter = program_.state()->enter;
        for (int tries = 0; tries < 100 && ring_->open() && program_.attached(); tries++) {
            const detail::QueueMemory& queues = ring_->queues();
            if (queues.word(queues.geometry.cq_tail_offset).load(std::memory_order_acquire) == enter.seen) return;
            enter.phase = RINGSTEP_ENTER_FINISH;
            const LoopExit exit = program_.run();
            if (exit.turns == 0 && !exit.resumable()) return;
            const std::uint32_t left = claimed();
            enter.added = left - left_;
            enter.hooked = left;
            entered.exit.turns += exit.turns;
            entered.exit.submitted += exit.submitted;
            entered.exit.completions += exit.completions;
            entered.exit.enters += exit.enters;
        }
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

    std::shared_ptr<detail::RingCore> ring_;
    LoopProgram<Loop> program_;
    std::uint32_t left_ = 0;  // of the application's SQEs, those that the kernel did not take
};

}  // namespace ringstep::inline v0
