// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace ringstep::inline v0 {

/// One use of a slot.
struct Ticket {
    std::uint32_t slot = 0;        ///< its number
    std::uint64_t generation = 0;  ///< how often the slot was used before. Never the same again: it has 59 bits

    /// The same use of the same slot.
    friend bool operator==(const Ticket&, const Ticket&) = default;
};

/**
 * Which slots of a table are free: kept by the application, which hands them to a loop and gets them back. Taking and giving
 * back: any thread, no locks. Allocates once.
 */
class FreeSlots {
public:
    /// What mark() has found.
    enum class Marked {
        no,    ///< that use of the slot is over, or marked already
        yes,   ///< it is now: go on with whatever that means
        held,  ///< it is now, and somebody holds it: release() tells them
    };

    /// All are free; 65536 at most. Tickets begin with that generation, which tests choose.
    explicit FreeSlots(std::uint32_t capacity, std::uint64_t generation = 0)
        : slots_(std::make_unique<Slot[]>(capacity)),
          capacity_(capacity),
          free_(std::uint64_t{capacity} << count_shift | (capacity != 0 ? 1U : 0U)) {
        for (std::uint32_t i = 0; i + 1 < capacity; i++) slots_[i].next.store(i + 2, std::memory_order_relaxed);
        for (std::uint32_t i = 0; i < capacity; i++) slots_[i].use.store(use_of(generation), std::memory_order_relaxed);
    }

    /// Takes a free one; nothing if there is none.
    [[nodiscard]] std::optional<Ticket> take() noexcept { return take(1); }

    /// Takes so many, at least one; nothing if there are too few: then none is taken. The first; next() has the others.
    [[nodiscard]] std::optional<Ticket> take(std::uint32_t count) noexcept {
        std::uint64_t head = free_.load(std::memory_order_acquire);
        while (count_of(head) >= count) {
            // The list may change under our eyes. Whatever we read then is a number or none, and the exchange fails: with each
            // change the word has another count of them.
            std::uint32_t after = number_of(head);
            for (std::uint32_t i = 0; i < count && after != 0; i++)
                after = slots_[after - 1].next.load(std::memory_order_relaxed);
            if (free_.compare_exchange_weak(head, changed(head, after, -std::int64_t{count}), std::memory_order_acq_rel,
                                            std::memory_order_acquire))
                return of(number_of(head) - 1);
        }
        return std::nullopt;
    }
    /// Of those taken together: the one that follows. There is one.
    [[nodiscard]] Ticket next(const Ticket& ticket) const noexcept {
        return of(slots_[ticket.slot].next.load(std::memory_order_relaxed) - 1);
    }

    /// Gives one back: its ticket is good no more. If it is pinned, it becomes free when it is unpinned.
    void give_back(std::uint32_t slot) noexcept {
        std::uint64_t use = slots_[slot].use.load(std::memory_order_acquire);
        for (;;) {
            // What is asked of it from now on comes too late.
            const bool pinned = (use & pinned_bit) != 0;
            const std::uint64_t next = pinned ? use | returned_bit : use_of(generation_of(use) + 1);
            if (!slots_[slot].use.compare_exchange_weak(use, next, std::memory_order_acq_rel, std::memory_order_acquire))
                continue;
            if (!pinned) put(slot);
            return;
        }
    }

    /// The ticket of a slot that is taken.
    [[nodiscard]] Ticket of(std::uint32_t slot) const noexcept {
        return {.slot = slot, .generation = generation_of(slots_[slot].use.load(std::memory_order_relaxed))};
    }

    /// Marks a use of a slot, once.
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

    /// Of one that was just taken and nobody else knows of: it can be held, once.
    void open(const Ticket& ticket) noexcept {
        slots_[ticket.slot].use.store(use_of(ticket.generation) | open_bit, std::memory_order_release);
    }
    /// Holds one that is open: true for one caller only, and not if it is marked or over. Who marks it from now on leaves it to
    /// the holder what to do about that.
    [[nodiscard]] bool hold(const Ticket& ticket) noexcept {
        std::uint64_t use = use_of(ticket.generation) | open_bit;
        return ticket.slot < capacity_ &&
               slots_[ticket.slot].use.compare_exchange_strong(use, use_of(ticket.generation) | held_bit);
    }
    /// The end of that: it is like any other. True if it was marked meanwhile. It may be over by now, and not the holder's.
    [[nodiscard]] bool release(const Ticket& ticket) noexcept { return release(ticket, 0); }
    /// Ends a hold like `release()`. If it returns true, the slot is pinned, as by mark_and_pin().
    [[nodiscard]] bool release_and_pin(const Ticket& ticket) noexcept { return release(ticket, pinned_bit); }

    /// How many there are.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    /// How many are taken, as far as this thread has seen.
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
    static constexpr std::uint64_t pinned_bit = 8;     // whoever marked it has not sent their message
    static constexpr std::uint64_t returned_bit = 16;  // and it has been given back
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

    void put(std::uint32_t slot) noexcept {
        std::uint64_t head = free_.load(std::memory_order_relaxed);
        do slots_[slot].next.store(number_of(head), std::memory_order_relaxed);
        while (!free_.compare_exchange_weak(head, changed(head, slot + 1, 1), std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
    }

    // free_: number of changes, how many are free, number of the first, plus one; the latter two with 17 bits each.
    static constexpr unsigned count_shift = 17;
    static constexpr unsigned changes_shift = 34;
    static constexpr std::uint32_t number_mask = (1U << count_shift) - 1;

    static std::uint32_t number_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head) & number_mask; }
    static std::uint32_t count_of(std::uint64_t head) noexcept {
        return static_cast<std::uint32_t>(head >> count_shift) & number_mask;
    }
    // One change more, another first one, so many more that are free.
    static std::uint64_t changed(std::uint64_t head, std::uint32_t number, std::int64_t more) noexcept {
        return (head & ~std::uint64_t{number_mask}) + (std::uint64_t{1} << changes_shift) +
               static_cast<std::uint64_t>(more * (std::int64_t{1} << count_shift)) + number;
    }

    std::unique_ptr<Slot[]> slots_;
    std::uint32_t capacity_;
    std::atomic<std::uint64_t> free_;
};

}  // namespace ringstep::inline v0
