// SPDX-License-Identifier: MIT
// Chains of linked requests.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/compiled/link.hpp>
#include <ringstep/detail/link_rules.hpp>
#include <ringstep/detail/sqe_words.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class Link.
struct link;

}  // namespace loops

template <>
inline constexpr unsigned handled_flags<loops::link> = IOSQE_IO_LINK | IOSQE_IO_HARDLINK;

/// How the requests of a linked chain are treated.
struct LinkOptions {
    /// Continues short reads, writes, receives and sends until all is transferred, an error occurs, or nothing more is
    /// transferred. A link is severed only then. The result is the sum of the transfers. Excluded are requests with vectors,
    /// with buffers that the kernel selects, or with a linked timeout.
    bool continue_short = false;
    /// A number for the application, returned as RequestCompletion::group.
    std::uint64_t group = 0;
};

/**
 * Runs chains of linked requests, as made by IOSQE_IO_LINK and IOSQE_IO_HARDLINK, with more features than the kernel's links.
 *
 * Each request of a chain starts when the previous one has completed. Every request except a chain's last has IOSQE_IO_LINK or
 * IOSQE_IO_HARDLINK in its flags. If a request with IOSQE_IO_LINK fails, the rest of the chain completes with -ECANCELED. After
 * a request with IOSQE_IO_HARDLINK, the next one starts regardless of the result. Several chains run at once, as many as there
 * are slots.
 *
 * Failures are those that the kernel counts:
 * - an error;
 * - a read, write, splice or tee that did not transfer all bytes;
 * - a send or receive with MSG_WAITALL that did not transfer all bytes.
 *
 * As in the kernel, the errors of some operations do not sever a link: fsync, sync_file_range, fallocate, ftruncate, shutdown,
 * statx, madvise, rename, unlink, mkdir, symlink, link, and operations on extended attributes.
 *
 * Features beyond the kernel's links:
 * - a chain may have as many requests as there are slots (`capacity`: RINGSTEP_LINK_REQUESTS, 4096), regardless of the SQ's
 *   size;
 * - a chain may have an open end, and continue with a later push (push_open());
 * - short transfers can be continued (LinkOptions::continue_short);
 * - each request of a chain can be cancelled, even before it starts: it then completes with -ECANCELED when its turn comes, and
 *   counts as failed;
 * - a chain is pushed as a unit from any thread, also while the loop runs.
 *
 * An IORING_OP_LINK_TIMEOUT behind a request limits the time of that request. The kernel enforces it, as for its own links. The
 * chain continues from the request. The timespec must stay valid until the LINK_TIMEOUT completes. A time that is negative when
 * the chain is pushed is over at once: the request is cancelled unless it completes right away.
 *
 * Differences from the kernel's links:
 * - A request that the kernel refuses when it reads the SQE (-EINVAL, -EFAULT) fails when its turn comes. It severs nothing if
 *   its operation's errors sever nothing. The kernel would cancel the whole chain before any of it starts.
 * - fsync, sync_file_range, fallocate, ftruncate, shutdown, fgetxattr and fsetxattr sever with any -EBADF. The kernel severs
 *   only if the descriptor does not exist, and not for a file's own -EBADF (fallocate on a file open for reading only).
 * - A truncated datagram is a failure of a receive with MSG_WAITALL in the kernel. This loop compares its length.
 * - A read into a buffer that the kernel selects is short if it is less than the request's length. In the kernel, it is short
 *   if it is less than the buffer's length, if that is smaller.
 * - The request after a zero-copy send starts when the kernel no longer uses the send's buffer.
 * - Vectors and message headers are read when the chain is pushed, to know their lengths.
 * - The kernel refuses a LINK_TIMEOUT with a negative time (-EINVAL), and cancels the chain.
 *
 * See RequestLoop for threads, buffers and everything else.
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
    /// Attaches the loop to a ring. Throws Error.
    explicit Link(Ring& ring, const LoopOptions& options = {}) : Base(ring, options), sq_entries_(ring.geometry().sq_entries) {}

    /// Pushes a chain. The link flags of its last request are ignored: the chain ends there, as the kernel's chains end with a
    /// submission. Returns the first request's ticket, or nullopt if too few slots are free; then nothing is pushed.
    ///
    /// `tickets` receives the ticket of each request; it must be empty or as long as the chain. May be called from any thread.
    /// Throws Error (EINVAL) for an empty chain, for one that ends before its last request, for `tickets` of another length,
    /// and for a request that the loop cannot handle.
    std::optional<Ticket> try_push(std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                                   std::span<Ticket> tickets = {}) {
        if (!chain.empty() && tickets.empty() && is_plain(chain)) [[likely]]
            return add_plain(chain, options);
        return add(chain, options, tickets, nullptr, nullptr);
    }
    /// Pushes a chain like `try_push()`, but throws Error (ENOSPC) if too few slots are free.
    Ticket push(std::span<const io_uring_sqe> chain, const LinkOptions& options = {}, std::span<Ticket> tickets = {}) {
        const std::optional<Ticket> ticket = try_push(chain, options, tickets);
        if (!ticket) raise_full();
        return *ticket;
    }
    /// Pushes a single request as a chain of one. Throws Error like the other `push()`.
    Ticket push(const io_uring_sqe& sqe, const LinkOptions& options = {}) { return push({&sqe, 1}, options); }

    /**
     * Pushes a chain with an open end. Its last request also has a link flag, and the requests after it are pushed later with
     * extend() or extend_open(). Returns the open end's ticket, or nullopt if too few slots are free. The first request of the
     * extension will have this ticket.
     *
     * If the chain reaches its open end, it waits. The loop does not: run() returns if there is nothing else to do. If the
     * chain is severed before its extension, the extension is cancelled.
     *
     * An open end takes a slot. Call cancel() to remove it: it completes with -ECANCELED and user_data 0.
     */
    std::optional<Ticket> try_push_open(std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                                        std::span<Ticket> tickets = {}) {
        Ticket end;
        return add(chain, options, tickets, nullptr, &end) ? std::optional(end) : std::nullopt;
    }
    /// Pushes a chain like `try_push_open()`, but throws Error (ENOSPC) if too few slots are free.
    Ticket push_open(std::span<const io_uring_sqe> chain, const LinkOptions& options = {}, std::span<Ticket> tickets = {}) {
        const std::optional<Ticket> end = try_push_open(chain, options, tickets);
        if (!end) raise_full();
        return *end;
    }
    /// Extends a chain from its open end, and closes it. Throws Error like push(), and (EINVAL) for an end that was already
    /// extended or cancelled. If several threads extend or cancel an end at once, one of them succeeds. Cancelling an end that
    /// was just extended cancels its request.
    void extend(const Ticket& end, std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                std::span<Ticket> tickets = {}) {
        if (!add(chain, options, tickets, &end, nullptr)) raise_full();
    }
    /// Extends a chain like `extend()`, but leaves it open. Returns the ticket of the new open end.
    Ticket extend_open(const Ticket& end, std::span<const io_uring_sqe> chain, const LinkOptions& options = {},
                       std::span<Ticket> tickets = {}) {
        Ticket next;
        if (!add(chain, options, tickets, &end, &next)) raise_full();
        return next;
    }

private:
    static constexpr unsigned link_flags = IOSQE_IO_LINK | IOSQE_IO_HARDLINK;

    static constexpr auto is_special = [] {
        std::array<bool, 256> special = detail::has_link_rule;
        for (std::size_t i = 0; i < special.size(); i++) special.at(i) = special.at(i) || detail::may_be_unschedulable.at(i);
        return special;
    }();

    static bool is_timeout(const io_uring_sqe& sqe) noexcept { return sqe.opcode == IORING_OP_LINK_TIMEOUT; }

    // Returns whether the timeout's time is negative, which the kernel would refuse.
    static bool is_over(const io_uring_sqe& sqe) noexcept {
        const auto* const time = reinterpret_cast<const __kernel_timespec*>(static_cast<std::uintptr_t>(sqe.addr));
        return time != nullptr && (time->tv_sec < 0 || (time->tv_sec == 0 && time->tv_nsec < 0));
    }

    // Returns whether each request but the last has a link flag, and none needs more than the rule that every error is a
    // failure.
    static bool is_plain(std::span<const io_uring_sqe> chain) noexcept {
        constexpr unsigned refused_flags = IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_DRAIN;
        unsigned odd = 0;
        std::size_t left = chain.size();
        for (const io_uring_sqe& sqe : chain) {
            odd |= (sqe.flags & refused_flags) | static_cast<unsigned>(is_special[sqe.opcode]);
            if (--left != 0) odd |= (sqe.flags & link_flags) == 0 ? 1U : 0U;
        }
        return odd == 0;
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

    // The state of filling in a chain, from its end to its start.
    struct Taken {
        std::uint32_t next = 0;     // the next request's slot as in RINGSTEP_LINK_NEXT, with its flags
        std::uint32_t timeout = 0;  // the slot of the LINK_TIMEOUT just filled in, plus one; 0: none
    };

    struct Filled {
        std::uint32_t options = 0;
        std::int32_t expected = 0;
    };

    // Fills in requests with rules of their own: transfers, operations whose errors do not sever, and timeouts.
    static Filled special(const io_uring_sqe& sqe, bool continue_short, bool timed) noexcept {
        if (is_timeout(sqe)) return {.options = RINGSTEP_LINK_TIMEOUT, .expected = 0};
        detail::LinkRule rule = detail::link_rule(sqe);
        const bool continues = continue_short && rule.can_continue && !timed;
        if (continues && rule.rule == RINGSTEP_LINK_NEGATIVE) rule.rule = RINGSTEP_LINK_AT_LEAST;
        std::uint32_t options = static_cast<std::uint32_t>(rule.rule) << RINGSTEP_LINK_RULE_SHIFT;
        if (continues) options |= RINGSTEP_LINK_CONTINUES | (rule.moves_offset ? RINGSTEP_LINK_MOVES_OFFSET : 0);
        const bool counts = continues || rule.rule == RINGSTEP_LINK_EXACTLY || rule.rule == RINGSTEP_LINK_AT_LEAST;
        // No result is larger than the largest number, so a request that is to transfer more fails anyway.
        constexpr std::uint64_t most = std::numeric_limits<std::int32_t>::max();
        return {.options = options, .expected = counts ? static_cast<std::int32_t>(std::min(rule.bytes, most)) : 0};
    }

    // Writes a request of a chain into a slot.
    Slot& fill_in_link(const Ticket& ticket, const io_uring_sqe& sqe, const LinkOptions& options, Taken& taken) {
        const std::uint32_t hard = (sqe.flags & IOSQE_IO_HARDLINK) != 0 ? RINGSTEP_LINK_HARD : 0;
        if (!detail::has_link_rule[sqe.opcode] && taken.timeout == 0) {
            const Filled filled{.options = hard | taken.next, .expected = hard != 0 ? RINGSTEP_LINK_ANY : 0};
            Slot& slot = write(ticket, sqe, options, filled, 0);
            taken.next = ticket.slot + 1;
            return slot;
        }
        return fill_in_special(ticket, sqe, options, hard, taken);
    }
    [[gnu::noinline]] Slot& fill_in_special(const Ticket& ticket, const io_uring_sqe& sqe, const LinkOptions& options,
                                            std::uint32_t hard, Taken& taken) {
        const bool timed = taken.timeout != 0;
        Filled filled = special(sqe, options.continue_short, timed);
        filled.options |= hard;
        if (hard != 0 && (filled.options & RINGSTEP_LINK_CONTINUES) == 0) filled.expected = RINGSTEP_LINK_ANY;
        if (is_timeout(sqe)) {
            io_uring_sqe timeout = sqe;
            // Replaces a negative time by zeros, which mean a time that is over at once.
            if (is_over(sqe)) timeout.addr = reinterpret_cast<std::uintptr_t>(&state()->no_time);
            Slot& slot = write(ticket, timeout, options, filled, 0);
            taken.timeout = ticket.slot + 1;
            return slot;
        }
        filled.options |= taken.next | (timed ? RINGSTEP_LINK_TIMED : 0);
        Slot& slot = write(ticket, sqe, options, filled, taken.timeout);
        taken.next = (ticket.slot + 1) | (timed ? RINGSTEP_LINK_BEFORE_TIMED : 0);
        taken.timeout = 0;
        return slot;
    }
    Slot& write(const Ticket& ticket, const io_uring_sqe& sqe, const LinkOptions& options, const Filled& filled,
                std::uint32_t timeout, std::uint32_t count = 0) noexcept {
        Slot& slot = fill_in(ticket, sqe);
        // The loop does the linking, so the kernel must not see these flags.
        detail::set_field(slot.request.sqe, &io_uring_sqe::flags, static_cast<std::uint8_t>(sqe.flags & ~link_flags));
        // The loop may write the marks of an open end at this moment.
        slot.own.group = options.group;
        slot.own.options = filled.options;
        slot.own.timeout = timeout;
        slot.own.count = count;
        slot.own.expected = filled.expected;
        slot.own.done = 0;
        return slot;
    }

    // Lets a request wait that the loop gets no message about, as the service does with one that it receives.
    static void let_wait(Slot& slot, std::uint32_t marks) noexcept {
        slot.own.marks = marks;
        // Stored after the identity, for a loop that receives a message to cancel the slot's earlier request.
        std::atomic_ref(slot.request.phase).store(RINGSTEP_REQUEST_WAITING, std::memory_order_release);
    }

    // Most chains are closed and plain. Writes them from their start to their end, which costs less than add().
    std::optional<Ticket> add_plain(std::span<const io_uring_sqe> chain, const LinkOptions& options) noexcept {
        if (chain.size() > capacity) return std::nullopt;
        const auto count = static_cast<std::uint32_t>(chain.size());
        const std::optional<Ticket> first = take(count);
        if (!first) return std::nullopt;
        Ticket ticket = *first;
        std::uint32_t left = count;
        for (const io_uring_sqe& sqe : chain) {
            const Ticket following = --left != 0 ? next(ticket) : Ticket{};
            const std::uint32_t hard = (sqe.flags & IOSQE_IO_HARDLINK) != 0 ? RINGSTEP_LINK_HARD : 0;
            const Filled filled{.options = hard | (left != 0 ? following.slot + 1 : 0),
                                .expected = hard != 0 ? RINGSTEP_LINK_ANY : 0};
            let_wait(write(ticket, sqe, options, filled, 0, count), 0);
            ticket = following;
        }
        hand_over(*first);
        return first;
    }

    // `start`: the open end that the first request takes. `end`: receives the ticket of the new open end; null if there is
    // none.
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
            let_wait(write(*end, io_uring_sqe{}, options, {}, 0), RINGSTEP_LINK_OPEN);
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
        Slot& slot = fill_in_link(first, chain[0], options, taken);
        if (start == nullptr)
            let_wait(slot, 0);
        else
            slot.own.options |= RINGSTEP_LINK_EXTENDS;
        slot.own.count = static_cast<std::uint32_t>(chain.size());
        hand_over(first);
        if (start != nullptr) release(first);
        return first;
    }

    // Gives back `count` slots that were taken together.
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
