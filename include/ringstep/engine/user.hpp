// SPDX-License-Identifier: MIT
// The user engine: a loop compiled for this processor, run by the calling thread around ordinary io_uring_enter(2) calls.
#pragma once

#include <ringstep/abi.h>
#include <ringstep/detail/barrier.hpp>
#include <ringstep/detail/ring_core.hpp>
#include <ringstep/detail/trace.hpp>
#include <ringstep/detail/waker.hpp>
#include <ringstep/error.hpp>
#include <ringstep/user.h>

#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0::engine {

/**
 * A loop on a ring, in user space. The turns themselves are in C, with the loop (bpf/ringstep/target/user_loop.bpf.h); here is
 * what surrounds them: where the rings lie, who may run them, and how another thread wakes them up.
 *
 * Needs Linux 6.1 and no privileges.
 */
class User final : public detail::Attachment {
public:
    /// Nothing is shared or registered yet. Throws Error.
    User(const ringstep_user_loop& loop, std::string_view name, std::uint32_t state_size, detail::Waker& waker)
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

    User(const User&) = delete;
    User& operator=(const User&) = delete;
    ~User() { detach(); }

    /// Makes this the ring's loop. Throws Error for rings that loops cannot run on.
    void attach(const std::shared_ptr<detail::RingCore>& ring, const std::shared_ptr<RegionMemory>& region) {
        const Geometry& geometry = ring->geometry();
        if ((geometry.setup_flags & (IORING_SETUP_SQPOLL | IORING_SETUP_IOPOLL)) != 0) {
            detail::raise(EOPNOTSUPP, "attaching of loop '" + name_ + "' to the ring",
                          "Loops cannot run on a ring that polls (IORING_SETUP_SQPOLL, IORING_SETUP_IOPOLL): open it without.");
        }
        ring_ = ring;
        region_ = region;
        detail::QueueMemory& queues = ring->queues();
        // An address of ours: no request of the application's carries it as user_data.
        queues.wake_tag = reinterpret_cast<std::uintptr_t>(&queues);
        user_.geometry = geometry.for_program(static_cast<std::uint32_t>(region->size()), loop_.state_size);
        user_.control = &region->control();
        user_.loop = &loop_;
        user_.cq = reinterpret_cast<__u8*>(queues.rings);
        user_.sq = reinterpret_cast<__u8*>(queues.sqes);
        user_.wake_tag = queues.wake_tag;
        user_.trace = detail::trace_wanted() ? &detail::trace_turns : nullptr;
        user_.wait_fences = detail::can_order_others() ? 0 : 1;
        user_.wakes_seen = queues.own_wakes_seen;
        queues.wakes_seen = &user_.wakes_seen;
        ring->set_attachment(this);
        state_.store(State::attached);
    }

    /// Takes the loop off the ring. Any thread: a run under way (which has been told to stop) has ended when this returns, and
    /// so has another thread's detach().
    void detach() noexcept override {
        if (inherited()) return;
        State was = State::attached;
        if (!state_.compare_exchange_strong(was, State::detaching)) {
            state_.wait(State::detaching);
            return;
        }
        {
            const Sending sending(senders_);  // a run under way takes these wake-ups out of the CQ before it ends
            std::atomic_ref<std::uint32_t>(user_.control->stop).fetch_or(RINGSTEP_STOP_DETACH, std::memory_order_release);
            send_if_waiting();
        }
        running_.wait(true);
        for (std::uint32_t others = senders_.load(); others != 0; others = senders_.load()) senders_.wait(others);
        detail::QueueMemory& queues = ring_->queues();
        queues.own_wakes_seen = user_.wakes_seen - user_.wakes_sent;  // those still to come count it up to 0
        queues.wakes_seen = &queues.own_wakes_seen;
        ring_->set_attachment(nullptr);
        state_.store(State::detached);
        state_.notify_all();
    }

    /// Calls of io_uring_enter(2) so far.
    [[nodiscard]] std::uint64_t enters() const noexcept { return user_.enters; }

    /// The loop is the ring's.
    [[nodiscard]] bool attached() const noexcept { return state_.load() == State::attached && !inherited(); }

    /// Why a run would not even begin, as io_uring_enter(2) says it; 0 if it would.
    [[nodiscard]] int refusal() const noexcept {
        if (inherited()) return -EFAULT;
        if (!attached()) {
            state_.wait(State::detaching);
            return -EFAULT;
        }
        if (!ring_->enabled()) return -EBADFD;
        if (!ring_->open()) return -EBADF;
        // In a forked child, only the second knows better.
        return ring_->perhaps_owned_by_this_thread() || ring_->owned_by_this_thread() ? 0 : -EEXIST;
    }

    /// Runs the loop on the calling thread, if refusal() is 0. Returns what io_uring_enter(2) returns on a ring with a loop in
    /// the kernel.
    [[nodiscard]] int run() noexcept {
        running_.store(true);
        int result = -EFAULT;
        if (attached()) {  // and if it is being detached from now on, that waits for us
            result = run_attached();
            settle();
        }
        running_.store(false);
        running_.notify_all();
        state_.wait(State::detaching);  // whoever takes the loop off is done with the ring when this thread goes on
        return result;
    }

    /// Has a loop that sleeps take its next turn, after a stop was asked for. Any thread.
    void wake_if_waiting() noexcept {
        const Sending sending(senders_);
        if (attached()) send_if_waiting();
    }

    /// Has the loop take another turn, whatever it is doing. Any thread.
    void wake() noexcept {
        const Sending sending(senders_);
        if (!attached()) return;
        std::atomic_ref<std::uint32_t>(user_.wanted).fetch_add(1);
        send_if_waiting();
    }

private:
    enum class State : std::uint32_t {
        detached,
        attached,
        detaching,
    };

    // A loop is not taken off while wake-ups are being sent: they would reach a ring that no longer knows of them.
    class Sending {
    public:
        explicit Sending(std::atomic<std::uint32_t>& senders) noexcept : senders_(senders) { senders_.fetch_add(1); }
        Sending(const Sending&) = delete;
        Sending& operator=(const Sending&) = delete;
        ~Sending() {
            if (senders_.fetch_sub(1) == 1) senders_.notify_all();
        }

    private:
        std::atomic<std::uint32_t>& senders_;
    };

    [[nodiscard]] int run_attached() noexcept {
        // liburing has mapped the rings anew if somebody has resized them.
        if (ring_->native().cq.ring_ptr != static_cast<void*>(user_.cq) ||
            ring_->native().cq.ring_entries != ring_->geometry().cq_entries)
            return -ESTALE;
        const auto by = ring_->enter_by();
        user_.ring_fd = static_cast<__u32>(by.number);
        user_.enter_flags = by.flag;
        const int result = loop_.run(&user_);
        // After a fork, the registered number means nothing.
        return result == -EINVAL && user_.control->returned == 0 && !ring_->owned_by_this_thread() ? -EEXIST : result;
    }

    // Whoever has seen the loop asleep sends wake-ups, maybe too late: they must not come up as completions.
    void settle() noexcept {
        for (std::uint32_t others = senders_.load(); others != 0; others = senders_.load()) senders_.wait(others);
        if (std::atomic_ref<std::uint32_t>(user_.wakes_sent).load() != user_.wakes_seen) loop_.settle(&user_);
    }

    // How many completions the loop sleeps for. If none, it will see what this thread has written before.
    [[nodiscard]] std::uint32_t waiting_for() noexcept {
        if (user_.wait_fences != 0) {
            std::atomic_thread_fence(std::memory_order_seq_cst);
        } else {
            (void)detail::order_others();
        }
        return std::atomic_ref<std::uint32_t>(user_.waiting).load(std::memory_order_relaxed);
    }

    // In a forked child. What other threads were about to do at the fork, nobody will finish there.
    [[nodiscard]] bool inherited() const noexcept { return ring_ && ring_->inherited(); }

    // All there is to do is said by inherited().
    void after_fork_in_child() noexcept override {}

    [[nodiscard]] bool is_waiting() noexcept {
        return std::atomic_ref<std::uint32_t>(user_.waiting).load(std::memory_order_relaxed) != 0;
    }

    void send_if_waiting() noexcept {
        const std::uint32_t waiting = waiting_for();
        if (waiting != 0) send(waiting);
    }

    // A thread that waits for several completions is not woken up by one, so it gets as many as it waits for.
    void send(std::uint32_t count) noexcept {
        std::atomic_ref<std::uint32_t>(user_.wakes_sent).fetch_add(count, std::memory_order_seq_cst);
        std::uint32_t sent = waker_.post(ring_->fd(), user_.wake_tag, count);
        // Short of memory. Fewer would not wake it, and a stop must not get lost.
        for (int tries = 0; sent != count && tries < 1000 && is_waiting(); tries++) {
            const timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
            (void)::nanosleep(&millisecond, nullptr);
            sent += waker_.post(ring_->fd(), user_.wake_tag, count - sent);
        }
        if (sent != count) std::atomic_ref<std::uint32_t>(user_.wakes_sent).fetch_sub(count - sent);
    }

    const ringstep_user_loop& loop_;
    std::string name_;
    detail::Waker& waker_;
    std::shared_ptr<detail::RingCore> ring_;
    std::shared_ptr<RegionMemory> region_;
    std::atomic<State> state_{State::detached};
    std::atomic<bool> running_{false};
    std::atomic<std::uint32_t> senders_{0};
    ringstep_user user_{};
};

}  // namespace ringstep::inline v0::engine
