// SPDX-License-Identifier: MIT
// The user engine: the calling thread runs a loop compiled for this processor, around ordinary io_uring_enter(2) calls.
#pragma once

#include <ringstep/c/abi.h>
#include <ringstep/detail/barrier.hpp>
#include <ringstep/detail/ring_core.hpp>
#include <ringstep/detail/tether.hpp>
#include <ringstep/detail/trace.hpp>
#include <ringstep/detail/waker.hpp>
#include <ringstep/error.hpp>
#include <ringstep/c/user.h>

#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0::detail {

/**
 * A loop on a ring, in user space. The turns themselves are written in C and compiled with the loop
 * (bpf/ringstep/target/user_loop.bpf.h). This class gives them the layout of the rings, decides which thread may run them, and
 * wakes them from other threads.
 *
 * Needs Linux 6.1, but no privileges.
 */
class UserEngine final : public detail::Attachment {
public:
    /// Checks that the loop fits the library and the C++ type. Nothing is shared or registered yet. Throws Error.
    UserEngine(const ringstep_user_loop& loop, std::string_view name, std::uint32_t state_size, detail::Waker& waker)
        : loop_(loop), name_(name), waker_(waker) {
        if (loop.abi != RINGSTEP_ABI_VERSION) {
            detail::raise(EPROTO, "use of loop '" + name_ + "' in user space",
                          "It was compiled with another version of the kit (its interface is number " +
                              std::to_string(loop.abi) + ", the library's is " + std::to_string(RINGSTEP_ABI_VERSION) +
                              "): compile both from one release.");
        }
        if (loop.state_size != state_size) {
            detail::raise(EPROTO, "use of loop '" + name_ + "' in user space",
                          "Its state has " + std::to_string(loop.state_size) + " bytes in the loop and " +
                              std::to_string(state_size) + " in C++: compile both with the same state header.");
        }
        if (name_ != loop.name) {
            detail::raise(ENOENT, "use of loop '" + name_ + "' in user space",
                          "The name given to RINGSTEP_LOOP() is '" + std::string(loop.name) +
                              "', and that of the C++ type has to be the same.");
        }
    }

    UserEngine(const UserEngine&) = delete;
    UserEngine& operator=(const UserEngine&) = delete;
    ~UserEngine() { detach(); }

    /// Attaches the loop to the ring. Must be called on the ring's owning thread. Throws Error (EOPNOTSUPP) if the ring polls.
    void attach(const std::shared_ptr<detail::RingCore>& ring, const std::shared_ptr<RegionMemory>& region) {
        const Geometry& geometry = ring->geometry();
        if ((geometry.setup_flags & (IORING_SETUP_SQPOLL | IORING_SETUP_IOPOLL)) != 0) {
            detail::raise(EOPNOTSUPP, "attaching of loop '" + name_ + "' to the ring",
                          "Loops cannot run on a ring that polls (IORING_SETUP_SQPOLL, IORING_SETUP_IOPOLL): open it without.");
        }
        ring_ = ring;
        region_ = region;
        detail::QueueMemory& queues = ring->queues();
        // This is an address of the library's, so no request of the application has it as user_data.
        queues.wake_tag = reinterpret_cast<std::uintptr_t>(&queues);
        user_.geometry = geometry.for_program(region->size(), loop_.state_size);
        user_.control = &region->control();
        user_.loop = &loop_;
        user_.cq = reinterpret_cast<__u8*>(queues.rings);
        user_.sq = reinterpret_cast<__u8*>(queues.sqes);
        user_.wake_tag = queues.wake_tag;
        user_.trace = detail::trace_wanted() ? &detail::trace_turns : nullptr;
        user_.wait_fences = detail::can_order_others() ? 0 : 1;
        user_.wakes_seen = queues.kept_wakes_seen;
        queues.wakes_seen = &user_.wakes_seen;
        ring->set_attachment(this);
        tether_.attach();
    }

    /// Detaches the loop from the ring. When this returns, a run in progress has been told to stop and has ended. A detach() on
    /// another thread has also ended then. On the ring's owning thread, detach_and_settle() also ends the requests that the
    /// ring's next loop must not meet. May be called from any thread.
    void detach() noexcept override { detach(false); }
    void detach_and_settle() noexcept { detach(true); }

    /// Returns the number of io_uring_enter(2) calls so far.
    [[nodiscard]] std::uint64_t enters() const noexcept { return user_.enters; }

    /// Returns true while the loop is attached.
    [[nodiscard]] bool attached() const noexcept { return tether_.attached() && !inherited(); }

    /// Returns why a run cannot start, as a negative errno of io_uring_enter(2), or 0 if it can. May be called from any thread.
    [[nodiscard]] int refusal() const noexcept {
        if (inherited()) return -EFAULT;
        if (!attached()) {
            tether_.wait_while_detaching();
            return -EFAULT;
        }
        if (!ring_->enabled()) return -EBADFD;
        if (!ring_->open()) return -EBADF;
        // In a child made without fork(3), only the second check is right.
        return ring_->perhaps_owned_by_this_thread() || ring_->owned_by_this_thread() ? 0 : -EEXIST;
    }

    /// Runs the loop on the calling thread. The caller must have checked that refusal() is 0. Returns the value that
    /// io_uring_enter(2) returns on a ring with a loop in the kernel.
    [[nodiscard]] int run() noexcept {
        if (needs_fences_.load(std::memory_order_relaxed)) [[unlikely]]
            std::atomic_ref<std::uint32_t>(user_.wait_fences).store(1, std::memory_order_relaxed);
        running_.store(true);
        int result = -EFAULT;
        if (attached()) {  // a detach that starts from here on waits for this run
            result = run_attached();
            settle();
        }
        running_.store(false);
        running_.notify_all();
        tether_.wait_while_detaching();  // a detaching thread must be done with the ring before this one continues
        return result;
    }

    /// Sets a bit of the stop word and makes a sleeping loop see it. Does nothing if the loop is not attached. May be called
    /// from any thread and from signal handlers.
    void stop(ringstep_stop_kind kind) noexcept {
        const detail::Tether::Use use(tether_);
        if (!attached()) return;
        stop_word().fetch_or(kind, std::memory_order_release);
        send_if_waiting();
    }

    /// Makes the loop take another turn, whatever it is doing. May be called from any thread.
    void wake() noexcept {
        const detail::Tether::Use use(tether_);
        if (!attached()) return;
        std::atomic_ref<std::uint32_t>(user_.wanted).fetch_add(1);
        send_if_waiting();
    }

private:
    void detach(bool settle) noexcept {
        if (inherited()) return;
        if (!tether_.begin_detaching()) {
            if (settle && ring_) ring_->settle_detached();
            return;
        }
        {
            const detail::Tether::Use use(tether_);  // a run in progress takes these wake-ups out of the CQ before it ends
            stop_word().fetch_or(RINGSTEP_STOP_DETACH, std::memory_order_release);
            send_if_waiting();
        }
        running_.wait(true);
        tether_.wait_for_users();
        detail::QueueMemory& queues = ring_->queues();
        queues.kept_wakes_seen = user_.wakes_seen - user_.wakes_sent;  // wake-ups that still come count it up to 0
        queues.wakes_seen = &queues.kept_wakes_seen;
        ring_->set_attachment(nullptr);
        if (settle) ring_->settle_detached();
        tether_.end_detaching();
    }

    [[nodiscard]] std::atomic_ref<std::uint32_t> stop_word() const noexcept {
        return std::atomic_ref<std::uint32_t>(user_.control->stop);
    }

    [[nodiscard]] int run_attached() noexcept {
        // liburing maps the rings again when somebody resizes them.
        if (ring_->native().cq.ring_ptr != static_cast<void*>(user_.cq) ||
            ring_->native().cq.ring_entries != ring_->geometry().cq_entries)
            return -ESTALE;
        const auto by = ring_->enter_by();
        user_.ring_fd = static_cast<__u32>(by.number);
        user_.enter_flags = by.flag;
        const int result = loop_.run(&user_);
        // After a fork, the registered number is meaningless.
        return result == -EINVAL && user_.control->returned == 0 && !ring_->owned_by_this_thread() ? -EEXIST : result;
    }

    // A thread that has seen the loop asleep sends wake-ups, which may come too late. They must not show up as completions.
    void settle() noexcept {
        tether_.wait_for_users();
        if (std::atomic_ref<std::uint32_t>(user_.wakes_sent).load() != user_.wakes_seen) loop_.settle(&user_);
    }

    // Returns how many completions the loop sleeps for. If it returns 0, the loop will see everything that this thread has
    // written before.
    [[nodiscard]] std::uint32_t waiting_for() noexcept {
        const std::atomic_ref waiting(user_.waiting);
        const bool fences = std::atomic_ref<std::uint32_t>(user_.wait_fences).load(std::memory_order_relaxed) != 0;
        if (fences || !detail::order_others()) {
            std::atomic_thread_fence(std::memory_order_seq_cst);
            if (!fences && waiting.load(std::memory_order_relaxed) == 0 && running_.load()) {
                // A filter of system calls, installed since, forbids membarrier(2). From the next run on, the loop orders its
                // own accesses. A loop that is about to sleep in this run has written that down, and this thread sees it soon.
                needs_fences_.store(true);
                sleep_a_millisecond();
            }
        }
        return waiting.load(std::memory_order_relaxed);
    }

    static void sleep_a_millisecond() noexcept {
        const timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
        (void)::nanosleep(&millisecond, nullptr);
    }

    // Returns true in a forked child. Nobody there finishes the work that other threads had in progress at the fork.
    [[nodiscard]] bool inherited() const noexcept { return ring_ && ring_->inherited(); }

    // Nothing to do: inherited() already reports the fork.
    void after_fork_in_child() noexcept override {}

    [[nodiscard]] bool is_waiting() noexcept {
        return std::atomic_ref<std::uint32_t>(user_.waiting).load(std::memory_order_relaxed) != 0;
    }

    void send_if_waiting() noexcept {
        const std::uint32_t waiting = waiting_for();
        if (waiting != 0) send(waiting);
    }

    // One completion does not wake a thread that waits for several, so the thread gets as many as it waits for.
    void send(std::uint32_t count) noexcept {
        std::atomic_ref<std::uint32_t>(user_.wakes_sent).fetch_add(count, std::memory_order_seq_cst);
        int error = 0;
        std::uint32_t sent = waker_.post(ring_->fd(), user_.wake_tag, count, &error);
        // The thread waits for `count` completions, so fewer of them would not wake it.
        for (int tries = 0; sent != count && tries < Waker::most_tries(error) && is_waiting(); tries++) {
            sleep_a_millisecond();
            sent += waker_.post(ring_->fd(), user_.wake_tag, count - sent, &error);
        }
        if (sent != count) std::atomic_ref<std::uint32_t>(user_.wakes_sent).fetch_sub(count - sent);
    }

    const ringstep_user_loop& loop_;
    std::string name_;
    detail::Waker& waker_;
    std::shared_ptr<detail::RingCore> ring_;
    std::shared_ptr<RegionMemory> region_;
    detail::Tether tether_;  // a loop is not detached while wake-ups are being sent: the ring would not recognise them
    std::atomic<bool> running_{false};
    std::atomic<bool> needs_fences_{false};
    ringstep_user user_{};
};

}  // namespace ringstep::inline v0::detail
