// SPDX-License-Identifier: MIT
// The nodes of graphs of requests, and what they are made of.
#pragma once

#include <ringstep/detail/opcodes.hpp>
#include <ringstep/detail/sqe_words.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/c/loops/chain.h>
#include <ringstep/chain/values.hpp>

#include <liburing.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
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
    const ringstep_chain_op& op = GraphAccess::op(expression);
    return !expression.constant() && op.operation == RINGSTEP_CHAIN_ADD && op.constant_y != 0 && op.constant == 0 &&
           op.x >= RINGSTEP_CHAIN_VALUE_PARAMETER && op.x < RINGSTEP_CHAIN_VALUE_PARAMETER + RINGSTEP_CHAIN_PARAMETERS;
}

// Which words of a node's SQE, and which of its operations' constants, are addresses of the process.
struct DraftAddresses {
    std::uint8_t words = 0;
    std::uint8_t operations = 0;
};

// A graph under construction: the part for the loop, and data needed only until then.
struct GraphDraft {
    ringstep_chain_graph graph{};
    std::array<DraftAddresses, RINGSTEP_CHAIN_NODES> addresses{};
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
        addresses.at(count) = {};
        names.at(count) = std::move(name);
        return static_cast<std::uint8_t>(count++);
    }

    template <ChainType T>
    void operate(std::uint8_t number, const ringstep_chain_op& op, const Expression<T>& expression) {
        // A sum's constant is a distance.
        const bool compared = op.constant_y != 0 && (op.operation == RINGSTEP_CHAIN_MIN || op.operation == RINGSTEP_CHAIN_MAX);
        operate(number, op, GraphAccess::graph(expression));
        if (std::same_as<T, Address> && (expression.constant() || compared))
            addresses.at(number).operations |= static_cast<std::uint8_t>(1U << (graph.nodes[number].op_count - 1U));
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
        ringstep_chain_op op = GraphAccess::op(expression);
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
                if (std::same_as<T, Address>) addresses.at(number).words |= static_cast<std::uint8_t>(1U << offset / 8);
            }
            return;
        }
        op.target = static_cast<std::uint8_t>(target);
        op.to = static_cast<std::uint8_t>(offset);
        operate(number, op, expression);
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

// Finds out how much of the node the loop can do without a decision while the chain runs, and notes it in the node.
inline void chain_make_ready(ringstep_chain_node& node) noexcept {
    for (ringstep_chain_op& op : node.ops) op.plain = op.operation == RINGSTEP_CHAIN_ADD && op.constant_y != 0 ? 1 : 0;
    if (node.kind != RINGSTEP_CHAIN_REQUEST || (node.timeout.seconds | node.timeout.nanoseconds) != 0) return;
    unsigned lengths = 0;
    for (unsigned i = 0; i < node.op_count; i++) {
        if (node.ops[i].target != RINGSTEP_CHAIN_TO_LENGTH) continue;
        // No operation on a field depends on another one, so their order is free.
        std::swap(node.ops[i], node.ops[0]);
        lengths++;
    }
    if (lengths > 1) return;
    if (lengths == 1)
        node.flags |= RINGSTEP_CHAIN_FED_LENGTH;
    else if ((node.flags & RINGSTEP_CHAIN_TRANSFER) != 0 &&
             ringstep::detail::field(node.sqe, &io_uring_sqe::len) > RINGSTEP_CHAIN_LARGEST)
        return;
    node.flags |= RINGSTEP_CHAIN_READY_MADE;
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
    /// Returns the node's number, as ChainResult::failed_node() returns it.
    [[nodiscard]] std::uint8_t number() const noexcept { return number_; }
    /// Returns whether the kernel hands the node's request to a worker thread without trying it first: statx, fsync, and others
    /// that docs/chain.md lists. That costs several times what the request itself costs if its data is in memory.
    [[nodiscard]] bool always_on_worker() const noexcept {
        io_uring_sqe sqe{};
        std::memcpy(static_cast<void*>(&sqe), static_cast<const void*>(node().sqe), sizeof node().sqe);
        return node().kind == RINGSTEP_CHAIN_REQUEST && ringstep::detail::always_on_worker(sqe);
    }

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

private:
    friend struct detail::GraphAccess;
    template <ChainType T>
    friend class Node;
    friend class TransferNode;
    friend class StatxNode;
    friend class RawNode;

    AnyNode(detail::GraphDraft* draft, std::uint8_t number) noexcept : draft_(draft), number_(number) {}

    // Returns the part of the node that the loop gets.
    [[nodiscard]] ringstep_chain_node& node() const noexcept { return draft_->graph.nodes[number_]; }
    [[nodiscard]] detail::GraphDraft* draft() const noexcept { return draft_; }

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
    /// Returns the node's result, for the fields of later nodes.
    [[nodiscard]] Value<T> result() const noexcept {
        return detail::GraphAccess::value<T>(draft(), static_cast<std::uint8_t>(RINGSTEP_CHAIN_VALUE_RESULT + number()));
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
    friend struct detail::GraphAccess;
    friend class TransferNode;
    friend class StatxNode;
    friend class RawNode;
    using AnyNode::AnyNode;

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

private:
    friend struct detail::GraphAccess;
    using Node::Node;
};

/// Scratch bytes, of which each chain has its own.
class Scratch {
public:
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
        return detail::GraphAccess::expression<T>(draft_, op);
    }

private:
    friend struct detail::GraphAccess;
    Scratch(detail::GraphDraft* draft, std::uint32_t offset, std::uint32_t size) noexcept
        : draft_(draft), offset_(offset), size_(size) {}

    detail::GraphDraft* draft_;
    std::uint32_t offset_;
    std::uint32_t size_;
};

/// A statx request with its buffer in the scratch bytes.
class StatxNode : public Node<Number> {
public:
    /// Returns the file's size at the time of the statx, as a hint. Files may grow. Generated files (/proc, /sys), pipes and
    /// devices report 0 or a meaningless size. Only a read that returns no data shows where a file ends.
    [[nodiscard]] Expression<Length> size() const { return buffer_.load<Length>(offsetof(struct statx, stx_size), 8); }
    /// Returns the file's mode and type.
    [[nodiscard]] Expression<Number> mode() const { return buffer_.load<Number>(offsetof(struct statx, stx_mode), 2); }
    /// Returns the whole struct statx.
    [[nodiscard]] const Scratch& buffer() const noexcept { return buffer_; }

private:
    friend struct detail::GraphAccess;
    StatxNode(detail::GraphDraft* draft, std::uint8_t number, Scratch buffer) noexcept : Node(draft, number), buffer_(buffer) {}

    Scratch buffer_;
};

/// A request of any kind, whose fields may be filled in while the chain runs.
class RawNode : public Node<Number> {
public:
    /// Fills in `fd` with a descriptor.
    const RawNode& fd(const Expression<Fd>& value) const { return fill(RINGSTEP_CHAIN_TO_DIRECTORY, detail::chain_fd, value); }
    /// Fills in `fd` with a registered file.
    const RawNode& slot(const Expression<Slot>& value) const {
        ringstep_chain_node& own = node();
        const unsigned flags = ringstep::detail::field(own.sqe, &io_uring_sqe::flags);
        ringstep::detail::set_field(own.sqe, &io_uring_sqe::flags, static_cast<__u8>(flags | IOSQE_FIXED_FILE));
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
    friend struct detail::GraphAccess;
    using Node::Node;

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

    /// Returns whether the file is a slot.
    [[nodiscard]] bool registered() const noexcept { return registered_; }

private:
    friend struct detail::GraphAccess;

    Expression<Fd> value_;  // the number of the descriptor or slot
    bool registered_ = false;
};

}  // namespace ringstep::inline v0::chain
