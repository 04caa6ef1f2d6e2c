// SPDX-License-Identifier: MIT
// Graphs of requests: built once, started many times by Chains.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/c/loops/chain.h>
#include <ringstep/chain/values.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace ringstep::inline v0::chain {

class Graph;

namespace detail {

// Converts a duration. Negative seconds mean over at once, zero means unlimited.
inline ringstep_chain_timespec chain_timespec(Duration duration) noexcept {
    if (duration.unlimited()) return {.seconds = 0, .nanoseconds = 0};
    if (duration.over()) return {.seconds = -1, .nanoseconds = 0};
    return {.seconds = duration.count() / 1'000'000'000, .nanoseconds = duration.count() % 1'000'000'000};
}

// Returns whether the expression is an unchanged parameter, given by the application and not computed by the chain.
template <ChainType T>
[[nodiscard]] bool chain_is_parameter(const Expression<T>& expression) noexcept {
    const ringstep_chain_op& op = expression.op();
    return !expression.constant() && op.operation == RINGSTEP_CHAIN_ADD && op.constant_y != 0 && op.constant == 0 &&
           op.x >= RINGSTEP_CHAIN_VALUE_PARAMETER && op.x < RINGSTEP_CHAIN_VALUE_PARAMETER + RINGSTEP_CHAIN_PARAMETERS;
}

// A graph under construction: the part for the loop, and data needed only until then.
struct GraphDraft {
    ringstep_chain_graph graph{};
    std::array<std::string, RINGSTEP_CHAIN_NODES + 1> names;
    std::array<std::uint64_t, RINGSTEP_CHAIN_NODES> uses{};  // values that a node's operations read
    std::uint32_t count = 0;
    std::uint8_t parameters = 0;
    std::uint8_t variables = 0;
    std::uint32_t scratch = 0;
    Duration timeout = for_ever;

    GraphDraft() { names.at(RINGSTEP_CHAIN_WHOLE_CHAIN) = "the chain's timeout"; }

    [[noreturn]] static void refuse(int error, const std::string& tried, const std::string& advice) {
        ringstep::detail::raise(error, tried + " of a graph", advice);
    }

    [[nodiscard]] std::string describe(std::uint32_t node) const {
        return "node " + std::to_string(node) + " (" + names.at(node) + ")";
    }

    std::uint8_t add(ringstep_chain_kind kind, std::string name) {
        if (count == RINGSTEP_CHAIN_NODES)
            refuse(ENOSPC, "adding a node", "A graph has " + std::to_string(RINGSTEP_CHAIN_NODES) + " nodes at most.");
        graph.nodes[count] = {};
        graph.nodes[count].kind = static_cast<std::uint8_t>(kind);
        graph.nodes[count].join = 1;
        graph.nodes[count].limit = 0;
        uses.at(count) = 0;
        names.at(count) = std::move(name);
        return static_cast<std::uint8_t>(count++);
    }

    void operate(std::uint8_t number, ringstep_chain_op op, const GraphDraft* from) {
        ringstep_chain_node& node = graph.nodes[number];
        if (from != nullptr && from != this) refuse(EINVAL, describe(number), "It uses a value of another graph.");
        if (node.op_count == RINGSTEP_CHAIN_OPS)
            refuse(ENOSPC, describe(number), "A node has " + std::to_string(RINGSTEP_CHAIN_OPS) + " operations at most.");
        uses.at(number) |= std::uint64_t{1} << op.x;
        if (op.constant_y == 0) uses.at(number) |= std::uint64_t{1} << op.y;
        node.ops[node.op_count++] = op;
    }

    // Fills in the field of the SQE at that offset.
    template <ChainType T>
    void fill(std::uint8_t number, ringstep_chain_target target, std::size_t offset, const Expression<T>& expression) {
        ringstep_chain_op op = expression.op();
        if (expression.constant()) {
            check_constant(number, target, op.constant, std::same_as<T, Slot>);
            auto* const bytes = reinterpret_cast<std::byte*>(graph.nodes[number].sqe);
            const std::size_t size = target == RINGSTEP_CHAIN_TO_FIELD8 || target == RINGSTEP_CHAIN_TO_OFFSET ? 8 : 4;
            if (target == RINGSTEP_CHAIN_TO_FILE_INDEX || target == RINGSTEP_CHAIN_TO_NEW_FILE_INDEX) {
                if (op.constant != IORING_FILE_INDEX_ALLOC) op.constant++;
            }
            if (target == RINGSTEP_CHAIN_TO_LENGTH && op.constant > UINT32_MAX) {
                op.target = target;
                operate(number, op, nullptr);
            } else {
                std::memcpy(bytes + offset, &op.constant, size);
            }
            return;
        }
        op.target = static_cast<std::uint8_t>(target);
        op.to = static_cast<std::uint8_t>(offset);
        operate(number, op, expression.graph());
    }

    // Checks constants now, so that the loop need not find the errors.
    void check_constant(std::uint8_t number, ringstep_chain_target target, std::uint64_t constant, bool slot) const {
        constexpr std::uint64_t largest = INT64_MAX;
        const auto value = static_cast<std::int64_t>(constant);
        switch (target) {
            case RINGSTEP_CHAIN_TO_FILE:
            case RINGSTEP_CHAIN_TO_FILE_INDEX:
                if (slot && constant == IORING_FILE_INDEX_ALLOC)
                    refuse(EINVAL, describe(number),
                           "IORING_FILE_INDEX_ALLOC is no slot: only open_direct() takes it. Use the result of the node that "
                           "opened: the slot that it was given.");
                [[fallthrough]];
            case RINGSTEP_CHAIN_TO_NEW_FILE_INDEX:
                if (slot && constant == IORING_FILE_INDEX_ALLOC) return;
                if (slot && constant > RINGSTEP_CHAIN_LAST_SLOT)
                    refuse(EINVAL, describe(number),
                           "There is no slot " + std::to_string(constant) + ": they are 0 to " +
                               std::to_string(RINGSTEP_CHAIN_LAST_SLOT) + ".");
                if (!slot && value < 0)
                    refuse(EINVAL, describe(number), "There is no descriptor " + std::to_string(value) + ".");
                return;
            case RINGSTEP_CHAIN_TO_LENGTH:
                if (constant > largest)
                    refuse(EINVAL, describe(number),
                           "A length of " + std::to_string(constant) + " bytes is too large, or was negative.");
                return;
            case RINGSTEP_CHAIN_TO_OFFSET:
                if (constant > largest && constant != UINT64_MAX)
                    refuse(EINVAL, describe(number),
                           "There is no offset " + std::to_string(value) +
                               " in a file. ~0ULL means none: pipes, sockets, and the file's own position.");
                return;
            default: return;
        }
    }
};

// Removes the node that a function adds if that function throws.
class GraphUndo {
public:
    explicit GraphUndo(GraphDraft& draft) noexcept : draft_(&draft), count_(draft.count), scratch_(draft.scratch) {}
    GraphUndo(const GraphUndo&) = delete;
    GraphUndo& operator=(const GraphUndo&) = delete;
    ~GraphUndo() {
        if (std::uncaught_exceptions() <= exceptions_) return;
        draft_->count = count_;
        draft_->scratch = scratch_;
    }

private:
    GraphDraft* draft_;
    std::uint32_t count_;
    std::uint32_t scratch_;
    int exceptions_ = std::uncaught_exceptions();
};

// Returns whether the node can be submitted without a decision while the chain runs.
inline bool chain_ready_made(const ringstep_chain_node& node) noexcept {
    if (node.kind != RINGSTEP_CHAIN_REQUEST || (node.timeout.seconds | node.timeout.nanoseconds) != 0) return false;
    for (unsigned i = 0; i < node.op_count; i++)
        if (node.ops[i].target == RINGSTEP_CHAIN_TO_LENGTH) return false;
    return (node.flags & RINGSTEP_CHAIN_TRANSFER) == 0 ||
           reinterpret_cast<const io_uring_sqe*>(node.sqe)->len <= RINGSTEP_CHAIN_LARGEST;
}

// An offset of -1 means "no offset" only if the application gives it, not if the chain computes it.
[[nodiscard]] inline ringstep_chain_target chain_offset_target(const Expression<Offset>& offset) noexcept {
    return chain_is_parameter(offset) ? RINGSTEP_CHAIN_TO_FIELD8 : RINGSTEP_CHAIN_TO_OFFSET;
}

constexpr std::size_t chain_fd = offsetof(io_uring_sqe, fd);
constexpr std::size_t chain_off = offsetof(io_uring_sqe, off);
constexpr std::size_t chain_addr = offsetof(io_uring_sqe, addr);
constexpr std::size_t chain_len = offsetof(io_uring_sqe, len);
constexpr std::size_t chain_file_index = offsetof(io_uring_sqe, file_index);

}  // namespace detail

// Functions that connect or change nodes return a node so that calls can be chained. The result may be ignored.

/// A node of any kind: a handle that is valid as long as its graph.
class AnyNode {
public:
    /// Creates a handle for Graph.
    AnyNode(detail::GraphDraft* draft, std::uint8_t number) noexcept : draft_(draft), number_(number) {}
    /// Returns the node's number, as ChainResult::failed_node() returns it.
    [[nodiscard]] std::uint8_t number() const noexcept { return number_; }
    /// Returns the graph that the node belongs to.
    [[nodiscard]] const detail::GraphDraft* graph() const noexcept { return draft_; }

    /// Starts `next` when this node has succeeded. Returns `next`, so that sequences read in order. Like on_failure(),
    /// on_short() and on_end(), throws Error (EINVAL) for a node of another graph.
    template <class Next>
    const Next& then(const Next& next) const {
        connect(RINGSTEP_CHAIN_SUCCESS, next);
        return next;
    }
    /// Starts `next` like `then()`, but returns this node.
    const AnyNode& on_success(const AnyNode& next) const { return connect(RINGSTEP_CHAIN_SUCCESS, next); }
    /// Starts `next` when this node has failed; the chain then continues. A branch fails if its condition does not hold.
    /// Returns this node.
    const AnyNode& on_failure(const AnyNode& next) const { return connect(RINGSTEP_CHAIN_FAILURE, next); }
    /// Starts `next` when a transfer has moved some, but not all bytes. Without this edge, a short read or receive is a
    /// success. Returns this node.
    const AnyNode& on_short(const AnyNode& next) const { return connect(RINGSTEP_CHAIN_SHORT, next); }
    /// Starts `next` when a transfer should have moved bytes and moved none: at the end of the file, or when the peer has
    /// closed. Without this edge, that counts like a short transfer, see on_short(). Returns this node.
    const AnyNode& on_end(const AnyNode& next) const { return connect(RINGSTEP_CHAIN_END, next); }
    /// Runs `last` when the chain ends for any reason, if this node has succeeded. Use it, for example, to close what was
    /// opened. Returns this node.
    const AnyNode& finally(const AnyNode& last) const {
        same_graph(last);
        node().cleanup |= 1U << last.number_;
        return *this;
    }

protected:
    /// Returns the part of the node that the loop gets.
    [[nodiscard]] ringstep_chain_node& node() const noexcept { return draft_->graph.nodes[number_]; }
    /// Returns the graph.
    [[nodiscard]] detail::GraphDraft* draft() const noexcept { return draft_; }

private:
    const AnyNode& connect(ringstep_chain_outcome outcome, const AnyNode& next) const {
        same_graph(next);
        node().edges[outcome] |= 1U << next.number_;
        return *this;
    }
    void same_graph(const AnyNode& other) const {
        if (other.draft_ != draft_)
            detail::GraphDraft::refuse(EINVAL, draft_->describe(number_), "It is connected to a node of another graph.");
    }

    detail::GraphDraft* draft_;
    std::uint8_t number_;
};

/// A node whose result has the type T.
template <ChainType T>
class Node : public AnyNode {
public:
    using AnyNode::AnyNode;

    /// Returns the node's result, for the fields of later nodes.
    [[nodiscard]] Value<T> result() const noexcept {
        return {draft(), static_cast<std::uint8_t>(RINGSTEP_CHAIN_VALUE_RESULT + number())};
    }
    /// Starts this node only after `edges` edges have led to it, to join parallel branches. 1 to 255; the default is 1. Throws
    /// Error (EINVAL) for another number.
    const Node& join(std::uint64_t arrivals) const {
        node().join = static_cast<__u8>(in_range("join()", arrivals, 1, UINT8_MAX));
        return *this;
    }
    /// Sets how often the node may run, 1 to 65,535 times. Every node of a cycle needs this limit. One run more, and the chain
    /// fails with ELOOP. Throws Error (EINVAL) for another number.
    const Node& repeat(std::uint64_t times) const {
        node().limit = static_cast<__u16>(in_range("repeat()", times, 1, UINT16_MAX));
        return *this;
    }
    /// Sets how often the request is submitted again after EAGAIN or EINTR, at most 65,535 times. Throws Error (EINVAL) for a
    /// larger number.
    const Node& retry(std::uint64_t times) const {
        node().tries = static_cast<__u16>(in_range("retry()", times, 0, UINT16_MAX));
        return *this;
    }
    /// Cancels the request if it takes longer than this; the node then fails with ETIME. The time runs from each submission. If
    /// it is over at once (see Duration), the node fails with ETIME without a submission. If the kernel cannot set the timer,
    /// the request is also cancelled, and fails with that error.
    const Node& timeout(Duration limit) const {
        node().timeout = detail::chain_timespec(limit);
        return *this;
    }
    /// Lets the chain continue when this node fails, even if the node has no `on_failure()` edge.
    const Node& may_fail() const {
        node().flags |= RINGSTEP_CHAIN_MAY_FAIL;
        return *this;
    }

private:
    [[nodiscard]] std::uint64_t in_range(const char* what, std::uint64_t value, std::uint64_t least, std::uint64_t most) const {
        if (value < least || value > most)
            detail::GraphDraft::refuse(
                EINVAL, std::string(what) + " with " + std::to_string(value) + " for " + draft()->describe(number()),
                "It takes " + std::to_string(least) + " to " + std::to_string(most) + ".");
        return value;
    }
};

/// A read, write, send or receive. The loop compares its result with its length.
class TransferNode : public Node<Length> {
public:
    using Node::Node;
    /// Continues a short transfer until all bytes are moved or nothing more is. The result is the sum. If the sum is still
    /// short, on_short() applies.
    const TransferNode& all() const {
        node().flags |= RINGSTEP_CHAIN_CONTINUE;
        node().flags &= static_cast<__u8>(~RINGSTEP_CHAIN_NEEDS_ALL);
        return *this;
    }
    /// Continues a short transfer like `all()`, but fails with EIO if the sum is still short. It is the default of writes and
    /// sends.
    const TransferNode& exactly() const {
        node().flags |= RINGSTEP_CHAIN_CONTINUE | RINGSTEP_CHAIN_NEEDS_ALL;
        return *this;
    }
    /// Submits one request, regardless of how much it moves. It is the default of reads and receives.
    const TransferNode& once() const {
        node().flags &= static_cast<__u8>(~(RINGSTEP_CHAIN_CONTINUE | RINGSTEP_CHAIN_NEEDS_ALL));
        return *this;
    }
};

/// Scratch bytes, of which each chain has its own.
class Scratch {
public:
    /// Creates scratch bytes for Graph.
    Scratch(detail::GraphDraft* draft, std::uint32_t offset, std::uint32_t size) noexcept
        : draft_(draft), offset_(offset), size_(size) {}
    /// Returns the address of the bytes in the running chain.
    [[nodiscard]] Expression<Address> address() const noexcept {
        return detail::chain_operation<Address>(RINGSTEP_CHAIN_ADD, draft_, RINGSTEP_CHAIN_VALUE_SCRATCH,
                                                std::uint64_t{offset_});
    }
    /// Returns the offset among all scratch bytes of the chain: ChainResult::scratch().
    [[nodiscard]] std::uint32_t offset() const noexcept { return offset_; }
    /// Returns the number of bytes.
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    /// Returns the unsigned number that is stored there when the field is filled in. Throws Error if it reaches beyond the end
    /// of the bytes.
    template <ChainType T>
    [[nodiscard]] Expression<T> load(std::uint32_t offset, std::uint8_t bytes) const {
        if ((bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) || offset > size_ || bytes > size_ - offset)
            detail::GraphDraft::refuse(EINVAL, "a load from the scratch bytes",
                                       "It is beyond their end, or not of 1, 2, 4 or 8 bytes.");
        ringstep_chain_op op{};
        op.operation = RINGSTEP_CHAIN_LOAD;
        op.x = RINGSTEP_CHAIN_VALUE_ZERO;
        op.constant_y = 1;
        op.constant = offset_ + offset;
        op.bytes = bytes;
        return {draft_, op};
    }

private:
    detail::GraphDraft* draft_;
    std::uint32_t offset_;
    std::uint32_t size_;
};

/// A statx request with its buffer in the scratch bytes.
class StatxNode : public Node<Number> {
public:
    /// Creates a node for Graph.
    StatxNode(detail::GraphDraft* draft, std::uint8_t number, Scratch buffer) noexcept : Node(draft, number), buffer_(buffer) {}
    /// Returns the file's size at the time of the statx, as a hint. Files may grow. Generated files (/proc, /sys), pipes and
    /// devices report 0 or a meaningless size. Only a read that returns no data shows where a file ends.
    [[nodiscard]] Expression<Length> size() const { return buffer_.load<Length>(offsetof(struct statx, stx_size), 8); }
    /// Returns the file's mode and type.
    [[nodiscard]] Expression<Number> mode() const { return buffer_.load<Number>(offsetof(struct statx, stx_mode), 2); }
    /// Returns the whole struct statx.
    [[nodiscard]] const Scratch& buffer() const noexcept { return buffer_; }

private:
    Scratch buffer_;
};

/// A request of any kind, whose fields may be filled in while the chain runs.
class RawNode : public Node<Number> {
public:
    using Node::Node;
    /// Fills in `fd` with a descriptor.
    const RawNode& fd(const Expression<Fd>& value) const { return fill(RINGSTEP_CHAIN_TO_DIRECTORY, detail::chain_fd, value); }
    /// Fills in `fd` with a registered file.
    const RawNode& slot(const Expression<Slot>& value) const {
        reinterpret_cast<io_uring_sqe*>(node().sqe)->flags |= IOSQE_FIXED_FILE;
        return fill(RINGSTEP_CHAIN_TO_FILE, detail::chain_fd, value);
    }
    /// Fills in `addr`.
    const RawNode& address(const Expression<Address>& value) const {
        return fill(RINGSTEP_CHAIN_TO_FIELD8, detail::chain_addr, value);
    }
    /// Fills in `len`.
    const RawNode& length(const Expression<Length>& value) const {
        return fill(RINGSTEP_CHAIN_TO_LENGTH, detail::chain_len, value);
    }
    /// Fills in `off`.
    const RawNode& offset(const Expression<Offset>& value) const {
        return fill(detail::chain_offset_target(value), detail::chain_off, value);
    }
    /// Fills in `off` with an address, for requests in which it is `addr2`.
    const RawNode& address2(const Expression<Address>& value) const {
        return fill(RINGSTEP_CHAIN_TO_FIELD8, detail::chain_off, value);
    }

private:
    template <class T>
    const RawNode& fill(ringstep_chain_target target, std::size_t offset, const Expression<T>& value) const {
        draft()->fill(number(), target, offset, value);
        return *this;
    }
};

// NOLINTEND(modernize-use-nodiscard)

/// The file of a request: a descriptor, or a slot of the ring's registered files.
class File {
public:
    /// Uses a descriptor.
    File(int fd) noexcept : value_(Fd{fd}) {}  // NOLINT(*-explicit-*)
    /// Uses a descriptor.
    File(Fd fd) noexcept : value_(fd) {}  // NOLINT(*-explicit-*)
    /// Uses a descriptor that is known while the chain runs.
    File(const Value<Fd>& fd) noexcept : value_(fd) {}  // NOLINT(*-explicit-*)
    /// Uses the descriptor that a node opens.
    File(const Node<Fd>& node) noexcept : value_(node.result()) {}  // NOLINT(*-explicit-*)
    /// Uses a slot.
    File(Slot slot) noexcept : value_(Expression(slot).as<Fd>()), registered_(true) {}  // NOLINT(*-explicit-*)
    /// Uses a slot that is known while the chain runs.
    File(const Value<Slot>& slot) noexcept  // NOLINT(*-explicit-*)
        : value_(Expression(slot).as<Fd>()), registered_(true) {}
    /// Uses the slot that a node opens into, from an open_direct() that lets the kernel choose it.
    File(const Node<Slot>& node) noexcept : File(node.result()) {}  // NOLINT(*-explicit-*)

    /// Returns the number of the descriptor or slot.
    [[nodiscard]] const Expression<Fd>& value() const noexcept { return value_; }
    /// Returns whether the file is a slot.
    [[nodiscard]] bool registered() const noexcept { return registered_; }

private:
    Expression<Fd> value_;
    bool registered_ = false;
};

/**
 * A graph of requests. It has nodes, values that pass from node to node, and edges that tell when each node starts. Nodes
 * without an edge to them start with the chain, and so do those named by begin(). Building a graph needs no ring; Chains::add()
 * checks the graph and gives it to the loop.
 *
 * All functions throw Error (ENOSPC) if a limit is exceeded: RINGSTEP_CHAIN_NODES nodes, RINGSTEP_CHAIN_OPS fields of a node
 * that are filled in while the chain runs, RINGSTEP_CHAIN_PARAMETERS parameters, RINGSTEP_CHAIN_REGISTERS variables,
 * RINGSTEP_CHAIN_SCRATCH scratch bytes. Functions that add a node return it.
 *
 * **Example**: reads a whole file into memory
 *
 *     ringstep::chain::Graph graph;
 *     auto path = graph.parameter<ringstep::chain::Address>();
 *     auto open = graph.open(path, O_RDONLY);
 *     auto stat = graph.statx(open);
 *     auto buffer = graph.allocate(stat.size());
 *     auto read = graph.read(open, buffer.result(), stat.size(), 0).all();
 *     open.then(stat).then(buffer).then(read);
 *     open.finally(graph.close(open));
 */
class Graph {
public:
    Graph() : draft_(std::make_unique<detail::GraphDraft>()) {}

    /// Adds a parameter, a value that is given when a chain starts.
    template <ChainType T>
    [[nodiscard]] Parameter<T> parameter() {
        if (draft_->parameters == RINGSTEP_CHAIN_PARAMETERS)
            detail::GraphDraft::refuse(ENOSPC, "adding a parameter",
                                       "A graph has " + std::to_string(RINGSTEP_CHAIN_PARAMETERS) + " at most.");
        return {draft_.get(), static_cast<std::uint8_t>(RINGSTEP_CHAIN_VALUE_PARAMETER + draft_->parameters++)};
    }
    /// Adds a variable, a value that set() changes. It is 0 at the start.
    template <ChainType T>
    [[nodiscard]] Variable<T> variable() {
        if (draft_->variables == RINGSTEP_CHAIN_REGISTERS)
            detail::GraphDraft::refuse(ENOSPC, "adding a variable",
                                       "A graph has " + std::to_string(RINGSTEP_CHAIN_REGISTERS) + " at most.");
        return {draft_.get(), static_cast<std::uint8_t>(RINGSTEP_CHAIN_VALUE_REGISTER + draft_->variables++)};
    }
    /// Adds scratch bytes, which each chain has for itself, aligned to 8 bytes.
    [[nodiscard]] Scratch scratch(std::uint32_t size) {
        const std::uint32_t rounded = (size + 7) & ~7U;
        if (size > RINGSTEP_CHAIN_SCRATCH || rounded > RINGSTEP_CHAIN_SCRATCH - draft_->scratch)
            detail::GraphDraft::refuse(ENOSPC, "reserving " + std::to_string(size) + " scratch bytes",
                                       "A chain has " + std::to_string(RINGSTEP_CHAIN_SCRATCH) +
                                           ", and a statx takes 256 of them. For more, allocate().");
        const std::uint32_t offset = draft_->scratch;
        draft_->scratch += rounded;
        return {draft_.get(), offset, size};
    }
    /// Starts each chain with this node, even if edges lead to it, as for the first node of a cycle.
    void begin(const AnyNode& node) {
        if (node.graph() != draft_.get())
            detail::GraphDraft::refuse(EINVAL, "choosing where to begin", "It is a node of another graph.");
        draft_->graph.roots |= 1U << node.number();
    }
    /// Sets a timeout for each whole chain, from when the loop receives the chain. Chains::start() may give another one. If it
    /// is over at once (see Duration), the chain ends as timed out, and no node starts. If the kernel cannot set the timer, the
    /// chain fails with that error.
    void timeout(Duration limit) noexcept { draft_->timeout = limit; }

    /// Adds an open(2). Relative paths start at the working directory.
    Node<Fd> open(const Expression<Address>& path, int flags, mode_t mode = 0) { return open_at(AT_FDCWD, path, flags, mode); }
    /// Adds an openat(2).
    Node<Fd> open_at(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode = 0) {
        return {draft_.get(), prepare_open("open", directory, path, flags, mode)};
    }
    /// Adds an open(2) into a slot of the ring's registered files. Its result is 0.
    Node<Number> open_direct(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode,
                             const Value<Slot>& slot) {
        return {draft_.get(), prepare_open_direct(directory, path, flags, mode, slot)};
    }
    /// Adds an open(2) into a slot that is given as a value. With `Slot{IORING_FILE_INDEX_ALLOC}`, also as a parameter's
    /// argument, the kernel chooses a free slot, and its number is the result.
    Node<Number> open_direct(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode,
                             Slot slot) {
        return {draft_.get(), prepare_open_direct(directory, path, flags, mode, slot)};
    }
    /// Adds an open(2) into any free slot (Linux 5.19). Its result is the slot, for the nodes that read, write and close it.
    Node<Slot> open_direct(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode = 0) {
        return {draft_.get(), prepare_open_direct(directory, path, flags, mode, Slot{IORING_FILE_INDEX_ALLOC})};
    }
    /// Adds a statx(2) of an open file.
    StatxNode statx(const Expression<Fd>& fd, unsigned mask = STATX_BASIC_STATS) {
        return prepare_statx(fd, Expression<Address>(static_cast<const void*>("")), AT_EMPTY_PATH, mask);
    }
    /// Adds a statx(2) of the file that a node opened.
    StatxNode statx(const Node<Fd>& open, unsigned mask = STATX_BASIC_STATS) { return statx(Expression(open.result()), mask); }
    /// Adds a statx(2) of a path.
    StatxNode statx_at(const Expression<Fd>& directory, const Expression<Address>& path, int flags = 0,
                       unsigned mask = STATX_BASIC_STATS) {
        return prepare_statx(directory, path, flags, mask);
    }
    /// Adds a pread(2). A short read is a success unless an edge says otherwise; see TransferNode.
    TransferNode read(const File& file, const Expression<Address>& buffer, const Expression<Length>& length,
                      const Expression<Offset>& offset) {
        return transfer("read", IORING_OP_READ, file, buffer, length, &offset, 0);
    }
    /// Adds a pwrite(2), continued until all is written; see TransferNode.
    TransferNode write(const File& file, const Expression<Address>& buffer, const Expression<Length>& length,
                       const Expression<Offset>& offset) {
        return transfer("write", IORING_OP_WRITE, file, buffer, length, &offset,
                        RINGSTEP_CHAIN_CONTINUE | RINGSTEP_CHAIN_NEEDS_ALL);
    }
    /// Adds a recv(2), which is submitted once.
    TransferNode recv(const File& socket, const Expression<Address>& buffer, const Expression<Length>& length, int flags = 0) {
        const TransferNode node = transfer("recv", IORING_OP_RECV, socket, buffer, length, nullptr, 0);
        sqe(node.number()).msg_flags = static_cast<unsigned>(flags);
        return node;
    }
    /// Adds a send(2), continued until all is sent.
    TransferNode send(const File& socket, const Expression<Address>& buffer, const Expression<Length>& length, int flags = 0) {
        const TransferNode node = transfer("send", IORING_OP_SEND, socket, buffer, length, nullptr,
                                           RINGSTEP_CHAIN_CONTINUE | RINGSTEP_CHAIN_NEEDS_ALL);
        sqe(node.number()).msg_flags = static_cast<unsigned>(flags);
        return node;
    }
    /// Adds an fsync(2), or an fdatasync(2) with IORING_FSYNC_DATASYNC.
    Node<Number> fsync(const File& file, unsigned flags = 0) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = request("fsync", IORING_OP_FSYNC);
        sqe(number).fsync_flags = flags;
        set_file(number, file);
        return {draft_.get(), number};
    }
    /// Adds a close(2). For a slot, it frees the slot.
    Node<Number> close(const File& file) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = request("close", IORING_OP_CLOSE);
        if (file.registered())
            draft_->fill(number, RINGSTEP_CHAIN_TO_FILE_INDEX, detail::chain_file_index, file.value().as<Slot>());
        else
            set_file(number, file);
        return {draft_.get(), number};
    }
    /// Adds a request that does nothing.
    Node<Number> nop() { return {draft_.get(), request("nop", IORING_OP_NOP)}; }
    /// Adds a pause, which succeeds when the time is over. With a duration of zero or less, it succeeds at once.
    Node<Number> pause(Duration duration) {
        const std::uint8_t number = request("pause", IORING_OP_TIMEOUT);
        sqe(number).fd = -1;
        sqe(number).len = 1;
        node(number).flags |= RINGSTEP_CHAIN_TIME_IS_SUCCESS;
        if (!duration.over())
            node(number).pause = {.seconds = duration.count() / 1'000'000'000, .nanoseconds = duration.count() % 1'000'000'000};
        return {draft_.get(), number};
    }
    /// Adds any request, filled in by one of liburing's io_uring_prep_ functions. Its user_data is replaced. Throws Error
    /// (EINVAL) for a multishot, linked or drained request, for a LINK_TIMEOUT, and for one whose buffer the kernel selects.
    RawNode request(const io_uring_sqe& prepared) {
        if (const char* const why = ringstep::detail::unschedulable(prepared, 0, false); why != nullptr)
            detail::GraphDraft::refuse(EINVAL, "adding a request (opcode " + std::to_string(prepared.opcode) + ")",
                                       std::string("It has ") + why);
        if ((prepared.flags & IOSQE_BUFFER_SELECT) != 0)
            detail::GraphDraft::refuse(EINVAL, "adding a request (opcode " + std::to_string(prepared.opcode) + ")",
                                       "It has IOSQE_BUFFER_SELECT, and a chain keeps no note of the buffer that the kernel "
                                       "picks. Give it a buffer, or use a loop that delivers completions: gate, drain, link.");
        const std::uint8_t number = request("request", prepared.opcode);
        std::memcpy(static_cast<void*>(node(number).sqe), &prepared, sizeof node(number).sqe);
        sqe(number).user_data = 0;
        return {draft_.get(), number};
    }

    /// Adds a node that sets a variable to an expression.
    template <ChainType T>
    Node<T> set(const Variable<T>& variable, const Expression<T>& expression) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = compute(RINGSTEP_CHAIN_COMPUTE, "set");
        value(number, expression, variable.index());
        return {draft_.get(), number};
    }
    /// Adds a node that sets a variable to a value.
    template <ChainType T>
    Node<T> set(const Variable<T>& variable, const Value<T>& other) {
        return set(variable, Expression<T>(other));
    }
    /// Adds a branch. The chain continues at then() if the condition holds, and at on_failure() if not. Without an on_failure()
    /// edge, that part of the chain ends here.
    Node<Number> branch(const Condition& condition) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = compute(RINGSTEP_CHAIN_BRANCH, "branch");
        value(number, condition.expression(), number);
        return {draft_.get(), number};
    }
    /// Adds an allocation from an arena (Chains::set_arena()), at a multiple of `alignment`, a power of two. O_DIRECT needs the
    /// device's alignment, mostly 512 or 4,096. Gaps for alignment count as used. The node fails with ENOMEM if too little
    /// memory is left. Throws Error (EINVAL) for an unknown arena, or if the alignment is no power of two.
    Node<Address> allocate(const Expression<Length>& size, unsigned arena = 0, std::uint64_t alignment = 64) {
        if (arena >= RINGSTEP_CHAIN_ARENAS)
            detail::GraphDraft::refuse(EINVAL, "adding an allocation",
                                       "There are " + std::to_string(RINGSTEP_CHAIN_ARENAS) + " arenas.");
        if (!std::has_single_bit(alignment))
            detail::GraphDraft::refuse(EINVAL, "adding an allocation on a boundary of " + std::to_string(alignment) + " bytes",
                                       "It has to be a power of two.");
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = compute(RINGSTEP_CHAIN_ALLOCATE, "allocate");
        node(number).arena = static_cast<__u8>(arena);
        node(number).alignment = static_cast<__u8>(std::countr_zero(alignment));
        value(number, size, number);
        return {draft_.get(), number};
    }
    /// Adds a node that ends the chain as completed, with ChainResult::code(). Requests in flight are cancelled.
    Node<Number> finish(const Expression<Number>& code) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = compute(RINGSTEP_CHAIN_FINISH, "finish");
        value(number, code, number);
        return {draft_.get(), number};
    }

    /// Names a node, for messages. By default, a node has the name of the function that made it.
    void name(const AnyNode& node, std::string name) { draft_->names.at(node.number()) = std::move(name); }
    /// Returns the name of a node, by its number: ChainResult::failed_node(). RINGSTEP_CHAIN_WHOLE_CHAIN has a name also.
    [[nodiscard]] const std::string& name(std::uint32_t node) const { return draft_->names.at(node); }

    /**
     * Checks the graph and returns it in the loop's form; Chains::add() calls this. Throws Error (EINVAL) for an invalid graph:
     * a node that nothing leads to, a cycle without a limit, a join of more edges than there are, or a value of a later node.
     */
    [[nodiscard]] ringstep_chain_graph compile() const;
    /// Returns the graph under construction.
    [[nodiscard]] const detail::GraphDraft& draft() const noexcept { return *draft_; }

private:
    [[nodiscard]] ringstep_chain_node& node(std::uint8_t number) const noexcept { return draft_->graph.nodes[number]; }
    [[nodiscard]] io_uring_sqe& sqe(std::uint8_t number) const noexcept {
        return *reinterpret_cast<io_uring_sqe*>(node(number).sqe);
    }

    std::uint8_t request(const char* name, unsigned opcode) {
        const std::uint8_t number = draft_->add(RINGSTEP_CHAIN_REQUEST, name);
        sqe(number).opcode = static_cast<__u8>(opcode);
        return number;
    }
    std::uint8_t compute(ringstep_chain_kind kind, const char* name) { return draft_->add(kind, name); }

    template <ChainType T>
    void value(std::uint8_t number, const Expression<T>& expression, std::uint8_t to) {
        ringstep_chain_op op = expression.op();
        op.target = RINGSTEP_CHAIN_TO_VALUE;
        op.to = to;
        draft_->operate(number, op, expression.graph());
    }

    void set_file(std::uint8_t number, const File& file) {
        if (file.registered()) {
            sqe(number).flags |= IOSQE_FIXED_FILE;
            draft_->fill(number, RINGSTEP_CHAIN_TO_FILE, detail::chain_fd, file.value().as<Slot>());
        } else {
            draft_->fill(number, RINGSTEP_CHAIN_TO_FILE, detail::chain_fd, file.value());
        }
    }

    // A negative result is no directory, although it could equal AT_FDCWD.
    void set_directory(std::uint8_t number, const Expression<Fd>& directory) {
        const bool given = directory.constant() || detail::chain_is_parameter(directory);
        draft_->fill(number, given ? RINGSTEP_CHAIN_TO_DIRECTORY : RINGSTEP_CHAIN_TO_FILE, detail::chain_fd, directory);
    }

    std::uint8_t prepare_open(const char* name, const Expression<Fd>& directory, const Expression<Address>& path, int flags,
                              mode_t mode) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = request(name, IORING_OP_OPENAT);
        sqe(number).open_flags = static_cast<unsigned>(flags);
        sqe(number).len = mode;
        set_directory(number, directory);
        draft_->fill(number, RINGSTEP_CHAIN_TO_FIELD8, detail::chain_addr, path);
        return number;
    }

    std::uint8_t prepare_open_direct(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode,
                                     const Expression<Slot>& slot) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = prepare_open("open_direct", directory, path, flags, mode);
        const bool given = slot.constant() || detail::chain_is_parameter(slot);
        draft_->fill(number, given ? RINGSTEP_CHAIN_TO_NEW_FILE_INDEX : RINGSTEP_CHAIN_TO_FILE_INDEX, detail::chain_file_index,
                     slot);
        return number;
    }

    StatxNode prepare_statx(const Expression<Fd>& directory, const Expression<Address>& path, int flags, unsigned mask) {
        const detail::GraphUndo undo(*draft_);
        const Scratch buffer = scratch(sizeof(struct statx));
        const std::uint8_t number = request("statx", IORING_OP_STATX);
        sqe(number).statx_flags = static_cast<unsigned>(flags);
        sqe(number).len = mask;
        set_directory(number, directory);
        draft_->fill(number, RINGSTEP_CHAIN_TO_FIELD8, detail::chain_addr, path);
        draft_->fill(number, RINGSTEP_CHAIN_TO_FIELD8, detail::chain_off, buffer.address());
        return {draft_.get(), number, buffer};
    }

    TransferNode transfer(const char* name, unsigned opcode, const File& file, const Expression<Address>& buffer,
                          const Expression<Length>& length, const Expression<Offset>* offset, unsigned flags) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = request(name, opcode);
        node(number).flags = static_cast<__u8>(RINGSTEP_CHAIN_TRANSFER | flags);
        set_file(number, file);
        draft_->fill(number, RINGSTEP_CHAIN_TO_FIELD8, detail::chain_addr, buffer);
        draft_->fill(number, RINGSTEP_CHAIN_TO_LENGTH, detail::chain_len, length);
        if (offset != nullptr) {
            node(number).flags |= RINGSTEP_CHAIN_HAS_OFFSET;
            draft_->fill(number, detail::chain_offset_target(*offset), detail::chain_off, *offset);
        }
        return {draft_.get(), number};
    }

    std::unique_ptr<detail::GraphDraft> draft_;
};

inline ringstep_chain_graph Graph::compile() const {
    const detail::GraphDraft& draft = *draft_;
    const std::uint32_t count = draft.count;
    ringstep_chain_graph graph = draft.graph;
    const auto refuse = [&](std::uint32_t node, const std::string& why) {
        detail::GraphDraft::refuse(EINVAL, draft.describe(node), why);
    };
    if (count == 0) detail::GraphDraft::refuse(EINVAL, "compilation", "It has no nodes.");

    std::array<std::uint32_t, RINGSTEP_CHAIN_NODES> next{};    // nodes after each node, by any edge
    std::array<std::uint32_t, RINGSTEP_CHAIN_NODES> before{};  // nodes from which each node can be reached
    std::array<unsigned, RINGSTEP_CHAIN_NODES> incoming{};
    std::uint32_t targets = 0;
    std::uint32_t cleanups = 0;
    for (std::uint32_t i = 0; i < count; i++) {
        ringstep_chain_node& node = graph.nodes[i];
        if ((node.flags & RINGSTEP_CHAIN_TRANSFER) != 0 && (node.flags & RINGSTEP_CHAIN_NEEDS_ALL) == 0) {
            if (node.edges[RINGSTEP_CHAIN_SHORT] == 0) node.edges[RINGSTEP_CHAIN_SHORT] = node.edges[RINGSTEP_CHAIN_SUCCESS];
            if (node.edges[RINGSTEP_CHAIN_END] == 0) node.edges[RINGSTEP_CHAIN_END] = node.edges[RINGSTEP_CHAIN_SHORT];
        }
        for (const std::uint32_t edges : node.edges) next.at(i) |= edges;
        targets |= next.at(i);
        cleanups |= node.cleanup;
        for (std::uint32_t to = 0; to < count; to++) {
            // If several edges lead to one node, only one is followed, and at most as often as this node may start.
            if ((next.at(i) >> to & 1) != 0) incoming.at(to) += node.limit > 1 ? node.limit : 1U;
            if (((next.at(i) | node.cleanup) >> to & 1) != 0) before.at(to) |= 1U << i;
        }
    }
    for (std::uint32_t through = 0; through < count; through++)
        for (std::uint32_t i = 0; i < count; i++)
            if ((before.at(i) >> through & 1) != 0) before.at(i) |= before.at(through);

    graph.roots |= ((1U << count) - 1) & ~targets & ~cleanups;
    graph.node_count = count;
    for (std::uint32_t i = 0; i < count; i++) {
        const ringstep_chain_node& node = graph.nodes[i];
        if ((graph.roots >> i & 1) == 0 && (before.at(i) & graph.roots) == 0)
            refuse(i, "Nothing leads to it from the nodes that a chain begins with.");
        if ((before.at(i) >> i & 1) != 0 && node.limit == 0)
            refuse(i, "It leads back to itself. Say how often it may begin, with repeat().");
        if ((cleanups & targets) >> i & 1)
            refuse(i, "It runs at the end (finally()), and edges lead to it. Make two nodes of it.");
        if (node.join > 1 && node.join > incoming.at(i))
            refuse(i, "It waits for " + std::to_string(node.join) + " edges, and " + std::to_string(incoming.at(i)) +
                          " lead there.");
        const std::uint32_t unknown = static_cast<std::uint32_t>(draft.uses.at(i)) & ~before.at(i);
        if (unknown != 0)
            refuse(i, "It uses the result of " + draft.describe(static_cast<std::uint32_t>(__builtin_ctz(unknown))) +
                          ", which does not lead to it.");
        graph.nodes[i].join = node.join == 0 ? __u8{1} : node.join;
        graph.nodes[i].limit = node.limit == 0 ? __u16{1} : node.limit;
        if (detail::chain_ready_made(node)) graph.nodes[i].flags |= RINGSTEP_CHAIN_READY_MADE;
    }
    for (std::uint32_t i = 0; i < count; i++) {
        const std::uint32_t edges = graph.nodes[i].edges[RINGSTEP_CHAIN_SUCCESS];
        if (!std::has_single_bit(edges)) continue;
        const auto only = static_cast<std::uint32_t>(std::countr_zero(edges));
        const bool often = incoming.at(only) != 1 || (graph.roots >> only & 1) != 0;
        if ((graph.nodes[only].flags & RINGSTEP_CHAIN_READY_MADE) != 0 && graph.nodes[only].join == 1)
            graph.nodes[i].next = static_cast<__u8>(RINGSTEP_CHAIN_NEXT | (often ? RINGSTEP_CHAIN_NEXT_AGAIN : 0U) | only);
    }
    return graph;
}

}  // namespace ringstep::inline v0::chain
