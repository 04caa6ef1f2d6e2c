// SPDX-License-Identifier: MIT
// What all loops have whose work any thread may push: RequestLoop, for loops that schedule requests, and Chains.
#pragma once

#include <ringstep/blocks/mailbox.hpp>
#include <ringstep/blocks/slots.hpp>
#include <ringstep/c/blocks/requests.h>
#include <ringstep/detail/loop_identity.hpp>
#include <ringstep/options.hpp>
#include <ringstep/loops/loop_class.hpp>
#include <ringstep/program.hpp>
#include <ringstep/ring.hpp>

#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace ringstep::inline v0 {

/// A state with the members of RINGSTEP_SERVICE(). RINGSTEP_REQUESTS() has them, too.
template <class State>
concept HasService = requires(State& state) {
    { state.mailbox } -> std::same_as<ringstep_mailbox&>;
    { state.requests } -> std::same_as<ringstep_requests&>;
    state.inbox[0];
    state.outbox[0];
};

/**
 * The base of loops whose work any thread may push, also while the loop runs: a table of slots, a mailbox, and the identity of
 * the loop's requests. The derived class says what a slot stands for.
 *
 * `run()` must be called on the ring's owning thread. It returns when all that was pushed has completed, unless set_stay() or
 * set_batch() change that. LoopExit::code is an enum ringstep_requests_code. A stop cancels nothing.
 */
template <LoopDefinition Loop>
    requires HasService<typename Loop::state>
class Service : public LoopClass<Loop> {
    using Base = LoopClass<Loop>;

public:
    using Base::program;
    using Base::state;
    using Base::wake;
    using typename Base::state_type;

    /// The number of slots. A slot is taken from the push until its completion or result has been taken.
    static constexpr std::uint32_t capacity = sizeof(state_type::outbox) / sizeof(std::uint32_t);
    static_assert(std::has_single_bit(capacity) && capacity <= RINGSTEP_REQUEST_SLOT + 1);

    /// Cancels what a ticket stands for. What has not been submitted yet never is. Requests in flight are cancelled by the
    /// kernel if possible, and may also succeed. Returns false if it is complete or already being cancelled. The completion or
    /// result comes in any case. May be called from any thread.
    bool cancel(const Ticket& ticket) noexcept {
        const FreeSlots::Marked marked = free_.mark_and_pin(ticket);
        if (marked == FreeSlots::Marked::yes) {
            send_cancel(ticket);
            free_.unpin(ticket);
        }
        return marked != FreeSlots::Marked::no;
    }

    /// Sets whether run() waits for more work when all is complete, until a stop is requested. Off by default. May be called
    /// from any thread.
    void set_stay(bool stay) noexcept { set(state()->requests.stay, stay ? 1 : 0); }
    /// Makes run() return when `count` completions or results can be taken. With 0, the default, run() returns when all is
    /// complete. May be called from any thread.
    void set_batch(std::uint32_t count) noexcept { set(state()->requests.batch, count); }

    /// Returns how many slots are taken: pushed, and not yet taken as completions or results. May be called from any thread.
    [[nodiscard]] std::uint32_t outstanding() const noexcept { return free_.outstanding(); }
    /// Returns how many completions or results can be taken. May be called from any thread.
    [[nodiscard]] std::uint32_t ready() const noexcept { return detail::mailbox_delivered(state()->mailbox); }
    /// Returns how many requests are submitted and not complete. May be called from any thread.
    [[nodiscard]] std::uint32_t in_flight() const noexcept { return ringstep_requests_in_flight(counts()); }

protected:
    /// Attaches the loop to a ring. Throws Error.
    Service(Ring& ring, const LoopOptions& options)
        : Base(ring, options), free_(capacity), identity_(detail::RingAccess::core(ring)) {
        state()->requests.identity = identity_.value();
    }
    ~Service() {
        // The state of a loop that was detached earlier may belong to another loop by now.
        if (program().attached() && idle()) identity_.give_back();
    }

    /// Returns true if nothing of the loop is in flight. The loop must be attached, and not run.
    [[nodiscard]] bool idle() const noexcept { return in_flight() == 0 && state()->requests.cancels == 0; }
    /// Returns the identity of the loop's requests.
    [[nodiscard]] const detail::LoopIdentity& identity() const noexcept { return identity_; }
    /// Returns how much of what was pushed the loop has received and not submitted. May be called from any thread.
    [[nodiscard]] std::uint32_t received() const noexcept { return ringstep_requests_waiting(counts()); }

    /// Sets a number of the state that the loop reads while it runs, and lets the loop see it at once. May be called from any
    /// thread.
    template <class Integer>
    void set(Integer& field, std::type_identity_t<Integer> value) noexcept {
        std::atomic_ref(field).store(value, std::memory_order_release);
        wake();
    }

    // The steps of a push. Any thread may call them.

    /// Takes a free slot, which the caller must push or give back. Returns nullopt if there is none.
    [[nodiscard]] std::optional<Ticket> take() noexcept { return free_.take(); }
    /// Takes `count` free slots, which the caller must push or give back. Returns the first slot's ticket; next() returns the
    /// others. Returns nullopt, and takes none, if too few are free.
    [[nodiscard]] std::optional<Ticket> take(std::uint32_t count) noexcept { return free_.take(count); }
    /// Returns the slot that follows `ticket` among slots taken together. There must be one.
    [[nodiscard]] Ticket next(const Ticket& ticket) const noexcept { return free_.next(ticket); }
    /// Gives back a slot that was taken and not pushed, or collected.
    void give_back(const Ticket& ticket) noexcept { free_.give_back(ticket); }

    /// Returns the table of free slots, which exists as long as this object.
    [[nodiscard]] FreeSlots& free_slots() noexcept { return free_; }

    /// Writes which use of the slot this is, with the identity of the loop or 0. The loop compares it when it receives a
    /// message to cancel the slot's earlier use.
    static void name(__u64& identity, const Ticket& ticket, std::uint64_t loop = 0) noexcept {
        const auto generation = static_cast<std::uint32_t>(ticket.generation & RINGSTEP_IDENTITY_GENERATION);
        std::atomic_ref(identity).store(loop | ringstep_identity_of_slot(ticket.slot, generation), std::memory_order_relaxed);
    }

    /// Marks a slot that was just taken as open: it is then pushed in two steps, the second one between hold() and release().
    void open(const Ticket& ticket) noexcept { free_.open(ticket); }
    /// Begins the second step of pushing an open slot. Returns true to one caller only, and false if the slot was cancelled.
    /// From now on, cancelling it waits for release().
    [[nodiscard]] bool hold(const Ticket& ticket) noexcept { return free_.hold(ticket); }
    /// Ends the second step after the slot was pushed, and cancels it if that was asked for meanwhile.
    void release(const Ticket& ticket) noexcept {
        if (!free_.release_and_pin(ticket)) return;
        send_cancel(ticket);
        free_.unpin(ticket);
    }

    /// Tells the loop of a slot that has been filled in. From now on, only the loop may access the slot.
    void hand_over(const Ticket& ticket) noexcept { send(ticket.slot); }
    /// Tells the loop of `count` slots that were taken together, beginning with `first`.
    void hand_over(const Ticket& first, std::uint32_t count) noexcept {
        Ticket ticket = first;
        const auto message = [&](std::uint32_t i) {
            // Once sent, the slot may complete and be taken again by another thread. Its successor is therefore looked up
            // before that.
            const std::uint32_t slot = ticket.slot;
            if (i + 1 < count) ticket = next(ticket);
            return slot;
        };
        if (detail::mailbox_send(state()->mailbox, state()->inbox, inbox_mask, count, message)) wake();
    }

    /// Takes the next slot that the loop has delivered, which the caller must give back. Returns nullopt if there is none. May
    /// be called by one thread at a time.
    [[nodiscard]] std::optional<Ticket> collect() noexcept {
        std::uint32_t slot = 0;
        if (!detail::mailbox_collect(state()->mailbox, state()->outbox, capacity - 1, slot)) return std::nullopt;
        return free_.of(slot);
    }

private:
    static constexpr std::size_t inbox_mask = sizeof(state_type::inbox) / sizeof(__u64) - 1;

    [[nodiscard]] std::uint64_t counts() const noexcept {
        return std::atomic_ref(state()->requests.counts).load(std::memory_order_acquire);
    }

    // The loop sees 15 bits of the generation. They tell a slot's use from the one before it. That is enough: a slot for which
    // a message is about to be sent is pinned, so no older message can be on its way.
    void send_cancel(const Ticket& ticket) noexcept {
        const auto generation = static_cast<std::uint32_t>(ticket.generation & RINGSTEP_REQUEST_GENERATION);
        state_type& shared = *state();
        detail::mailbox_put(shared.mailbox, shared.inbox, inbox_mask,
                            RINGSTEP_REQUEST_CANCEL | generation << RINGSTEP_REQUEST_GENERATION_SHIFT | ticket.slot);
        // A loop that leaves messages about new requests for later learns by this number that one to cancel has arrived. It
        // does not say that it sleeps: either it sees the number, or this thread sees that it may sleep.
        std::atomic_ref(shared.requests.attempts).fetch_add(1);
        if (detail::mailbox_sleeps(shared.mailbox) || std::atomic_ref(shared.requests.leaves).load() != 0) wake();
    }

    void send(std::uint32_t message) noexcept {
        state_type& shared = *state();
        detail::mailbox_put(shared.mailbox, shared.inbox, inbox_mask, message);
        if (detail::mailbox_sleeps(shared.mailbox)) wake();
    }

    FreeSlots free_;
    detail::LoopIdentity identity_;
};

}  // namespace ringstep::inline v0
