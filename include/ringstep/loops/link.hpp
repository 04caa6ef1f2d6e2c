// SPDX-License-Identifier: MIT
// Chains of linked requests.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/compiled/link.hpp>

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace ringstep::inline v0 {

namespace loops {

/// The loop that Link stands on.
struct link : compiled::link {
    static constexpr unsigned handled_flags = IOSQE_IO_LINK | IOSQE_IO_HARDLINK;  ///< of the SQEs pushed: the loop's business
};

}  // namespace loops

/// How the requests of a chain are treated.
struct LinkOptions {
    /// Short reads, writes, receives and sends are continued until all is transferred, an error comes or nothing more does: a
    /// link is severed only then. The result is what was transferred in all. Not those with vectors, with buffers that the
    /// kernel selects, or with a timeout linked to them.
    bool continue_short = false;
    /// For the application: RequestCompletion::group.
    std::uint64_t group = 0;
};

namespace detail {

// What makes a request fail, in the words of ringstep/loops/link.h, and how many bytes it is to transfer.
struct LinkRule {
    ringstep_link_rule rule = RINGSTEP_LINK_NEGATIVE;
    std::uint64_t bytes = 0;
    bool can_continue = false;
    bool moves_offset = false;
};

inline constexpr std::uint64_t most_bytes = 0x7ffff000;  // in one transfer

[[nodiscard]] inline std::uint64_t bytes_of(const iovec* vectors, std::size_t count) noexcept {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; vectors != nullptr && i < count; i++)
        bytes = std::min<std::uint64_t>(most_bytes, bytes + std::min<std::uint64_t>(most_bytes, vectors[i].iov_len));
    return bytes;
}

// Opcodes younger than the oldest liburing that will do.
inline constexpr unsigned op_ftruncate = 55;
inline constexpr unsigned op_readv_fixed = 60;
inline constexpr unsigned op_writev_fixed = 61;

// As the kernel marks requests as failed, of which the operations that give only a result never do (fsync, rename, …).
[[nodiscard]] inline LinkRule link_rule(const io_uring_sqe& sqe) noexcept {
    const bool selects = (sqe.flags & IOSQE_BUFFER_SELECT) != 0;
    const auto length = std::min<std::uint64_t>(sqe.len, most_bytes);
    const bool all = (sqe.msg_flags & MSG_WAITALL) != 0;
    switch (sqe.opcode) {
        case IORING_OP_READ:
            if (selects && sqe.len == 0) return {};  // as long as the buffer is
            [[fallthrough]];
        case IORING_OP_WRITE:
        case IORING_OP_READ_FIXED:
        case IORING_OP_WRITE_FIXED:
            return {.rule = RINGSTEP_LINK_EXACTLY,
                    .bytes = length,
                    .can_continue = !selects,
                    .moves_offset = sqe.off != ~std::uint64_t{0}};
        case IORING_OP_READV:
            if (selects) return {};
            [[fallthrough]];
        case IORING_OP_WRITEV:
        case op_readv_fixed:
        case op_writev_fixed:
            return {.rule = RINGSTEP_LINK_EXACTLY, .bytes = bytes_of(reinterpret_cast<const iovec*>(sqe.addr), sqe.len)};
        case IORING_OP_SPLICE:
        case IORING_OP_TEE: return {.rule = RINGSTEP_LINK_EXACTLY, .bytes = sqe.len};
        case IORING_OP_SEND:
        case IORING_OP_SEND_ZC:
        case IORING_OP_RECV:
            if (!all) return {.bytes = length, .can_continue = !selects && sqe.opcode != IORING_OP_SEND_ZC};
            return {
                .rule = RINGSTEP_LINK_AT_LEAST, .bytes = length, .can_continue = !selects && sqe.opcode != IORING_OP_SEND_ZC};
        case IORING_OP_SENDMSG:
        case IORING_OP_SENDMSG_ZC:
        case IORING_OP_RECVMSG: {
            const auto* message = reinterpret_cast<const msghdr*>(sqe.addr);
            if (!all || selects || message == nullptr) return {};
            return {.rule = RINGSTEP_LINK_AT_LEAST, .bytes = bytes_of(message->msg_iov, message->msg_iovlen)};
        }
        case IORING_OP_FSYNC:
        case IORING_OP_SYNC_FILE_RANGE:
        case IORING_OP_FALLOCATE:
        case IORING_OP_FGETXATTR:
        case IORING_OP_FSETXATTR:
        case IORING_OP_SHUTDOWN:
        case op_ftruncate: return {.rule = RINGSTEP_LINK_FILE};
        case IORING_OP_STATX:
        case IORING_OP_MADVISE:
        case IORING_OP_RENAMEAT:
        case IORING_OP_UNLINKAT:
        case IORING_OP_MKDIRAT:
        case IORING_OP_SYMLINKAT:
        case IORING_OP_LINKAT:
        case IORING_OP_GETXATTR:
        case IORING_OP_SETXATTR: return {.rule = RINGSTEP_LINK_SILENT};
        case IORING_OP_TIMEOUT:
            return {.rule = (sqe.timeout_flags & IORING_TIMEOUT_ETIME_SUCCESS) != 0 ? RINGSTEP_LINK_EXPIRES
                                                                                    : RINGSTEP_LINK_NEGATIVE};
        default: return {};
    }
}

// Opcodes of which link_rule() says more than that every error is a failure.
inline constexpr auto has_link_rule = [] {
    std::array<bool, 256> has{};
    for (const unsigned opcode : {unsigned{IORING_OP_READ},
                                  unsigned{IORING_OP_WRITE},
                                  unsigned{IORING_OP_READ_FIXED},
                                  unsigned{IORING_OP_WRITE_FIXED},
                                  unsigned{IORING_OP_READV},
                                  unsigned{IORING_OP_WRITEV},
                                  op_readv_fixed,
                                  op_writev_fixed,
                                  unsigned{IORING_OP_SPLICE},
                                  unsigned{IORING_OP_TEE},
                                  unsigned{IORING_OP_SEND},
                                  unsigned{IORING_OP_SEND_ZC},
                                  unsigned{IORING_OP_RECV},
                                  unsigned{IORING_OP_SENDMSG},
                                  unsigned{IORING_OP_SENDMSG_ZC},
                                  unsigned{IORING_OP_RECVMSG},
                                  unsigned{IORING_OP_FSYNC},
                                  unsigned{IORING_OP_SYNC_FILE_RANGE},
                                  unsigned{IORING_OP_FALLOCATE},
                                  unsigned{IORING_OP_FGETXATTR},
                                  unsigned{IORING_OP_FSETXATTR},
                                  unsigned{IORING_OP_SHUTDOWN},
                                  op_ftruncate,
                                  unsigned{IORING_OP_STATX},
                                  unsigned{IORING_OP_MADVISE},
                                  unsigned{IORING_OP_RENAMEAT},
                                  unsigned{IORING_OP_UNLINKAT},
                                  unsigned{IORING_OP_MKDIRAT},
                                  unsigned{IORING_OP_SYMLINKAT},
                                  unsigned{IORING_OP_LINKAT},
                                  unsigned{IORING_OP_GETXATTR},
                                  unsigned{IORING_OP_SETXATTR},
                                  unsigned{IORING_OP_TIMEOUT},
                                  unsigned{IORING_OP_LINK_TIMEOUT}})
        has.at(opcode) = true;
    return has;
}();

}  // namespace detail

/**
 * Chains of linked requests, as IOSQE_IO_LINK and IOSQE_IO_HARDLINK make them, and beyond what those can do.
 *
 * Each request of a chain starts when the one before it has completed. Every request but a chain's last one has IOSQE_IO_LINK
 * or IOSQE_IO_HARDLINK in its flags. If one with IOSQE_IO_LINK fails, all the rest of the chain completes with -ECANCELED; with
 * IOSQE_IO_HARDLINK the next one starts whatever came of it. What counts as a failure is what the kernel counts: an error; a
 * read, write, splice or tee that did not transfer all it was to; a send or receive with MSG_WAITALL likewise. The errors of
 * some operations sever nothing in the kernel, and do not here: fsync, sync_file_range, fallocate, ftruncate, shutdown, statx,
 * madvise, rename, unlink, mkdir, symlink, link and those of extended attributes. Chains run beside each other, as many as
 * there are slots.
 *
 * More than the kernel's links can do:
 * - a chain may be as long as there are slots (`capacity`: RINGSTEP_LINK_REQUESTS, 4096), not as the SQ;
 * - it may have an open end, and go on in a later push (push_open());
 * - short transfers can be continued (LinkOptions::continue_short);
 * - each of its requests can be cancelled, also one that has not started: it then completes with -ECANCELED when its turn
 * comes, and counts as failed;
 * - it is pushed as a unit from any thread, also while the loop runs.
 *
 * An IORING_OP_LINK_TIMEOUT behind a request limits the time that one may take, as it does in the kernel, which does it; the
 * chain goes on from the request. The timespec has to stay until the LINK_TIMEOUT completes. A time that is negative when the
 * chain is pushed is over at once: the request is cancelled unless it completes right away.
 *
 * Where it differs from the kernel's links:
 * - a request that the kernel refuses as soon as it reads the SQE (-EINVAL, -EFAULT) fails when its turn comes; of the
 *   operations whose errors sever nothing, these do not either. The kernel cancels the whole chain before any of it starts;
 * - fsync, sync_file_range, fallocate, ftruncate, shutdown, fgetxattr and fsetxattr sever with -EBADF, as they do in the kernel
 * if there is no such descriptor; there, a file's own -EBADF (fallocate where one may only read) does not;
 * - a datagram that is cut off is a failure of a receive with MSG_WAITALL in the kernel; here, its length decides;
 * - a read into a buffer that the kernel selects is short if it is less than the request's length; in the kernel, if it is
 *   less than the buffer's, should that be smaller;
 * - what follows a zero-copy send starts when the kernel no longer uses its buffer;
 * - vectors and message headers are read, for their lengths, when the chain is pushed;
 * - the kernel refuses a LINK_TIMEOUT with a negative time (-EINVAL), and cancels the chain.
 *
 * Threads, buffers, and all the rest: RequestLoop.
 *
 * **Example**:
 *
 *     ringstep::Link link{ring};
 *     std::array<io_uring_sqe, 3> chain{};
 *     io_uring_prep_write(&chain[0], log, record, size, offset);
 *     io_uring_prep_fsync(&chain[1], log, IORING_FSYNC_DATASYNC);
 *     io_uring_prep_send(&chain[2], client, "ok", 2, 0);
 *     chain[0].flags = chain[1].flags = IOSQE_IO_LINK;
 *     link.push(chain, {.continue_short = true});
 *     link.run();
 *     for (const ringstep::RequestCompletion& completion : link.completions()) use(completion);
 */
class Link : public RequestLoop<loops::link> {
    using Base = RequestLoop<loops::link>;

public:
    /// Puts the loop on a ring. Throws Error.
    explicit Link(Ring& ring, const LoopOptions& options = {}) : Base(ring, options), sq_entries_(ring.geometry().sq_entries) {}

    /// Hands a chain to the loop. What its last request has of link flags means nothing: the chain ends there, as the kernel's
    /// does where a submission ends. Any thread. The first one's ticket; `tickets`, if it is not empty, gets all of them: it
    /// has to be as long as the chain. Nothing if there are too few free slots: then none is taken. Throws Error (EINVAL) for
    /// an empty chain, for one that ends before its last request, and for a request that the loop cannot handle.
    std::optional<Ticket> try_push(std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                                   std::span<Ticket> tickets = {}) {
        return add(chain, options, tickets, nullptr, nullptr);
    }
    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket push(std::span<const io_uring_sqe> chain, const LinkOptions& options = {}, std::span<Ticket> tickets = {}) {
        const std::optional<Ticket> ticket = try_push(chain, options, tickets);
        if (!ticket) raise_full();
        return *ticket;
    }
    /// A single request, as a chain of one.
    Ticket push(const io_uring_sqe& sqe, const LinkOptions& options = {}) { return push({&sqe, 1}, options); }

    /**
     * Hands over a chain that is to go on: its last request has a link flag, too, and what that links to is pushed later, by
     * extend() or extend_open(). The open end's ticket, which will be that of the request that it is extended by; nothing if
     * there are too few free slots. Where the chain gets there before that, it waits; the loop does not, and run() returns if
     * there is nothing else to do. If the chain is severed before, what it is extended by is cancelled.
     *
     * An open end takes a slot. To give it up, cancel() it: it completes with -ECANCELED and user_data 0.
     */
    std::optional<Ticket> try_push_open(std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                                        std::span<Ticket> tickets = {}) {
        Ticket end;
        return add(chain, options, tickets, nullptr, &end) ? std::optional(end) : std::nullopt;
    }
    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket push_open(std::span<const io_uring_sqe> chain, const LinkOptions& options = {}, std::span<Ticket> tickets = {}) {
        const std::optional<Ticket> end = try_push_open(chain, options, tickets);
        if (!end) raise_full();
        return *end;
    }
    /// Goes on with a chain from its open end, and closes it. As push(); throws Error (EINVAL) also for an end that has been
    /// extended or cancelled. If that happens at the same time, in other threads, it is decided for one of them: an end that is
    /// cancelled after it was extended is a request that is cancelled.
    void extend(const Ticket& end, std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                std::span<Ticket> tickets = {}) {
        if (!add(chain, options, tickets, &end, nullptr)) raise_full();
    }
    /// The same, and leaves it open: the ticket of the new open end.
    Ticket extend_open(const Ticket& end, std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                       std::span<Ticket> tickets = {}) {
        Ticket next;
        if (!add(chain, options, tickets, &end, &next)) raise_full();
        return next;
    }

private:
    static constexpr unsigned link_flags = IOSQE_IO_LINK | IOSQE_IO_HARDLINK;

    static bool is_timeout(const io_uring_sqe& sqe) noexcept { return sqe.opcode == IORING_OP_LINK_TIMEOUT; }

    // Its time is negative. The kernel would refuse that.
    static bool is_over(const io_uring_sqe& sqe) noexcept {
        const auto* const time = reinterpret_cast<const __kernel_timespec*>(static_cast<std::uintptr_t>(sqe.addr));
        return time != nullptr && (time->tv_sec < 0 || (time->tv_sec == 0 && time->tv_nsec < 0));
    }

    void check_chain(std::span<const io_uring_sqe> chain, std::span<Ticket> tickets, bool open) const {
        if (chain.empty()) [[unlikely]]
            detail::raise(EINVAL, "push of a chain to loop 'link'", "It is empty. Push one request at least.");
        check_tickets(chain.size(), tickets);
        for (std::size_t i = 0; i < chain.size(); i++) {
            const io_uring_sqe& sqe = chain[i];
            if ((sqe.flags & link_flags) == 0 && (i + 1 < chain.size() || open)) [[unlikely]] {
                raise_refused(sqe, "The chain ends at its request " + std::to_string(i) +
                                       ", which has neither IOSQE_IO_LINK nor IOSQE_IO_HARDLINK. Push each chain by itself.");
            }
            if (!is_timeout(sqe)) {
                check(sqe);
            } else if (i == 0 || is_timeout(chain[i - 1])) {
                raise_refused(sqe, "IORING_OP_LINK_TIMEOUT belongs to the request in front of it, in the same push.");
            } else if (sq_entries_ < 2) {
                raise_refused(sqe,
                              "IORING_OP_LINK_TIMEOUT is submitted together with its request. Open the ring with two SQ "
                              "entries at least.");
            }
        }
    }

    // What has been filled in of a chain, from its end on.
    struct Taken {
        std::uint32_t next = 0;     // as in RINGSTEP_LINK_NEXT, and what is to be known of that one
        std::uint32_t timeout = 0;  // one more than the slot of the LINK_TIMEOUT just filled in; 0: it was something else
    };

    struct Filled {
        std::uint32_t options = 0;
        std::uint64_t bytes = 0;
    };

    // Of requests that take a look: transfers, those whose errors do not sever, timeouts.
    static Filled special(const io_uring_sqe& sqe, bool continue_short, bool timed) noexcept {
        if (is_timeout(sqe)) return {.options = RINGSTEP_LINK_TIMEOUT, .bytes = 0};
        detail::LinkRule rule = detail::link_rule(sqe);
        const bool continues = continue_short && rule.can_continue && !timed;
        if (continues && rule.rule == RINGSTEP_LINK_NEGATIVE) rule.rule = RINGSTEP_LINK_AT_LEAST;
        std::uint32_t options = static_cast<std::uint32_t>(rule.rule) << RINGSTEP_LINK_RULE_SHIFT;
        if (continues) options |= RINGSTEP_LINK_CONTINUES | (rule.moves_offset ? RINGSTEP_LINK_MOVES_OFFSET : 0);
        const bool counts = continues || rule.rule == RINGSTEP_LINK_EXACTLY || rule.rule == RINGSTEP_LINK_AT_LEAST;
        return {.options = options, .bytes = counts ? rule.bytes : 0};
    }

    // Writes a request of a chain into a slot.
    ringstep_request& fill_in_link(const Ticket& ticket, const io_uring_sqe& sqe, const LinkOptions& options, Taken& taken) {
        const std::uint32_t hard = (sqe.flags & IOSQE_IO_HARDLINK) != 0 ? RINGSTEP_LINK_HARD : 0;
        if (!detail::has_link_rule[sqe.opcode] && taken.timeout == 0) {
            ringstep_request& slot = write(ticket, sqe, options, {.options = hard | taken.next, .bytes = 0}, 0);
            taken.next = ticket.slot + 1;
            return slot;
        }
        return fill_in_special(ticket, sqe, options, hard, taken);
    }
    [[gnu::noinline]] ringstep_request& fill_in_special(const Ticket& ticket, const io_uring_sqe& sqe,
                                                        const LinkOptions& options, std::uint32_t hard, Taken& taken) {
        const bool timed = taken.timeout != 0;
        Filled filled = special(sqe, options.continue_short, timed);
        filled.options |= hard;
        if (is_timeout(sqe)) {
            ringstep_request& slot = write(ticket, sqe, options, filled, 0);
            // What is over is over at once: two zeroes stand there for a timespec.
            if (is_over(sqe))
                reinterpret_cast<io_uring_sqe*>(slot.sqe)->addr = reinterpret_cast<std::uintptr_t>(&slot.extra[0]);
            taken.timeout = ticket.slot + 1;
            return slot;
        }
        filled.options |= taken.next | (timed ? RINGSTEP_LINK_TIMED : 0);
        ringstep_request& slot = write(ticket, sqe, options, filled, taken.timeout);
        taken.next = (ticket.slot + 1) | (timed ? RINGSTEP_LINK_BEFORE_TIMED : 0);
        taken.timeout = 0;
        return slot;
    }
    ringstep_request& write(const Ticket& ticket, const io_uring_sqe& sqe, const LinkOptions& options, const Filled& filled,
                            std::uint32_t timeout) noexcept {
        ringstep_request& slot = fill_in(ticket, sqe, options.group, filled.options);
        // Nothing is to be linked in the kernel but timeouts.
        reinterpret_cast<io_uring_sqe*>(slot.sqe)->flags = static_cast<std::uint8_t>(sqe.flags & ~link_flags);
        slot.memo = filled.bytes << 32;
        slot.extra[0] = filled.bytes;
        slot.extra[1] = std::uint64_t{timeout} << 32;
        return slot;
    }

    // What the loop does to the first one of a chain when it comes: the others are waiting from now on, too.
    static void let_wait(ringstep_request& slot, std::uint32_t flags) noexcept {
        slot.own = 0;
        slot.flags = flags;
        // Behind the generation, for a loop that hears that somebody wants the slot's earlier request cancelled.
        std::atomic_ref(slot.phase).store(RINGSTEP_REQUEST_WAITING, std::memory_order_release);
    }

    // `start`: the open end that the first request takes; `end`: where to put the new open end's ticket, if there is to be one.
    std::optional<Ticket> add(std::span<const io_uring_sqe> chain, const LinkOptions& options, std::span<Ticket> tickets,
                              const Ticket* start, Ticket* end) {
        check_chain(chain, tickets, end != nullptr);
        const std::size_t count = chain.size() - (start != nullptr ? 1 : 0) + (end != nullptr ? 1 : 0);
        if (count > capacity) return std::nullopt;
        Ticket free;
        if (count != 0) {
            const std::optional<Ticket> first = take(static_cast<std::uint32_t>(count));
            if (!first) return std::nullopt;
            free = *first;
        }
        if (start != nullptr && !hold(*start)) {
            give_back(free, count);
            detail::raise(EINVAL, "extension of a chain in loop 'link'",
                          "That is no open end, or no longer: it was extended, or cancelled. Extend each open end once.");
        }
        std::size_t left = count;
        const auto next_free = [&] {
            const Ticket ticket = free;
            if (--left != 0) free = next(free);
            return ticket;
        };
        Taken taken;
        if (end != nullptr) {
            *end = next_free();
            let_wait(fill_in(*end, io_uring_sqe{}, options.group, 0), RINGSTEP_LINK_OPEN);
            open(*end);
            taken.next = (end->slot + 1) | RINGSTEP_LINK_BEFORE_OPEN;
        }
        for (std::size_t i = chain.size() - 1; i != 0; i--) {
            const Ticket ticket = next_free();
            if (!tickets.empty()) tickets[i] = ticket;
            let_wait(fill_in_link(ticket, chain[i], options, taken), 0);
        }
        const Ticket first = start != nullptr ? *start : next_free();
        if (!tickets.empty()) tickets[0] = first;
        ringstep_request& slot = fill_in_link(first, chain[0], options, taken);
        if (start == nullptr) let_wait(slot, 0);
        slot.extra[1] |= chain.size();
        hand_over(first);
        if (start != nullptr) release(first);
        return first;
    }

    // Gives back so many that were taken together.
    void give_back(const Ticket& first, std::size_t count) noexcept {
        Ticket ticket = first;
        for (; count != 0; count--) {
            const Ticket following = count > 1 ? next(ticket) : ticket;
            Base::give_back(ticket);
            ticket = following;
        }
    }

    std::uint32_t sq_entries_;
};

}  // namespace ringstep::inline v0
