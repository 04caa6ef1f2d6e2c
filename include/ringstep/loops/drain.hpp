// SPDX-License-Identifier: MIT
// Barriers over groups of requests.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/compiled/drain.hpp>

#include <cstdint>
#include <optional>
#include <span>

namespace ringstep::inline v0 {

namespace loops {

/// The loop that Drain stands on.
struct drain : compiled::drain {
    static constexpr unsigned handled_flags = IOSQE_IO_DRAIN;  ///< of the SQEs pushed: the loop's business
};

}  // namespace loops

/**
 * Requests in groups, with barriers: what IOSQE_IO_DRAIN does to a whole ring, for each group by itself.
 *
 * A *barrier* starts when everything that was pushed before it in its group has completed, whatever came of it; and nothing
 * that was pushed after it in its group starts before the barrier has completed. Other groups are not held up. Between
 * barriers, requests run in any order, all at once. A barrier of the whole ring is a barrier to every group. The order is that
 * of the calls of push(): where several threads push, each thread's own.
 *
 * A group is any number: a file, a connection, a tag. There may be any number of them: the loop keeps those only that have
 * requests with it, so only the number of requests has a limit (`capacity`: RINGSTEP_DRAIN_REQUESTS, 4096). A group without
 * barriers costs a look into a table.
 *
 * A request has completed when its completion can be taken; a zero-copy send, when the kernel no longer uses its buffer. A
 * request that waits for a barrier can be cancelled; it then was never submitted, and what waited for it goes on.
 *
 * Threads, buffers, and all the rest: RequestLoop.
 *
 * **Example**: of each file, all blocks are written in any order, then the file is synced.
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

    /// Hands a request of a group to the loop; with IOSQE_IO_DRAIN in its flags, as a barrier of its group. Any thread. Nothing
    /// if all slots are taken. Throws Error (EINVAL) for a request that no loop can schedule.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        if ((sqe.flags & IOSQE_IO_DRAIN) == 0) return Base::try_push(sqe, group);
        return Base::try_push(without_drain(sqe), group, RINGSTEP_DRAIN_BARRIER);
    }
    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket push(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        if ((sqe.flags & IOSQE_IO_DRAIN) == 0) return Base::push(sqe, group);
        return Base::push(without_drain(sqe), group, RINGSTEP_DRAIN_BARRIER);
    }

    /// Hands several requests of a group over, in their order: all of them, or none (false). One with IOSQE_IO_DRAIN in its
    /// flags is a barrier, as in try_push(). `tickets`, if it is not empty, gets all of them: it has to be as long.
    bool try_push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::span<Ticket> tickets = {}) {
        return Base::add(sqes, tickets, [&](const Ticket& ticket, const io_uring_sqe& sqe) {
            const bool barrier = (sqe.flags & IOSQE_IO_DRAIN) != 0;
            ringstep_request& slot = fill_in(ticket, sqe, group, barrier ? RINGSTEP_DRAIN_BARRIER : 0);
            if (barrier) reinterpret_cast<io_uring_sqe*>(slot.sqe)->flags &= static_cast<std::uint8_t>(~IOSQE_IO_DRAIN);
        });
    }
    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    void push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::span<Ticket> tickets = {}) {
        if (!try_push(sqes, group, tickets)) raise_full();
    }

    /// Hands a request to the loop as a barrier of its group: see above. As try_push().
    std::optional<Ticket> try_barrier(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::try_push(without_drain(sqe), group, RINGSTEP_DRAIN_BARRIER);
    }
    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket barrier(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::push(without_drain(sqe), group, RINGSTEP_DRAIN_BARRIER);
    }

    /// Hands a request to the loop as a barrier of the whole ring: it waits for everything pushed before it, and everything
    /// pushed after it waits for it. As try_push(); `group` is for the application only.
    std::optional<Ticket> try_barrier_of_all(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::try_push(without_drain(sqe), group, RINGSTEP_DRAIN_ALL);
    }
    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket barrier_of_all(const io_uring_sqe& sqe, std::uint64_t group = 0) {
        return Base::push(without_drain(sqe), group, RINGSTEP_DRAIN_ALL);
    }

    /// Groups that have requests with the loop. While the loop runs, as of some moment.
    [[nodiscard]] std::uint32_t active_groups() const noexcept { return state().load(&ringstep_drain::groups_active); }

private:
    // The kernel would order it against everything else on the ring.
    static io_uring_sqe without_drain(io_uring_sqe sqe) noexcept {
        sqe.flags &= static_cast<std::uint8_t>(~IOSQE_IO_DRAIN);
        return sqe;
    }
};

}  // namespace ringstep::inline v0
