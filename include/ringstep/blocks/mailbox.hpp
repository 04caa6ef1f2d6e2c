// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/c/blocks/mailbox.h>
#include <ringstep/version.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ringstep::inline v0 {

namespace detail {

// The steps of Mailbox, for arrays whose size the compiler knows. `mask` is the size minus one.

// Writes a message. The caller must then call mailbox_sleeps().
inline void mailbox_put(ringstep_mailbox& mailbox, __u64* inbox, std::size_t mask, std::uint32_t message) noexcept {
    const std::uint32_t ticket = std::atomic_ref(mailbox.sent).fetch_add(1, std::memory_order_relaxed);
    const __u64 entry = std::uint64_t{message} << 32 | (ticket + 1);
    std::atomic_ref(inbox[ticket & mask]).store(entry, std::memory_order_release);
}

// Called after writing messages. If several senders find the loop asleep, this returns true to one of them, which wakes the
// loop.
[[nodiscard]] inline bool mailbox_sleeps(ringstep_mailbox& mailbox) noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::atomic_ref asleep(mailbox.asleep);
    return asleep.load(std::memory_order_relaxed) != 0 && asleep.exchange(0) != 0;
}

template <class Message>
[[nodiscard]] bool mailbox_send(ringstep_mailbox& mailbox, __u64* inbox, std::size_t mask, std::uint32_t count,
                                const Message& message) noexcept {
    const std::uint32_t ticket = std::atomic_ref(mailbox.sent).fetch_add(count, std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < count; i++) {
        const __u64 entry = std::uint64_t{message(i)} << 32 | (ticket + i + 1);
        std::atomic_ref(inbox[(ticket + i) & mask]).store(entry, std::memory_order_release);
    }
    return mailbox_sleeps(mailbox);
}

[[nodiscard]] inline bool mailbox_collect(ringstep_mailbox& mailbox, const __u32* outbox, std::size_t mask,
                                          std::uint32_t& slot) noexcept {
    const std::uint32_t at = mailbox.collected;
    if (at == std::atomic_ref(mailbox.delivered).load(std::memory_order_acquire)) return false;
    slot = outbox[at & mask];
    std::atomic_ref(mailbox.collected).store(at + 1, std::memory_order_release);
    return true;
}

[[nodiscard]] inline std::uint32_t mailbox_delivered(ringstep_mailbox& mailbox) noexcept {
    return std::atomic_ref(mailbox.delivered).load(std::memory_order_acquire) -
           std::atomic_ref(mailbox.collected).load(std::memory_order_acquire);
}

}  // namespace detail

/**
 * The application's side of a mailbox in a loop's state (ringstep/c/blocks/mailbox.h). Messages to the loop and from the loop
 * are numbers of slots. The object is a view: the state and both arrays must outlive it.
 *
 * **Example**:
 *
 *     ringstep::Mailbox mailbox{state->mailbox, state->inbox, state->outbox};
 *     if (mailbox.send(slot)) program.wake();             // any thread
 *     while (mailbox.collect(slot)) use(state->slots[slot]);   // one thread
 */
class Mailbox {
public:
    /// Connects to a mailbox and its two arrays. The size of each array must be a power of two. The inbox must have room for
    /// all messages that the loop has not received yet.
    Mailbox(ringstep_mailbox& mailbox, std::span<__u64> inbox, std::span<__u32> outbox) noexcept
        : mailbox_(&mailbox), inbox_(inbox), outbox_(outbox) {}

    /// Sends a message to the loop, which receives messages in the order of the send() calls. Returns true if the loop is
    /// asleep; the caller must then call LoopProgram::wake(). May be called from any thread. Takes no locks.
    [[nodiscard]] bool send(std::uint32_t message) const noexcept {
        detail::mailbox_put(*mailbox_, inbox_.data(), inbox_.size() - 1, message);
        return detail::mailbox_sleeps(*mailbox_);
    }

    /// Sends `count` messages: message(0), message(1) and so on. Costs only a little more than sending one. Returns true if the
    /// loop is asleep; the caller must then call LoopProgram::wake(). May be called from any thread.
    template <class Message>
    [[nodiscard]] bool send(std::uint32_t count, const Message& message) const noexcept {
        return detail::mailbox_send(*mailbox_, inbox_.data(), inbox_.size() - 1, count, message);
    }

    /// Takes the next slot that the loop has delivered. Returns false if there is none. May be called by one thread at a time.
    [[nodiscard]] bool collect(std::uint32_t& slot) const noexcept {
        return detail::mailbox_collect(*mailbox_, outbox_.data(), outbox_.size() - 1, slot);
    }

    /// Returns how many slots the loop has delivered that the application has not taken yet. May be called from any thread.
    [[nodiscard]] std::uint32_t delivered() const noexcept { return detail::mailbox_delivered(*mailbox_); }

private:
    ringstep_mailbox* mailbox_;
    std::span<__u64> inbox_;
    std::span<__u32> outbox_;
};

}  // namespace ringstep::inline v0
