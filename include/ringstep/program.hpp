// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/definition.hpp>
#include <ringstep/detail/trace.hpp>
#include <ringstep/detail/waker.hpp>
#include <ringstep/engine/kernel.hpp>
#include <ringstep/engine/user.hpp>
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

// All of a program that does not depend on its loop's type.
class ProgramCore {
public:
    // `user` is null for a loop that has no user engine.
    ProgramCore(Ring& ring, const engine::Object& object, const ringstep_user_loop* user, const LoopOptions& options)
        : ring_(ring.core()), name_(object.name) {
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
        const std::size_t needed = sizeof(ringstep_control) + object.state_size + options.extra_bytes;
        region_ = ring_->region();
        if (region_ && region_->size() < needed) {
            raise(ENOSPC, "use of the ring's memory region, " + std::to_string(region_->size()) + " bytes, by " + loop,
                  "The loop needs " + std::to_string(needed) +
                      ". A ring has one region for good: use one that is large enough for every loop that will run on it.");
        }
        // Programs know the size as a number of 32 bits, and it is rounded up to whole pages.
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
        if (!attached()) return;
        if (kernel_) {
            // The kernel takes a loop off under the ring's lock, which a loop that never waits does not give up: stop it first.
            set_stop(RINGSTEP_STOP_DETACH);
            kernel_->detach();
            (void)ring_->settle_timer();  // on another thread: when this one next does something with the ring
        } else {
            user_->detach();
        }
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
        // Taken off by another thread at the last moment, it was a plain io_uring_enter(2): not a turn, and no reason for that.
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
        // A token asks for the end of this run alone. If it asked too late, it still says so; the next run knows nothing of it.
        stop_word().fetch_and(~std::uint32_t{RINGSTEP_STOP_TOKEN}, std::memory_order_relaxed);
        return exit;
    }

    void request_stop() noexcept { set_stop(RINGSTEP_STOP_REQUESTED); }

    void wake() noexcept {
        if (user_) {
            user_->wake();
        } else {
            waker_.wake(ring_->fd());
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

    void try_kernel(const engine::Object& object, Engine wanted, std::uint32_t load_seconds) {
        // A kernel does not learn it while it runs.
        static std::atomic<bool> kernel_cannot{false};
        if (wanted == Engine::automatic && kernel_cannot.load(std::memory_order_relaxed)) {
            reason_ = engine::Kernel::without_loops;
            return;
        }
        try {
            // Loading comes before the registration: on a kernel without loops, that is the error to report.
            auto kernel = std::make_unique<engine::Kernel>(object, ring_->fd(), ring_->geometry(),
                                                           static_cast<std::uint32_t>(region_->size()), load_seconds);
            ring_->register_region(*region_);
            ring_->share_region(region_);
            region_->control().stop = 0;
            prime();
            kernel->attach(ring_);
            kernel_ = std::move(kernel);
        } catch (const Error& error) {
            if (wanted == Engine::kernel) throw;
            reason_ = error.what();
            if (error.advice().starts_with(engine::Kernel::without_loops)) kernel_cannot.store(true, std::memory_order_relaxed);
        }
    }

    void use_user(const engine::Object& object, const ringstep_user_loop* user) {
        if (user == nullptr) {
            raise(EOPNOTSUPP, "use of loop '" + std::string(object.name) + "' in user space",
                  "It was compiled for the kernel only: KERNEL_ONLY of ringstep_add_loop(), or a type without user().");
        }
        auto engine = std::make_unique<engine::User>(*user, object.name, object.state_size, waker_);
        ring_->share_region(region_);
        region_->control().stop = 0;
        engine->attach(ring_, region_);
        user_ = std::move(engine);
    }

    // Whether a run would not even begin. Asked before anything is touched that a run on the right thread may be using.
    [[nodiscard]] bool refused(LoopExit& exit) const noexcept {
        int why = 0;
        if (ring_->inherited() || (kernel_ && !kernel_->attached())) {
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
        // Without a loop the same call would be a plain wait for a completion.
        return kernel_->attached() ? ring_->enter(0, 0, IORING_ENTER_GETEVENTS) : -EFAULT;
    }

    [[nodiscard]] std::atomic_ref<std::uint32_t> stop_word() const noexcept {
        return std::atomic_ref<std::uint32_t>(region_->control().stop);
    }

    // A signal handler may call it: the code that the signal interrupted keeps its errno.
    void set_stop(ringstep_stop_kind kind) noexcept {
        if (ring_->inherited()) return;  // the parent may share the region
        const int before = errno;
        stop_word().fetch_or(kind, std::memory_order_release);
        if (user_) {
            user_->wake_if_waiting();
        } else if (kernel_->attached()) {
            waker_.wake(ring_->fd());
        }
        errno = before;
    }

    // Kernels before 7.3 do not make a task known to io_uring when its first enter runs a loop. Registering the ring's
    // descriptor does; failing that, an ordinary submit of nothing visible.
    void prime() noexcept {
        if (!ring_->enabled() || !ring_->owned_by_this_thread() || ring_->register_ring_fd()) return;
        SubmissionQueue sq(ring_->queues());
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

    // A request ends one run, so it goes with the run that it ended. One that comes later than this is for the next run.
    static void stopped_by(LoopExit& exit, std::uint32_t stop, ringstep_control& control) noexcept {
        if (stop == 0) return;
        exit.error = 0;
        exit.reason = ExitReason::stop_requested;
        if ((stop & RINGSTEP_STOP_DETACH) != 0) {  // which lasts
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
                // The signal's handler has run by now. A stop that it asked for, or anybody else, has its end here.
                exit.reason = ExitReason::interrupted;
                stopped_by(exit, std::atomic_ref<std::uint32_t>(control.stop).load(std::memory_order_relaxed), control);
                break;
            case -EFAULT: exit.reason = ExitReason::detached; break;
            case -EEXIST: exit.reason = ExitReason::wrong_thread; break;
            case -EBADFD: exit.reason = ExitReason::disabled; break;
            case -ESTALE: exit.reason = ExitReason::rings_changed; break;
            case -EINVAL:
                // The kit says so when it has no region to say more in.
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
    std::unique_ptr<engine::Kernel> kernel_;  // one of these two
    std::unique_ptr<engine::User> user_;
    std::string reason_;  // why it is not the kernel
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
 * A loop on a ring: loaded and attached by the constructor, detached by the destructor.
 *
 * Construct it on the ring's owning thread, fill in `state()`, and call `run()`. The ring must outlive no particular object:
 * the program holds on to what it needs of it. One program at a time on a ring. Requests in flight when it goes stay in flight;
 * their completions are the ring's.
 *
 * The kernel runs it if it can (Linux 7.1 and, to construct, CAP_BPF with CAP_PERFMON or CAP_SYS_ADMIN): one io_uring_enter(2)
 * for as many requests as the loop makes. Otherwise the calling thread does, with one io_uring_enter(2) for each turn
 * (Linux 6.1). What comes out is the same; LoopOptions::engine decides, `engine()` tells. There is one difference: in the
 * kernel any signal that is handled interrupts the run, in user space only one that comes while the loop sleeps. A handler that
 * calls `request_stop()` ends it in any case, with ExitReason::stop_requested, and cannot miss the moment.
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
    /// The struct that application and loop share.
    using state_type = typename Loop::state;

    /// Loads the loop and attaches it to `ring`. Allocates the memory region if the ring has none yet; a region that is there
    /// keeps its contents, except for the state, which starts zeroed. Throws Error.
    explicit LoopProgram(Ring& ring, const LoopOptions& options = {})
        : core_(std::make_unique<detail::ProgramCore>(ring, engine::Object{Loop::name, Loop::object(), sizeof(state_type)},
                                                      detail::user_loop_of<Loop>(), options)),
          state_(core_->region(), sizeof(ringstep_control)) {
        std::memset(static_cast<void*>(state_.get()), 0, sizeof(state_type));
    }

    /// What runs the loop: Engine::kernel or Engine::user.
    [[nodiscard]] Engine engine() const noexcept { return core_->engine(); }

    /// Why it is not the kernel, in words for a person; empty if it is, or if the user engine was asked for.
    [[nodiscard]] const std::string& engine_reason() const noexcept { return core_->engine_reason(); }

    /// The state that application and loop share. The view stays good after the program and the ring are gone.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return state_; }

    /// Runs the loop until it stops or something stops it. On the ring's owning thread only. Never throws, and may be called
    /// again.
    LoopExit run() noexcept { return core_->run(); }

    /// The same, until another thread asks for a stop: the loop ends within one wake-up. Its requests stay in flight,
    /// completions that it did not see are in Ring::cq() or, if run() is called again, the loop's. The token ends runs that it
    /// is given to, and no other: if the loop came to its own end first, only the token tells of the stop.
    LoopExit run(std::stop_token token) noexcept { return core_->run(std::move(token)); }

    /// Ends the run under way with ExitReason::stop_requested. Ends the next one if none is under way, or if the one that is
    /// ends for another reason first. A request ends one run; requests that come before that run has returned count as one. May
    /// be called from any thread and from signal handlers, while the program lives.
    void request_stop() noexcept { core_->request_stop(); }

    /// Has the loop take another turn, also if it sleeps: after something in the state was changed that it should look at. Any
    /// thread, while the program lives.
    void wake() noexcept { core_->wake(); }

    /// Takes the loop off the ring now; the ring takes plain submits again. Any thread: a run under way ends with
    /// ExitReason::detached.
    void detach() noexcept { core_->detach(); }

    /// The loop is on the ring: not detached by detach(), nor by closing the ring.
    [[nodiscard]] bool attached() const noexcept { return core_->attached(); }

private:
    std::unique_ptr<detail::ProgramCore> core_;
    RegionView<state_type> state_;
};

}  // namespace ringstep::inline v0
