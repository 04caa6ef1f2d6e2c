// SPDX-License-Identifier: MIT
// What is known of a graph's nodes before any chain runs. The source of a compiled graph leaves out what these facts rule out.
#pragma once

#include <ringstep/c/loops/chain.h>
#include <ringstep/version.hpp>

#include <array>
#include <bit>
#include <cstdint>

namespace ringstep::inline v0::chain::detail {

// What is known of the nodes of a graph before a chain runs.
class GraphFacts {
public:
    struct Fact {
        bool once = false;                // it begins once at most
        bool runs = false;                // it may run before the chain ends
        bool cleans = false;              // it may run when the chain ends
        bool reached = false;             // the sets below are right
        std::uint32_t ended = 0;          // nodes that have ended before it, on all ways to it
        std::uint32_t maybe = 0;          // the same, on any way
        std::uint32_t cleanup = 0;        // clean-up nodes that are to run, on all ways to it
        std::uint32_t maybe_cleanup = 0;  // the same, on any way
    };

    explicit GraphFacts(const ringstep_chain_graph& graph) : graph_(graph) {
        for (std::uint32_t i = 0; i < graph.node_count; i++) cleanups_ |= graph.nodes[i].cleanup;
        alone_ = std::popcount(graph.roots) == 1 && std::popcount(cleanups_) <= 1;
        for (std::uint32_t i = 0; i < graph.node_count; i++)
            for (const std::uint32_t edges : graph.nodes[i].edges) alone_ = alone_ && std::popcount(edges) <= 1;
        mark(graph.roots, &Fact::runs);
        mark(cleanups_, &Fact::cleans);
        spread();
        for (std::uint32_t i = 0; i < graph.node_count; i++)
            facts_.at(i).once = alone_ && !(facts_.at(i).runs && facts_.at(i).cleans) && (reach(graph.nodes[i]) >> i & 1) == 0;
    }

    // At most one node of a chain is ready or in flight at any time.
    [[nodiscard]] bool alone() const noexcept { return alone_; }
    [[nodiscard]] const Fact& of(std::uint32_t node) const { return facts_.at(node); }
    [[nodiscard]] bool ended_known(std::uint32_t node) const {
        const Fact& fact = of(node);
        return alone_ && !fact.cleans && fact.ended == fact.maybe;
    }
    // Returns true, and stores the clean-up nodes that are to run after this outcome of a node, if they are known.
    [[nodiscard]] bool cleanup_known(std::uint32_t node, bool success, std::uint32_t& cleanup) const {
        const Fact& fact = of(node);
        cleanup = fact.cleanup | (success ? graph_.nodes[node].cleanup : 0U);
        return alone_ && cleanup == (fact.maybe_cleanup | (success ? graph_.nodes[node].cleanup : 0U));
    }
    [[nodiscard]] std::uint32_t cleanups() const noexcept { return cleanups_; }

private:
    static std::uint32_t next_of(const ringstep_chain_node& node) {
        std::uint32_t next = 0;
        for (const std::uint32_t edges : node.edges) next |= edges;
        return next;
    }
    // Returns the nodes that edges lead to from here.
    [[nodiscard]] std::uint32_t reach(const ringstep_chain_node& from) const {
        std::uint32_t reached = next_of(from);
        for (std::uint32_t last = 0; last != reached;) {
            last = reached;
            for (std::uint32_t i = 0; i < graph_.node_count; i++)
                if ((last >> i & 1) != 0) reached |= next_of(graph_.nodes[i]);
        }
        return reached;
    }
    void mark(std::uint32_t first, bool Fact::* flag) {
        for (std::uint32_t i = 0; i < graph_.node_count; i++) {
            if ((first >> i & 1) == 0) continue;
            const std::uint32_t reached = reach(graph_.nodes[i]) | 1U << i;
            for (std::uint32_t to = 0; to < graph_.node_count; to++)
                if ((reached >> to & 1) != 0) facts_.at(to).*flag = true;
        }
    }
    bool arrive(std::uint32_t node, std::uint32_t ended, std::uint32_t maybe, std::uint32_t cleanup,
                std::uint32_t maybe_cleanup) {
        Fact& fact = facts_.at(node);
        const Fact before = fact;
        fact.ended = before.reached ? before.ended & ended : ended;
        fact.cleanup = before.reached ? before.cleanup & cleanup : cleanup;
        fact.maybe |= maybe;
        fact.maybe_cleanup |= maybe_cleanup;
        fact.reached = true;
        return !before.reached || fact.ended != before.ended || fact.maybe != before.maybe || fact.cleanup != before.cleanup ||
               fact.maybe_cleanup != before.maybe_cleanup;
    }
    void spread() {
        bool changed = true;
        while (changed) {
            changed = false;
            for (std::uint32_t i = 0; i < graph_.node_count; i++) {
                const std::uint32_t all = (1U << graph_.node_count) - 1;
                if ((graph_.roots >> i & 1) != 0) changed = arrive(i, 0, 0, 0, 0) || changed;
                if ((cleanups_ >> i & 1) != 0) changed = arrive(i, 0, all, 0, 0) || changed;
                const Fact fact = facts_.at(i);
                if (!fact.reached) continue;
                const ringstep_chain_node& node = graph_.nodes[i];
                for (unsigned outcome = 0; outcome < 4; outcome++) {
                    const std::uint32_t more = outcome == RINGSTEP_CHAIN_FAILURE ? 0 : node.cleanup;
                    for (std::uint32_t to = 0; to < graph_.node_count; to++) {
                        if ((node.edges[outcome] >> to & 1) == 0) continue;
                        changed = arrive(to, fact.ended | 1U << i, fact.maybe | 1U << i, fact.cleanup | more,
                                         fact.maybe_cleanup | more) ||
                                  changed;
                    }
                }
            }
        }
    }

    const ringstep_chain_graph& graph_;
    std::array<Fact, RINGSTEP_CHAIN_NODES> facts_{};
    std::uint32_t cleanups_ = 0;
    bool alone_ = false;
};

}  // namespace ringstep::inline v0::chain::detail
