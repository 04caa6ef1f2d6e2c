// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/detail/waker.hpp>
#include <ringstep/engine/kernel.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <atomic>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0 {

/**
 * What defines a loop for C++: its name (that given to RINGSTEP_LOOP()), its state, and the compiled program.
 *
 * **Example**:
 *
 *     struct ping {
 *         using state = ::ping_state;
 *         static constexpr std::string_view name = "ping";
 *         static std::span<const std::byte> object() { return ringstep::object_of<ping_bpf>(); }   // the skeleton's struct
 *     };
 */
template <class Loop>
concept LoopDefinition = Shareable<typename Loop::state> && requires {
    { Loop::name } -> std::convertible_to<std::string_view>;
    { Loop::object() } -> std::convertible_to<std::span<const std::byte>>;
};

/// The compiled program inside a skeleton that bpftool generated.
template <class Skeleton>
[[nodiscard]] std::span<const std::byte> object_of() {
    std::size_t size = 0;
    const auto* bytes = static_cast<const std::byte*>(Skeleton::elf_bytes(&size));
    return {bytes, size};
}

namespace detail {

// All of a program that does not depend on its loop's type.
class ProgramCore {
public:
    ProgramCore(Ring& ring, const engine::Object& object, const RegionOptions& options) : ring_(ring.core()) {
        if (!ring_->open()) raise(EBADF, "use of a closed ring for loop '" + std::string(object.name) + "'", "Open another.");
        if (ring_->attachment() != nullptr) {
            raise(EBUSY, "attaching of loop '" + std::string(object.name) + "' to the ring",
                  "The ring has a loop already: destroy that LoopProgram first.");
        }
        const std::size_t needed = sizeof(ringstep_control) + object.state_size + options.extra_bytes;
        region_ = ring_->region();
        if (region_ && region_->size() < needed) {
            raise(ENOSPC,
                  "use of the ring's memory region, " + std::to_string(region_->size()) + " bytes, by loop '" +
                      std::string(object.name) + "'",
                  "The loop needs " + std::to_string(needed) +
                      ". A ring has one region for good: register one that is large enough for "
                      "every loop that will run on it.");
        }
        if (!region_) region_ = RegionMemory::allocate(needed, options.huge_pages);
        // Loading comes before the registration: on a kernel without loops, that is the error to report.
        kernel_ = std::make_unique<engine::Kernel>(object, ring_->fd(), ring_->geometry(),
                                                   static_cast<std::uint32_t>(region_->size()));
        if (!ring_->region()) ring_->register_region(region_);
        region_->control().stop = 0;
        prime();
        kernel_->attach(ring_);
    }

    [[nodiscard]] const std::shared_ptr<RegionMemory>& region() const noexcept { return region_; }
    [[nodiscard]] bool attached() const noexcept { return kernel_->attached(); }
    void detach() noexcept {
        if (!attached()) return;
        // The kernel takes a loop off under the ring's lock, which a loop that never waits does not give up: stop it first.
        set_stop(RINGSTEP_STOP_DETACH);
        kernel_->detach();
    }

    [[nodiscard]] LoopExit run() noexcept {
        ringstep_control& control = region_->control();
        const std::uint64_t turns = control.turns;
        const std::uint64_t submitted = control.submitted;
        const std::uint64_t seen = control.reaped;
        control.code = 0;
        control.fault = RINGSTEP_FAULT_NONE;
        control.returned = 0;
        control.stopped = 0;

        LoopExit exit;
        // Without a loop the same call would be a plain wait for a completion.
        const int result = attached() ? ring_->enter(0, 0, IORING_ENTER_GETEVENTS) : -EFAULT;
        classify(exit, result, control);
        exit.turns = control.turns - turns;
        exit.submitted = control.submitted - submitted;
        exit.completions = control.reaped - seen;
        return exit;
    }

    [[nodiscard]] LoopExit run(std::stop_token token) noexcept {
        const std::stop_callback callback(std::move(token), [this] { request_stop(); });
        return run();
    }

    void request_stop() noexcept { set_stop(RINGSTEP_STOP_REQUESTED); }

private:
    void set_stop(ringstep_stop_kind kind) noexcept {
        std::atomic_ref<std::uint32_t>(region_->control().stop).store(kind, std::memory_order_release);
        waker_.wake(ring_->fd());
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
            if (ring_->submit(0) == 1) ++ring_->queues().finished;
        } else {
            (void)ring_->enter(1, 0, 0);
        }
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
                } else if (control.stopped == RINGSTEP_STOP_DETACH) {
                    exit.reason = ExitReason::detached;
                    exit.error = EFAULT;
                } else if (control.stopped != 0) {
                    exit.reason = ExitReason::stop_requested;
                    std::atomic_ref<std::uint32_t>(control.stop).store(0, std::memory_order_relaxed);
                }
                break;
            case -EINTR: exit.reason = ExitReason::interrupted; break;
            case -EFAULT: exit.reason = ExitReason::detached; break;
            case -EEXIST: exit.reason = ExitReason::wrong_thread; break;
            case -EBADFD: exit.reason = ExitReason::disabled; break;
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
    std::shared_ptr<RegionMemory> region_;
    std::unique_ptr<engine::Kernel> kernel_;
};

}  // namespace detail

/**
 * A loop on a ring: loaded and attached by the constructor, detached by the destructor.
 *
 * Construct it on the ring's owning thread, fill in `state()`, and call `run()`: one io_uring_enter(2) for as many requests as
 * the loop makes. The ring must outlive no particular object: the program holds on to what it needs of it. One program at a
 * time on a ring. Requests in flight when it goes stay in flight; their completions are the ring's.
 *
 * Needs Linux 7.1 and, to construct, CAP_BPF with CAP_PERFMON (or CAP_SYS_ADMIN).
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
    using state_type = typename Loop::state;

    /// Loads the loop and attaches it to `ring`. Allocates and registers the memory region if the ring has none yet; a region
    /// that is there keeps its contents, except for the state, which starts zeroed. Throws Error.
    explicit LoopProgram(Ring& ring, const RegionOptions& options = {})
        : core_(std::make_unique<detail::ProgramCore>(ring, engine::Object{Loop::name, Loop::object(), sizeof(state_type)},
                                                      options)),
          state_(core_->region(), sizeof(ringstep_control)) {
        std::memset(static_cast<void*>(state_.get()), 0, sizeof(state_type));
    }

    /// The state that application and loop share. The view stays good after the program and the ring are gone.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return state_; }

    /// Runs the loop until it stops or something stops it. On the ring's owning thread only. Never throws, and may be called
    /// again.
    LoopExit run() noexcept { return core_->run(); }

    /// The same, until another thread asks for a stop: the loop ends within one wake-up. Its requests stay in flight,
    /// completions that it did not see are in Ring::cq() or, if run() is called again, the loop's.
    LoopExit run(std::stop_token token) noexcept { return core_->run(std::move(token)); }

    /// Ends the run under way with ExitReason::stop_requested; if none is, the next one. Any thread, while the program lives.
    void request_stop() noexcept { core_->request_stop(); }

    /// Takes the loop off the ring now; the ring takes plain submits again. Any thread: a run under way ends with
    /// ExitReason::detached.
    void detach() noexcept { core_->detach(); }

    [[nodiscard]] bool attached() const noexcept { return core_->attached(); }

private:
    std::unique_ptr<detail::ProgramCore> core_;
    RegionView<state_type> state_;
};

}  // namespace ringstep::inline v0
