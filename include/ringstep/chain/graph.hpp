// SPDX-License-Identifier: MIT
// Graphs of requests: built once, started many times by Chains.
#pragma once

#include <ringstep/detail/sqe_words.hpp>
#include <ringstep/blocks/requests.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/c/loops/chain.h>
#include <ringstep/chain/nodes.hpp>
#include <ringstep/chain/values.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace ringstep::inline v0::chain {

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
        return detail::GraphAccess::make<Parameter<T>>(
            draft_.get(), static_cast<std::uint8_t>(RINGSTEP_CHAIN_VALUE_PARAMETER + draft_->parameters++));
    }
    /// Adds a variable, a value that set() changes. It is 0 at the start.
    template <ChainType T>
    [[nodiscard]] Variable<T> variable() {
        if (draft_->variables == RINGSTEP_CHAIN_REGISTERS)
            detail::GraphDraft::refuse(ENOSPC, "adding a variable",
                                       "A graph has " + std::to_string(RINGSTEP_CHAIN_REGISTERS) + " at most.");
        return detail::GraphAccess::make<Variable<T>>(
            draft_.get(), static_cast<std::uint8_t>(RINGSTEP_CHAIN_VALUE_REGISTER + draft_->variables++));
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
        return detail::GraphAccess::make<Scratch>(draft_.get(), offset, size);
    }
    /// Starts each chain with this node, even if edges lead to it, as for the first node of a cycle.
    void begin(const AnyNode& node) {
        if (&detail::GraphAccess::draft(node) != draft_.get())
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
        return detail::GraphAccess::make<Node<Fd>>(draft_.get(), prepare_open("open", directory, path, flags, mode));
    }
    /// Adds an open(2) into a slot of the ring's registered files. Its result is 0.
    Node<Number> open_direct(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode,
                             const Value<Slot>& slot) {
        return detail::GraphAccess::make<Node<Number>>(draft_.get(), prepare_open_direct(directory, path, flags, mode, slot));
    }
    /// Adds an open(2) into a slot that is given as a value. With `Slot{IORING_FILE_INDEX_ALLOC}`, also as a parameter's
    /// argument, the kernel chooses a free slot, and its number is the result.
    Node<Number> open_direct(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode,
                             Slot slot) {
        return detail::GraphAccess::make<Node<Number>>(draft_.get(), prepare_open_direct(directory, path, flags, mode, slot));
    }
    /// Adds an open(2) into any free slot (Linux 5.19). Its result is the slot, for the nodes that read, write and close it.
    Node<Slot> open_direct(const Expression<Fd>& directory, const Expression<Address>& path, int flags, mode_t mode = 0) {
        return detail::GraphAccess::make<Node<Slot>>(
            draft_.get(), prepare_open_direct(directory, path, flags, mode, Slot{IORING_FILE_INDEX_ALLOC}));
    }
    /// Adds a statx(2) of an open file. The kernel always hands it to a worker thread (AnyNode::always_on_worker()), which
    /// costs more than all other requests for a small file. To read a whole file, read until its end instead.
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
    /// Adds a pread(2). A short read is a success unless an edge says otherwise; see TransferNode. `flags` are those of
    /// preadv2(2), such as RWF_NOWAIT.
    TransferNode read(const File& file, const Expression<Address>& buffer, const Expression<Length>& length,
                      const Expression<Offset>& offset, int flags = 0) {
        const TransferNode node = transfer("read", IORING_OP_READ, file, buffer, length, &offset, 0);
        set(node.number(), &io_uring_sqe::rw_flags, flags);
        return node;
    }
    /// Adds a pwrite(2), continued until all is written; see TransferNode. `flags` are those of pwritev2(2).
    TransferNode write(const File& file, const Expression<Address>& buffer, const Expression<Length>& length,
                       const Expression<Offset>& offset, int flags = 0) {
        const TransferNode node = transfer("write", IORING_OP_WRITE, file, buffer, length, &offset,
                                           RINGSTEP_CHAIN_CONTINUE | RINGSTEP_CHAIN_NEEDS_ALL);
        set(node.number(), &io_uring_sqe::rw_flags, flags);
        return node;
    }
    /// Adds a recv(2), which is submitted once.
    TransferNode recv(const File& socket, const Expression<Address>& buffer, const Expression<Length>& length, int flags = 0) {
        const TransferNode node = transfer("recv", IORING_OP_RECV, socket, buffer, length, nullptr, 0);
        set(node.number(), &io_uring_sqe::msg_flags, static_cast<unsigned>(flags));
        return node;
    }
    /// Adds a send(2), continued until all is sent.
    TransferNode send(const File& socket, const Expression<Address>& buffer, const Expression<Length>& length, int flags = 0) {
        const TransferNode node = transfer("send", IORING_OP_SEND, socket, buffer, length, nullptr,
                                           RINGSTEP_CHAIN_CONTINUE | RINGSTEP_CHAIN_NEEDS_ALL);
        set(node.number(), &io_uring_sqe::msg_flags, static_cast<unsigned>(flags));
        return node;
    }
    /// Adds an fsync(2), or an fdatasync(2) with IORING_FSYNC_DATASYNC.
    Node<Number> fsync(const File& file, unsigned flags = 0) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = request("fsync", IORING_OP_FSYNC);
        set(number, &io_uring_sqe::fsync_flags, flags);
        set_file(number, file);
        return detail::GraphAccess::make<Node<Number>>(draft_.get(), number);
    }
    /// Adds a close(2). For a slot, it frees the slot.
    Node<Number> close(const File& file) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = request("close", IORING_OP_CLOSE);
        if (file.registered())
            draft_->fill(number, RINGSTEP_CHAIN_TO_FILE_INDEX, detail::chain_file_index,
                         detail::GraphAccess::value_of(file).as<Slot>());
        else
            set_file(number, file);
        return detail::GraphAccess::make<Node<Number>>(draft_.get(), number);
    }
    /// Adds a request that does nothing.
    Node<Number> nop() { return detail::GraphAccess::make<Node<Number>>(draft_.get(), request("nop", IORING_OP_NOP)); }
    /// Adds a pause, which succeeds when the time is over. With a duration of zero or less, it succeeds at once.
    Node<Number> pause(Duration duration) {
        const std::uint8_t number = request("pause", IORING_OP_TIMEOUT);
        set(number, &io_uring_sqe::fd, -1);
        set(number, &io_uring_sqe::len, 1);
        node(number).flags |= RINGSTEP_CHAIN_TIME_IS_SUCCESS;
        if (!duration.over())
            node(number).pause = {.seconds = duration.count() / 1'000'000'000, .nanoseconds = duration.count() % 1'000'000'000};
        return detail::GraphAccess::make<Node<Number>>(draft_.get(), number);
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
        set(number, &io_uring_sqe::user_data, 0);
        for (const unsigned word : {1U, 2U, 6U, 7U})  // these may be addresses, and which are, the opcode decides
            if (node(number).sqe[word] != 0) draft_->addresses.at(number).words |= static_cast<std::uint8_t>(1U << word);
        return detail::GraphAccess::make<RawNode>(draft_.get(), number);
    }

    /// Adds a node that sets a variable to an expression.
    template <ChainType T>
    Node<T> set(const Variable<T>& variable, const Expression<T>& expression) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = compute(RINGSTEP_CHAIN_COMPUTE, "set");
        value(number, expression, detail::GraphAccess::index(variable));
        return detail::GraphAccess::make<Node<T>>(draft_.get(), number);
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
        value(number, detail::GraphAccess::value_of(condition), number);
        return detail::GraphAccess::make<Node<Number>>(draft_.get(), number);
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
        node(number).sqe[0] = arena;
        node(number).sqe[1] = alignment - 1;
        value(number, size, number);
        return detail::GraphAccess::make<Node<Address>>(draft_.get(), number);
    }
    /// Adds a node that ends the chain as completed, with ChainResult::code(). Requests in flight are cancelled.
    Node<Number> finish(const Expression<Number>& code) {
        const detail::GraphUndo undo(*draft_);
        const std::uint8_t number = compute(RINGSTEP_CHAIN_FINISH, "finish");
        value(number, code, number);
        return detail::GraphAccess::make<Node<Number>>(draft_.get(), number);
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

private:
    friend struct detail::GraphAccess;

    [[nodiscard]] ringstep_chain_node& node(std::uint8_t number) const noexcept { return draft_->graph.nodes[number]; }
    template <class Member>
    void set(std::uint8_t number, Member io_uring_sqe::* member, std::type_identity_t<Member> value) const noexcept {
        ringstep::detail::set_field(node(number).sqe, member, value);
    }

    std::uint8_t request(const char* name, unsigned opcode) {
        const std::uint8_t number = draft_->add(RINGSTEP_CHAIN_REQUEST, name);
        set(number, &io_uring_sqe::opcode, static_cast<__u8>(opcode));
        return number;
    }
    std::uint8_t compute(ringstep_chain_kind kind, const char* name) { return draft_->add(kind, name); }

    template <ChainType T>
    void value(std::uint8_t number, const Expression<T>& expression, std::uint8_t to) {
        ringstep_chain_op op = detail::GraphAccess::op(expression);
        op.target = RINGSTEP_CHAIN_TO_VALUE;
        op.to = to;
        draft_->operate(number, op, expression);
    }

    void set_file(std::uint8_t number, const File& file) {
        if (file.registered()) {
            const unsigned flags = ringstep::detail::field(node(number).sqe, &io_uring_sqe::flags);
            set(number, &io_uring_sqe::flags, static_cast<__u8>(flags | IOSQE_FIXED_FILE));
            draft_->fill(number, RINGSTEP_CHAIN_TO_FILE, detail::chain_fd, detail::GraphAccess::value_of(file).as<Slot>());
        } else {
            draft_->fill(number, RINGSTEP_CHAIN_TO_FILE, detail::chain_fd, detail::GraphAccess::value_of(file));
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
        set(number, &io_uring_sqe::open_flags, static_cast<unsigned>(flags));
        set(number, &io_uring_sqe::len, mode);
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
        set(number, &io_uring_sqe::statx_flags, static_cast<unsigned>(flags));
        set(number, &io_uring_sqe::len, mask);
        set_directory(number, directory);
        draft_->fill(number, RINGSTEP_CHAIN_TO_FIELD8, detail::chain_addr, path);
        draft_->fill(number, RINGSTEP_CHAIN_TO_FIELD8, detail::chain_off, buffer.address());
        return detail::GraphAccess::make<StatxNode>(draft_.get(), number, buffer);
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
        return detail::GraphAccess::make<TransferNode>(draft_.get(), number);
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
        detail::chain_make_ready(graph.nodes[i]);
    }
    if (std::has_single_bit(graph.roots)) {
        const auto only = static_cast<std::uint32_t>(std::countr_zero(graph.roots));
        if ((graph.nodes[only].flags & (RINGSTEP_CHAIN_READY_MADE | RINGSTEP_CHAIN_FED_LENGTH)) == RINGSTEP_CHAIN_READY_MADE)
            graph.first = RINGSTEP_CHAIN_NEXT | only;
    }
    // Returns what the loop may do at once when a node has ended with these edges to follow.
    const auto following = [&](std::uint32_t edges) -> __u8 {
        if (edges == 0) return RINGSTEP_CHAIN_NOTHING_NEXT;
        if (!std::has_single_bit(edges)) return 0;
        const auto only = static_cast<std::uint32_t>(std::countr_zero(edges));
        const ringstep_chain_node& to = graph.nodes[only];
        const bool computed = to.kind != RINGSTEP_CHAIN_REQUEST && (to.timeout.seconds | to.timeout.nanoseconds) == 0;
        if (to.join != 1 || (!computed && (to.flags & RINGSTEP_CHAIN_READY_MADE) == 0)) return 0;
        const bool often = incoming.at(only) != 1 || (graph.roots >> only & 1) != 0;
        return static_cast<__u8>(RINGSTEP_CHAIN_NEXT | (often ? RINGSTEP_CHAIN_NEXT_AGAIN : 0U) | only);
    };
    for (std::uint32_t i = 0; i < count; i++) {
        ringstep_chain_node& node = graph.nodes[i];
        node.next[RINGSTEP_CHAIN_SUCCESS] = following(node.edges[RINGSTEP_CHAIN_SUCCESS]);
        if (node.kind == RINGSTEP_CHAIN_BRANCH) {
            node.next[RINGSTEP_CHAIN_SHORT] = following(node.edges[RINGSTEP_CHAIN_FAILURE]);
        } else if ((node.flags & RINGSTEP_CHAIN_NEEDS_ALL) == 0) {
            node.next[RINGSTEP_CHAIN_SHORT] = following(node.edges[RINGSTEP_CHAIN_SHORT]);
            node.next[RINGSTEP_CHAIN_END] = following(node.edges[RINGSTEP_CHAIN_END]);
        }
    }
    return graph;
}

}  // namespace ringstep::inline v0::chain
