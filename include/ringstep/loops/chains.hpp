// SPDX-License-Identifier: MIT
// Runs graphs of requests, thousands at once.
#pragma once

#include <ringstep/blocks/mailbox.hpp>
#include <ringstep/blocks/slots.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/loops/chain.hpp>
#include <ringstep/loops/chain_graph.hpp>
#include <ringstep/options.hpp>
#include <ringstep/program.hpp>
#include <ringstep/ring.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0 {

class Chains;

/// Why a chain ended.
enum class ChainReason : std::uint32_t {
    completed = RINGSTEP_CHAIN_COMPLETED,  ///< nothing was left to do, or a finish() was reached
    failed = RINGSTEP_CHAIN_FAILED,        ///< a node failed, and no edge said what then
    cancelled = RINGSTEP_CHAIN_CANCELLED,  ///< by Chains::cancel()
    timed_out = RINGSTEP_CHAIN_TIMED_OUT,  ///< the time of the chain as a whole was over
};

/// As a word.
[[nodiscard]] constexpr std::string_view to_string(ChainReason reason) noexcept {
    switch (reason) {
        case ChainReason::completed: return "completed";
        case ChainReason::failed: return "failed";
        case ChainReason::cancelled: return "cancelled";
        case ChainReason::timed_out: return "timed out";
    }
    return "unknown";
}

/// A graph that the loop has: what Chains::add() returns and Chains::start() takes.
struct GraphId {
    std::uint32_t slot = 0;        ///< where
    std::uint32_t generation = 0;  ///< which of those that were there
    /// The same.
    friend bool operator==(const GraphId&, const GraphId&) = default;
};

/// What Chains::start() takes beside the parameters.
struct ChainOptions {
    std::uint64_t user_data = 0;  ///< comes back with the result
    /// For the chain as a whole, instead of the graph's; `for_ever`: none. See Duration.
    std::optional<Duration> timeout{};
};

/// What has become of a chain. Look at it in place; its slot is free again when it goes. It must not outlive its Chains.
class ChainResult {
public:
    ChainResult(const ChainResult&) = delete;
    ChainResult& operator=(const ChainResult&) = delete;
    /// It is looked at from there.
    ChainResult(ChainResult&& other) noexcept
        : chains_(std::exchange(other.chains_, nullptr)), chain_(other.chain_), ticket_(other.ticket_) {}
    /// Likewise; this one goes with the other.
    ChainResult& operator=(ChainResult&& other) noexcept {
        std::swap(chains_, other.chains_);
        std::swap(chain_, other.chain_);
        std::swap(ticket_, other.ticket_);
        return *this;
    }
    inline ~ChainResult();

    /// What Chains::start() returned for it.
    [[nodiscard]] Ticket ticket() const noexcept { return ticket_; }
    /// ChainOptions::user_data
    [[nodiscard]] std::uint64_t user_data() const noexcept { return chain_->user_data; }
    /// Why it ended.
    [[nodiscard]] ChainReason reason() const noexcept { return static_cast<ChainReason>(chain_->reason); }
    /// It completed.
    [[nodiscard]] bool ok() const noexcept { return reason() == ChainReason::completed; }
    /// Where it failed, if it did: AnyNode::number(); RINGSTEP_CHAIN_WHOLE_CHAIN if the chain's own timeout could not be set.
    [[nodiscard]] std::uint32_t failed_node() const noexcept { return chain_->node; }
    /// Why, as a positive errno: also ECANCELED and ETIME; 0 if it completed.
    [[nodiscard]] int error() const noexcept { return chain_->error; }
    /// What finish() was given; 0 if it was not reached.
    [[nodiscard]] std::int64_t code() const noexcept { return chain_->code; }
    /// A node has a result: it has ended, at least once.
    [[nodiscard]] bool ran(const AnyNode& node) const noexcept { return (chain_->ended >> node.number() & 1) != 0; }
    /// How often it has begun.
    [[nodiscard]] unsigned runs(const AnyNode& node) const noexcept { return chain_->nodes[node.number()].runs; }
    /// A node's result, the last one: as in a completion, the sum for transfers that were continued, the address for
    /// allocate(). 0 if it never ran.
    [[nodiscard]] std::int64_t result(const AnyNode& node) const noexcept {
        return chain_->values[RINGSTEP_CHAIN_VALUE_RESULT + node.number()];
    }
    /// The memory that a node allocated.
    [[nodiscard]] std::byte* address(const Node<Address>& node) const noexcept {
        return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(result(node)));
    }
    /// A variable or a parameter, as it was at the end.
    template <ChainType T>
    [[nodiscard]] std::int64_t value(const Value<T>& value) const noexcept {
        return chain_->values[value.index()];
    }
    /// Scratch bytes, as requests have written them.
    [[nodiscard]] std::span<const std::byte> scratch(const Scratch& scratch) const noexcept {
        return {reinterpret_cast<const std::byte*>(chain_->scratch) + scratch.offset(), scratch.size()};
    }

private:
    friend class Chains;
    ChainResult(Chains* chains, ringstep_chain_instance* chain, Ticket ticket) noexcept
        : chains_(chains), chain_(chain), ticket_(ticket) {}

    Chains* chains_;
    ringstep_chain_instance* chain_;
    Ticket ticket_;
};

/**
 * Graphs of requests on a ring: the loop `chain` and its C++ face.
 *
 * Chains are started from any thread, also while the loop runs on its own, without locks. `run()` has the loop work, on the
 * ring's owning thread, until every chain has ended, or as set_stay() and set_batch() say. Results are taken by one thread at a
 * time, any, also while the loop runs. Memory that the requests use has to stay until the result is taken.
 *
 * Chains that are under way when it goes: their requests in flight are the ring's (Ring::in_flight(), Ring::close()), and what
 * has not begun never does.
 *
 * Limits: RINGSTEP_CHAIN_INSTANCES chains started and not yet taken as results, RINGSTEP_CHAIN_GRAPHS graphs,
 * RINGSTEP_CHAIN_ARENAS arenas.
 *
 * **Example**:
 *
 *     ringstep::Chains chains{ring};
 *     const ringstep::GraphId id = chains.add(graph);    // of the example there
 *     chains.set_arena(memory);
 *     for (const std::string& name : names) chains.start(id, {path(name.c_str())});
 *     chains.run();    // one system call
 *     for (const ringstep::ChainResult& file : chains.results())
 *         if (file.ok()) use(file.address(buffer), file.result(read));
 */
class Chains {
public:
    /// How many there can be: started and not yet taken as results.
    static constexpr std::uint32_t capacity = RINGSTEP_CHAIN_INSTANCES;

    /// Puts the loop on a ring. Throws Error. Half of what the CQ holds may be in flight, unless set_depth() says otherwise.
    explicit Chains(Ring& ring, const LoopOptions& options = {})
        : program_(ring, options),
          state_(program_.state()),
          free_(capacity),
          mailbox_(state_->mailbox, state_->inbox, state_->outbox),
          ring_(ring.core()),
          epoch_(ring_->epochs().take()) {
        state_->requests.epoch = epoch_;
        state_->address = state_.address();
        state_->depth = (ring.geometry().cq_entries + 1) / 2;
    }
    Chains(const Chains&) = delete;
    Chains& operator=(const Chains&) = delete;
    ~Chains() {
        // A loop that was taken off before may have left its state to another.
        if (program_.attached() && state_->requests.in_flight == 0 && state_->requests.cancels == 0)
            ring_->epochs().give_back(epoch_);
    }

    /// The loop itself.
    [[nodiscard]] LoopProgram<loops::chain>& program() noexcept { return program_; }
    /// Its state.
    [[nodiscard]] const RegionView<ringstep_chain>& state() const noexcept { return state_; }

    /// Gives the loop a graph. The graph itself need not stay, but its handles are what results are looked up with. One thread
    /// at a time; also while the loop runs. Throws Error: EINVAL if it cannot work (Graph::compile()), ENOSPC if there are too
    /// many.
    GraphId add(const Graph& graph) {
        const ringstep_chain_graph compiled = graph.compile();
        for (std::uint32_t slot = 0; slot < RINGSTEP_CHAIN_GRAPHS; slot++) {
            GraphEntry& entry = graphs_.at(slot);
            if (entry.draft != nullptr) continue;
            state_->graphs[slot] = compiled;
            for (std::uint32_t i = 0; i < compiled.node_count; i++) {
                ringstep_chain_node& node = state_->graphs[slot].nodes[i];
                if ((node.flags & RINGSTEP_CHAIN_TIME_IS_SUCCESS) != 0)
                    reinterpret_cast<io_uring_sqe*>(node.sqe)->addr = reinterpret_cast<std::uintptr_t>(&node.pause);
            }
            entry.draft = &graph.draft();
            entry.parameters = graph.draft().parameters;
            entry.nodes = compiled.node_count;
            entry.timeout = detail::chain_timespec(graph.draft().timeout);
            return {slot, entry.generation};
        }
        detail::raise(ENOSPC, "adding a graph to chains",
                      "There are " + std::to_string(RINGSTEP_CHAIN_GRAPHS) +
                          " already. Remove one, or start one with other parameters instead of building it anew.");
    }
    /// Takes it back. Not while another thread starts a chain of it; one thread at a time. Throws Error: ENOENT if it is not
    /// there, EBUSY if chains of it are started and not yet taken as results.
    void remove(GraphId id) {
        GraphEntry& entry = find(id);
        if (const std::uint32_t under_way = entry.chains.load(std::memory_order_acquire); under_way != 0) {
            detail::raise(EBUSY, "removing a graph from chains",
                          std::to_string(under_way) +
                              " of its chains are under way. Run the loop until they have ended, and take their results.");
        }
        entry.draft = nullptr;
        entry.generation++;
    }

    /// The memory that allocate() takes from, from its beginning. Not while a chain allocates from it; the memory has to stay
    /// as long.
    void set_arena(std::span<std::byte> memory, unsigned arena = 0) {
        if (arena >= RINGSTEP_CHAIN_ARENAS)
            detail::raise(EINVAL, "setting arena " + std::to_string(arena) + " of chains",
                          "They are 0 to " + std::to_string(RINGSTEP_CHAIN_ARENAS - 1) + ".");
        state_->arenas[arena] = {
            .address = reinterpret_cast<std::uintptr_t>(memory.data()), .size = memory.size(), .used = 0, .__reserved = 0};
    }
    /// How many of its bytes are taken, those left out between pieces included; 0 for an arena that there is not. Any thread.
    [[nodiscard]] std::uint64_t arena_used(unsigned arena = 0) const noexcept {
        return arena < RINGSTEP_CHAIN_ARENAS ? load(state_->arenas[arena].used) : 0;
    }

    /// Starts a chain, with a number for each parameter of the graph, in any order. Any thread. Nothing if `capacity` of them
    /// are under way: take results first. Throws Error (EINVAL) if a parameter is missing, given twice, or another graph's;
    /// ENOENT if the graph is not there.
    std::optional<Ticket> try_start(GraphId id, std::span<const Argument> arguments, const ChainOptions& options = {}) {
        GraphEntry& entry = find(id);
        check(entry, arguments);
        const std::optional<Ticket> ticket = free_.take();
        if (!ticket) return ticket;
        ringstep_chain_instance& chain = state_->instances[ticket->slot];
        reset(chain, entry);
        entry.chains.fetch_add(1, std::memory_order_relaxed);
        chain.graph = id.slot;
        // The loop compares it when it hears that somebody wants the slot's earlier chain cancelled.
        std::atomic_ref(chain.generation).store(static_cast<std::uint32_t>(ticket->generation), std::memory_order_relaxed);
        chain.user_data = options.user_data;
        chain.timeout = options.timeout ? detail::chain_timespec(*options.timeout) : entry.timeout;
        for (const Argument& argument : arguments) chain.values[argument.index] = static_cast<std::int64_t>(argument.bits);
        send(ticket->slot);
        return ticket;
    }
    /// Likewise.
    std::optional<Ticket> try_start(GraphId id, std::initializer_list<Argument> arguments = {},
                                    const ChainOptions& options = {}) {
        return try_start(id, std::span(arguments.begin(), arguments.size()), options);
    }
    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket start(GraphId id, std::span<const Argument> arguments, const ChainOptions& options = {}) {
        const std::optional<Ticket> ticket = try_start(id, arguments, options);
        if (!ticket)
            detail::raise(ENOSPC, "start of a chain",
                          "All " + std::to_string(capacity) + " are under way. Take results first, or use try_start().");
        return *ticket;
    }
    /// Likewise.
    Ticket start(GraphId id, std::initializer_list<Argument> arguments = {}, const ChainOptions& options = {}) {
        return start(id, std::span(arguments.begin(), arguments.size()), options);
    }

    /// Asks for a chain to be cancelled: nothing new begins, what is in flight is cancelled, clean-up nodes run. False if it is
    /// over and taken, or asked for before. The result says what has become of it: it may have completed before. Any thread.
    bool cancel(const Ticket& ticket) noexcept {
        if (free_.mark_and_pin(ticket) != FreeSlots::Marked::yes) return false;
        send(RINGSTEP_REQUEST_CANCEL |
             static_cast<std::uint32_t>(ticket.generation & RINGSTEP_REQUEST_GENERATION) << RINGSTEP_REQUEST_GENERATION_SHIFT |
             ticket.slot);
        free_.unpin(ticket);
        return true;
    }

    /// Runs the loop until every chain has ended, or as set_stay() and set_batch() say: LoopExit::code is an
    /// `enum ringstep_requests_code`. On the ring's owning thread.
    LoopExit run() noexcept { return program_.run(); }
    /// The same, until another thread asks for a stop. Nothing is lost: the next run() goes on.
    LoopExit run(std::stop_token token) noexcept { return program_.run(std::move(token)); }

    /// Has run() wait for more when there is nothing to do, or not. Any thread.
    void set_stay(bool stay) noexcept { store(state_->requests.stay, stay ? 1U : 0U); }
    /// Has run() return when so many results can be taken; 0: not before all are there. Any thread.
    void set_batch(std::uint32_t results) noexcept { store(state_->requests.batch, results); }
    /// Most requests in flight at once, at least 1. Any thread.
    void set_depth(std::uint32_t depth) noexcept { store(state_->depth, depth == 0 ? 1U : depth); }

    /// Takes the next result, if there is one. One thread at a time, also while the loop runs.
    std::optional<ChainResult> pop() noexcept {
        std::uint32_t slot = 0;
        if (!mailbox_.collect(slot)) return std::nullopt;
        return ChainResult(this, &state_->instances[slot], free_.of(slot));
    }

    /// The results, as a range that takes each as it comes to it. A result is good until the next.
    class Results {
    public:
        /// For Chains::results().
        explicit Results(Chains& chains) noexcept : chains_(&chains) {}

        /// Goes through them once.
        class iterator {
        public:
            using value_type = ChainResult;                    ///< for std::iterator_traits
            using difference_type = std::ptrdiff_t;            ///< likewise
            using iterator_concept = std::input_iterator_tag;  ///< likewise

            /// Takes the first.
            explicit iterator(Chains* chains) noexcept : chains_(chains), current_(chains->pop()) {}
            /// The result at hand.
            ChainResult& operator*() const noexcept { return *current_; }
            /// A member of it.
            ChainResult* operator->() const noexcept { return &*current_; }
            /// Takes the next.
            iterator& operator++() noexcept {
                current_.reset();
                current_ = chains_->pop();
                return *this;
            }
            /// Takes the next.
            void operator++(int) noexcept { ++*this; }
            /// There was no more.
            friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return !it.current_; }

        private:
            Chains* chains_;
            mutable std::optional<ChainResult> current_;
        };

        /// Takes the first.
        [[nodiscard]] iterator begin() const noexcept { return iterator(chains_); }
        /// Where there is no more.
        [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    private:
        Chains* chains_;
    };

    /// See pop().
    [[nodiscard]] Results results() noexcept { return Results(*this); }

    /// Started, and not yet taken as results. Any thread.
    [[nodiscard]] std::uint32_t outstanding() const noexcept { return free_.outstanding(); }
    /// Results that can be taken. Any thread.
    [[nodiscard]] std::uint32_t ready() const noexcept { return mailbox_.delivered(); }
    /// Chains that the loop has and has not ended. Any thread.
    [[nodiscard]] std::uint32_t active() const noexcept { return load(state_->requests.waiting); }
    /// Requests in flight. Any thread.
    [[nodiscard]] std::uint32_t in_flight() const noexcept { return load(state_->requests.in_flight); }

private:
    friend class ChainResult;

    struct GraphEntry {
        const detail::GraphDraft* draft = nullptr;  // as an identity only
        std::uint32_t generation = 0;
        std::uint32_t nodes = 0;
        std::uint8_t parameters = 0;
        ringstep_chain_timespec timeout{};
        std::atomic<std::uint32_t> chains{0};  // started and not yet taken
    };

    GraphEntry& find(GraphId id) {
        if (id.slot >= RINGSTEP_CHAIN_GRAPHS || graphs_.at(id.slot).draft == nullptr ||
            graphs_.at(id.slot).generation != id.generation) [[unlikely]] {
            detail::raise(ENOENT, "use of a graph of chains", "It was not added to these, or is removed.");
        }
        return graphs_.at(id.slot);
    }

    static void check(const GraphEntry& entry, std::span<const Argument> arguments) {
        std::uint32_t given = 0;
        for (const Argument& argument : arguments) {
            const std::uint32_t bit = 1U << (argument.index - RINGSTEP_CHAIN_VALUE_PARAMETER);
            if (argument.graph != entry.draft) [[unlikely]]
                detail::raise(EINVAL, "start of a chain", "An argument is for a parameter of another graph.");
            if ((given & bit) != 0) [[unlikely]]
                detail::raise(EINVAL, "start of a chain", "A parameter is given twice.");
            given |= bit;
        }
        if (given != (1U << entry.parameters) - 1) [[unlikely]]
            detail::raise(EINVAL, "start of a chain",
                          "The graph has " + std::to_string(entry.parameters) + " parameters, and " +
                              std::to_string(arguments.size()) + " are given.");
    }

    static void reset(ringstep_chain_instance& chain, const GraphEntry& entry) noexcept {
        chain.phase = RINGSTEP_CHAIN_OUTSIDE;
        chain.ready = chain.running = chain.continuing = chain.arriving = chain.cleanup = 0;
        chain.cancel = chain.arm = chain.armed = chain.disarm = chain.taken_back = chain.late = chain.listed = 0;
        chain.unguarded = 0;
        chain.guard_error = 0;
        chain.reason = RINGSTEP_CHAIN_COMPLETED;
        chain.node = 0;
        chain.error = 0;
        chain.ended = 0;
        chain.code = 0;
        for (std::uint32_t i = 0; i < entry.nodes; i++) {
            chain.values[RINGSTEP_CHAIN_VALUE_RESULT + i] = 0;
            chain.nodes[i] = {};
        }
        for (std::uint32_t i = 0; i < RINGSTEP_CHAIN_REGISTERS; i++) chain.values[RINGSTEP_CHAIN_VALUE_REGISTER + i] = 0;
        chain.values[RINGSTEP_CHAIN_VALUE_ZERO] = 0;
        chain.values[RINGSTEP_CHAIN_VALUE_SCRATCH] = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(chain.scratch));
    }

    template <class Field>
    static Field load(Field& field) noexcept {
        return std::atomic_ref(field).load(std::memory_order_acquire);
    }
    void store(__u32& field, std::uint32_t value) noexcept {
        std::atomic_ref(field).store(value, std::memory_order_release);
        program_.wake();
    }
    void send(std::uint32_t message) noexcept {
        if (mailbox_.send(message)) program_.wake();
    }

    LoopProgram<loops::chain> program_;
    RegionView<ringstep_chain> state_;
    FreeSlots free_;
    Mailbox mailbox_;
    std::shared_ptr<detail::RingCore> ring_;
    std::uint32_t epoch_;
    std::array<GraphEntry, RINGSTEP_CHAIN_GRAPHS> graphs_{};
};

inline ChainResult::~ChainResult() {
    if (chains_ == nullptr) return;
    chains_->graphs_.at(chain_->graph).chains.fetch_sub(1, std::memory_order_release);
    chains_->free_.give_back(ticket_.slot);
}

}  // namespace ringstep::inline v0
