// SPDX-License-Identifier: MIT
// What makes two graphs the same for a loop that was compiled from one of them.
#pragma once

#include <ringstep/c/loops/chain.h>
#include <ringstep/chain/nodes.hpp>
#include <ringstep/version.hpp>

#include <liburing.h>

#include <cstddef>
#include <cstdint>

namespace ringstep::inline v0::chain::detail {

// Where addresses of the process are in a node: words of its SQE, and constants of its operations. They are others in each
// process, so the loop takes them from the table of graphs.
struct NodeAddresses {
    std::uint32_t words = 0;
    std::uint32_t operations = 0;
};

// Returns where the addresses are in a node of a graph that was compiled from the draft.
[[nodiscard]] inline NodeAddresses addresses_of(const GraphDraft& draft, const ringstep_chain_graph& graph,
                                                std::uint32_t number) noexcept {
    const ringstep_chain_node& node = graph.nodes[number];
    NodeAddresses found{.words = draft.addresses[number].words, .operations = 0};
    if ((node.flags & RINGSTEP_CHAIN_TIME_IS_SUCCESS) != 0) found.words |= 1U << offsetof(io_uring_sqe, addr) / 8;
    std::uint32_t bits = draft.addresses[number].operations;
    // chain_make_ready() may have exchanged the first operation for another one.
    for (unsigned i = 1; i < node.op_count && (node.flags & RINGSTEP_CHAIN_READY_MADE) != 0; i++) {
        if (draft.graph.nodes[number].ops[i].target != RINGSTEP_CHAIN_TO_LENGTH) continue;
        const std::uint32_t first = bits & 1;
        const std::uint32_t other = bits >> i & 1;
        bits = (bits & ~(1U | 1U << i)) | other | first << i;
        break;
    }
    found.operations = bits;
    return found;
}

class Fingerprint {
public:
    void add(std::uint64_t number) noexcept {
        for (unsigned i = 0; i < 8; i++) {
            hash_ ^= number >> 8 * i & 0xff;
            hash_ *= 0x100000001b3;
        }
    }
    [[nodiscard]] std::uint64_t value() const noexcept { return hash_; }

private:
    std::uint64_t hash_ = 0xcbf29ce484222325;
};

// Returns a number that stands for all of a node but its addresses, its name and its times.
[[nodiscard]] inline std::uint64_t fingerprint_of(const ringstep_chain_node& node, const NodeAddresses& addresses) noexcept {
    Fingerprint print;
    for (unsigned i = 0; i < 8; i++) print.add((addresses.words >> i & 1) != 0 ? 0 : node.sqe[i]);
    for (const std::uint32_t edges : node.edges) print.add(edges);
    print.add(node.cleanup);
    print.add(std::uint64_t{node.kind} | std::uint64_t{node.flags} << 8 | std::uint64_t{node.op_count} << 16 |
              std::uint64_t{node.join} << 24 | std::uint64_t{node.limit} << 32);
    print.add(std::uint64_t{node.next[0]} | std::uint64_t{node.next[1]} << 8 | std::uint64_t{node.next[2]} << 16);
    print.add(std::uint64_t{addresses.words} | std::uint64_t{addresses.operations} << 32);
    for (unsigned i = 0; i < node.op_count; i++) {
        const ringstep_chain_op& op = node.ops[i];
        print.add(std::uint64_t{op.operation} | std::uint64_t{op.target} << 8 | std::uint64_t{op.to} << 16 |
                  std::uint64_t{op.x} << 24 | std::uint64_t{op.y} << 32 | std::uint64_t{op.constant_y} << 40 |
                  std::uint64_t{op.bytes} << 48);
        print.add((addresses.operations >> i & 1) != 0 ? 0 : op.constant);
    }
    return print.value();
}

}  // namespace ringstep::inline v0::chain::detail
