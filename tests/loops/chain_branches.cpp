// SPDX-License-Identifier: MIT
// Chains that branch, by success and by failure.
#include <ringstep/chain/chains.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <vector>

#include "loops/chaining.hpp"
#include "loops/files.hpp"

using namespace std::chrono_literals;
using chaining::nop_of;
using chaining::only;
using chaining::run;
using ringstep::Ring;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;
using ringstep::chain::Number;

TEST_CASE("Branches fan out and meet again") {
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto begin = graph.nop();
    const auto meet = graph.nop().join(5);
    std::vector<ringstep::chain::RawNode> middle;
    for (int i = 0; i < 5; i++) {
        middle.push_back(graph.request(nop_of(i + 1)));
        begin.then(middle.back()).then(meet);
    }
    const auto sum = graph.variable<Number>();
    const auto first = graph.set(sum, middle[0].result() + middle[1].result());
    const auto second = graph.set(sum, sum + middle[4].result());
    const auto limit = graph.parameter<Number>();
    const auto branch = graph.branch(sum < limit);
    const auto yes = graph.finish(1);
    const auto no = graph.finish(sum);
    meet.then(first).then(second).then(branch).then(yes);
    branch.on_failure(no);
    const GraphId id = chains.add(graph);
    chains.start(id, {limit(9)}, {.user_data = 1});
    chains.start(id, {limit(8)}, {.user_data = 8});
    REQUIRE(run(chains).ok());
    CHECK(chains.ready() == 2);
    for (const ChainResult& result : chains.results()) {
        CHECK(result.ok());
        CHECK(result.code() == static_cast<std::int64_t>(result.user_data()));
        CHECK(result.runs(meet) == 1);
    }
}

TEST_CASE("A failure cancels what is in flight, and what was begun is cleaned up") {
    const Folder folder;
    const File file(folder / "file");
    const Pipe pipe;
    std::array<char, 2> bytes{};
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto open = graph.open(file.path().c_str(), O_RDONLY);
    const auto first = graph.read(pipe.out(), &bytes[0], 1, ~0ULL);
    const auto second = graph.read(pipe.out(), &bytes[1], 1, ~0ULL);
    const auto slow = graph.pause(1ms);
    const auto fails = graph.request(nop_of(-EPERM));
    const auto never = graph.nop();
    const auto close = graph.close(open);
    open.then(slow).then(fails).then(never);
    open.finally(close);
    chains.start(chains.add(graph));
    REQUIRE(run(chains).ok());
    const ChainResult result = only(chains);
    CHECK(result.reason() == ChainReason::failed);
    CHECK(result.failed_node() == fails.number());
    CHECK(result.error() == EPERM);
    CHECK(result.result(first) == -ECANCELED);
    CHECK(result.result(second) == -ECANCELED);
    CHECK(result.ran(close));
    CHECK(result.result(close) == 0);
    CHECK_FALSE(result.ran(never));
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("What is to run at the end does so after the node that ends the chain, too") {
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto first = graph.nop();
    const auto fork = graph.nop();
    const auto over = graph.finish(3);
    const auto last = graph.nop();
    const bool straight = GENERATE(true, false);  // not by way of a list
    first.then(over);
    if (!straight) first.then(fork);
    over.finally(last);
    if (straight) first.on_failure(fork);
    chains.start(chains.add(graph));
    const ChainResult result = chaining::result_of(chains);
    CHECK(result.ok());
    CHECK(result.code() == 3);
    CHECK(result.ran(last));
}

TEST_CASE("A failure may be what was expected") {
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto fails = graph.request(nop_of(-ENOENT));
    const auto instead = graph.nop();
    const auto also = graph.request(nop_of(-EPERM)).may_fail();
    fails.on_failure(instead);
    chains.start(chains.add(graph));
    REQUIRE(run(chains).ok());
    const ChainResult result = only(chains);
    CHECK(result.ok());
    CHECK(result.result(fails) == -ENOENT);
    CHECK(result.result(also) == -EPERM);
    CHECK(result.ran(instead));
}
