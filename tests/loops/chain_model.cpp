// SPDX-License-Identifier: MIT
// Random graphs, and what a model of a few lines says that must come of each chain.
#include <ringstep/chain/chains_large.hpp>

#include "nops.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <vector>

using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::Ticket;
using ringstep::chain::AnyNode;
using ringstep::chain::Argument;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;
using ringstep::chain::LargeChains;
using ringstep::chain::Length;
using ringstep::chain::Offset;

namespace {

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

/// What becomes of a node.
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
                // Behind one success only: what that came to goes into this one.
                if (edges == 1 && edge == 0 && &to == &nodes_[from].success && node.kind == ModelNode::given &&
                    nodes_[from].kind != ModelNode::branch) {
                    node.kind = ModelNode::fed;
                    node.source = from;
                    node.plus = static_cast<std::uint32_t>(below(100));
                }
            }
            // More than half of them: so many cannot come twice.
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
                const ringstep::chain::RawNode request = graph_->request(nops::nop(0, 1));
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

struct Started {
    const RandomGraph* graph = nullptr;
    Inputs inputs{};
    bool cancelled = false;
    bool ended = false;
};

/// Whether that is what the model says. A chain that was cancelled did a part of it, or all.
bool as_expected(const ChainResult& result, const Started& started) {
    const std::vector<Outcome> expected = started.graph->expected(started.inputs);
    const bool partly = started.cancelled && result.reason() == ChainReason::cancelled;
    if (!partly && !result.ok()) return false;
    for (std::size_t i = 0; i < expected.size(); i++) {
        const AnyNode& node = started.graph->handle(i);
        const Outcome found{.runs = result.runs(node), .result = result.result(node)};
        if (partly && (found.runs == 0 || found.result == -ECANCELED)) continue;
        if (!(found == expected[i]) || result.ran(node) != (found.runs != 0)) return false;
    }
    return true;
}

}  // namespace

TEST_CASE("Random graphs do what the model says") {
    const auto seed = GENERATE(1U, 2U, 3U);
    CAPTURE(seed);
    std::minstd_rand random(seed);
    const std::array<unsigned, 3> sizes{256, 16, 4096};
    Ring ring{{.sq_entries = 16, .cq_entries = sizes[seed % 3]}};
    LargeChains chains(ring);
    if (seed == 2) chains.set_depth(1000);  // far more than the CQ holds

    std::uint64_t requests = 0;
    unsigned wrong = 0;
    while (requests < 35'000) {
        std::vector<RandomGraph> graphs;
        std::vector<GraphId> ids;
        while (graphs.size() < 20) {
            graphs.emplace_back(random);
            ids.push_back(chains.add(graphs.back().graph()));
        }
        std::vector<Started> all(1500);
        for (std::size_t i = 0; i < all.size(); i++) {
            const std::size_t which = random() % graphs.size();
            all[i].graph = &graphs[which];
            for (std::uint32_t& input : all[i].inputs)
                input = random() % 3 == 0 ? static_cast<std::uint32_t>(-EPERM) : static_cast<std::uint32_t>(random() % 2000);
            const auto arguments = graphs[which].arguments(all[i].inputs);
            const Ticket ticket = chains.start(ids[which], arguments, {.user_data = i});
            if (random() % 16 == 0) all[i].cancelled = chains.cancel(ticket);
        }
        for (bool over = false; !over;) {
            const LoopExit exit = chains.run();
            requests += exit.submitted;
            over = !exit.resumable();
            if (over) REQUIRE(exit.ok());
        }
        for (const ChainResult& result : chains.results()) {
            Started& started = all.at(result.user_data());
            if (started.ended || !as_expected(result, started)) wrong++;
            started.ended = true;
        }
        for (const Started& started : all) wrong += started.ended ? 0 : 1;
        for (const GraphId id : ids) chains.remove(id);
        REQUIRE(wrong == 0);
        REQUIRE(ring.in_flight() == 0);
        REQUIRE(chains.outstanding() == 0);
        REQUIRE(chains.arena_used() == 0);
        for (const ringstep_list& list : chains.state()->work) REQUIRE(list.count == 0);
        REQUIRE(chains.state()->requests.foreign == 0);
        REQUIRE(chains.state()->requests.cancels == 0);
    }
    CHECK(requests >= 35'000);
}
