// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/definition.hpp>
#include <ringstep/detail/trace.hpp>
#include <ringstep/detail/waker.hpp>
#include <ringstep/detail/kernel_engine.hpp>
#include <ringstep/detail/user_engine.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0 {

namespace detail {

// The part of a program that does not depend on the type of its loop.
class ProgramCore {
public:
    // `user` is null for a loop that has no user engine.
    ProgramCore(Ring& ring, const detail::LoopObject& object, const ringstep_user_loop* user, const LoopOptions& options)
        : ring_(detail::RingAccess::core(ring)), name_(object.name) {
        const std::string loop = "loop '" + std::string(object.name) + "'";
        if (!ring_->open()) raise(EBADF, "use of a closed ring for " + loop, "Open another.");
        if (ring_->attachment() != nullptr) {
            raise(EBUSY, "attaching of " + loop + " to the ring",
                  "The ring has a loop already: destroy that LoopProgram first.");
        }
        if ((ring_->geometry().setup_flags & (setup_cqe_mixed | setup_sqe_mixed)) != 0) {
            raise(EOPNOTSUPP, "attaching of " + loop + " to the ring",
                  "Loops do not know queues with entries of two sizes (IORING_SETUP_CQE_MIXED, IORING_SETUP_SQE_MIXED).");
        }
        if (!ring_->settle_timer()) {
            raise(EBUSY, "attaching of " + loop + " to the ring",
                  "The timer of the loop before is still in flight: attach on the ring's thread, and take completions out of a "
                  "CQ "
                  "that is full.");
        }
        if (!ring_->settle_state(100)) {
            raise(EBUSY, "attaching of " + loop + " to the ring",
                  "Requests of the loop before are still in flight, and write to the memory that this one would use. Let them "
                  "end, then try again on the ring's thread. If the CQ is full, take completions out of it first.");
        }
        const std::size_t needed = sizeof(ringstep_control) + object.state_size + options.extra_bytes;
        region_ = ring_->region();
        if (region_ && region_->size() < needed) {
            raise(ENOSPC, "use of the ring's memory region, " + std::to_string(region_->size()) + " bytes, by " + loop,
                  "The loop needs " + std::to_string(needed) +
                      ". A ring has one region for good: use one that is large enough for every loop that will run on it.");
        }
        // BPF programs hold the size in 32 bits, and the size is rounded up to whole pages.
        constexpr std::uint64_t most = (std::uint64_t{1} << 32) - (std::uint64_t{2} << 20);
        if (const std::uint64_t size = region_ ? region_->size() : needed; size > most || needed < options.extra_bytes) {
            raise(EFBIG, "use of a memory region of " + std::to_string(size) + " bytes by " + loop,
                  "It has to be smaller than 4 GiB, by 2 MiB. Buffers that the loop itself does not look into may lie anywhere "
                  "in the "
                  "process.");
        }
        if (!region_) region_ = RegionMemory::allocate(needed, options.huge_pages);
        region_->control().address = reinterpret_cast<std::uintptr_t>(region_->data());

        const Engine wanted = options.engine == Engine::automatic ? engine_of_environment() : options.engine;
        if (wanted != Engine::user) try_kernel(object, user == nullptr ? Engine::kernel : wanted, options.load_seconds);
        if (!kernel_) use_user(object, user);
        if (trace_wanted()) trace_engine(object.name, to_string(engine()), reason_);
    }

    ProgramCore(const ProgramCore&) = delete;
    ProgramCore& operator=(const ProgramCore&) = delete;
    ~ProgramCore() { detach(); }

    [[nodiscard]] const std::shared_ptr<RegionMemory>& region() const noexcept { return region_; }
    [[nodiscard]] Engine engine() const noexcept { return kernel_ ? Engine::kernel : Engine::user; }
    [[nodiscard]] const std::string& engine_reason() const noexcept { return reason_; }
    [[nodiscard]] bool attached() const noexcept { return kernel_ ? kernel_->attached() : user_->attached(); }
    void detach() noexcept {
        const bool was_attached = attached();
        if (kernel_) {
            kernel_->detach();
        } else {
            user_->detach();
        }
        // Another thread must not touch the ring any more. The owning thread does this at its next submit or attach.
        if (!was_attached || !ring_->owned_by_this_thread()) return;
        (void)ring_->settle_timer();
        (void)ring_->settle_state(ring_->close_wait_ms());
    }

    [[nodiscard]] LoopExit run() noexcept {
        LoopExit exit;
        if (refused(exit)) return exit;
        ringstep_control& control = region_->control();
        const std::uint64_t turns = control.turns;
        const std::uint64_t submitted = control.submitted;
        const std::uint64_t seen = control.reaped;
        const std::uint64_t enters = user_ ? user_->enters() : 0;
        control.code = 0;
        control.fault = RINGSTEP_FAULT_NONE;
        control.returned = 0;
        control.stopped = 0;

        int result = kernel_ ? run_in_kernel() : user_->run();
        // If another thread detached the loop at the last moment, the call was a plain io_uring_enter(2). There was no turn,
        // and nothing else explains the missing turn.
        if (result == 0 && control.turns == turns && control.stopped == 0 && control.fault == RINGSTEP_FAULT_NONE)
            result = -EFAULT;
        classify(exit, result, control);
        exit.turns = control.turns - turns;
        exit.submitted = control.submitted - submitted;
        exit.completions = control.reaped - seen;
        exit.enters = user_ ? user_->enters() - enters : 1;
        if (trace_wanted()) [[unlikely]]
            trace_exit(name_, exit);
        return exit;
    }

    [[nodiscard]] LoopExit run(std::stop_token token) noexcept {
        LoopExit exit;
        if (refused(exit)) return exit;
        {
            const std::stop_callback callback(std::move(token), [this] { set_stop(RINGSTEP_STOP_TOKEN); });
            exit = run();
        }
        // A token ends this run only. If the stop came too late for this run, the token still shows it, but the next run must
        // not see it.
        stop_word().fetch_and(~std::uint32_t{RINGSTEP_STOP_TOKEN}, std::memory_order_relaxed);
        return exit;
    }

    void request_stop() noexcept { set_stop(RINGSTEP_STOP_REQUESTED); }

    void wake() noexcept {
        if (user_) {
            user_->wake();
        } else {
            kernel_->wake();
        }
    }

private:
    [[nodiscard]] static Engine engine_of_environment() noexcept {
        const char* const value = std::getenv("RINGSTEP_ENGINE");
        const std::string_view word = value != nullptr ? value : "";
        if (word == to_string(Engine::kernel)) return Engine::kernel;
        if (word == to_string(Engine::user)) return Engine::user;
        return Engine::automatic;
    }

    void try_kernel(const detail::LoopObject& object, Engine wanted, std::uint32_t load_seconds) {
        // A kernel without loops does not gain them while it runs, so one failure is enough.
        static std::atomic<bool> kernel_cannot{false};
        if (wanted == Engine::automatic && kernel_cannot.load(std::memory_order_relaxed)) {
            reason_ = detail::KernelEngine::without_loops;
            return;
        }
        try {
            // Loads the loop before it registers the region. On a kernel without loops, the load error is then the one
            // reported.
            auto kernel = std::make_unique<detail::KernelEngine>(object, ring_->fd(), ring_->geometry(),
                                                                 static_cast<std::uint32_t>(region_->size()), load_seconds);
            ring_->register_region(*region_);
            ring_->share_region(region_);
            region_->control().stop = 0;
            prime();
            kernel->attach(ring_, region_->control(), waker_);
            kernel_ = std::move(kernel);
        } catch (const Error& error) {
            if (wanted == Engine::kernel) throw;
            reason_ = error.what();
            if (error.advice().starts_with(detail::KernelEngine::without_loops))
                kernel_cannot.store(true, std::memory_order_relaxed);
        }
    }

    void use_user(const detail::LoopObject& object, const ringstep_user_loop* user) {
        if (user == nullptr) {
            raise(EOPNOTSUPP, "use of loop '" + std::string(object.name) + "' in user space",
                  "It was compiled for the kernel only: KERNEL_ONLY of ringstep_add_loop(), or a type without user().");
        }
        auto engine = std::make_unique<detail::UserEngine>(*user, object.name, object.state_size, waker_);
        ring_->share_region(region_);
        region_->control().stop = 0;
        engine->attach(ring_, region_);
        user_ = std::move(engine);
    }

    // Returns true, and fills in `exit`, if a run cannot start. It checks this first, before it touches anything that a run on
    // the owning thread may be using.
    [[nodiscard]] bool refused(LoopExit& exit) const noexcept {
        int why = 0;
        if (ring_->inherited()) {
            why = -EFAULT;
        } else if (kernel_ && !kernel_->attached()) {
            kernel_->wait_while_detaching();
            why = -EFAULT;
        } else if (user_) {
            why = user_->refusal();
        } else if (!ring_->enabled()) {
            why = -EBADFD;
        } else if (!ring_->perhaps_owned_by_this_thread() && !ring_->owned_by_this_thread()) {
            why = -EEXIST;
        }
        if (why == 0) return false;
        ringstep_control untouched{};
        classify(exit, why, untouched);
        return true;
    }

    [[nodiscard]] int run_in_kernel() const noexcept {
        // Without a loop, this call would be a plain wait for a completion.
        const int result = kernel_->attached() ? ring_->enter(0, 0, IORING_ENTER_GETEVENTS) : -EFAULT;
        kernel_->wait_while_detaching();  // a detaching thread must be done with the ring before this one continues
        return result;
    }

    [[nodiscard]] std::atomic_ref<std::uint32_t> stop_word() const noexcept {
        return std::atomic_ref<std::uint32_t>(region_->control().stop);
    }

    // Signal handlers may call this function, so it restores errno for the interrupted code.
    void set_stop(ringstep_stop_kind kind) noexcept {
        const int before = errno;
        // Not in a forked child, because the parent process may share the region. Nor if the loop is detached, because the
        // region may belong to another one.
        if (user_) {
            user_->stop(kind);
        } else {
            kernel_->stop(kind);
        }
        errno = before;
    }

    // Kernels before 7.3 do not register a task with io_uring when its first enter runs a loop. Registering the ring's
    // descriptor does. If that fails, an ordinary submit without a visible effect does.
    void prime() noexcept {
        if (!ring_->enabled() || !ring_->owned_by_this_thread() || ring_->register_ring_fd()) return;
        SubmissionQueue sq = QueueAccess::sq(ring_->queues());
        if (sq.claimed() != 0) return;
        if (ring_->geometry().rewinds()) {
            io_uring_sqe* nop = sq.claim();
            io_uring_prep_nop(nop);
            nop->flags = IOSQE_CQE_SKIP_SUCCESS;
            if (ring_->submit(0).taken == 1) ++ring_->queues().finished;
        } else {
            (void)ring_->enter(1, 0, 0);
        }
    }

    // A stop request ends one run, so it is cleared together with the run that it ended. A request that comes after this point
    // is for the next run.
    static void stopped_by(LoopExit& exit, std::uint32_t stop, ringstep_control& control) noexcept {
        if (stop == 0) return;
        exit.error = 0;
        exit.reason = ExitReason::stop_requested;
        if ((stop & RINGSTEP_STOP_DETACH) != 0) {  // stays set: a detached loop cannot run again
            exit.error = EFAULT;
            exit.reason = ExitReason::detached;
        }
        std::atomic_ref<std::uint32_t>(control.stop).fetch_and(RINGSTEP_STOP_DETACH, std::memory_order_acquire);
    }

    static void classify(LoopExit& exit, int result, ringstep_control& control) noexcept {
        exit.error = result < 0 ? -result : 0;
        exit.code = control.code;
        switch (result) {
            case 0:
                if (control.fault == RINGSTEP_FAULT_SQ_FULL) {
                    exit.reason = ExitReason::sq_full;
                    exit.error = EAGAIN;
                } else if (control.fault == RINGSTEP_FAULT_RINGS) {
                    exit.reason = ExitReason::rings_changed;
                    exit.error = ESTALE;
                } else if (control.stopped != 0) {
                    stopped_by(exit, control.stopped, control);
                }
                break;
            case -EINTR:
                // The signal handler has run by now. If that handler or another thread requested a stop, this run answers it.
                exit.reason = ExitReason::interrupted;
                stopped_by(exit, std::atomic_ref<std::uint32_t>(control.stop).load(std::memory_order_relaxed), control);
                break;
            case -EFAULT: exit.reason = ExitReason::detached; break;
            case -EEXIST: exit.reason = ExitReason::wrong_thread; break;
            case -EBADFD: exit.reason = ExitReason::disabled; break;
            case -ESTALE: exit.reason = ExitReason::rings_changed; break;
            case -EINVAL:
                // The kit returns this when it has no region in which to name the reason.
                exit.reason = control.returned != 0 ? ExitReason::bad_return : ExitReason::rings_changed;
                exit.code = control.returned;
                break;
            default: exit.reason = ExitReason::failed; break;
        }
    }

    Waker& waker_ = Waker::instance();
    std::shared_ptr<RingCore> ring_;
    std::string name_;
    std::shared_ptr<RegionMemory> region_;
    std::unique_ptr<detail::KernelEngine> kernel_;  // either this or user_ is set
    std::unique_ptr<detail::UserEngine> user_;
    std::string reason_;  // why the kernel does not run the loop
};

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

    /// Returns the engine that runs the loop: Engine::kernel or Engine::user.
    [[nodiscard]] Engine engine() const noexcept { return core_->engine(); }

    /// Returns a text for a person that says why the kernel does not run the loop. The text is empty if the kernel runs it, or
    /// if the user engine was asked for.
    [[nodiscard]] const std::string& engine_reason() const noexcept { return core_->engine_reason(); }

    /// Returns the state that the application and the loop share. The view stays valid after the program and the ring are
    /// destroyed.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return state_; }

    /// Runs the loop until it stops or something stops it, and returns why and how the run ended. Must be called on the ring's
    /// owning thread. Never throws, and may be called again.
    LoopExit run() noexcept { return core_->run(); }

    /// Runs the loop like `run()`, but ends within one wake-up when a stop is requested through `token`. Requests stay in
    /// flight. Completions that the loop has not seen stay in the CQ, for `Ring::cq()` or for the next run. The token ends only
    /// the runs that it is passed to. If the loop ends by itself first, only the token shows the stop request.
    LoopExit run(std::stop_token token) noexcept { return core_->run(std::move(token)); }

    /// Ends the run in progress with ExitReason::stop_requested. Ends the next run instead if no run is in progress, or if the
    /// current run ends for another reason first. A request ends one run, and all requests before that run has returned count
    /// as one. May be called from any thread and from signal handlers, while the program exists.
    void request_stop() noexcept { core_->request_stop(); }

    /// Makes the loop take another turn, even if it sleeps. Call this after a change to the state that the loop should see. May
    /// be called from any thread, while the program exists.
    void wake() noexcept { core_->wake(); }

    /// Detaches the loop from the ring now, which then accepts plain submits again. A run in progress ends with
    /// ExitReason::detached. May be called from any thread. The ring's next loop uses the same memory for its state, so the
    /// state of this loop, and a class like Gate that owns this program, must not be used after the next one is attached,
    /// except to destroy them.
    void detach() noexcept { core_->detach(); }

    /// Returns true while the loop is attached: until detach() is called or the ring is closed.
    [[nodiscard]] bool attached() const noexcept { return core_->attached(); }

private:
    std::unique_ptr<detail::ProgramCore> core_;
    RegionView<state_type> state_;
};

}  // namespace ringstep::inline v0
