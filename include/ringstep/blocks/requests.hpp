// SPDX-License-Identifier: MIT
// Requests that a loop schedules. The application pushes them from any thread and takes their completions.
#pragma once

#include <ringstep/blocks/service.hpp>
#include <ringstep/blocks/slots.hpp>
#include <ringstep/blocks/taken.hpp>
#include <ringstep/c/blocks/requests.h>
#include <ringstep/detail/opcodes.hpp>
#include <ringstep/error.hpp>
#include <ringstep/options.hpp>
#include <ringstep/queues.hpp>
#include <ringstep/ring.hpp>

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace ringstep::inline v0 {

/// A state with a table of requests, that is, with the members of RINGSTEP_REQUESTS().
template <class State>
concept HasRequests = HasService<State> && requires(State& state) {
    { state.slots[0].request } -> std::same_as<ringstep_request&>;
    state.slots[0].own;
};

/// The result of a request: a Completion with the user_data of the pushed request, and the request's ticket.
struct RequestCompletion : Completion {
    Ticket ticket;  ///< the ticket that push() returned for the request
};

/// The result of a request, with what the loop keeps for it: `Own` is the struct given to RINGSTEP_REQUESTS().
template <class Own>
struct RequestCompletionWith : RequestCompletion {
    Own own{};  ///< as the push set it, and as the loop has changed it since
};

/// The IOSQE_ flags that a scheduling loop implements itself, so that push() accepts them. Specialize it for a loop that does.
template <class Loop>
inline constexpr unsigned handled_flags = 0;

/**
 * The C++ class of a loop that schedules requests: a loop whose state has RINGSTEP_REQUESTS(). Gate, Drain, Link and Pace
 * derive from it, and custom loops can use it.
 *
 * Any thread may push requests, also while the loop runs on its owning thread; pushing takes no locks. `run()` must be called
 * on the ring's owning thread. It returns when everything pushed has completed, unless set_stay() or set_batch() change that.
 * One thread at a time may take completions: any thread, also while the loop runs. Buffers must stay valid until the completion
 * is taken.
 *
 * When a RequestLoop is destroyed, its requests in flight stay with the ring (Ring::in_flight(), Ring::close()). Requests that
 * are still waiting are never submitted.
 *
 * **Example**:
 *
 *     ringstep::RequestLoop<my_loop> loop{ring};
 *     io_uring_sqe sqe{};
 *     io_uring_prep_read(&sqe, fd, buffer, size, offset);
 *     sqe.user_data = 42;
 *     loop.push(sqe);
 *     loop.run();
 *     for (const auto& completion : loop.completions()) use(completion.user_data, completion.result, completion.own);
 */
template <LoopDefinition Loop>
    requires HasRequests<typename Loop::state>
class RequestLoop : public Service<Loop> {
    using Base = Service<Loop>;

protected:
    /// An element of the table: the service's `request`, and the loop's `own`.
    using Slot = std::remove_reference_t<decltype(std::declval<typename Loop::state&>().slots[0])>;

public:
    using Base::capacity;
    using Base::program;
    using Base::state;
    using Base::wake;
    using typename Base::state_type;

    /// What the loop keeps for each request: the struct given to RINGSTEP_REQUESTS().
    using own_type = decltype(Slot::own);
    /// A completion as completions() returns it.
    using completion_type = RequestCompletionWith<own_type>;

    static_assert(!requires { Loop::handled_flags; }, "specialize ringstep::handled_flags instead");
    static_assert(sizeof(state_type::slots) == sizeof(Slot) * capacity);

    /// Attaches the loop to a ring. Throws Error.
    explicit RequestLoop(Ring& ring, const LoopOptions& options = {})
        : Base(ring, options), long_sqes_(ring.geometry().sqe_size != sizeof(io_uring_sqe)) {}

    /**
     * Pushes a request, filled in by one of liburing's io_uring_prep_ functions. Returns the request's ticket, or nullopt if
     * all slots are taken: then take completions first. `own` is what the loop keeps for the request: the loop says what its
     * members mean. May be called from any thread. Throws Error (EINVAL) for a request that the loop cannot schedule, even if
     * all slots are taken.
     */
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, const own_type& own = {}) {
        return try_push_with(sqe, [&own](Slot& slot) { slot.own = own; });
    }

    /// Pushes a request like `try_push()`, but throws Error (ENOSPC) if all slots are taken.
    Ticket push(const io_uring_sqe& sqe, const own_type& own = {}) {
        const std::optional<Ticket> ticket = try_push(sqe, own);
        if (!ticket) raise_full();
        return *ticket;
    }

    /// Pushes several requests in their order, at a lower cost than one by one. Returns false, and pushes none, if too few
    /// slots are free. `tickets` receives the ticket of each request; it must be empty or as long as `sqes`. May be called from
    /// any thread. Throws Error (EINVAL) for a request that the loop cannot schedule, and for `tickets` of another length.
    bool try_push(std::span<const io_uring_sqe> sqes, const own_type& own = {}, std::span<Ticket> tickets = {}) {
        return add(sqes, tickets, [&](const Ticket& ticket, const io_uring_sqe& sqe) { fill_in(ticket, sqe).own = own; });
    }

    /// Pushes several requests like `try_push()`, but throws Error (ENOSPC) if too few slots are free.
    void push(std::span<const io_uring_sqe> sqes, const own_type& own = {}, std::span<Ticket> tickets = {}) {
        if (!try_push(sqes, own, tickets)) raise_full();
    }

    /// Takes the next completion, which frees the request's slot. Returns false if there is none. May be called by one thread
    /// at a time, also while the loop runs.
    bool pop(RequestCompletion& out) noexcept {
        return collect(out, [](const Slot&) {});
    }
    /// Takes the next completion like the other `pop()`, with what the loop keeps for the request.
    bool pop(completion_type& out) noexcept {
        return collect(out, [&out](const Slot& slot) { out.own = slot.own; });
    }
    /// Returns a range that takes completions like pop().
    [[nodiscard]] TakenItems<RequestLoop, completion_type> completions() noexcept {
        return TakenItems<RequestLoop, completion_type>(*this);
    }

    /// Returns how many requests the loop has received and not submitted. May be called from any thread.
    [[nodiscard]] std::uint32_t waiting() const noexcept { return Base::received(); }

protected:
    using Base::take;

    // The steps of a push, for derived classes that push several requests as one. Any thread may call them.

    /// Throws Error (EINVAL) for a request that the loop cannot schedule.
    void check(const io_uring_sqe& sqe) const {
        constexpr unsigned refused_flags = IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN;
        if ((sqe.flags & refused_flags & ~handled_flags<Loop>) == 0 && !detail::may_be_unschedulable[sqe.opcode]) return;
        if (const char* const why = detail::unschedulable(sqe, handled_flags<Loop>, long_sqes_); why != nullptr) [[unlikely]]
            raise_refused(sqe, std::string("It has ") + why);
    }
    /// Throws Error (EINVAL) with `advice` for a request that the loop cannot schedule.
    [[noreturn]] static void raise_refused(const io_uring_sqe& sqe, const std::string& advice) {
        detail::raise(EINVAL,
                      "push of a request (opcode " + std::to_string(sqe.opcode) + ") to loop '" + std::string(Loop::name) + "'",
                      advice);
    }
    /// Throws Error (ENOSPC), because no slot is free.
    [[noreturn]] static void raise_full() {
        detail::raise(ENOSPC, "push of a request to loop '" + std::string(Loop::name) + "'",
                      "All " + std::to_string(capacity) +
                          " slots are taken: by requests that are not complete, and by completions that nobody has taken.");
    }
    /// Throws Error (EINVAL) unless the span for tickets is empty or has `requests` elements.
    static void check_tickets(std::size_t requests, std::span<const Ticket> tickets) {
        if (!tickets.empty() && tickets.size() != requests) [[unlikely]] {
            detail::raise(
                EINVAL, "push of " + std::to_string(requests) + " requests to loop '" + std::string(Loop::name) + "'",
                "The span for tickets has " + std::to_string(tickets.size()) + " elements. Make it as long, or leave it out.");
        }
    }
    /// Writes a request into a slot that was taken, and returns the slot. The caller writes what the loop keeps for it.
    Slot& fill_in(const Ticket& ticket, const io_uring_sqe& sqe) noexcept {
        Slot& slot = state()->slots[ticket.slot];
        std::memcpy(slot.request.sqe, &sqe, sizeof slot.request.sqe);
        Base::name(slot.request.identity, ticket, Base::identity().value());
        return slot;
    }
    /// Pushes a request like `try_push()`; write(slot) writes what the loop keeps for it, and may change the request's copy in
    /// the slot. It must not throw.
    template <class Write>
    std::optional<Ticket> try_push_with(const io_uring_sqe& sqe, const Write& write) {
        check(sqe);
        const std::optional<Ticket> ticket = Base::take();
        if (!ticket) return ticket;
        write(fill_in(*ticket, sqe));
        Base::hand_over(*ticket);
        return ticket;
    }
    /// Pushes a request like `try_push_with()`, but throws Error (ENOSPC) if all slots are taken.
    template <class Write>
    Ticket push_with(const io_uring_sqe& sqe, const Write& write) {
        const std::optional<Ticket> ticket = try_push_with(sqe, write);
        if (!ticket) raise_full();
        return *ticket;
    }
    /// Pushes several requests together; write(ticket, sqe) writes each request into its slot. Returns false, and pushes none,
    /// if too few slots are free.
    template <class Write>
    bool add(std::span<const io_uring_sqe> sqes, std::span<Ticket> tickets, const Write& write) {
        check_tickets(sqes.size(), tickets);
        for (const io_uring_sqe& sqe : sqes) check(sqe);
        if (sqes.empty()) return true;
        if (sqes.size() > capacity) return false;
        const auto count = static_cast<std::uint32_t>(sqes.size());
        const std::optional<Ticket> first = Base::take(count);
        if (!first) return false;
        Ticket ticket = *first;
        for (std::uint32_t i = 0; i < count; i++) {
            if (i != 0) ticket = Base::next(ticket);
            if (!tickets.empty()) tickets[i] = ticket;
            write(ticket, sqes[i]);
        }
        Base::hand_over(*first, count);
        return true;
    }

private:
    template <class Rest>
    bool collect(RequestCompletion& out, const Rest& rest) noexcept {
        const std::optional<Ticket> ticket = Base::collect();
        if (!ticket) return false;
        const Slot& slot = state()->slots[ticket->slot];
        out.user_data = slot.request.sqe[offsetof(io_uring_sqe, user_data) / sizeof slot.request.sqe[0]];
        out.result = slot.request.result;
        out.flags = slot.request.flags & ~static_cast<std::uint32_t>(IORING_CQE_F_MORE);
        out.extra[0] = slot.request.extra[0];
        out.extra[1] = slot.request.extra[1];
        out.ticket = *ticket;
        rest(slot);
        Base::give_back(*ticket);
        return true;
    }

    bool long_sqes_;
};

}  // namespace ringstep::inline v0
