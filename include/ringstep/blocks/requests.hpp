// SPDX-License-Identifier: MIT
// Requests that a loop schedules: pushed by the application from any thread, delivered when they are complete.
#pragma once

#include <ringstep/blocks/mailbox.hpp>
#include <ringstep/blocks/requests.h>
#include <ringstep/blocks/slots.hpp>
#include <ringstep/error.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>
#include <ringstep/program.hpp>
#include <ringstep/queues.hpp>
#include <ringstep/ring.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>

namespace ringstep::inline v0 {

/// A state with a table of requests: one that has the members of RINGSTEP_REQUESTS().
template <class State>
concept HasRequests = requires(State& state) {
    { state.mailbox } -> std::same_as<ringstep_mailbox&>;
    { state.requests } -> std::same_as<ringstep_requests&>;
    { state.slots[0] } -> std::same_as<ringstep_request&>;
    state.inbox[0];
    state.outbox[0];
};

namespace detail {

// What about a request no loop that schedules can handle; null if nothing is. IOSQE_ flags of `handled` are the loop's
// business.
[[nodiscard]] inline const char* unschedulable(const io_uring_sqe& sqe, unsigned handled, bool long_sqes) noexcept {
    const unsigned flags = sqe.flags & ~handled;
    if ((flags & IOSQE_CQE_SKIP_SUCCESS) != 0)
        return "IOSQE_CQE_SKIP_SUCCESS: the loop needs the completion. Ignore it when it comes.";
    if ((flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) != 0)
        return "IOSQE_IO_LINK and IOSQE_IO_HARDLINK: this loop does not submit requests in the order in which they are pushed. "
               "Use "
               "the loops link or chain.";
    if ((flags & IOSQE_IO_DRAIN) != 0) return "IOSQE_IO_DRAIN: use the loop drain.";
    constexpr const char* multishot = "a multishot request: it completes any number of times, and a slot comes back once.";
    switch (sqe.opcode) {
        case IORING_OP_LINK_TIMEOUT:
            return "IORING_OP_LINK_TIMEOUT: it belongs to a request in front of it, and this loop submits each by itself.";
        case IORING_OP_ACCEPT: return (sqe.ioprio & IORING_ACCEPT_MULTISHOT) != 0 ? multishot : nullptr;
        case IORING_OP_RECV:
        case IORING_OP_RECVMSG: return (sqe.ioprio & IORING_RECV_MULTISHOT) != 0 ? multishot : nullptr;
        case IORING_OP_POLL_ADD: return (sqe.len & IORING_POLL_ADD_MULTI) != 0 ? multishot : nullptr;
        case IORING_OP_TIMEOUT: return (sqe.timeout_flags & IORING_TIMEOUT_MULTISHOT) != 0 ? multishot : nullptr;
        case IORING_OP_READ_MULTISHOT: return multishot;
        case IORING_OP_URING_CMD:
            return long_sqes ? "IORING_OP_URING_CMD on a ring with long SQEs: 64 bytes are all that a slot holds." : nullptr;
        default: return nullptr;
    }
}

// Opcodes that unschedulable() may refuse.
inline constexpr auto may_be_unschedulable = [] {
    std::array<bool, 256> may{};
    for (const unsigned opcode : {unsigned{IORING_OP_LINK_TIMEOUT}, unsigned{IORING_OP_ACCEPT}, unsigned{IORING_OP_RECV},
                                  unsigned{IORING_OP_RECVMSG}, unsigned{IORING_OP_POLL_ADD}, unsigned{IORING_OP_TIMEOUT},
                                  unsigned{IORING_OP_READ_MULTISHOT}, unsigned{IORING_OP_URING_CMD}})
        may.at(opcode) = true;
    return may;
}();

}  // namespace detail

/// What has become of a request: a Completion with the user_data that it was pushed with, and where it was.
struct RequestCompletion : Completion {
    std::uint64_t group = 0;    ///< as pushed
    std::uint32_t options = 0;  ///< as pushed
    Ticket ticket;              ///< what push() returned for it
    std::uint64_t memo = 0;     ///< what the loop has noted of it: see there
};

/**
 * A loop that schedules requests (a `LoopProgram` whose state has RINGSTEP_REQUESTS()): the C++ face that gate, drain, link and
 * pace share, and custom loops of that kind.
 *
 * Requests are pushed from any thread, also while the loop runs on its own, without locks. `run()` has the loop work: on the
 * ring's owning thread, until everything pushed has completed, or as set_stay() and set_batch() say. Completions are taken by
 * one thread at a time, any, also while the loop runs. Buffers have to stay until the completion is taken.
 *
 * Requests that are pushed when it goes are not lost sight of: those in flight are the ring's (Ring::in_flight(),
 * Ring::close()), those still waiting never begin.
 *
 * **Example**:
 *
 *     ringstep::RequestLoop<my_loop> loop{ring};
 *     io_uring_sqe sqe{};
 *     io_uring_prep_read(&sqe, fd, buffer, size, offset);
 *     sqe.user_data = 42;
 *     loop.push(sqe);
 *     loop.run();
 *     for (const ringstep::RequestCompletion& completion : loop.completions()) use(completion);
 */
template <LoopDefinition Loop>
    requires HasRequests<typename Loop::state>
class RequestLoop {
public:
    /// The struct that application and loop share.
    using state_type = typename Loop::state;

    /// How many requests there can be: pushed and not yet taken as completions.
    static constexpr std::uint32_t capacity = sizeof(state_type::slots) / sizeof(ringstep_request);
    static_assert(std::has_single_bit(capacity) && capacity <= RINGSTEP_REQUEST_SLOT + 1);

    /// Puts the loop on a ring. Throws Error.
    explicit RequestLoop(Ring& ring, const LoopOptions& options = {})
        : program_(ring, options),
          state_(program_.state()),
          free_(capacity),
          user_data_(std::make_unique<std::uint64_t[]>(capacity)),
          mailbox_(state_->mailbox, state_->inbox, state_->outbox),
          ring_(ring.core()),
          epoch_(ring_->epochs().take()),
          tag_(std::uint64_t{RINGSTEP_REQUEST_TAG} << 48 | std::uint64_t{epoch_} << 32),
          long_sqes_(ring.geometry().sqe_size != sizeof(io_uring_sqe)) {
        state_->requests.epoch = epoch_;
    }
    RequestLoop(const RequestLoop&) = delete;
    RequestLoop& operator=(const RequestLoop&) = delete;
    ~RequestLoop() {
        // A loop that was taken off before may have left its state to another.
        if (program_.attached() && state_->requests.in_flight == 0 && state_->requests.cancels == 0)
            ring_->epochs().give_back(epoch_);
    }

    /// The loop itself.
    [[nodiscard]] LoopProgram<Loop>& program() noexcept { return program_; }
    /// Its state.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return state_; }

    /**
     * Hands a request to the loop, as liburing's io_uring_prep_ functions fill it in. Any thread. What `group` and `options`
     * mean, the loop says. Nothing if all slots are taken: take completions first. Throws Error (EINVAL) for a request that the
     * loop cannot schedule, whatever there is room for.
     */
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint64_t group = 0, std::uint32_t options = 0) {
        check(sqe);
        const std::optional<Ticket> ticket = take();
        if (!ticket) return ticket;
        fill_in(*ticket, sqe, group, options);
        hand_over(*ticket);
        return ticket;
    }

    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket push(const io_uring_sqe& sqe, std::uint64_t group = 0, std::uint32_t options = 0) {
        const std::optional<Ticket> ticket = try_push(sqe, group, options);
        if (!ticket) raise_full();
        return *ticket;
    }

    /// Hands several requests over, in their order: all of them, or none if there are too few free slots (false). Costs less
    /// than one by one. `tickets`, if it is not empty, gets all of them: it has to be as long. Throws Error as try_push(), for
    /// any of them, and (EINVAL) if `tickets` is not as long.
    bool try_push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::uint32_t options = 0,
                  std::span<Ticket> tickets = {}) {
        return add(sqes, tickets, [&](const Ticket& ticket, const io_uring_sqe& sqe) { fill_in(ticket, sqe, group, options); });
    }

    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    void push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::uint32_t options = 0,
              std::span<Ticket> tickets = {}) {
        if (!try_push(sqes, group, options, tickets)) raise_full();
    }

    /// Has a request cancelled: one that still waits completes with -ECANCELED at once, one in flight as the kernel can (it may
    /// also succeed). False if it is complete already, or being cancelled. Any thread.
    bool cancel(const Ticket& ticket) noexcept {
        const FreeSlots::Marked marked = free_.mark_and_pin(ticket);
        if (marked == FreeSlots::Marked::yes) {
            send_cancel(ticket);
            free_.unpin(ticket);
        }
        return marked != FreeSlots::Marked::no;
    }

    /// Runs the loop. LoopExit::code is an enum ringstep_requests_code. On the ring's owning thread; may be called again.
    LoopExit run() noexcept { return program_.run(); }
    /// The same, until another thread asks for a stop. Nothing is cancelled by that.
    LoopExit run(std::stop_token token) noexcept { return program_.run(std::move(token)); }

    /// Whether run() waits for more requests when all are complete, until a stop is asked for. Off at first. Any thread.
    void set_stay(bool stay) noexcept { store(state_->requests.stay, stay ? 1 : 0); }
    /// Has run() return when so many completions can be taken; 0, as at first: not before all are complete. Any thread.
    void set_batch(std::uint32_t completions) noexcept { store(state_->requests.batch, completions); }

    /// Takes the next completion; false if there is none. Its slot is free again. One thread at a time, also while the loop
    /// runs.
    bool pop(RequestCompletion& out) noexcept {
        std::uint32_t number = 0;
        if (!mailbox_.collect(number)) return false;
        const ringstep_request& slot = state_->slots[number];
        out.user_data = user_data_[number];
        out.result = slot.result;
        out.flags = slot.flags & ~static_cast<std::uint32_t>(IORING_CQE_F_MORE);
        out.extra[0] = slot.extra[0];
        out.extra[1] = slot.extra[1];
        out.group = slot.group;
        out.options = slot.options;
        out.memo = slot.memo;
        out.ticket = free_.of(number);
        free_.give_back(number);
        return true;
    }

    /// The completions, as a range that takes each as it comes to it.
    class Completions {
    public:
        /// For RequestLoop::completions().
        explicit Completions(RequestLoop& loop) noexcept : loop_(&loop) {}

        /// Goes through them once.
        class iterator {
        public:
            using value_type = RequestCompletion;              ///< for std::iterator_traits
            using difference_type = std::ptrdiff_t;            ///< likewise
            using iterator_concept = std::input_iterator_tag;  ///< likewise

            iterator() = default;
            /// Takes the first.
            explicit iterator(RequestLoop* loop) noexcept : loop_(loop) { ++*this; }
            /// The completion at hand.
            const RequestCompletion& operator*() const noexcept { return current_; }
            /// A member of it.
            const RequestCompletion* operator->() const noexcept { return &current_; }
            /// Takes the next.
            iterator& operator++() noexcept {
                if (!loop_->pop(current_)) loop_ = nullptr;
                return *this;
            }
            /// Takes the next.
            void operator++(int) noexcept { ++*this; }
            /// There was no more.
            friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return it.loop_ == nullptr; }

        private:
            RequestLoop* loop_ = nullptr;
            RequestCompletion current_;
        };

        /// Takes the first.
        [[nodiscard]] iterator begin() const noexcept { return iterator(loop_); }
        /// Where there is no more.
        [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    private:
        RequestLoop* loop_;
    };

    /// See pop().
    [[nodiscard]] Completions completions() noexcept { return Completions(*this); }

    /// Pushed, and not yet taken as completions. Any thread.
    [[nodiscard]] std::uint32_t outstanding() const noexcept { return free_.outstanding(); }
    /// Completions that can be taken. Any thread.
    [[nodiscard]] std::uint32_t ready() const noexcept { return mailbox_.delivered(); }
    /// Received by the loop and not submitted. Any thread.
    [[nodiscard]] std::uint32_t waiting() const noexcept { return load(state_->requests.waiting); }
    /// Submitted and not complete. Any thread.
    [[nodiscard]] std::uint32_t in_flight() const noexcept { return load(state_->requests.in_flight); }

protected:
    // The steps of a push, for faces that push several requests as one. Any thread.

    /// Throws Error (EINVAL) for a request that the loop cannot schedule.
    void check(const io_uring_sqe& sqe) const {
        constexpr unsigned refused_flags = IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN;
        if ((sqe.flags & refused_flags & ~handled_flags()) == 0 && !detail::may_be_unschedulable[sqe.opcode]) return;
        if (const char* const why = detail::unschedulable(sqe, handled_flags(), long_sqes_); why != nullptr) [[unlikely]]
            raise_refused(sqe, std::string("It has ") + why);
    }
    /// Throws Error (EINVAL) that says so.
    [[noreturn]] static void raise_refused(const io_uring_sqe& sqe, const std::string& advice) {
        detail::raise(EINVAL,
                      "push of a request (opcode " + std::to_string(sqe.opcode) + ") to loop '" + std::string(Loop::name) + "'",
                      advice);
    }
    /// Throws Error (ENOSPC): no slot is left.
    [[noreturn]] static void raise_full() {
        detail::raise(ENOSPC, "push of a request to loop '" + std::string(Loop::name) + "'",
                      "All " + std::to_string(capacity) +
                          " slots are taken: by requests that are not complete, and by completions that nobody has taken.");
    }
    /// Throws Error (EINVAL) unless a span for tickets is empty or as long as what is pushed.
    static void check_tickets(std::size_t requests, std::span<const Ticket> tickets) {
        if (!tickets.empty() && tickets.size() != requests) [[unlikely]] {
            detail::raise(
                EINVAL, "push of " + std::to_string(requests) + " requests to loop '" + std::string(Loop::name) + "'",
                "The span for tickets has " + std::to_string(tickets.size()) + " elements. Make it as long, or leave it out.");
        }
    }
    /// Takes so many free slots; nothing if there are too few. Then either hand them over or give them back. The first; next()
    /// has the others.
    [[nodiscard]] std::optional<Ticket> take(std::uint32_t count = 1) noexcept { return free_.take(count); }
    /// Of those taken together: the one that follows. There is one.
    [[nodiscard]] Ticket next(const Ticket& ticket) const noexcept { return free_.next(ticket); }
    /// Gives back one that was taken and not handed over.
    void give_back(const Ticket& ticket) noexcept { free_.give_back(ticket.slot); }

    /// Of a slot that was just taken: it is to be handed over in two steps, by one thread each.
    void open(const Ticket& ticket) noexcept { free_.open(ticket); }
    /// Begins the second one: true once, and not if somebody wants it cancelled. An attempt to cancel it waits from now on.
    [[nodiscard]] bool hold(const Ticket& ticket) noexcept { return free_.hold(ticket); }
    /// Ends it, when it has been handed over.
    void release(const Ticket& ticket) noexcept {
        if (!free_.release_and_pin(ticket)) return;
        send_cancel(ticket);
        free_.unpin(ticket);
    }
    /// Writes a request into a slot that was taken.
    ringstep_request& fill_in(const Ticket& ticket, const io_uring_sqe& sqe, std::uint64_t group,
                              std::uint32_t options) noexcept {
        ringstep_request& slot = state_->slots[ticket.slot];
        const std::uint32_t generation = generation_of(ticket);
        std::memcpy(slot.sqe, &sqe, sizeof slot.sqe);
        reinterpret_cast<io_uring_sqe*>(slot.sqe)->user_data = tag_ | generation << 16 | ticket.slot;
        user_data_[ticket.slot] = sqe.user_data;
        slot.group = group;
        slot.options = options;
        // The loop compares it when it hears that somebody wants the slot's earlier request cancelled.
        std::atomic_ref(slot.generation).store(generation, std::memory_order_relaxed);
        return slot;
    }
    /// All steps for several requests that are pushed together: write(ticket, sqe) writes each into its slot. False if there
    /// are too few.
    template <class Write>
    bool add(std::span<const io_uring_sqe> sqes, std::span<Ticket> tickets, const Write& write) {
        check_tickets(sqes.size(), tickets);
        for (const io_uring_sqe& sqe : sqes) check(sqe);
        if (sqes.empty()) return true;
        if (sqes.size() > capacity) return false;
        const auto count = static_cast<std::uint32_t>(sqes.size());
        const std::optional<Ticket> first = take(count);
        if (!first) return false;
        Ticket ticket = *first;
        for (std::uint32_t i = 0; i < count; i++) {
            if (i != 0) ticket = next(ticket);
            if (!tickets.empty()) tickets[i] = ticket;
            write(ticket, sqes[i]);
        }
        hand_over(*first, count);
        return true;
    }
    /// Tells the loop of a slot that has been filled in: from now on it is the loop's.
    void hand_over(const Ticket& ticket) noexcept { send(ticket.slot); }
    /// The same of so many that were taken together: the first, and those that follow it.
    void hand_over(const Ticket& first, std::uint32_t count) noexcept {
        Ticket ticket = first;
        const auto message = [&](std::uint32_t i) {
            // What was sent may be complete and another's by now: so the one that follows is looked up before.
            const std::uint32_t slot = ticket.slot;
            if (i + 1 < count) ticket = next(ticket);
            return slot;
        };
        if (mailbox_.send(count, message)) program_.wake();
    }

private:
    // IOSQE_ flags that the loop does itself.
    static constexpr unsigned handled_flags() noexcept {
        if constexpr (requires { Loop::handled_flags; }) {
            return Loop::handled_flags;
        } else {
            return 0;
        }
    }

    static std::uint32_t load(__u32& field) noexcept { return std::atomic_ref(field).load(std::memory_order_acquire); }

    void store(__u32& field, std::uint32_t value) noexcept {
        std::atomic_ref(field).store(value, std::memory_order_release);
        program_.wake();
    }

    void send_cancel(const Ticket& ticket) noexcept {
        send(RINGSTEP_REQUEST_CANCEL | generation_of(ticket) << RINGSTEP_REQUEST_GENERATION_SHIFT | ticket.slot);
    }

    // As far as the loop sees it. It has to tell a request from the one before it in the same slot: a slot that somebody is
    // about to send a message of is pinned, so no older message can be on its way.
    static constexpr std::uint32_t generation_of(const Ticket& ticket) noexcept {
        return static_cast<std::uint32_t>(ticket.generation & RINGSTEP_REQUEST_GENERATION);
    }

    void send(std::uint32_t message) noexcept {
        if (mailbox_.send(message)) program_.wake();
    }

    LoopProgram<Loop> program_;
    RegionView<state_type> state_;
    FreeSlots free_;
    std::unique_ptr<std::uint64_t[]> user_data_;  // the application's, of each slot
    Mailbox mailbox_;
    std::shared_ptr<detail::RingCore> ring_;
    std::uint32_t epoch_;
    std::uint64_t tag_;  // of what these requests are known by to the kernel
    bool long_sqes_;
};

}  // namespace ringstep::inline v0
