// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/definition.hpp>
#include <ringstep/detail/program_core.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

namespace ringstep::inline v0 {

namespace detail {

struct ProgramAccess;

template <LoopDefinition Loop>
[[nodiscard]] const ringstep_user_loop* user_loop_of() noexcept {
    if constexpr (HasUserEngine<Loop>) {
        return &Loop::user();
    } else {
        return nullptr;
    }
}

}  // namespace detail

/**
 * A loop on a ring. The constructor loads and attaches the loop, and the destructor detaches it.
 *
 * Construct a program on the ring's owning thread, fill in `state()`, and call `run()`. The `Ring` object may be destroyed
 * before the program, which keeps the io_uring open until it is destroyed itself. A ring has at most one program at a time.
 * Requests in flight stay in flight when the program is destroyed, and their completions then go to the ring's CQ. The next
 * program on the ring has its state in the same memory. So if requests write to the state or to the rest of the region, end
 * them before you construct the next program.
 *
 * The kernel runs the loop if it can. That needs Linux 7.1 and, to construct the program, CAP_BPF with CAP_PERFMON, or
 * CAP_SYS_ADMIN. One io_uring_enter(2) then serves all the requests that the loop makes. Otherwise the calling thread runs the
 * loop, with one io_uring_enter(2) for each turn (Linux 6.1). LoopOptions::engine selects the engine, and `engine()` returns
 * it.
 *
 * Both engines give the same results, with one difference. In the kernel, every handled signal interrupts the run. In user
 * space, only a signal that comes while the loop sleeps does. A signal handler that calls `request_stop()` always ends the run
 * with ExitReason::stop_requested, whenever the signal comes.
 *
 * Moving a program is cheap, and a run in progress must not be moved. A moved-from program has no loop any more. Its functions
 * may all be called, and return what their comments say.
 *
 * **Example**:
 *
 *     ringstep::LoopProgram<ringstep::loops::nop_chain> program{ring};
 *     program.state()->total = 1'000'000;
 *     program.state()->depth = 1;
 *     ringstep::LoopExit exit = program.run();
 *     if (!exit.ok()) fmt::print(stderr, "{}\n", exit);
 */
template <LoopDefinition Loop>
class LoopProgram {
public:
    /// The struct that the application and the loop share.
    using state_type = typename Loop::state;

    /// Loads the loop and attaches it to `ring`. Allocates the memory region if the ring has none yet. An existing region keeps
    /// its contents, except for the state, which starts zeroed. Must be called on the ring's owning thread. Throws Error.
    explicit LoopProgram(Ring& ring, const LoopOptions& options = {})
        : core_(std::make_unique<detail::ProgramCore>(ring, detail::LoopObject{Loop::name, Loop::object(), sizeof(state_type)},
                                                      detail::user_loop_of<Loop>(), options)),
          state_(core_->region(), sizeof(ringstep_control)) {
        std::memset(static_cast<void*>(state_.get()), 0, sizeof(state_type));
    }

    /// Returns the engine that runs the loop: Engine::kernel or Engine::user. Returns Engine::automatic if the program was
    /// moved from.
    [[nodiscard]] Engine engine() const noexcept { return core_ ? core_->engine() : Engine::automatic; }

    /// Returns a text for a person that says why the kernel does not run the loop. The text is empty if the kernel runs it, if
    /// the user engine was asked for, or if the program was moved from.
    [[nodiscard]] const std::string& engine_reason() const noexcept {
        return core_ ? core_->engine_reason() : detail::no_reason.text;
    }

    /// Returns the state that the application and the loop share. The view stays valid after the program and the ring are
    /// destroyed. A moved-from program returns the same view as the program that it was moved to.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return state_; }

    /// Runs the loop until it stops or something stops it, and returns why and how the run ended. Must be called on the ring's
    /// owning thread. On another thread, it changes nothing and returns ExitReason::wrong_thread. Returns ExitReason::detached
    /// if the loop is not attached, or if the program was moved from. Never throws, and may be called again.
    LoopExit run() noexcept { return core_ ? core_->run() : detached(); }

    /// Runs the loop like `run()`, but ends within one wake-up when a stop is requested through `token`. Requests stay in
    /// flight. Completions that the loop has not seen stay in the CQ, for `Ring::cq()` or for the next run. The token ends only
    /// the runs that it is passed to. If the loop ends by itself first, only the token shows the stop request.
    LoopExit run(std::stop_token token) noexcept { return core_ ? core_->run(std::move(token)) : detached(); }

    /// Ends the run in progress with ExitReason::stop_requested. Ends the next run instead if no run is in progress, or if the
    /// current run ends for another reason first. A request ends one run, and all requests before that run has returned count
    /// as one. Does nothing if the program was moved from. May be called from any thread and from signal handlers, while the
    /// program exists.
    void request_stop() noexcept {
        if (core_) core_->request_stop();
    }

    /// Makes the loop take another turn, even if it sleeps. Call this after a change to the state that the loop should see.
    /// Does nothing if the program was moved from. May be called from any thread, while the program exists.
    void wake() noexcept {
        if (core_) core_->wake();
    }

    /// Detaches the loop from the ring now, which then accepts plain submits again. A run in progress ends with
    /// ExitReason::detached. If another thread is detaching the loop, the function waits until that is done. Does nothing if
    /// the program was moved from. May be called from any thread. The ring's next loop uses the same memory for its state, so
    /// the state of this loop, and a class like Gate that owns this program, must not be used after the next one is attached,
    /// except to destroy them.
    void detach() noexcept {
        if (core_) core_->detach();
    }

    /// Returns true while the loop is attached: until detach() is called or the ring is closed. If somebody detaches the loop
    /// without this process, for instance an administrator (BPF_LINK_DETACH), the next run notices that. Returns false if the
    /// program was moved from.
    [[nodiscard]] bool attached() const noexcept { return core_ && core_->attached(); }

private:
    friend struct detail::ProgramAccess;

    [[nodiscard]] static LoopExit detached() noexcept { return {.reason = ExitReason::detached, .error = EFAULT}; }

    std::unique_ptr<detail::ProgramCore> core_;  // null after a move
    RegionView<state_type> state_;
};

/// Lets go of the programs that this process has loaded into the kernel. The process keeps the last 16, so that the verifier
/// need not check a loop again for each ring: a ring with the same sizes then gets the same program. Each of them takes two
/// file descriptors and the kernel's memory of the program. Loops that run or are attached are not affected. May be called from
/// any thread.
///
///     ringstep::forget_loaded_programs();  // after the last ring was set up
inline void forget_loaded_programs() noexcept { detail::LoadedPrograms::forget_all(); }

namespace detail {

// How classes that own a program check whether it may run, before they touch its state.
struct ProgramAccess {
    // Returns true, and fills in `exit`, if a run cannot start on this thread. Then run() returns the same.
    template <class Loop>
    [[nodiscard]] static bool refused(const LoopProgram<Loop>& program, LoopExit& exit) noexcept {
        if (program.core_) return program.core_->refused(exit);
        exit = LoopProgram<Loop>::detached();
        return true;
    }
    // Runs the loop after refused() has returned false.
    template <class Loop, class... Token>
    [[nodiscard]] static LoopExit run_allowed(LoopProgram<Loop>& program, Token&&... token) noexcept {
        return program.core_->run_allowed(std::forward<Token>(token)...);
    }
};

}  // namespace detail

}  // namespace ringstep::inline v0
