// SPDX-License-Identifier: MIT
// The layout of the rings in memory, and typed views of both queues.
#pragma once

#include <ringstep/c/abi.h>
#include <ringstep/c/identity.h>
#include <ringstep/c/result.h>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/error.hpp>
#include <ringstep/version.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>

namespace ringstep::inline v0 {

namespace detail {

// The size of the largest memory region. Programs hold it in 32 bits, and it is rounded up to whole pages, which may be huge.
inline constexpr std::uint64_t largest_region = (std::uint64_t{1} << 32) - (std::uint64_t{2} << 20);

[[noreturn, gnu::cold, gnu::noinline]] inline void raise_region_too_large(std::uint64_t size, const std::string& user) {
    raise(EFBIG, "use of a memory region of " + std::to_string(size) + " bytes by " + user,
          "It has to be smaller than 4 GiB, by 2 MiB. Buffers that the loop itself does not look into may lie anywhere in the "
          "process.");
}

}  // namespace detail

/// A ring's layout: sizes, and the positions of head, tail and entries. Offsets are in bytes from the start of the CQ region.
struct Geometry {
    std::uint32_t sq_entries = 0;          ///< number of SQEs, a power of two
    std::uint32_t cq_entries = 0;          ///< number of CQEs, a power of two
    std::uint32_t sqe_size = 0;            ///< bytes: 64, or 128 with IORING_SETUP_SQE128
    std::uint32_t cqe_size = 0;            ///< bytes: 16, or 32 with IORING_SETUP_CQE32
    std::uint32_t sq_head_offset = 0;      ///< SQ head, which the kernel moves
    std::uint32_t sq_tail_offset = 0;      ///< SQ tail, which the submitter moves
    std::uint32_t cq_head_offset = 0;      ///< CQ head, which the consumer of completions moves
    std::uint32_t cq_tail_offset = 0;      ///< CQ tail, which the kernel moves
    std::uint32_t cq_overflow_offset = 0;  ///< count of dropped completions
    std::uint32_t cqes_offset = 0;         ///< first CQE
    std::uint32_t setup_flags = 0;         ///< IORING_SETUP_ flags that the kernel opened the ring with

    /// Returns true if each submit starts at the first SQE (IORING_SETUP_SQ_REWIND).
    [[nodiscard]] bool rewinds() const noexcept { return (setup_flags & detail::setup_sq_rewind) != 0; }

    /// Returns this layout in the form that a loop's program reads. `mem_bytes` is the size of the memory region, control block
    /// included. `state_bytes` is the size of the loop's state. Throws Error (EFBIG) if the region is not smaller than 4 GiB by
    /// 2 MiB.
    [[nodiscard]] ringstep_geometry for_program(std::size_t mem_bytes, std::uint32_t state_bytes) const {
        if (mem_bytes > detail::largest_region) detail::raise_region_too_large(mem_bytes, "a loop");
        const auto log2 = [](std::uint32_t power) { return static_cast<__u32>(__builtin_ctz(power)); };
        return {
            .abi = RINGSTEP_ABI_VERSION,
            .state_size = state_bytes,
            .flags = (rewinds() ? RINGSTEP_SQ_REWIND : 0) |
                     (rewinds() && sqe_size == 64 && cqe_size == 16 && cq_entries >= RINGSTEP_USUAL_CQ ? RINGSTEP_USUAL : 0),
            .mem_size = static_cast<__u32>(mem_bytes),
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

/// One completion, copied out of the CQ, whose entry is free again.
struct Completion {
    std::uint64_t user_data = 0;  ///< user_data of the SQE
    std::int32_t result = 0;      ///< the operation's result, or -errno
    std::uint32_t flags = 0;      ///< IORING_CQE_F_ flags
    std::uint64_t extra[2] = {};  ///< big_cqe, with IORING_SETUP_CQE32

    /// Returns true if the request did not fail.
    [[nodiscard]] bool ok() const noexcept { return result >= 0; }
    /// Returns the errno of a failed request, otherwise 0.
    [[nodiscard]] int error() const noexcept { return ringstep_error_of(result); }
    /// Returns true if more completions of this request will follow.
    [[nodiscard]] bool more() const noexcept { return (flags & IORING_CQE_F_MORE) != 0; }
    /// Returns true if the kernel picked a provided buffer.
    [[nodiscard]] bool has_buffer() const noexcept { return (flags & IORING_CQE_F_BUFFER) != 0; }
    /// Returns the number of the provided buffer that holds the data. Valid only if has_buffer().
    [[nodiscard]] std::uint16_t buffer_id() const noexcept {
        return static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    }

    /// Returns true if all members are equal.
    friend bool operator==(const Completion&, const Completion&) = default;
};

namespace detail {

// The data that views of the queues need: addresses, and the counts of requests in flight.
struct QueueMemory {
    std::byte* rings = nullptr;  // CQ region
    std::byte* sqes = nullptr;   // SQ region
    Geometry geometry;
    std::uint64_t submitted = 0;       // SQEs taken from plain submits, not from loops
    std::uint64_t finished = 0;        // completions that ended a request and that no loop took
    std::uint32_t kept_claimed = 0;    // SQEs claimed in rewind mode, until a region holds the count
    std::uint32_t* claimed = nullptr;  // points to the current place of that count
    // Completions with this user_data only woke up a loop of the user engine. The application never sees them.
    std::uint64_t wake_tag = 0;
    std::uint32_t kept_wakes_seen = 0;
    std::uint32_t* wakes_seen = nullptr;  // counts the wake-ups that have left the CQ
    // Completions whose user_data is an address within this struct belong to the timer of loops in the kernel. The application
    // never sees them either.
    ringstep_timer* timer = nullptr;
    // Completions of the loop with this identity belong to requests that write to its state. The application never sees those
    // that come without the loop. With no such loop, it is 0.
    std::uint64_t state_tag = 0;
    std::uint32_t state_gone = 0;  // requests of that loop that have ended without it

    [[nodiscard]] std::atomic_ref<std::uint32_t> word(std::uint32_t offset) const noexcept {
        return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(rings + offset));
    }

    // Accounts for a completion that has left the CQ. Returns true if it belongs to the library, and updates the library's
    // counts then. Returns false if it is for the application.
    [[nodiscard]] bool swallow_hidden(std::uint64_t user_data, std::uint32_t flags) noexcept {
        if (wake_tag != 0 && user_data == wake_tag) [[unlikely]] {
            ++*wakes_seen;
            return true;
        }
        if (state_tag != 0 && ringstep_identity_is_of(user_data, state_tag) != 0) [[unlikely]] {
            if ((flags & IORING_CQE_F_MORE) == 0) {
                ++state_gone;
                ++finished;
            }
            return true;
        }
        const auto address = reinterpret_cast<std::uintptr_t>(timer);
        if (timer == nullptr || ringstep_timer_has(address, user_data) == 0) [[likely]]
            return false;
        ringstep_timer_completed(timer, address, user_data);
        return true;
    }
};

struct QueueAccess;

}  // namespace detail

/**
 * The CQ as a range. Iterating takes completions out of the queue one at a time. Each completion is consumed when it is
 * returned, so leaving the loop early loses none and repeats none.
 *
 * Use the CQ from one thread at a time. Do not use it while a loop runs on the ring, because the CQ then belongs to the loop.
 *
 * **Example**:
 *
 *     for (const ringstep::Completion& completion : ring.cq())
 *         if (!completion.ok()) report(completion);
 */
class CompletionQueue {
public:
    /// An input iterator. The completion that it refers to has already been taken out of the queue.
    class iterator {
    public:
        using value_type = Completion;                     ///< for std::iterator_traits
        using difference_type = std::ptrdiff_t;            ///< for std::iterator_traits
        using iterator_concept = std::input_iterator_tag;  ///< for std::input_iterator

        iterator() = default;
        /// Returns the current completion.
        const Completion& operator*() const noexcept { return current_; }
        /// Gives access to a member of the current completion.
        const Completion* operator->() const noexcept { return &current_; }
        /// Takes the next completion.
        iterator& operator++() noexcept {
            next();
            return *this;
        }
        /// Takes the next completion.
        void operator++(int) noexcept { next(); }
        /// Returns true if the queue had no further completion.
        friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return it.queue_ == nullptr; }

    private:
        friend class CompletionQueue;
        explicit iterator(detail::QueueMemory* queue) : queue_(queue) { next(); }
        void next() noexcept {
            if (!take(*queue_, current_)) queue_ = nullptr;
        }
        detail::QueueMemory* queue_ = nullptr;
        Completion current_;
    };

    /// Takes the oldest completion, if there is one, and returns an iterator to it.
    [[nodiscard]] iterator begin() const { return iterator(queue_); }
    /// Returns the end of the range, which is reached when the queue is empty.
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// Takes the oldest completion and writes it to `out`. Returns false if the queue is empty.
    [[nodiscard]] bool pop(Completion& out) const noexcept { return take(*queue_, out); }

    /// Returns the number of completions in the CQ. The number may include completions of the library itself, left by a loop
    /// that does not run at the moment. Iterating skips those.
    [[nodiscard]] std::uint32_t ready() const noexcept {
        return queue_->word(queue_->geometry.cq_tail_offset).load(std::memory_order_acquire) -
               queue_->word(queue_->geometry.cq_head_offset).load(std::memory_order_relaxed);
    }

    /// Returns how many completions the kernel has dropped since the ring was opened. It drops completions only if it runs out
    /// of memory while the CQ is full.
    [[nodiscard]] std::uint32_t dropped() const noexcept {
        return queue_->word(queue_->geometry.cq_overflow_offset).load(std::memory_order_relaxed);
    }

    /// Returns how many completions the CQ holds. The kernel keeps further completions in its own memory and delivers them
    /// later.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return queue_->geometry.cq_entries; }

private:
    friend struct detail::QueueAccess;
    explicit CompletionQueue(detail::QueueMemory& queue) noexcept : queue_(&queue) {}

    static bool take(detail::QueueMemory& queue, Completion& out) noexcept {
        for (;;) {
            if (!take_any(queue, out)) return false;
            if (!queue.swallow_hidden(out.user_data, out.flags)) [[likely]]
                break;
        }
        if (!out.more()) ++queue.finished;
        return true;
    }

    static bool take_any(detail::QueueMemory& queue, Completion& out) noexcept {
        const Geometry& geometry = queue.geometry;
        const auto head_word = queue.word(geometry.cq_head_offset);
        const std::uint32_t head = head_word.load(std::memory_order_relaxed);
        // No kernel leaves more in the CQ than fits. Then something else has written to head or tail.
        if (queue.word(geometry.cq_tail_offset).load(std::memory_order_acquire) - head - 1 >= geometry.cq_entries) return false;
        const std::uint32_t slot = head & (geometry.cq_entries - 1);
        const auto* cqe =
            reinterpret_cast<const io_uring_cqe*>(queue.rings + geometry.cqes_offset + std::size_t{slot} * geometry.cqe_size);
        out = {.user_data = cqe->user_data, .result = cqe->res, .flags = cqe->flags};
        if (geometry.cqe_size == 2 * sizeof(io_uring_cqe)) {
            out.extra[0] = cqe->big_cqe[0];
            out.extra[1] = cqe->big_cqe[1];
        }
        head_word.store(head + 1, std::memory_order_release);
        return true;
    }

    detail::QueueMemory* queue_;
};

/**
 * The SQ, which holds requests until they are submitted.
 *
 * Use the SQ from one thread at a time. Do not use it while a loop runs on the ring. SQEs claimed while a loop is attached but
 * not running are submitted by the loop's next submit, together with its own requests.
 *
 * **Example**:
 *
 *     io_uring_prep_read(ring.sq().claim(), fd, buffer, size, 0);      // liburing's helpers fit
 *     ring.submit();
 */
class SubmissionQueue {
public:
    /// Claims the next free SQE and returns it zeroed. Returns nullptr if all SQEs are claimed; submit first then.
    [[nodiscard]] io_uring_sqe* claim() const noexcept {
        const Geometry& geometry = queue_->geometry;
        const std::uint32_t before = claimed();
        if (before == geometry.sq_entries) return nullptr;
        std::uint32_t position = before;
        if (geometry.rewinds()) {
            *queue_->claimed = before + 1;
        } else {
            position += queue_->word(geometry.sq_head_offset).load(std::memory_order_acquire);
            queue_->word(geometry.sq_tail_offset).store(position + 1, std::memory_order_release);
        }
        auto* slot = queue_->sqes + std::size_t{position & (geometry.sq_entries - 1)} * geometry.sqe_size;
        __builtin_memset(slot, 0, geometry.sqe_size);
        return reinterpret_cast<io_uring_sqe*>(slot);
    }

    /// Returns the number of SQEs that are claimed and not yet taken by the kernel. If something has written a number to memory
    /// that is larger than the queue, none counts as claimed, so that no entry of an earlier submit is submitted again.
    [[nodiscard]] std::uint32_t claimed() const noexcept {
        std::uint32_t count = 0;
        if (queue_->geometry.rewinds()) {
            count = std::atomic_ref(*queue_->claimed).load(std::memory_order_relaxed);
        } else {
            count = queue_->word(queue_->geometry.sq_tail_offset).load(std::memory_order_relaxed) -
                    queue_->word(queue_->geometry.sq_head_offset).load(std::memory_order_acquire);
        }
        return count <= queue_->geometry.sq_entries ? count : 0;
    }

    /// Returns the number of SQEs that can be claimed before the next submit.
    [[nodiscard]] std::uint32_t space_left() const noexcept { return capacity() - claimed(); }
    /// Returns the total number of SQEs in the queue.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return queue_->geometry.sq_entries; }

private:
    friend struct detail::QueueAccess;
    explicit SubmissionQueue(detail::QueueMemory& queue) noexcept : queue_(&queue) {}

    detail::QueueMemory* queue_;
};

namespace detail {

// How the other parts of the library look at the queues of a ring.
struct QueueAccess {
    [[nodiscard]] static CompletionQueue cq(QueueMemory& queue) noexcept { return CompletionQueue(queue); }
    [[nodiscard]] static SubmissionQueue sq(QueueMemory& queue) noexcept { return SubmissionQueue(queue); }
};

}  // namespace detail

}  // namespace ringstep::inline v0
