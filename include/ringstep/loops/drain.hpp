// SPDX-License-Identifier: MIT
// Barriers for groups of requests.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/detail/sqe_words.hpp>
#include <ringstep/compiled/drain.hpp>

#include <cstdint>
#include <optional>
#include <span>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class Drain.
struct drain;

}  // namespace loops

template <>
inline constexpr unsigned handled_flags<loops::drain> = IOSQE_IO_DRAIN;

/**
 * Requests in groups, with barriers. A barrier orders the requests of one group as IOSQE_IO_DRAIN orders those of a whole ring.
 *
 * A *barrier* starts when all requests pushed before it in its group have completed, regardless of their results. Requests
 * pushed after it in its group start when the barrier has completed. Other groups are not delayed. Between barriers, requests
 * run at once and in any order. A barrier of the whole ring is a barrier to every group. The order is that of the push() calls.
 * If several threads push, only the order within each thread is fixed.
 *
 * A group is any 64-bit number, for example for a file, a connection or a tag. The number of groups is unlimited, because the
 * loop stores only groups with requests. Only the number of requests is limited (`capacity`: RINGSTEP_DRAIN_REQUESTS, 4096). A
 * group without barriers costs one look-up in a table.
 *
 * A request has completed when its completion can be taken. A zero-copy send has completed when the kernel no longer uses its
 * buffer. A request that waits for a barrier can be cancelled. It is then never submitted, and requests that waited for it
 * continue.
 *
 * See RequestLoop for threads, buffers and everything else.
 *
 * **Example**: for each file, all blocks are written in any order, then the file is synced.
 *
 *     ringstep::Drain drain{ring};
 *     for (const File& file : files) {
 *         for (const Block& block : file.blocks) drain.push(write_of(file, block), file.number);
 *         drain.barrier(fsync_of(file), file.number);
 *     }
 *     drain.run();
 *     for (const ringstep::RequestCompletion& completion : drain.completions()) check(completion);
 */
class Drain : public RequestLoop<loops::drain> {
    using Base = RequestLoop<loops::drain>;

public:
    using Base::Base;

    /// Pushes a request of a group. A request with IOSQE_IO_DRAIN in its flags becomes a barrier of its group. Returns the
    /// request's ticket, or nullopt if all slots are taken. May be called from any thread. Throws Error (EINVAL) for a request
    /// that no loop can schedule.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::try_push_with(sqe, writer(sqe, group, barrier_if_drain(sqe)));
    }
    /// Pushes a request like `try_push()`, but throws Error (ENOSPC) if all slots are taken.
    Ticket push(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::push_with(sqe, writer(sqe, group, barrier_if_drain(sqe)));
    }

    /// Pushes several requests of a group in their order. Those with IOSQE_IO_DRAIN in their flags become barriers. Returns
    /// false, and pushes none, if too few slots are free. `tickets` receives the ticket of each request; it must be empty or as
    /// long as `sqes`. May be called from any thread. Throws Error (EINVAL) like `try_push()`, and for `tickets` of another
    /// length.
    bool try_push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::span<Ticket> tickets = {}) {
        return Base::add(sqes, tickets, [&](const Ticket& ticket, const io_uring_sqe& sqe) {
            writer(sqe, group, barrier_if_drain(sqe))(fill_in(ticket, sqe));
        });
    }
    /// Pushes several requests like `try_push()`, but throws Error (ENOSPC) if too few slots are free.
    void push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::span<Ticket> tickets = {}) {
        if (!try_push(sqes, group, tickets)) raise_full();
    }

    /// Pushes a request as a barrier of its group. Otherwise like `try_push()`.
    std::optional<Ticket> try_barrier(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::try_push_with(sqe, writer(sqe, group, RINGSTEP_DRAIN_BARRIER));
    }
    /// Pushes a barrier like `try_barrier()`, but throws Error (ENOSPC) if all slots are taken.
    Ticket barrier(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::push_with(sqe, writer(sqe, group, RINGSTEP_DRAIN_BARRIER));
    }

    /// Pushes a request as a barrier of the whole ring. It waits for all requests pushed before it, and all requests pushed
    /// after it wait for it. Otherwise like `try_push()`; `group` is for the application only.
    std::optional<Ticket> try_barrier_of_all(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::try_push_with(sqe, writer(sqe, group, RINGSTEP_DRAIN_ALL));
    }
    /// Pushes a barrier like `try_barrier_of_all()`, but throws Error (ENOSPC) if all slots are taken.
    Ticket barrier_of_all(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::push_with(sqe, writer(sqe, group, RINGSTEP_DRAIN_ALL));
    }

    /// Returns how many groups have requests with the loop. While the loop runs, the number may already have changed.
    [[nodiscard]] std::uint32_t active_groups() const noexcept {
        return std::atomic_ref(state()->table.used).load(std::memory_order_acquire);
    }

private:
    // Writes a request's group and options into its slot, and clears IOSQE_IO_DRAIN there. With that flag, the kernel would
    // order the request against everything else on the ring.
    struct Writer {
        std::uint64_t group;
        std::uint32_t options;
        std::uint8_t flags;

        void operator()(Slot& slot) const noexcept {
            detail::set_field(slot.request.sqe, &io_uring_sqe::flags, flags);
            slot.own.group = group;
            slot.own.options = options;
            slot.own.number = 0;
        }
    };
    static Writer writer(const io_uring_sqe& sqe, std::uint64_t group, std::uint32_t options) noexcept {
        return {.group = group, .options = options, .flags = static_cast<std::uint8_t>(sqe.flags & ~IOSQE_IO_DRAIN)};
    }
    static std::uint32_t barrier_if_drain(const io_uring_sqe& sqe) noexcept {
        return (sqe.flags & IOSQE_IO_DRAIN) != 0 ? RINGSTEP_DRAIN_BARRIER : 0;
    }
};

}  // namespace ringstep::inline v0
