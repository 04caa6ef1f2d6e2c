// SPDX-License-Identifier: MIT
// Chains that end early: time limits, cancellation, stops.
#include <ringstep/chain/chains.hpp>

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "ensure.hpp"
#include "loops/chaining.hpp"
#include "loops/files.hpp"

using namespace std::chrono_literals;
using chaining::only;
using chaining::run;
using ringstep::ExitReason;
using ringstep::Ring;
using ringstep::Ticket;
using ringstep::chain::Address;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;

TEST_CASE("Time limits: of a node, of a graph, of one chain", "[main]") {
    const Pipe pipe;
    char byte = 0;
    Ring ring;
    Chains chains(ring);
    Graph graph;
    SECTION("a node that takes too long fails") {
        const auto read = graph.read(pipe.out(), &byte, 1, ~0ULL).timeout(2ms);
        chains.start(chains.add(graph));
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.error() == ETIME);
        CHECK(result.result(read) == -ETIME);
    }
    SECTION("a node that does not is not held up, and its timeout goes with it") {
        const auto quick = graph.nop().timeout(1h);
        const auto then = graph.nop().timeout(1h);
        quick.then(then);
        chains.start(chains.add(graph));
        REQUIRE(run(chains).ok());
        CHECK(only(chains).ok());
        CHECK(ring.in_flight() == 0);
    }
    SECTION("a chain that takes too long is timed out") {
        const auto read = graph.read(pipe.out(), &byte, 1, ~0ULL);
        graph.timeout(2ms);
        chains.start(chains.add(graph));
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::timed_out);
        CHECK(result.error() == ETIME);
        CHECK(result.result(read) == -ECANCELED);
        CHECK(ring.in_flight() == 0);
    }
    SECTION("each chain may have its own") {
        (void)graph.read(pipe.out(), &byte, 1, ~0ULL);
        graph.timeout(1h);
        const GraphId id = chains.add(graph);
        chains.start(id, {}, {.user_data = 1, .timeout = 2ms});
        chains.start(id, {}, {.user_data = 2});
        std::jthread other([&] {
            while (chains.ready() == 0) std::this_thread::yield();
            ensure(::write(pipe.in(), "x", 1) == 1);
        });
        REQUIRE(run(chains).ok());
        CHECK(chains.pop()->reason() == ChainReason::timed_out);
        CHECK(only(chains).ok());
        CHECK(ring.in_flight() == 0);
    }
}

TEST_CASE("Chains are cancelled, each once") {
    const Pipe pipe;
    std::array<char, 4> bytes{};
    Ring ring;
    Chains chains(ring);
    chains.set_depth(2);
    Graph graph;
    const auto buffer = graph.parameter<Address>();
    const auto read = graph.read(pipe.out(), buffer, 1, ~0ULL);
    const GraphId id = chains.add(graph);
    std::vector<Ticket> tickets;
    for (std::uint64_t i = 0; i < 4; i++) tickets.push_back(chains.start(id, {buffer(&bytes[i])}, {.user_data = i}));
    std::jthread other([&] {
        while (chains.in_flight() != 2 || chains.active() != 4) std::this_thread::yield();
        ensure(chains.cancel(tickets[1]));  // in flight
        ensure(chains.cancel(tickets[3]));  // not begun
        ensure(!chains.cancel(tickets[3]));
        while (chains.ready() != 2) std::this_thread::yield();
        ensure(::write(pipe.in(), "ab", 2) == 2);
    });
    REQUIRE(run(chains).ok());
    other.join();
    CHECK(chains.outstanding() == 4);
    for (const ChainResult& result : chains.results()) {
        const bool cancelled = result.user_data() % 2 == 1;
        CHECK((result.reason() == ChainReason::cancelled) == cancelled);
        CHECK(result.ran(read) == (result.user_data() != 3));
    }
    CHECK_FALSE(chains.cancel(tickets[0]));
    CHECK(chains.outstanding() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A stop under way loses nothing, and the next run goes on", "[main]") {
    const Pipe pipe;
    std::array<char, 2> bytes{};
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto read = graph.read(pipe.out(), &bytes[0], 2, ~0ULL);
    const auto next = graph.nop();
    read.then(next);
    chains.start(chains.add(graph));
    {
        std::jthread other([&] {
            while (chains.in_flight() != 1) std::this_thread::yield();
            chains.program().request_stop();
        });
        CHECK(run(chains).reason == ExitReason::stop_requested);
    }
    CHECK(chains.outstanding() == 1);
    CHECK(chains.ready() == 0);
    REQUIRE(::write(pipe.in(), "ab", 2) == 2);
    CHECK(run(chains).ok());
    const ChainResult result = only(chains);
    CHECK(result.ok());
    CHECK(result.result(read) == 2);
    CHECK(result.ran(next));
}
