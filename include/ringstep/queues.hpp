// SPDX-License-Identifier: MIT
// Where the rings lie in memory, and typed views of both queues.
#pragma once

#include <ringstep/abi.h>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/version.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace ringstep::inline v0 {

/// A ring's layout: where head, tail and entries lie, and how large they are. Offsets are from the start of the ring's memory.
struct Geometry {
    std::uint32_t sq_entries = 0;          ///< a power of two
    std::uint32_t cq_entries = 0;          ///< likewise
    std::uint32_t sqe_size = 0;            ///< bytes: 64, or 128 with IORING_SETUP_SQE128
    std::uint32_t cqe_size = 0;            ///< bytes: 16, or 32 with IORING_SETUP_CQE32
    std::uint32_t sq_head_offset = 0;      ///< of the word that the kernel moves
    std::uint32_t sq_tail_offset = 0;      ///< of the word that those who submit move
    std::uint32_t cq_head_offset = 0;      ///< of the word that those who take completions move
    std::uint32_t cq_tail_offset = 0;      ///< of the word that the kernel moves
    std::uint32_t cq_overflow_offset = 0;  ///< of the count of dropped completions
    std::uint32_t cqes_offset = 0;         ///< of the first CQE
    std::uint32_t setup_flags = 0;         ///< IORING_SETUP_ flags that the kernel opened the ring with

    /// Each submit starts at the first SQE (IORING_SETUP_SQ_REWIND).
    [[nodiscard]] bool rewinds() const noexcept { return (setup_flags & detail::setup_sq_rewind) != 0; }

    /// The same for a loop's program. `mem_bytes` is the size of its MEM region, control block included.
    [[nodiscard]] ringstep_geometry for_program(std::uint32_t mem_bytes, std::uint32_t state_bytes) const noexcept {
        const auto log2 = [](std::uint32_t power) { return static_cast<__u32>(__builtin_ctz(power)); };
        return {
            .abi = RINGSTEP_ABI_VERSION,
            .state_size = state_bytes,
            .flags = (rewinds() ? RINGSTEP_SQ_REWIND : 0) |
                     (rewinds() && sqe_size == 64 && cqe_size == 16 ? RINGSTEP_SHORT_ENTRIES : 0),
            .mem_size = mem_bytes,
            .cq_size = cqes_offset + cq_entries * cqe_size,
            .sq_size = sq_entries * sqe_size,
            .sq_head = sq_head_offset,
            .sq_tail = sq_tail_offset,
            .sq_mask = sq_entries - 1,
            .sqe_shift = log2(sqe_size),
            .cq_head = cq_head_offset,
            .cq_tail = cq_tail_offset,
            .cq_mask = cq_entries - 1,
            .cqes = cqes_offset,
            .cqe_shift = log2(cqe_size),
        };
    }
};

/// One completion, by value: its slot in the CQ is free again.
struct Completion {
    std::uint64_t user_data = 0;  ///< as in the SQE
    std::int32_t result = 0;      ///< not negative: the operation's result; negative: -errno
    std::uint32_t flags = 0;      ///< IORING_CQE_F_ flags
    std::uint64_t extra[2] = {};  ///< big_cqe, with IORING_SETUP_CQE32

    /// The request has not failed.
    [[nodiscard]] bool ok() const noexcept { return result >= 0; }
    /// The errno of a failed request, otherwise 0.
    [[nodiscard]] int error() const noexcept { return result < 0 ? -result : 0; }
    /// More completions of the same request will follow.
    [[nodiscard]] bool more() const noexcept { return (flags & IORING_CQE_F_MORE) != 0; }
    /// The kernel has picked a provided buffer.
    [[nodiscard]] bool has_buffer() const noexcept { return (flags & IORING_CQE_F_BUFFER) != 0; }
    /// Which provided buffer holds the data, if has_buffer().
    [[nodiscard]] std::uint16_t buffer_id() const noexcept {
        return static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    }

    /// All members are equal.
    friend bool operator==(const Completion&, const Completion&) = default;
};

namespace detail {

// What views of the queues need: addresses, and the counts that tell how many requests are in flight.
struct QueueMemory {
    std::byte* rings = nullptr;  // CQ region
    std::byte* sqes = nullptr;   // SQ region
    Geometry geometry;
    std::uint64_t submitted = 0;       // by plain submits, not by loops
    std::uint64_t finished = 0;        // completions taken here that ended a request
    std::uint32_t own_claimed = 0;     // SQEs claimed in rewind mode, until a region holds the count
    std::uint32_t* claimed = nullptr;  // where that count is now
    // Completions that only woke up a loop in user space carry this user_data, and are nobody else's business.
    std::uint64_t wake_tag = 0;
    std::uint32_t own_wakes_seen = 0;
    std::uint32_t* wakes_seen = nullptr;  // where they are counted
    // Likewise those whose user_data is an address in here: of the timer that loops in the kernel set.
    ringstep_timer* timer = nullptr;

    [[nodiscard]] std::atomic_ref<std::uint32_t> word(std::uint32_t offset) const noexcept {
        return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(rings + offset));
    }

    // Whether a completion is of nobody's but the library's. It has left the CQ then, which is noted.
    [[nodiscard]] bool is_hidden(std::uint64_t user_data) const noexcept {
        if (wake_tag != 0 && user_data == wake_tag) [[unlikely]] {
            ++*wakes_seen;
            return true;
        }
        if (user_data - reinterpret_cast<std::uintptr_t>(timer) >= sizeof *timer || timer == nullptr) [[likely]]
            return false;
        if (user_data == reinterpret_cast<std::uintptr_t>(&timer->armed)) timer->armed = 0;
        if (user_data == reinterpret_cast<std::uintptr_t>(&timer->updates) && timer->updates != 0) --timer->updates;
        return true;
    }
};

}  // namespace detail

/**
 * The CQ, as a range. Iterating takes completions out of it: each is consumed in the moment that it is handed over, so leaving
 * the loop early loses none and sees none twice.
 *
 * One thread at a time, and not while a loop runs on the ring: the CQ is the loop's then.
 *
 * **Example**:
 *
 *     for (const ringstep::Completion& completion : ring.cq())
 *         if (!completion.ok()) report(completion);
 */
class CompletionQueue {
public:
    /// Goes through the completions once; where it stands has been taken out of the queue.
    class iterator {
    public:
        using value_type = Completion;                     ///< for std::iterator_traits
        using difference_type = std::ptrdiff_t;            ///< likewise
        using iterator_concept = std::input_iterator_tag;  ///< likewise

        iterator() = default;
        /// For CompletionQueue::begin(): takes the first.
        explicit iterator(detail::QueueMemory* queue) : queue_(queue) { next(); }
        /// The completion at hand.
        const Completion& operator*() const noexcept { return current_; }
        /// A member of it.
        const Completion* operator->() const noexcept { return &current_; }
        /// Takes the next.
        iterator& operator++() noexcept {
            next();
            return *this;
        }
        /// Takes the next.
        void operator++(int) noexcept { next(); }
        /// There was no more.
        friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return it.queue_ == nullptr; }

    private:
        void next() noexcept {
            if (!take(*queue_, current_)) queue_ = nullptr;
        }
        detail::QueueMemory* queue_ = nullptr;
        Completion current_;
    };

    /// For Ring::cq().
    explicit CompletionQueue(detail::QueueMemory& queue) noexcept : queue_(&queue) {}

    /// Takes the oldest completion, if there is one.
    [[nodiscard]] iterator begin() const { return iterator(queue_); }
    /// Reached when the queue is empty.
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// Takes the oldest completion; false if there is none.
    [[nodiscard]] bool pop(Completion& out) const noexcept { return take(*queue_, out); }

    /// How many there are. A loop that is gone, or that just does not run, may have left some that only the library knows of:
    /// those count here, and iterating passes over them.
    [[nodiscard]] std::uint32_t ready() const noexcept {
        return queue_->word(queue_->geometry.cq_tail_offset).load(std::memory_order_acquire) -
               queue_->word(queue_->geometry.cq_head_offset).load(std::memory_order_relaxed);
    }

    /// Completions that the kernel had to drop, ever: 0 unless it ran out of memory while the CQ was full.
    [[nodiscard]] std::uint32_t dropped() const noexcept {
        return queue_->word(queue_->geometry.cq_overflow_offset).load(std::memory_order_relaxed);
    }

    /// How many fit. More overflow into memory of the kernel, and come later.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return queue_->geometry.cq_entries; }

private:
    static bool take(detail::QueueMemory& queue, Completion& out) noexcept {
        const Geometry& geometry = queue.geometry;
        const auto head_word = queue.word(geometry.cq_head_offset);
        const std::uint32_t head = head_word.load(std::memory_order_relaxed);
        if (head == queue.word(geometry.cq_tail_offset).load(std::memory_order_acquire)) return false;
        const std::uint32_t slot = head & (geometry.cq_entries - 1);
        const auto* cqe =
            reinterpret_cast<const io_uring_cqe*>(queue.rings + geometry.cqes_offset + std::size_t{slot} * geometry.cqe_size);
        out = {.user_data = cqe->user_data, .result = cqe->res, .flags = cqe->flags};
        if (geometry.cqe_size == 2 * sizeof(io_uring_cqe)) {
            out.extra[0] = cqe->big_cqe[0];
            out.extra[1] = cqe->big_cqe[1];
        }
        head_word.store(head + 1, std::memory_order_release);
        if (queue.is_hidden(out.user_data)) [[unlikely]]
            return take(queue, out);
        if (!out.more()) ++queue.finished;
        return true;
    }

    detail::QueueMemory* queue_;
};

/**
 * The SQ: where requests are written down before they are submitted.
 *
 * One thread at a time, and not while a loop runs on the ring. What is claimed while a loop is attached but not running is
 * submitted together with the loop's own requests, by its next submit.
 *
 * **Example**:
 *
 *     io_uring_prep_read(ring.sq().claim(), fd, buffer, size, 0);      // liburing's helpers fit
 *     ring.submit();
 */
class SubmissionQueue {
public:
    /// For Ring::sq().
    explicit SubmissionQueue(detail::QueueMemory& queue) noexcept : queue_(&queue) {}

    /// The next free SQE, zeroed; nullptr if all are claimed (submit first).
    [[nodiscard]] io_uring_sqe* claim() const noexcept {
        if (space_left() == 0) return nullptr;
        const Geometry& geometry = queue_->geometry;
        std::uint32_t position = 0;
        if (geometry.rewinds()) {
            position = (*queue_->claimed)++;
        } else {
            const auto tail = queue_->word(geometry.sq_tail_offset);
            position = tail.load(std::memory_order_relaxed);
            tail.store(position + 1, std::memory_order_release);
        }
        auto* slot = queue_->sqes + std::size_t{position & (geometry.sq_entries - 1)} * geometry.sqe_size;
        __builtin_memset(slot, 0, geometry.sqe_size);
        return reinterpret_cast<io_uring_sqe*>(slot);
    }

    /// SQEs claimed and not yet taken by the kernel.
    [[nodiscard]] std::uint32_t claimed() const noexcept {
        if (queue_->geometry.rewinds()) return *queue_->claimed;
        return queue_->word(queue_->geometry.sq_tail_offset).load(std::memory_order_relaxed) -
               queue_->word(queue_->geometry.sq_head_offset).load(std::memory_order_acquire);
    }

    /// SQEs that can still be claimed before the next submit.
    [[nodiscard]] std::uint32_t space_left() const noexcept { return capacity() - claimed(); }
    /// How many can be claimed at once.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return queue_->geometry.sq_entries; }

private:
    detail::QueueMemory* queue_;
};

}  // namespace ringstep::inline v0
