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
    std::uint32_t generation = 0;  ///< how often the slot was used before

    /// The same use of the same slot.
    friend bool operator==(const Ticket&, const Ticket&) = default;
};

/**
 * Which slots of a table are free: kept by the application, which hands them to a loop and gets them back. Taking and giving
 * back: any thread, no locks. Allocates once.
 */
class FreeSlots {
public:
    /// All are free.
    explicit FreeSlots(std::uint32_t capacity) : slots_(std::make_unique<Slot[]>(capacity)), capacity_(capacity) {}

    /// Takes a free one; nothing if there is none.
    [[nodiscard]] std::optional<Ticket> take() noexcept {
        std::uint64_t head = free_.load(std::memory_order_acquire);
        while (number_of(head) != 0) {
            const std::uint32_t next = slots_[number_of(head) - 1].next.load(std::memory_order_relaxed);
            // The count above the number changes with each: a slot that left and came back meanwhile is not taken for
            // unchanged.
            if (free_.compare_exchange_weak(head, changed(head, next), std::memory_order_acq_rel))
                return used(number_of(head) - 1);
        }
        std::uint32_t opened = opened_.load(std::memory_order_relaxed);
        while (opened < capacity_) {
            if (opened_.compare_exchange_weak(opened, opened + 1, std::memory_order_relaxed)) return used(opened);
        }
        return std::nullopt;
    }

    /// Gives one back: its ticket is good no more.
    void give_back(std::uint32_t slot) noexcept {
        // What is asked of it from now on comes too late.
        slots_[slot].use.store((generation_of(slots_[slot].use.load(std::memory_order_relaxed)) + 1) << 1,
                               std::memory_order_release);
        outstanding_.fetch_sub(1, std::memory_order_relaxed);
        std::uint64_t head = free_.load(std::memory_order_relaxed);
        do slots_[slot].next.store(number_of(head), std::memory_order_relaxed);
        while (!free_.compare_exchange_weak(head, changed(head, slot + 1), std::memory_order_acq_rel));
    }

    /// The ticket of a slot that is taken.
    [[nodiscard]] Ticket of(std::uint32_t slot) const noexcept {
        return {.slot = slot, .generation = generation_of(slots_[slot].use.load(std::memory_order_relaxed))};
    }

    /// Marks a use of a slot, once: false if it is over, or marked already.
    [[nodiscard]] bool mark(const Ticket& ticket) noexcept {
        std::uint32_t expected = ticket.generation << 1;
        return ticket.slot < capacity_ && slots_[ticket.slot].use.compare_exchange_strong(expected, expected | 1);
    }

    /// Whether that use of a slot is not over, and not marked.
    [[nodiscard]] bool good(const Ticket& ticket) const noexcept {
        return ticket.slot < capacity_ && slots_[ticket.slot].use.load(std::memory_order_acquire) == ticket.generation << 1;
    }

    /// How many there are.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    /// How many are taken, as far as this thread has seen.
    [[nodiscard]] std::uint32_t outstanding() const noexcept { return outstanding_.load(std::memory_order_acquire); }

private:
    struct Slot {
        std::atomic<std::uint32_t> next{0};  // free slot: number of the next one, plus one
        std::atomic<std::uint32_t> use{0};   // generation << 1 | marked
    };

    static std::uint32_t number_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head); }
    static std::uint64_t changed(std::uint64_t head, std::uint32_t number) noexcept {
        return ((head >> 32) + 1) << 32 | number;
    }
    static std::uint32_t generation_of(std::uint32_t use) noexcept { return use >> 1; }

    Ticket used(std::uint32_t slot) noexcept {
        outstanding_.fetch_add(1, std::memory_order_relaxed);
        return of(slot);
    }

    std::unique_ptr<Slot[]> slots_;
    std::uint32_t capacity_;
    std::atomic<std::uint32_t> opened_{0};  // those behind were never used
    std::atomic<std::uint32_t> outstanding_{0};
    std::atomic<std::uint64_t> free_{0};  // number of changes << 32 | number of the first, plus one
};

}  // namespace ringstep::inline v0
