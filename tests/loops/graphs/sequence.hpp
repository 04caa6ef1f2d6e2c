// SPDX-License-Identifier: MIT
// Random graphs in which one node follows another: every outcome of a node leads to one node at most. So what comes of a chain
// follows from its arguments alone, whichever loop runs it.
#pragma once

#include <ringstep/chain/graph.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "loops/graphs/model.hpp"

namespace graphs {

class RandomSequence {
public:
    static constexpr std::size_t numbers = 4;
    static constexpr std::uint64_t file_size = 3000;
    static constexpr std::uint64_t buffer_size = 8192;

    explicit RandomSequence(std::uint32_t seed, std::size_t size = 18) : random_(seed) {
        for (std::size_t i = 0; i < numbers; i++) parameters.push_back(graph.parameter<Length>());
        for (std::size_t i = 0; i < 2; i++) variables.push_back(graph.variable<Length>());
        const bool cycles = below(2) == 0;
        for (std::size_t i = 0; i < size && (i == 0 || !ways_.empty()); i++) add(i, cycles);
        if (cycles) connect_back();
        const std::size_t last = 1 + below(2);  // clean-up nodes
        for (std::size_t i = 0; i < last && last != 2; i++) clean_up();
        if (last == 2 && below(2) == 0) {
            clean_up();
            clean_up();
        }
    }

    Graph graph;
    const ringstep::chain::Parameter<ringstep::chain::Fd> file = graph.parameter<ringstep::chain::Fd>();
    const ringstep::chain::Parameter<ringstep::chain::Address> buffer = graph.parameter<ringstep::chain::Address>();
    std::vector<ringstep::chain::Parameter<Length>> parameters;
    std::vector<ringstep::chain::Variable<Length>> variables;
    std::vector<AnyNode> nodes;
    std::vector<bool> allocates;  // its result is an address

private:
    enum Outcome {
        success,
        failure,
        is_short,
        end,
        outcomes
    };

    std::size_t below(std::size_t bound) { return random_() % bound; }

    /// An outcome of a node from which no edge leads yet.
    struct Way {
        std::size_t from;
        Outcome outcome;
    };

    ringstep::chain::Expression<Length> any_length(std::optional<std::size_t> before) {
        const auto& parameter = parameters[below(numbers)];
        const auto& variable = variables[below(variables.size())];
        switch (below(8)) {
            case 0: return parameter;
            case 1: return parameter + static_cast<int>(below(100));
            case 2: return variable;
            case 3: return variable + parameter;
            case 4: return min(parameter, variable);
            case 5: return max(variable, parameter);
            case 6: return parameter - variable;
            default: break;
        }
        // Only a request has a result that is a number.
        if (before && results_[*before]) return results_[*before]->as<Length>() + static_cast<int>(below(10));
        return Length{below(3000)};
    }

    template <class Node>
    void finish_node(const Node& node, bool cycles) {
        if (below(3) == 0) node.may_fail();
        if (cycles) node.repeat(1 + below(4));
        if (below(4) == 0) node.retry(below(3));
    }

    void keep(const AnyNode& node, std::vector<Outcome> free, bool allocated = false) {
        for (const Outcome outcome : free) ways_.push_back({nodes.size(), outcome});
        nodes.push_back(node);
        allocates.push_back(allocated);
    }

    void add(std::size_t number, bool cycles) {
        std::optional<Way> way;
        if (number > 0) {
            const std::size_t which = below(ways_.size());
            way = ways_[which];
            ways_.erase(ways_.begin() + static_cast<std::ptrdiff_t>(which));
        }
        const std::optional<std::size_t> before = way ? std::optional(way->from) : std::nullopt;
        std::optional<ringstep::chain::Value<ringstep::chain::Number>> result;
        switch (below(10)) {
            case 0:
            case 1:
            case 2:
            case 3: {
                const ringstep::chain::RawNode node = graph.request(nop_with_result());
                node.length(any_length(before));
                if (below(2) == 0) node.offset(parameters[below(numbers)].as<Offset>());
                finish_node(node, cycles);
                result = node.result();
                keep(node, {success, failure});
                break;
            }
            case 4:
            case 5: {
                // These are separate statements, because compilers evaluate arguments in different orders.
                const auto length = any_length(before);
                const auto& offset = parameters[below(numbers)];
                const ringstep::chain::TransferNode node = graph.read(file, buffer, length, offset.as<Offset>());
                if (below(3) == 0)
                    (void)node.all();
                else if (below(2) == 0)
                    (void)node.exactly();
                finish_node(node, cycles);
                keep(node, {success, failure, is_short, end});
                break;
            }
            case 6: {
                const auto& variable = variables[below(variables.size())];
                const auto node = graph.set(variable, any_length(before));
                if (cycles) node.repeat(1 + below(4));
                keep(node, {success});
                break;
            }
            case 7: {
                const auto node =
                    graph.branch(below(2) == 0 ? parameters[below(numbers)] < 1000 : variables[0] < parameters[below(numbers)]);
                if (cycles) node.repeat(1 + below(4));
                keep(node, {success, failure});
                break;
            }
            case 8: {
                const auto node = graph.allocate(any_length(before));
                if (below(2) == 0) node.may_fail();
                if (cycles) node.repeat(1 + below(4));
                keep(node, {success, failure}, true);
                break;
            }
            default: {
                if (number < 4) return add_instead(cycles, way);
                const auto node = graph.finish(parameters[below(numbers)].as<ringstep::chain::Number>() + 1);
                keep(node, {});
                break;
            }
        }
        results_.push_back(result);
        if (way) connect(*way, nodes.size() - 1);
        // A second way to the same node, if one is left.
        if (number > 0 && ways_.size() > 6 && below(4) == 0) {
            const std::size_t which = below(ways_.size());
            const Way other = ways_[which];
            if (other.from + 1 < nodes.size()) {
                ways_.erase(ways_.begin() + static_cast<std::ptrdiff_t>(which));
                connect(other, nodes.size() - 1);
            }
        }
    }
    // Adds a nop where the chain must not end yet.
    void add_instead(bool cycles, const std::optional<Way>& way) {
        const ringstep::chain::RawNode node = graph.request(nop_with_result());
        node.length(parameters[below(numbers)]);
        finish_node(node, cycles);
        keep(node, {success, failure});
        results_.push_back(node.result());
        if (way) connect(*way, nodes.size() - 1);
    }

    void connect(const Way& way, std::size_t to) {
        switch (way.outcome) {
            case success: nodes[way.from].on_success(nodes[to]); break;
            case failure: nodes[way.from].on_failure(nodes[to]); break;
            case is_short: nodes[way.from].on_short(nodes[to]); break;
            default: nodes[way.from].on_end(nodes[to]); break;
        }
    }

    void connect_back() {
        graph.begin(nodes[0]);
        for (std::size_t i = 0; i < 3 && !ways_.empty(); i++) {
            const std::size_t which = below(ways_.size());
            const Way way = ways_[which];
            ways_.erase(ways_.begin() + static_cast<std::ptrdiff_t>(which));
            connect(way, below(way.from + 1));
        }
    }

    void clean_up() {
        const ringstep::chain::RawNode node = graph.request(nop_with_result());
        node.length(variables[0]);
        nodes[below(nodes.size())].finally(node);
        nodes.push_back(node);
        allocates.push_back(false);
        results_.push_back(std::nullopt);
    }

    std::minstd_rand random_;
    std::vector<Way> ways_;
    std::vector<std::optional<ringstep::chain::Value<ringstep::chain::Number>>> results_;
};

}  // namespace graphs
