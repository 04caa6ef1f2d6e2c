// SPDX-License-Identifier: MIT
// Random graphs, and what a model of a few lines says that must come of each chain.
#include <ringstep/chain/chains_large.hpp>

#include "loops/graphs/model.hpp"
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

using graphs::Inputs;
using graphs::Outcome;
using graphs::RandomGraph;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::Ticket;
using ringstep::chain::AnyNode;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::GraphId;
using ringstep::chain::LargeChains;

namespace {

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
    nops::need_results();
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
