// SPDX-License-Identifier: MIT
// The part of a program that does not depend on the type of its loop: attaching, runs and their ends.
#pragma once

#include <ringstep/c/result.h>
#include <ringstep/detail/kernel_engine.hpp>
#include <ringstep/detail/trace.hpp>
#include <ringstep/detail/user_engine.hpp>
#include <ringstep/detail/waker.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0::detail {

// The part of a program that does not depend on the type of its loop.
class ProgramCore {
public:
    // `user` is null for a loop that has no user engine.
    ProgramCore(Ring& ring, const LoopObject& object, const ringstep_user_loop* user, const LoopOptions& options)
        : ring_(RingAccess::core(ring)), name_(object.name) {
        const std::string loop = "loop '" + std::string(object.name) + "'";
        if (!ring_ || !ring_->open()) raise(EBADF, "use of a closed ring for " + loop, "Open another.");
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
        const std::uint64_t size = region_ ? region_->size() : needed;
        if (size > largest_region || needed < options.extra_bytes) raise_region_too_large(size, loop);
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
        if (kernel_) {
            kernel_->detach_and_settle();
        } else {
            user_->detach_and_settle();
        }
    }

    [[nodiscard]] LoopExit run() noexcept {
        LoopExit exit;
        return refused(exit) ? exit : run_allowed();
    }

    [[nodiscard]] LoopExit run(std::stop_token token) noexcept {
        LoopExit exit;
        return refused(exit) ? exit : run_allowed(std::move(token));
    }

    // Runs the loop after refused() has returned false on this thread.
    [[nodiscard]] LoopExit run_allowed() noexcept {
        LoopExit exit;
        ringstep_control& control = region_->control();
        const std::uint64_t turns = control.turns;
        const std::uint64_t calls = control.calls;
        const std::uint64_t submitted = control.submitted;
        const std::uint64_t seen = control.reaped;
        const std::uint64_t enters = user_ ? user_->enters() : 0;
        control.code = 0;
        control.fault = RINGSTEP_FAULT_NONE;
        control.returned = 0;
        control.stopped = 0;

        int result = kernel_ ? run_in_kernel() : user_->run();
        // If somebody detached the loop at the last moment, the call was a plain io_uring_enter(2). There was no turn, and
        // nothing else explains the missing turn.
        if (result == 0 && control.turns == turns && control.stopped == 0 && control.fault == RINGSTEP_FAULT_NONE)
            result = -EFAULT;
        // A signal came after the step had ended the run, and before the kernel had done its deferred work.
        if (result == -EINTR && control.fault == RINGSTEP_FAULT_STOPPED) result = 0;
        classify(exit, result, control);
        exit.turns = control.turns - turns;
        exit.calls = control.calls - calls;
        exit.submitted = control.submitted - submitted;
        exit.completions = control.reaped - seen;
        exit.enters = user_ ? user_->enters() - enters : 1;
        // An administrator can detach a loop without this process (BPF_LINK_DETACH). The ring then takes plain submits again.
        if (exit.reason == ExitReason::detached && attached()) [[unlikely]]
            detach();
        if (trace_wanted()) [[unlikely]]
            trace_exit(name_, exit);
        return exit;
    }

    [[nodiscard]] LoopExit run_allowed(std::stop_token token) noexcept {
        LoopExit exit;
        {
            const std::stop_callback callback(std::move(token), [this] { set_stop(RINGSTEP_STOP_TOKEN); });
            exit = run_allowed();
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
        if (trace_wanted()) [[unlikely]]
            trace_exit(name_, exit);
        return true;
    }

private:
    [[nodiscard]] static Engine engine_of_environment() noexcept {
        const char* const value = std::getenv("RINGSTEP_ENGINE");
        const std::string_view word = value != nullptr ? value : "";
        if (word == to_string(Engine::kernel)) return Engine::kernel;
        if (word == to_string(Engine::user)) return Engine::user;
        return Engine::automatic;
    }

    void try_kernel(const LoopObject& object, Engine wanted, std::uint32_t load_seconds) {
        // A kernel without loops does not gain them while it runs, so one failure is enough.
        static std::atomic<bool> kernel_cannot{false};
        if (wanted == Engine::automatic && kernel_cannot.load(std::memory_order_relaxed)) {
            reason_ = KernelEngine::without_loops;
            return;
        }
        try {
            // Loads the loop before it registers the region. On a kernel without loops, the load error is then the one
            // reported.
            auto kernel = std::make_unique<KernelEngine>(object, ring_->fd(), ring_->geometry(), region_->size(), load_seconds);
            ring_->register_region(*region_);
            ring_->share_region(region_);
            region_->control().stop = 0;
            prime();
            kernel->attach(ring_, region_->control(), waker_);
            kernel_ = std::move(kernel);
        } catch (const detail::NoLoops& error) {
            if (wanted == Engine::kernel) throw;
            reason_ = error.what();
            kernel_cannot.store(true, std::memory_order_relaxed);
        } catch (const Error& error) {
            if (wanted == Engine::kernel) throw;
            reason_ = error.what();
        }
    }

    void use_user(const LoopObject& object, const ringstep_user_loop* user) {
        if (user == nullptr) {
            raise(EOPNOTSUPP, "use of loop '" + std::string(object.name) + "' in user space",
                  "It was compiled for the kernel only: KERNEL_ONLY of ringstep_add_loop(), or a type without user().");
        }
        auto engine = std::make_unique<UserEngine>(*user, object.name, object.state_size, waker_);
        ring_->share_region(region_);
        region_->control().stop = 0;
        engine->attach(ring_, region_);
        user_ = std::move(engine);
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
        exit.error = ringstep_error_of(result);
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
    std::unique_ptr<KernelEngine> kernel_;  // either this or user_ is set
    std::unique_ptr<UserEngine> user_;
    std::string reason_;  // why the kernel does not run the loop
};

// What engine_reason() of a moved-from program returns. Its destructor does nothing, because threads may still run when a
// process exits.
union NoReason {
    constexpr NoReason() noexcept : text() {}
    ~NoReason() {}  // NOLINT: does not destroy its member
    std::string text;
};
inline constinit const NoReason no_reason;

}  // namespace ringstep::inline v0::detail
