// SPDX-License-Identifier: MIT
// Random graphs of nops with results, and what a model of a few lines says that must come of each chain.
#pragma once

#include <ringstep/chain/graph.hpp>

#include <liburing.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace graphs {

using ringstep::chain::AnyNode;
using ringstep::chain::Argument;
using ringstep::chain::Graph;
using ringstep::chain::Length;
using ringstep::chain::Offset;

/// A nop whose result is its length (IORING_NOP_INJECT_RESULT).
inline io_uring_sqe nop_with_result() {
    io_uring_sqe sqe{};
    io_uring_prep_nop(&sqe);
    sqe.nop_flags = 1U << 0;
    sqe.len = 1;
    return sqe;
}

constexpr std::size_t parameter_count = 4;
using Inputs = std::array<std::uint32_t, parameter_count>;  // results of nops: numbers, or negative errnos

struct ModelNode {
    enum {
        given,
        fed,
        fixed,
        branch
    } kind = given;
    std::size_t source = 0;  // which parameter; with fed: which node
    std::uint32_t plus = 0;  // with fixed: the result
    std::vector<std::size_t> success;
    std::vector<std::size_t> failure;
    unsigned incoming = 0;
    unsigned join = 1;
    bool last = false;  // a clean-up node of node 0
};

/// What the model expects of a node.
struct Outcome {
    unsigned runs = 0;
    std::int64_t result = 0;
    bool operator==(const Outcome&) const = default;
};

class RandomGraph {
public:
    explicit RandomGraph(std::minstd_rand& random) {
        const auto below = [&](std::size_t bound) { return random() % bound; };
        nodes_.resize(2 + below(12));
        for (std::size_t i = 0; i < nodes_.size(); i++) {
            ModelNode& node = nodes_[i];
            node.source = below(parameter_count);
            if (i > 0 && i + 1 == nodes_.size() && below(2) == 0) {
                node.last = true;
                continue;
            }
            if (below(5) == 0) {
                node.kind = ModelNode::branch;
            } else if (below(2) == 0) {
                node.kind = ModelNode::fixed;
                node.plus = below(4) == 0 ? static_cast<std::uint32_t>(-ENOENT) : static_cast<std::uint32_t>(below(2000));
            }
            const std::size_t edges = i == 0 ? 0 : below(4);
            for (std::size_t edge = 0; edge < edges; edge++) {
                const std::size_t from = below(i);
                std::vector<std::size_t>& to = below(4) == 0 ? nodes_[from].failure : nodes_[from].success;
                const std::vector<std::size_t>& other =
                    &to == &nodes_[from].success ? nodes_[from].failure : nodes_[from].success;
                if (!to.empty() && to.back() == i) continue;
                if (!other.empty() && other.back() == i) {
                    to.push_back(i);  // the way there, whatever comes: only one of both is gone
                    continue;
                }
                to.push_back(i);
                node.incoming++;
                // If exactly one success leads here, its result is fed into this node.
                if (edges == 1 && edge == 0 && &to == &nodes_[from].success && node.kind == ModelNode::given &&
                    nodes_[from].kind != ModelNode::branch) {
                    node.kind = ModelNode::fed;
                    node.source = from;
                    node.plus = static_cast<std::uint32_t>(below(100));
                }
            }
            // A join waits for more than half of its ways in, because that many cannot arrive twice.
            if (node.incoming > 1)
                node.join = node.incoming / 2 + 1 + static_cast<unsigned>(below(node.incoming - node.incoming / 2));
        }
        build();
    }

    [[nodiscard]] const Graph& graph() const { return *graph_; }
    [[nodiscard]] std::size_t size() const { return nodes_.size(); }
    [[nodiscard]] const AnyNode& handle(std::size_t node) const { return handles_[node]; }

    [[nodiscard]] std::array<Argument, parameter_count> arguments(const Inputs& inputs) const {
        return {parameters_[0](inputs[0]), parameters_[1](inputs[1]), parameters_[2](inputs[2]), parameters_[3](inputs[3])};
    }

    [[nodiscard]] std::vector<Outcome> expected(const Inputs& inputs) const {
        std::vector<Outcome> outcomes(nodes_.size());
        std::vector<unsigned> arrivals(nodes_.size());
        bool first_succeeds = false;
        for (std::size_t i = 0; i < nodes_.size(); i++) {
            const ModelNode& node = nodes_[i];
            Outcome& outcome = outcomes[i];
            if (node.last ? !first_succeeds : node.incoming != 0 && arrivals[i] < node.join) continue;
            outcome.runs = 1;
            bool good = true;
            if (node.kind == ModelNode::branch) {
                good = inputs[node.source] < 1000;
                outcome.result = good ? 1 : 0;
            } else if (node.kind == ModelNode::fixed) {
                outcome.result = static_cast<std::int32_t>(node.plus);
                good = outcome.result >= 0;
            } else {
                outcome.result = node.kind == ModelNode::fed ? outcomes[node.source].result + node.plus
                                                             : static_cast<std::int32_t>(inputs[node.source]);
                good = outcome.result >= 0;
            }
            if (i == 0) first_succeeds = good;
            for (const std::size_t next : good ? node.success : node.failure) arrivals[next]++;
        }
        return outcomes;
    }

private:
    void build() {
        for (std::size_t i = 0; i < parameter_count; i++) parameters_.push_back(graph_->parameter<Length>());
        std::vector<ringstep::chain::Node<ringstep::chain::Number>> built;
        for (const ModelNode& node : nodes_) {
            if (node.kind == ModelNode::branch) {
                built.push_back(graph_->branch(parameters_[node.source] < 1000));
            } else {
                const ringstep::chain::RawNode request = graph_->request(nop_with_result());
                if (node.kind == ModelNode::fed) {
                    request.length(built[node.source].result().as<Length>() + node.plus);
                } else if (node.kind == ModelNode::fixed) {
                    // Fields that nops do not look at are filled in as well.
                    request.length(node.plus);
                    if (node.plus % 2 == 1) request.offset(parameters_[node.source].as<Offset>());
                } else {
                    request.length(parameters_[node.source]);
                }
                built.emplace_back(request);
            }
            built.back().may_fail();
            built.back().join(static_cast<std::uint8_t>(node.join));
        }
        for (std::size_t i = 0; i < nodes_.size(); i++) {
            for (const std::size_t next : nodes_[i].success) built[i].on_success(built[next]);
            for (const std::size_t next : nodes_[i].failure) built[i].on_failure(built[next]);
            if (nodes_[i].last) built[0].finally(built[i]);
        }
        handles_.assign(built.begin(), built.end());
    }

    std::unique_ptr<Graph> graph_ = std::make_unique<Graph>();
    std::vector<ModelNode> nodes_;
    std::vector<ringstep::chain::Parameter<Length>> parameters_;
    std::vector<AnyNode> handles_;
};

}  // namespace graphs
