// SPDX-License-Identifier: MIT
// Graphs and chains that are refused.
#include <ringstep/chain/chains.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <liburing.h>

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "error_of.hpp"
#include "loops/chaining.hpp"

using chaining::only;
using chaining::run;
using ringstep::Ring;
using ringstep::chain::Argument;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::Fd;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;
using ringstep::chain::Length;
using ringstep::chain::Number;

TEST_CASE("Graphs that cannot work are refused") {
    using Catch::Matchers::ContainsSubstring;
    Graph graph;
    const auto why = [&](int number) {
        const ringstep::Error error = error_of([&] { (void)graph.compile(); });
        CHECK(error.error_number() == number);
        return std::string(error.what());
    };
    SECTION("empty") { CHECK_THAT(why(EINVAL), ContainsSubstring("no nodes")); }
    SECTION("a cycle without a bound") {
        const auto first = graph.nop();
        const auto second = graph.nop();
        const auto third = graph.nop();
        first.then(second).then(third).then(second);
        CHECK_THAT(why(EINVAL), ContainsSubstring("node 1 (nop)") && ContainsSubstring("repeat()"));
    }
    SECTION("nodes that nothing leads to") {
        (void)graph.nop();
        const auto second = graph.nop();
        const auto third = graph.nop();
        second.then(third).then(second);
        CHECK_THAT(why(EINVAL), ContainsSubstring("Nothing leads to it"));
    }
    SECTION("a value that is not there yet") {
        const auto open = graph.open("/etc/hostname", O_RDONLY);
        const auto close = graph.close(open);
        graph.name(close, "the last");
        CHECK_THAT(why(EINVAL),
                   ContainsSubstring("node 1 (the last)") && ContainsSubstring("node 0 (open), which does not lead"));
    }
    SECTION("a join of more than lead there") {
        graph.nop().then(graph.nop().join(2));
        CHECK_THAT(why(EINVAL), ContainsSubstring("waits for 2 edges, and 1 lead there"));
    }
    SECTION("a value of another graph") {
        Graph other;
        const auto fd = other.parameter<Fd>();
        CHECK_THAT(error_of([&] { (void)graph.fsync(fd); }).what(), ContainsSubstring("another graph"));
        const auto here = graph.nop();
        const auto there = other.nop();
        CHECK_THAT(error_of([&] { here.then(there); }).what(), ContainsSubstring("another graph"));
    }
    SECTION("multishot") {
        io_uring_sqe sqe{};
        io_uring_prep_multishot_accept(&sqe, 0, nullptr, nullptr, 0);
        CHECK_THAT(error_of([&] { (void)graph.request(sqe); }).what(), ContainsSubstring("multishot"));
    }
}

TEST_CASE("What exceeds a limit is refused") {
    using Catch::Matchers::ContainsSubstring;
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto why = [](auto&& function) {
        const ringstep::Error error = error_of(function);
        CHECK(error.error_number() == ENOSPC);
        return std::string(error.what());
    };
    for (int i = 0; i < RINGSTEP_CHAIN_PARAMETERS; i++) (void)graph.parameter<Number>();
    CHECK_THAT(why([&] { (void)graph.parameter<Number>(); }), ContainsSubstring("16 at most"));
    for (int i = 0; i < RINGSTEP_CHAIN_REGISTERS; i++) (void)graph.variable<Number>();
    CHECK_THAT(why([&] { (void)graph.variable<Number>(); }), ContainsSubstring("14 at most"));
    (void)graph.scratch(500);
    CHECK_THAT(why([&] { (void)graph.scratch(9); }), ContainsSubstring("512"));
    for (int i = 0; i < RINGSTEP_CHAIN_NODES; i++) (void)graph.nop();
    CHECK_THAT(why([&] { (void)graph.nop(); }), ContainsSubstring("31 nodes at most"));

    Graph small;
    (void)small.nop();
    std::vector<GraphId> ids;
    for (int i = 0; i < RINGSTEP_CHAIN_GRAPHS; i++) ids.push_back(chains.add(small));
    CHECK_THAT(why([&] { chains.add(small); }), ContainsSubstring("16 already"));
    chains.remove(ids[5]);
    CHECK(error_of([&] { chains.start(ids[5]); }).error_number() == ENOENT);
    CHECK(chains.add(small).slot == 5);
    chains.start(ids[6]);
    CHECK(run(chains).ok());
    CHECK(only(chains).ok());
}

TEST_CASE("A graph stays while chains of it are under way") {
    Ring ring;
    Chains chains(ring);
    Graph graph;
    (void)graph.nop();
    const GraphId id = chains.add(graph);
    const GraphId other = chains.add(graph);
    chains.start(id);
    chains.start(id);
    const auto refused = [&] {
        const ringstep::Error error = error_of([&] { chains.remove(id); });
        CHECK(error.error_number() == EBUSY);
        return std::string(error.what());
    };
    CHECK_THAT(refused(), Catch::Matchers::ContainsSubstring("2 of its chains are under way"));
    chains.remove(other);
    REQUIRE(run(chains).ok());
    CHECK_THAT(refused(), Catch::Matchers::ContainsSubstring("2 of its chains"));
    {
        const std::optional<ChainResult> first = chains.pop();
        REQUIRE(first);
        CHECK_THAT(refused(), Catch::Matchers::ContainsSubstring("2 of its chains"));
    }
    CHECK_THAT(refused(), Catch::Matchers::ContainsSubstring("1 of its chains"));
    CHECK(only(chains).ok());
    chains.remove(id);
    CHECK(error_of([&] { chains.remove(id); }).error_number() == ENOENT);
}

TEST_CASE("A chain is not started without all it needs") {
    using Catch::Matchers::ContainsSubstring;
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto one = graph.parameter<Length>();
    const auto two = graph.parameter<Length>();
    const auto node = graph.finish((one + two).as<Number>());
    const GraphId id = chains.add(graph);
    const auto why = [&](std::initializer_list<Argument> arguments) {
        return std::string(error_of([&] { chains.start(id, arguments); }).what());
    };
    CHECK_THAT(why({one(1)}), ContainsSubstring("2 parameters, and 1 are given"));
    CHECK_THAT(why({one(1), one(1)}), ContainsSubstring("twice"));
    Graph other;
    CHECK_THAT(why({one(1), other.parameter<Length>()(1)}), ContainsSubstring("another graph"));
    CHECK(chains.outstanding() == 0);
    chains.start(id, {two(40), one(2)});
    REQUIRE(run(chains).ok());
    const ChainResult result = only(chains);
    CHECK(result.code() == 42);
    CHECK(result.result(node) == 42);
}
