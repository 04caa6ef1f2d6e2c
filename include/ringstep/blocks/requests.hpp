// SPDX-License-Identifier: MIT
// Requests that a loop schedules. The application pushes them from any thread and takes their completions.
#pragma once

#include <ringstep/blocks/mailbox.hpp>
#include <ringstep/c/blocks/requests.h>
#include <ringstep/blocks/slots.hpp>
#include <ringstep/detail/opcodes.hpp>
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

/// A state with a table of requests, that is, with the members of RINGSTEP_REQUESTS().
template <class State>
concept HasRequests = requires(State& state) {
    { state.mailbox } -> std::same_as<ringstep_mailbox&>;
    { state.requests } -> std::same_as<ringstep_requests&>;
    { state.slots[0] } -> std::same_as<ringstep_request&>;
    state.inbox[0];
    state.outbox[0];
};

/// The result of a request: a Completion with the user_data of the pushed request, and data about its slot.
struct RequestCompletion : Completion {
    std::uint64_t group = 0;    ///< the value given to push()
    std::uint32_t options = 0;  ///< the value given to push()
    Ticket ticket;              ///< the ticket that push() returned for the request
    std::uint64_t memo = 0;     ///< a value that the loop has stored; its meaning depends on the loop
};

/// The IOSQE_ flags that a scheduling loop implements itself, so that push() accepts them. Specialize it for a loop that does.
template <class Loop>
inline constexpr unsigned handled_flags = 0;

/**
 * The C++ class of a loop that schedules requests: a `LoopProgram` whose state has RINGSTEP_REQUESTS(). Gate, Drain, Link and
 * Pace derive from it, and custom loops can use it.
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
 *     for (const ringstep::RequestCompletion& completion : loop.completions()) use(completion);
 */
template <LoopDefinition Loop>
    requires HasRequests<typename Loop::state>
class RequestLoop {
public:
    /// The struct that application and loop share.
    using state_type = typename Loop::state;

    /// The highest number of outstanding requests, that is, of requests pushed whose completions were not taken.
    static constexpr std::uint32_t capacity = sizeof(state_type::slots) / sizeof(ringstep_request);
    static_assert(!requires { Loop::handled_flags; }, "specialize ringstep::handled_flags instead");
    static_assert(std::has_single_bit(capacity) && capacity <= RINGSTEP_REQUEST_SLOT + 1);

    /// Attaches the loop to a ring. Throws Error.
    explicit RequestLoop(Ring& ring, const LoopOptions& options = {})
        : program_(ring, options),
          state_(program_.state()),
          free_(capacity),
          user_data_(std::make_unique<std::uint64_t[]>(capacity)),
          mailbox_(state_->mailbox, state_->inbox, state_->outbox),
          ring_(detail::RingAccess::core(ring)),
          epoch_(ring_->epochs().take()),
          tag_(std::uint64_t{RINGSTEP_REQUEST_TAG} << 48 | std::uint64_t{epoch_} << 32),
          long_sqes_(ring.geometry().sqe_size != sizeof(io_uring_sqe)) {
        state_->requests.epoch = epoch_;
    }
    RequestLoop(const RequestLoop&) = delete;
    RequestLoop& operator=(const RequestLoop&) = delete;
    ~RequestLoop() {
        // The state of a loop that was detached earlier may belong to another loop by now.
        if (program_.attached() && state_->requests.in_flight == 0 && state_->requests.cancels == 0)
            ring_->epochs().give_back(epoch_);
    }

    /// Returns the loop's program.
    [[nodiscard]] LoopProgram<Loop>& program() noexcept { return program_; }
    /// Returns the state that application and loop share.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return state_; }

    /**
     * Pushes a request, filled in by one of liburing's io_uring_prep_ functions. Returns the request's ticket, or nullopt if
     * all slots are taken: then take completions first. The meaning of `group` and `options` depends on the loop. May be called
     * from any thread. Throws Error (EINVAL) for a request that the loop cannot schedule, even if all slots are taken.
     */
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint64_t group = 0, std::uint32_t options = 0) {
        check(sqe);
        const std::optional<Ticket> ticket = take();
        if (!ticket) return ticket;
        fill_in(*ticket, sqe, group, options);
        hand_over(*ticket);
        return ticket;
    }

    /// Pushes a request like `try_push()`, but throws Error (ENOSPC) if all slots are taken.
    Ticket push(const io_uring_sqe& sqe, std::uint64_t group = 0, std::uint32_t options = 0) {
        const std::optional<Ticket> ticket = try_push(sqe, group, options);
        if (!ticket) raise_full();
        return *ticket;
    }

    /// Pushes several requests in their order, at a lower cost than one by one. Returns false, and pushes none, if too few
    /// slots are free. `tickets` receives the ticket of each request; it must be empty or as long as `sqes`. May be called from
    /// any thread. Throws Error (EINVAL) for a request that the loop cannot schedule, and for `tickets` of another length.
    bool try_push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::uint32_t options = 0,
                  std::span<Ticket> tickets = {}) {
        return add(sqes, tickets, [&](const Ticket& ticket, const io_uring_sqe& sqe) { fill_in(ticket, sqe, group, options); });
    }

    /// Pushes several requests like `try_push()`, but throws Error (ENOSPC) if too few slots are free.
    void push(std::span<const io_uring_sqe> sqes, std::uint64_t group = 0, std::uint32_t options = 0,
              std::span<Ticket> tickets = {}) {
        if (!try_push(sqes, group, options, tickets)) raise_full();
    }

    /// Cancels a request. A waiting request completes with -ECANCELED at once. A request in flight is cancelled by the kernel
    /// if possible, and may also succeed. Returns false if the request is complete or already being cancelled. May be called
    /// from any thread.
    bool cancel(const Ticket& ticket) noexcept {
        const FreeSlots::Marked marked = free_.mark_and_pin(ticket);
        if (marked == FreeSlots::Marked::yes) {
            send_cancel(ticket);
            free_.unpin(ticket);
        }
        return marked != FreeSlots::Marked::no;
    }

    /// Runs the loop. LoopExit::code is an enum ringstep_requests_code. Must be called on the ring's owning thread. May be
    /// called again.
    LoopExit run() noexcept { return program_.run(); }
    /// Runs the loop like `run()`, but ends when a stop is requested through `token`. A stop cancels no requests.
    LoopExit run(std::stop_token token) noexcept { return program_.run(std::move(token)); }

    /// Sets whether run() waits for more requests when all are complete, until a stop is requested. Off by default. May be
    /// called from any thread.
    void set_stay(bool stay) noexcept { store(state_->requests.stay, stay ? 1 : 0); }
    /// Makes run() return when `completions` completions can be taken. With 0, the default, run() returns when all requests are
    /// complete. May be called from any thread.
    void set_batch(std::uint32_t completions) noexcept { store(state_->requests.batch, completions); }

    /// Takes the next completion, which frees the request's slot. Returns false if there is none. May be called by one thread
    /// at a time, also while the loop runs.
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

    /// The completions as a range that takes each completion when the iteration reaches it.
    class Completions {
    public:
        /// Iterates over the completions once.
        class iterator {
        public:
            using value_type = RequestCompletion;              ///< for std::iterator_traits
            using difference_type = std::ptrdiff_t;            ///< for std::iterator_traits
            using iterator_concept = std::input_iterator_tag;  ///< for std::input_iterator

            iterator() = default;
            /// Returns the current completion.
            const RequestCompletion& operator*() const noexcept { return current_; }
            /// Returns a pointer to the current completion.
            const RequestCompletion* operator->() const noexcept { return &current_; }
            /// Takes the next completion.
            iterator& operator++() noexcept {
                if (!loop_->pop(current_)) loop_ = nullptr;
                return *this;
            }
            /// Takes the next completion.
            void operator++(int) noexcept { ++*this; }
            /// Returns true if there was no further completion.
            friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return it.loop_ == nullptr; }

        private:
            friend class Completions;
            explicit iterator(RequestLoop* loop) noexcept : loop_(loop) { ++*this; }

            RequestLoop* loop_ = nullptr;
            RequestCompletion current_;
        };

        /// Takes the first completion and returns an iterator to it.
        [[nodiscard]] iterator begin() const noexcept { return iterator(loop_); }
        /// Returns the end of the range, where no completion is left.
        [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    private:
        friend class RequestLoop;
        explicit Completions(RequestLoop& loop) noexcept : loop_(&loop) {}

        RequestLoop* loop_;
    };

    /// Returns a range that takes completions like pop().
    [[nodiscard]] Completions completions() noexcept { return Completions(*this); }

    /// Returns how many requests are outstanding: pushed, and not yet taken as completions. May be called from any thread.
    [[nodiscard]] std::uint32_t outstanding() const noexcept { return free_.outstanding(); }
    /// Returns how many completions can be taken. May be called from any thread.
    [[nodiscard]] std::uint32_t ready() const noexcept { return mailbox_.delivered(); }
    /// Returns how many requests the loop has received and not submitted. May be called from any thread.
    [[nodiscard]] std::uint32_t waiting() const noexcept { return load(state_->requests.waiting); }
    /// Returns how many requests are submitted and not complete. May be called from any thread.
    [[nodiscard]] std::uint32_t in_flight() const noexcept { return load(state_->requests.in_flight); }

protected:
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
    /// Takes `count` free slots, which the caller must push or give back. Returns the first slot's ticket; next() returns the
    /// others. Returns nullopt, and takes none, if too few are free.
    [[nodiscard]] std::optional<Ticket> take(std::uint32_t count = 1) noexcept { return free_.take(count); }
    /// Returns the slot that follows `ticket` among slots taken together. There must be one.
    [[nodiscard]] Ticket next(const Ticket& ticket) const noexcept { return free_.next(ticket); }
    /// Gives back a slot that was taken and not pushed.
    void give_back(const Ticket& ticket) noexcept { free_.give_back(ticket.slot); }

    /// Marks a slot that was just taken as open: it is then pushed in two steps, the second one between hold() and release().
    void open(const Ticket& ticket) noexcept { free_.open(ticket); }
    /// Begins the second step of pushing an open slot. Returns true to one caller only, and false if the slot's request was
    /// cancelled. From now on, cancelling it waits for release().
    [[nodiscard]] bool hold(const Ticket& ticket) noexcept { return free_.hold(ticket); }
    /// Ends the second step after the slot was pushed, and cancels its request if that was asked for meanwhile.
    void release(const Ticket& ticket) noexcept {
        if (!free_.release_and_pin(ticket)) return;
        send_cancel(ticket);
        free_.unpin(ticket);
    }
    /// Writes a request into a slot that was taken, and returns the slot.
    ringstep_request& fill_in(const Ticket& ticket, const io_uring_sqe& sqe, std::uint64_t group,
                              std::uint32_t options) noexcept {
        ringstep_request& slot = state_->slots[ticket.slot];
        const std::uint32_t generation = generation_of(ticket);
        std::memcpy(slot.sqe, &sqe, sizeof slot.sqe);
        reinterpret_cast<io_uring_sqe*>(slot.sqe)->user_data = tag_ | generation << 16 | ticket.slot;
        user_data_[ticket.slot] = sqe.user_data;
        slot.group = group;
        slot.options = options;
        // The loop compares the generation when it receives a message to cancel the slot's earlier request.
        std::atomic_ref(slot.generation).store(generation, std::memory_order_relaxed);
        return slot;
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
    /// Tells the loop of a slot that has been filled in. From now on, only the loop may access the slot.
    void hand_over(const Ticket& ticket) noexcept { send(ticket.slot); }
    /// Tells the loop of `count` slots that were taken together, beginning with `first`.
    void hand_over(const Ticket& first, std::uint32_t count) noexcept {
        Ticket ticket = first;
        const auto message = [&](std::uint32_t i) {
            // Once sent, the slot may complete and be taken again by another thread. Its successor is therefore looked up
            // before that.
            const std::uint32_t slot = ticket.slot;
            if (i + 1 < count) ticket = next(ticket);
            return slot;
        };
        if (mailbox_.send(count, message)) program_.wake();
    }

private:
    static std::uint32_t load(__u32& field) noexcept { return std::atomic_ref(field).load(std::memory_order_acquire); }

    void store(__u32& field, std::uint32_t value) noexcept {
        std::atomic_ref(field).store(value, std::memory_order_release);
        program_.wake();
    }

    void send_cancel(const Ticket& ticket) noexcept {
        send(RINGSTEP_REQUEST_CANCEL | generation_of(ticket) << RINGSTEP_REQUEST_GENERATION_SHIFT | ticket.slot);
    }

    // The part of the generation that the loop sees. It tells a request from the one before it in a slot. That is enough: a
    // slot for which a message is about to be sent is pinned, so no older message can be on its way.
    static constexpr std::uint32_t generation_of(const Ticket& ticket) noexcept {
        return static_cast<std::uint32_t>(ticket.generation & RINGSTEP_REQUEST_GENERATION);
    }

    void send(std::uint32_t message) noexcept {
        if (mailbox_.send(message)) program_.wake();
    }

    LoopProgram<Loop> program_;
    RegionView<state_type> state_;
    FreeSlots free_;
    std::unique_ptr<std::uint64_t[]> user_data_;  // the application's user_data for each slot
    Mailbox mailbox_;
    std::shared_ptr<detail::RingCore> ring_;
    std::uint32_t epoch_;
    std::uint64_t tag_;  // the upper bits of these requests' user_data in the kernel
    bool long_sqes_;
};

}  // namespace ringstep::inline v0
