// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace ringstep::inline v0 {

/// Identifies one use of a slot.
struct Ticket {
    std::uint32_t slot = 0;        ///< the slot's number
    std::uint64_t generation = 0;  ///< earlier uses of the slot; has 59 bits, so a value never returns

    /// Returns whether two tickets identify one use of one slot.
    friend bool operator==(const Ticket&, const Ticket&) = default;
};

/**
 * Keeps track of the free slots of a table. The application takes slots, hands them to a loop, and gets them back. All
 * functions may be called from any thread unless they say otherwise, and take no locks. Memory is allocated once, by the
 * constructor.
 */
class FreeSlots {
public:
    /// The result of mark().
    enum class Marked {
        no,    ///< that use of the slot is over, or was already marked
        yes,   ///< the slot is marked now: the caller acts on the mark
        held,  ///< the slot is marked now, and its holder learns that from release()
    };

    /// Creates a table of `capacity` free slots, at most 65536. Tickets start with `generation`, which only tests set. Throws
    /// std::bad_alloc.
    explicit FreeSlots(std::uint32_t capacity, std::uint64_t generation = 0)
        : slots_(std::make_unique<Slot[]>(capacity)),
          capacity_(capacity),
          free_(std::uint64_t{capacity} << count_shift | (capacity != 0 ? 1U : 0U)) {
        for (std::uint32_t i = 0; i + 1 < capacity; i++) slots_[i].next.store(i + 2, std::memory_order_relaxed);
        for (std::uint32_t i = 0; i < capacity; i++) slots_[i].use.store(use_of(generation), std::memory_order_relaxed);
    }

    /// Takes a free slot. Returns nullopt if there is none.
    [[nodiscard]] std::optional<Ticket> take() noexcept {
        std::uint64_t head = free_.load(std::memory_order_acquire);
        while (number_of(head) != 0) {
            const Slot& first = slots_[number_of(head) - 1];
            // Another thread may take the slot now. The exchange fails in that case.
            const std::uint64_t after = changed(head, first.next.load(std::memory_order_relaxed), -1);
            if (free_.compare_exchange_weak(head, after, std::memory_order_acq_rel, std::memory_order_acquire))
                return Ticket{.slot = number_of(head) - 1,
                              .generation = generation_of(first.use.load(std::memory_order_relaxed))};
        }
        return std::nullopt;
    }

    /// Takes `count` free slots, at least one. Returns the first slot's ticket; next() returns the others. Returns nullopt, and
    /// takes none, if fewer than `count` are free.
    [[nodiscard]] std::optional<Ticket> take(std::uint32_t count) noexcept {
        std::uint64_t head = free_.load(std::memory_order_acquire);
        while (count_of(head) >= count) {
            // Other threads may change the list during this walk. Each value read is then a slot's number or zero. The exchange
            // fails in that case, because every change also raises the count of changes in the word.
            std::uint32_t after = number_of(head);
            for (std::uint32_t i = 0; i < count && after != 0; i++)
                after = slots_[after - 1].next.load(std::memory_order_relaxed);
            if (free_.compare_exchange_weak(head, changed(head, after, -std::int64_t{count}), std::memory_order_acq_rel,
                                            std::memory_order_acquire))
                return of(number_of(head) - 1);
        }
        return std::nullopt;
    }
    /// Returns the slot that follows `ticket` among slots taken together. There must be one.
    [[nodiscard]] Ticket next(const Ticket& ticket) const noexcept {
        return of(slots_[ticket.slot].next.load(std::memory_order_relaxed) - 1);
    }

    /// Gives the slot of a valid ticket back, which ends the validity of the ticket. A pinned slot becomes free when it is
    /// unpinned.
    void give_back(const Ticket& ticket) noexcept {
        // The exchange ends this use of the slot: later calls of mark() or hold() with its ticket have no effect.
        std::uint64_t use = use_of(ticket.generation);
        if (slots_[ticket.slot].use.compare_exchange_strong(use, use + use_of(1), std::memory_order_acq_rel,
                                                            std::memory_order_acquire)) [[likely]]
            put(ticket.slot);
        else
            give_back_marked(ticket.slot, use);
    }

    /// Returns the current ticket of a slot that is taken.
    [[nodiscard]] Ticket of(std::uint32_t slot) const noexcept {
        return {.slot = slot, .generation = generation_of(slots_[slot].use.load(std::memory_order_relaxed))};
    }

    /// Marks a use of a slot. Only the first call for each use has an effect.
    [[nodiscard]] Marked mark(const Ticket& ticket) noexcept { return mark(ticket, 0); }
    /// Marks a use of a slot like `mark()`. If it returns Marked::yes, the slot is pinned: it does not become free before
    /// unpin(), which the caller must call. Then a message about this use arrives before any message about the slot's next use.
    [[nodiscard]] Marked mark_and_pin(const Ticket& ticket) noexcept { return mark(ticket, pinned_bit); }
    /// Ends the pin of mark_and_pin(). If the slot was given back meanwhile, it becomes free now.
    void unpin(const Ticket& ticket) noexcept {
        std::uint64_t use = slots_[ticket.slot].use.load(std::memory_order_acquire);
        for (;;) {
            const bool returned = (use & returned_bit) != 0;
            const std::uint64_t next = returned ? use_of(generation_of(use) + 1) : use & ~pinned_bit;
            if (!slots_[ticket.slot].use.compare_exchange_weak(use, next, std::memory_order_acq_rel, std::memory_order_acquire))
                continue;
            if (returned) put(ticket.slot);
            return;
        }
    }

    /// Marks a slot that was just taken as open: it can then be held, once. No other thread may know of the slot yet.
    void open(const Ticket& ticket) noexcept {
        slots_[ticket.slot].use.store(use_of(ticket.generation) | open_bit, std::memory_order_release);
    }
    /// Holds an open slot. Returns true to one caller only, and returns false if the slot is not open, is marked, or that use
    /// of it is over. A later mark() returns Marked::held, and the holder acts on that mark.
    [[nodiscard]] bool hold(const Ticket& ticket) noexcept {
        std::uint64_t use = use_of(ticket.generation) | open_bit;
        return ticket.slot < capacity_ &&
               slots_[ticket.slot].use.compare_exchange_strong(use, use_of(ticket.generation) | held_bit);
    }
    /// Ends a hold. Returns true if the slot was marked while it was held; the caller then acts on the mark. Returns false,
    /// without effect, if that use of the slot is already over.
    [[nodiscard]] bool release(const Ticket& ticket) noexcept { return release(ticket, 0); }
    /// Ends a hold like `release()`. If it returns true, the slot is pinned, as by mark_and_pin().
    [[nodiscard]] bool release_and_pin(const Ticket& ticket) noexcept { return release(ticket, pinned_bit); }

    /// Returns the number of slots.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    /// Returns how many slots are taken, as far as this thread has seen.
    [[nodiscard]] std::uint32_t outstanding() const noexcept {
        return capacity_ - count_of(free_.load(std::memory_order_acquire));
    }

private:
    struct Slot {
        std::atomic<std::uint32_t> next{0};  // free slot: number of the next one, plus one
        std::atomic<std::uint64_t> use{0};   // generation << generation_shift | bits
    };

    static constexpr std::uint64_t marked_bit = 1;
    static constexpr std::uint64_t open_bit = 2;
    static constexpr std::uint64_t held_bit = 4;
    static constexpr std::uint64_t pinned_bit = 8;     // the thread that marked the slot has not sent its message yet
    static constexpr std::uint64_t returned_bit = 16;  // the pinned slot was given back meanwhile
    static constexpr unsigned generation_shift = 5;

    static constexpr std::uint64_t use_of(std::uint64_t generation) noexcept { return generation << generation_shift; }
    static constexpr std::uint64_t generation_of(std::uint64_t use) noexcept { return use >> generation_shift; }

    [[nodiscard]] Marked mark(const Ticket& ticket, std::uint64_t pin) noexcept {
        if (ticket.slot >= capacity_) return Marked::no;
        std::uint64_t use = slots_[ticket.slot].use.load(std::memory_order_acquire);
        while ((use & ~(open_bit | held_bit)) == use_of(ticket.generation)) {
            const bool held = (use & held_bit) != 0;
            if (slots_[ticket.slot].use.compare_exchange_weak(use, use | marked_bit | (held ? 0 : pin)))
                return held ? Marked::held : Marked::yes;
        }
        return Marked::no;
    }

    [[nodiscard]] bool release(const Ticket& ticket, std::uint64_t pin) noexcept {
        std::uint64_t use = use_of(ticket.generation) | held_bit;
        while ((use & ~marked_bit) == (use_of(ticket.generation) | held_bit)) {
            const bool marked = (use & marked_bit) != 0;
            if (slots_[ticket.slot].use.compare_exchange_weak(use, (use & ~held_bit) | (marked ? pin : 0))) return marked;
        }
        return false;
    }

    // Gives back a slot with bits in its word, which was `use` a moment ago.
    [[gnu::noinline]] void give_back_marked(std::uint32_t slot, std::uint64_t use) noexcept {
        for (;;) {
            const bool pinned = (use & pinned_bit) != 0;
            const std::uint64_t next = pinned ? use | returned_bit : use_of(generation_of(use) + 1);
            if (!slots_[slot].use.compare_exchange_weak(use, next, std::memory_order_acq_rel, std::memory_order_acquire))
                continue;
            if (!pinned) put(slot);
            return;
        }
    }

    void put(std::uint32_t slot) noexcept {
        std::uint64_t head = free_.load(std::memory_order_relaxed);
        do slots_[slot].next.store(number_of(head), std::memory_order_relaxed);
        while (!free_.compare_exchange_weak(head, changed(head, slot + 1, 1), std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
    }

    // free_ holds three numbers: changes, free slots, and the first free slot plus one. The latter two have 17 bits each.
    static constexpr unsigned count_shift = 17;
    static constexpr unsigned changes_shift = 34;
    static constexpr std::uint32_t number_mask = (1U << count_shift) - 1;

    static std::uint32_t number_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head) & number_mask; }
    static std::uint32_t count_of(std::uint64_t head) noexcept {
        return static_cast<std::uint32_t>(head >> count_shift) & number_mask;
    }
    // Returns the word after one more change, with a new first slot and `more` additional free slots (may be negative).
    static std::uint64_t changed(std::uint64_t head, std::uint32_t number, std::int64_t more) noexcept {
        return (head & ~std::uint64_t{number_mask}) + (std::uint64_t{1} << changes_shift) +
               static_cast<std::uint64_t>(more * (std::int64_t{1} << count_shift)) + number;
    }

    std::unique_ptr<Slot[]> slots_;
    std::uint32_t capacity_;
    std::atomic<std::uint64_t> free_;
};

}  // namespace ringstep::inline v0
