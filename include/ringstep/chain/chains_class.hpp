// SPDX-License-Identifier: MIT
// What the chains of both sizes have in common: they run graphs of requests, many at once.
#pragma once

#include <ringstep/blocks/service.hpp>
#include <ringstep/blocks/slots.hpp>
#include <ringstep/blocks/taken.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/detail/graph_fingerprint.hpp>
#include <ringstep/detail/sqe_words.hpp>
#include <ringstep/error.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/c/loops/chain.h>
#include <ringstep/definition.hpp>
#include <ringstep/chain/graph.hpp>
#include <ringstep/options.hpp>
#include <ringstep/program.hpp>
#include <ringstep/ring.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace ringstep::inline v0::chain {

/// Why a chain ended.
enum class ChainReason : std::uint32_t {
    completed = RINGSTEP_CHAIN_COMPLETED,  ///< all nodes were done, or a finish() was reached
    failed = RINGSTEP_CHAIN_FAILED,        ///< a node failed, and had no edge for the failure
    cancelled = RINGSTEP_CHAIN_CANCELLED,  ///< by Chains::cancel()
    timed_out = RINGSTEP_CHAIN_TIMED_OUT,  ///< the timeout of the whole chain was over
};

/// Returns the reason in words, such as "timed out".
[[nodiscard]] constexpr std::string_view to_string(ChainReason reason) noexcept {
    switch (reason) {
        case ChainReason::completed: return "completed";
        case ChainReason::failed: return "failed";
        case ChainReason::cancelled: return "cancelled";
        case ChainReason::timed_out: return "timed out";
    }
    return "unknown";
}

/// Identifies a graph that was added to the loop. Chains::add() returns it and Chains::start() takes it.
struct GraphId {
    std::uint32_t slot = 0;        ///< the place in the loop's table of graphs
    std::uint32_t generation = 0;  ///< how many graphs had this place before
    /// Returns whether both identify one graph.
    friend bool operator==(const GraphId&, const GraphId&) = default;
};

/// The options of Chains::start().
struct ChainOptions {
    std::uint64_t user_data = 0;  ///< returned with the result
    /// The timeout of the whole chain, instead of the graph's. `for_ever` means no timeout. See Duration.
    std::optional<Duration> timeout{};
};

/// What is known of the graph that a loop was compiled from. ringstep_add_graph() generates a specialization for its loop, in
/// ringstep/graphs/NAME.hpp. Other loops run any graph.
template <class Loop>
struct CompiledGraph {};

namespace detail {

template <class Loop>
concept RunsCompiledGraph = requires { CompiledGraph<Loop>::nodes.size(); };

// Throws unless the graph is the one that the loop was compiled from.
template <RunsCompiledGraph Loop>
void check_compiled(const GraphDraft& draft, const ringstep_chain_graph& graph) {
    using Compiled = CompiledGraph<Loop>;
    const auto differs = [](const std::string& what) {
        ringstep::detail::raise(
            EINVAL, "adding a graph to the chains of the compiled graph " + std::string(Loop::name),
            what +
                " is not as it was when the loop was compiled. All but addresses, names and times must be the same "
                "then and now. Give what differs as a parameter, or use Chains, which run any graph.");
    };
    if (graph.node_count != Compiled::nodes.size() || graph.roots != Compiled::roots)
        differs("The number of its nodes, or where it begins,");
    for (std::uint32_t i = 0; i < graph.node_count; i++) {
        if (fingerprint_of(graph.nodes[i], addresses_of(draft, graph, i)) != Compiled::nodes.at(i))
            differs("Its " + draft.describe(i));
    }
}

}  // namespace detail

/// The result of a chain, read in place. Its destructor frees the chain's slot, so it must not outlive its `Chains`.
class ChainResult {
public:
    ChainResult(const ChainResult&) = delete;
    ChainResult& operator=(const ChainResult&) = delete;
    /// Moves the result. Only assignment and destruction are allowed on the moved-from object.
    ChainResult(ChainResult&& other) noexcept
        : free_(std::exchange(other.free_, nullptr)), chains_(other.chains_), chain_(other.chain_), ticket_(other.ticket_) {}
    /// Exchanges both results. This object's former result is freed when `other` is destroyed.
    ChainResult& operator=(ChainResult&& other) noexcept {
        std::swap(free_, other.free_);
        std::swap(chains_, other.chains_);
        std::swap(chain_, other.chain_);
        std::swap(ticket_, other.ticket_);
        return *this;
    }
    ~ChainResult() {
        if (free_ == nullptr) return;
        chains_->fetch_sub(1, std::memory_order_release);
        free_->give_back(ticket_);
    }

    /// Returns the ticket that Chains::start() returned for the chain.
    [[nodiscard]] Ticket ticket() const noexcept { return ticket_; }
    /// Returns ChainOptions::user_data.
    [[nodiscard]] std::uint64_t user_data() const noexcept { return chain_->user_data; }
    /// Returns why the chain ended.
    [[nodiscard]] ChainReason reason() const noexcept { return static_cast<ChainReason>(chain_->reason); }
    /// Returns true if the chain completed.
    [[nodiscard]] bool ok() const noexcept { return reason() == ChainReason::completed; }
    /// Returns the number of the node that failed (AnyNode::number()). It is RINGSTEP_CHAIN_WHOLE_CHAIN if the chain's own
    /// timeout could not be set. Valid only if the chain failed.
    [[nodiscard]] std::uint32_t failed_node() const noexcept { return chain_->node; }
    /// Returns the error as a positive errno, including ECANCELED and ETIME, or 0 if the chain completed.
    [[nodiscard]] int error() const noexcept { return chain_->error; }
    /// Returns the code given to finish(), or 0 if no finish() was reached.
    [[nodiscard]] std::int64_t code() const noexcept { return chain_->code; }
    /// Returns whether a node has a result, that is, has ended at least once.
    [[nodiscard]] bool ran(const AnyNode& node) const noexcept { return (chain_->ended >> node.number() & 1) != 0; }
    /// Returns how often a node has started.
    [[nodiscard]] unsigned runs(const AnyNode& node) const noexcept {
        // A compiled graph does not count the runs of a node that runs once at most.
        const unsigned counted = chain_->nodes[node.number()].runs;
        return counted == 0 && ran(node) ? 1 : counted;
    }
    /// Returns a node's last result, as in a completion. For continued transfers it is the sum, for allocate() the address.
    /// Returns 0 if the node never ran.
    [[nodiscard]] std::int64_t result(const AnyNode& node) const noexcept {
        return chain_->values[RINGSTEP_CHAIN_VALUE_RESULT + node.number()];
    }
    /// Returns the memory that a node allocated.
    [[nodiscard]] std::byte* address(const Node<Address>& node) const noexcept {
        return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(result(node)));
    }
    /// Returns the last value of a variable or parameter.
    template <ChainType T>
    [[nodiscard]] std::int64_t value(const Value<T>& value) const noexcept {
        return chain_->values[detail::GraphAccess::index(value)];
    }
    /// Returns scratch bytes, as requests have written them. The span is valid as long as this result.
    [[nodiscard]] std::span<const std::byte> scratch(const Scratch& scratch) const noexcept {
        return {reinterpret_cast<const std::byte*>(chain_->scratch) + scratch.offset(), scratch.size()};
    }

private:
    template <LoopDefinition Loop>
    friend class ChainsClass;
    ChainResult(FreeSlots& free, std::atomic<std::uint32_t>& chains, ringstep_chain_instance* chain, Ticket ticket) noexcept
        : free_(&free), chains_(&chains), chain_(chain), ticket_(ticket) {}

    FreeSlots* free_;                     // null after a move
    std::atomic<std::uint32_t>* chains_;  // how many chains of its graph are outstanding
    ringstep_chain_instance* chain_;
    Ticket ticket_;
};

/**
 * Runs graphs of requests on a ring. There are two sizes, which differ in nothing else: Chains (chain/chains.hpp) and
 * LargeChains (chain/chains_large.hpp).
 *
 * Any thread may start chains, also while the loop runs on its owning thread; starting takes no locks. `run()` must be called
 * on the ring's owning thread. It returns when every chain has ended, unless set_stay() or set_batch() change that. One thread
 * at a time may take results: any thread, also while the loop runs. Memory that requests use must stay valid until the result
 * is taken.
 *
 * When the object is destroyed while chains run, their requests in flight are cancelled, and the destructor waits for their
 * end, up to RingOptions::close_wait_ms. Nodes that have not started never start, clean-up nodes included. Destroy the object
 * on the ring's owning thread.
 *
 * Limits: `capacity` outstanding chains (started, and not yet taken as results), `graphs` graphs, RINGSTEP_CHAIN_ARENAS arenas.
 *
 * **Example**:
 *
 *     ringstep::chain::Chains chains{ring};
 *     const ringstep::chain::GraphId id = chains.add(graph);    // the example of Graph
 *     chains.set_arena(memory);
 *     for (const std::string& name : names) chains.start(id, {path(name.c_str())});
 *     chains.run();    // one system call
 *     for (const ringstep::chain::ChainResult& file : chains.results())
 *         if (file.ok()) use(file.address(buffer), file.result(read));
 */
template <LoopDefinition Loop>
class ChainsClass : public Service<Loop> {
    using Base = Service<Loop>;

public:
    using Base::capacity;
    using Base::program;
    using Base::state;
    using typename Base::state_type;

    /// The highest number of graphs that are added at once.
    static constexpr std::uint32_t graphs = sizeof(state_type::graphs) / sizeof(ringstep_chain_graph);

    /// Attaches the loop to a ring. At first, requests that fill half of the CQ may be in flight; set_depth() changes that.
    /// Throws Error.
    explicit ChainsClass(Ring& ring, const LoopOptions& options = {}) : Base(ring, options) {
        state()->address = state().address();
        state()->depth = (ring.geometry().cq_entries + 1) / 2;
        Base::ring_core().set_state_requests({.tag = Base::identity().value(),
                                              .counts = &state()->requests.counts,
                                              .helpers = &state()->requests.cancels,
                                              .state = state().get(),
                                              .cancel = &cancel_requests});
    }
    ChainsClass(const ChainsClass&) = delete;
    ChainsClass& operator=(const ChainsClass&) = delete;

    /// Ends the requests in flight: cancels them and waits until they have ended. If that is impossible (wrong thread, or a
    /// request that does not end), the ring refuses the next loop (EBUSY) for as long as they are in flight.
    ~ChainsClass() {
        // The state of a loop that was detached earlier may belong to another loop by now.
        const bool attached = program().attached();
        const bool was_idle = attached && Base::idle();
        program().detach();
        // Another thread that has detached the loop has left its requests to this one.
        ringstep::detail::RingCore& ring = Base::ring_core();
        if (was_idle || ring.settle_state_of(Base::identity().value(), attached ? 0 : ring.close_wait_ms()))
            Base::identity().give_back();
    }

    /// Adds a graph to the loop. The graph may be destroyed afterwards, but its handles are needed to read results. May be
    /// called by one thread at a time, also while the loop runs. Throws Error: EINVAL if the graph is invalid
    /// (Graph::compile()), ENOSPC if there are graphs already.
    GraphId add(const Graph& graph) {
        const ringstep_chain_graph compiled = graph.compile();
        if constexpr (detail::RunsCompiledGraph<Loop>)
            detail::check_compiled<Loop>(detail::GraphAccess::draft(graph), compiled);
        for (std::uint32_t slot = 0; slot < graphs; slot++) {
            GraphEntry& entry = graphs_.at(slot);
            if (entry.draft != nullptr) continue;
            state()->graphs[slot] = compiled;
            for (std::uint32_t i = 0; i < compiled.node_count; i++) {
                ringstep_chain_node& node = state()->graphs[slot].nodes[i];
                if ((node.flags & RINGSTEP_CHAIN_TIME_IS_SUCCESS) != 0)
                    ringstep::detail::set_field(node.sqe, &io_uring_sqe::addr, reinterpret_cast<std::uintptr_t>(&node.pause));
            }
            entry.draft = &detail::GraphAccess::draft(graph);
            entry.parameters = detail::GraphAccess::draft(graph).parameters;
            entry.variables = detail::GraphAccess::draft(graph).variables;
            entry.nodes = compiled.node_count;
            entry.timeout = detail::chain_timespec(detail::GraphAccess::draft(graph).timeout);
            return {slot, entry.generation};
        }
        ringstep::detail::raise(ENOSPC, "adding a graph to chains",
                                "There are " + std::to_string(graphs) +
                                    " already. Remove one, or start one with other parameters instead of building it anew.");
    }
    /// Removes a graph. Must not be called while another thread starts a chain of this graph. May be called by one thread at a
    /// time. Throws Error: ENOENT for an unknown graph, EBUSY if chains of this graph are outstanding.
    void remove(GraphId id) {
        GraphEntry& entry = find(id);
        if (const std::uint32_t under_way = entry.chains.load(std::memory_order_acquire); under_way != 0) {
            ringstep::detail::raise(
                EBUSY, "removing a graph from chains",
                std::to_string(under_way) +
                    " of its chains are under way. Run the loop until they have ended, and take their results.");
        }
        entry.draft = nullptr;
        entry.generation++;
    }

    /// Sets the memory that allocate() uses, from its beginning. Must not be called while a chain allocates from this arena.
    /// The memory must stay valid as long as chains use it. Throws Error (EINVAL) for an unknown arena.
    void set_arena(std::span<std::byte> memory, unsigned arena = 0) {
        if (arena >= RINGSTEP_CHAIN_ARENAS)
            ringstep::detail::raise(EINVAL, "setting arena " + std::to_string(arena) + " of chains",
                                    "They are 0 to " + std::to_string(RINGSTEP_CHAIN_ARENAS - 1) + ".");
        state()->arenas[arena] = {
            .address = reinterpret_cast<std::uintptr_t>(memory.data()), .size = memory.size(), .used = 0, .__reserved = 0};
    }
    /// Returns how many bytes of an arena are used, including gaps for alignment. Returns 0 for an unknown arena. May be called
    /// from any thread.
    [[nodiscard]] std::uint64_t arena_used(unsigned arena = 0) const noexcept {
        return arena < RINGSTEP_CHAIN_ARENAS ? std::atomic_ref(state()->arenas[arena].used).load(std::memory_order_acquire) : 0;
    }

    /// Starts a chain, with an argument for each parameter of the graph, in any order. Returns the chain's ticket, or nullopt
    /// if `capacity` chains are outstanding: then take results first. May be called from any thread. Throws Error: EINVAL if a
    /// parameter is missing, given twice or another graph's, ENOENT for an unknown graph.
    std::optional<Ticket> try_start(GraphId id, std::span<const Argument> arguments, const ChainOptions& options = {}) {
        GraphEntry& entry = find(id);
        check(entry, arguments);
        const std::optional<Ticket> ticket = Base::take();
        if (!ticket) return ticket;
        ringstep_chain_instance& chain = state()->instances[ticket->slot];
        reset(chain, entry);
        entry.chains.fetch_add(1, std::memory_order_relaxed);
        chain.graph = id.slot;
        Base::name(chain.identity, *ticket);
        chain.user_data = options.user_data;
        chain.timeout = options.timeout ? detail::chain_timespec(*options.timeout) : entry.timeout;
        for (const Argument& argument : arguments) chain.values[argument.index] = static_cast<std::int64_t>(argument.bits);
        Base::hand_over(*ticket);
        return ticket;
    }
    /// Starts a chain like the other `try_start()`, with the arguments from a list.
    std::optional<Ticket> try_start(GraphId id, std::initializer_list<Argument> arguments = {},
                                    const ChainOptions& options = {}) {
        return try_start(id, std::span(arguments.begin(), arguments.size()), options);
    }
    /// Starts a chain like `try_start()`, but throws Error (ENOSPC) if `capacity` chains are outstanding.
    Ticket start(GraphId id, std::span<const Argument> arguments, const ChainOptions& options = {}) {
        const std::optional<Ticket> ticket = try_start(id, arguments, options);
        if (!ticket)
            ringstep::detail::raise(
                ENOSPC, "start of a chain",
                "All " + std::to_string(capacity) + " are under way. Take results first, or use try_start().");
        return *ticket;
    }
    /// Starts a chain like the other `start()`, with the arguments from a list.
    Ticket start(GraphId id, std::initializer_list<Argument> arguments = {}, const ChainOptions& options = {}) {
        return start(id, std::span(arguments.begin(), arguments.size()), options);
    }

    /// Sets how many requests may be in flight at once, at least 1. May be called from any thread.
    void set_depth(std::uint32_t depth) noexcept { Base::set(state()->depth, depth == 0 ? 1U : depth); }

    /// Takes the next result. Returns nullopt if there is none. May be called by one thread at a time, also while the loop
    /// runs.
    std::optional<ChainResult> pop() noexcept {
        const std::optional<Ticket> ticket = Base::collect();
        if (!ticket) return std::nullopt;
        ringstep_chain_instance& chain = state()->instances[ticket->slot];
        return ChainResult(Base::free_slots(), graphs_.at(chain.graph % graphs).chains, &chain, *ticket);
    }

    /// Takes the next result like the other `pop()`, and returns false if there is none. Frees the result that `out` holds
    /// first.
    bool pop(std::optional<ChainResult>& out) noexcept {
        out.reset();
        if (std::optional<ChainResult> next = pop()) out.emplace(std::move(*next));
        return out.has_value();
    }

    /// Returns a range that takes each result like pop() when the iteration reaches it. A result is valid until the next one is
    /// taken.
    [[nodiscard]] TakenItems<ChainsClass, ChainResult> results() noexcept {
        return TakenItems<ChainsClass, ChainResult>(*this);
    }

    /// Returns how many chains the loop has received and not ended. May be called from any thread.
    [[nodiscard]] std::uint32_t active() const noexcept { return Base::received(); }

private:
    using Base::take;

    struct GraphEntry {
        const detail::GraphDraft* draft = nullptr;  // only compared, never dereferenced
        std::uint32_t generation = 0;
        std::uint32_t nodes = 0;
        std::uint8_t parameters = 0;
        std::uint8_t variables = 0;
        ringstep_chain_timespec timeout{};
        std::atomic<std::uint32_t> chains{0};  // started and not yet taken
    };

    GraphEntry& find(GraphId id) {
        if (id.slot >= graphs || graphs_.at(id.slot).draft == nullptr || graphs_.at(id.slot).generation != id.generation)
            [[unlikely]] {
            ringstep::detail::raise(ENOENT, "use of a graph of chains", "It was not added to these, or is removed.");
        }
        return graphs_.at(id.slot);
    }

    static void cancel_requests(ringstep::detail::RingCore& ring, void* state) noexcept {
        const auto cancel_all = [&ring](std::uint64_t data, ringstep_identity_kind kind, std::uint32_t nodes) {
            for (; nodes != 0; nodes &= nodes - 1)
                (void)ring.cancel(data | ringstep_identity_of_part(kind, static_cast<std::uint32_t>(std::countr_zero(nodes))));
        };
        for (const ringstep_chain_instance& chain : static_cast<const state_type*>(state)->instances) {
            if (chain.data == 0) continue;
            cancel_all(chain.data, RINGSTEP_IDENTITY_REQUEST, chain.running);
            cancel_all(chain.data, RINGSTEP_IDENTITY_TIMEOUT, chain.armed | chain.taken_back);
        }
    }

    static void check(const GraphEntry& entry, std::span<const Argument> arguments) {
        std::uint32_t given = 0;
        bool foreign = false;
        for (const Argument& argument : arguments) {
            given |= 1U << (argument.index & (RINGSTEP_CHAIN_PARAMETERS - 1));
            foreign = foreign || argument.graph != entry.draft;
        }
        // None is given twice, if there are as many as parameters and all are given.
        if (foreign || arguments.size() != entry.parameters || given != (1U << entry.parameters) - 1) [[unlikely]]
            refuse(entry, arguments);
    }
    [[noreturn]] static void refuse(const GraphEntry& entry, std::span<const Argument> arguments) {
        std::uint32_t given = 0;
        for (const Argument& argument : arguments) {
            const std::uint32_t bit = 1U << (argument.index & (RINGSTEP_CHAIN_PARAMETERS - 1));
            if (argument.graph != entry.draft)
                ringstep::detail::raise(EINVAL, "start of a chain", "An argument is for a parameter of another graph.");
            if ((given & bit) != 0) ringstep::detail::raise(EINVAL, "start of a chain", "A parameter is given twice.");
            given |= bit;
        }
        ringstep::detail::raise(EINVAL, "start of a chain",
                                "The graph has " + std::to_string(entry.parameters) + " parameters, and " +
                                    std::to_string(arguments.size()) + " are given.");
    }

    static void reset(ringstep_chain_instance& chain, const GraphEntry& entry) noexcept {
        constexpr std::size_t first = offsetof(ringstep_chain_instance, phase);
        static_assert(RINGSTEP_CHAIN_OUTSIDE == 0 && RINGSTEP_CHAIN_COMPLETED == 0 && RINGSTEP_CHAIN_UNLISTED == 0);
        std::memset(static_cast<void*>(&chain.phase), 0, offsetof(ringstep_chain_instance, values) - first);
        if constexpr (detail::RunsCompiledGraph<Loop>) {
            constexpr std::size_t nodes = CompiledGraph<Loop>::nodes.size();
            std::memset(static_cast<void*>(&chain.values[RINGSTEP_CHAIN_VALUE_RESULT]), 0, nodes * sizeof chain.values[0]);
            std::memset(static_cast<void*>(chain.nodes), 0, nodes * sizeof chain.nodes[0]);
        } else {
            for (std::uint32_t i = 0; i < entry.nodes; i++) {
                chain.values[RINGSTEP_CHAIN_VALUE_RESULT + i] = 0;
                chain.nodes[i] = {};
            }
        }
        for (std::uint32_t i = 0; i < entry.variables; i++) chain.values[RINGSTEP_CHAIN_VALUE_REGISTER + i] = 0;
        chain.values[RINGSTEP_CHAIN_VALUE_ZERO] = 0;
        chain.values[RINGSTEP_CHAIN_VALUE_SCRATCH] = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(chain.scratch));
    }

    std::array<GraphEntry, graphs> graphs_{};
};

}  // namespace ringstep::inline v0::chain
