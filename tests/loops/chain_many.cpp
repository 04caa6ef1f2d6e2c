// SPDX-License-Identifier: MIT
// Many chains at a time.
#include <ringstep/chain/chains.hpp>
#include <ringstep/chain/chains_large.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/chaining.hpp"
#include "loops/files.hpp"

using chaining::run;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::chain::Address;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;
using ringstep::chain::LargeChains;
using ringstep::chain::Number;

TEMPLATE_TEST_CASE("As many chains as there is room for, on rings that are much smaller", "", Chains, LargeChains) {
    Ring ring{ringstep::RingOptions{.sq_entries = 8, .cq_entries = 16}};
    TestType chains(ring);
    if (GENERATE(false, true)) chains.set_depth(4096);  // the CQ overflows
    Graph graph;
    const auto first = graph.nop();
    const auto second = graph.nop();
    first.then(second);
    const GraphId id = chains.add(graph);
    for (std::uint64_t i = 0; i < TestType::capacity; i++) chains.start(id, {}, {.user_data = i});
    CHECK_FALSE(chains.try_start(id));
    const ringstep::Error error = error_of([&] { chains.start(id); });
    CHECK(error.error_number() == ENOSPC);
    CHECK_THAT(error.what(),
               Catch::Matchers::ContainsSubstring("All " + std::to_string(TestType::capacity) + " are under way"));
    CHECK(chains.outstanding() == TestType::capacity);
    const LoopExit exit = run(chains);
    REQUIRE(exit.ok());
    CHECK(exit.submitted == 2 * TestType::capacity);
    CHECK(chains.ready() == TestType::capacity);
    std::vector<unsigned> times(TestType::capacity);
    for (const ChainResult& result : chains.results()) {
        times.at(result.user_data())++;
        if (!result.ok() || !result.ran(second)) FAIL("chain " << result.user_data());
    }
    CHECK(times == std::vector<unsigned>(TestType::capacity, 1));
    CHECK(chains.outstanding() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("All chains in flight at once, each waiting") {
    const Pipe pipe;
    std::vector<char> bytes(Chains::capacity);
    Ring ring{{.sq_entries = 64, .cq_entries = 8192}};
    Chains chains(ring);
    Graph graph;
    const auto buffer = graph.parameter<Address>();
    (void)graph.read(pipe.out(), buffer, 1, ~0ULL);
    const GraphId id = chains.add(graph);
    for (std::size_t i = 0; i < bytes.size(); i++) chains.start(id, {buffer(&bytes[i])});
    std::jthread other([&] {
        while (chains.in_flight() != Chains::capacity) std::this_thread::yield();
        const std::string all(Chains::capacity, 'z');
        ensure(::write(pipe.in(), all.data(), all.size()) == static_cast<ssize_t>(all.size()));
    });
    REQUIRE(run(chains).ok());
    CHECK(chains.ready() == Chains::capacity);
    for (const ChainResult& result : chains.results())
        if (!result.ok()) FAIL("a chain did not complete");
    CHECK(bytes == std::vector<char>(Chains::capacity, 'z'));
}

TEST_CASE("Chains that are started while the loop runs, by several threads") {
    constexpr unsigned threads = 3;
    constexpr std::uint64_t each = 3000;
    Ring ring;
    Chains chains(ring);
    chains.set_stay(true);
    Graph graph;
    const auto number = graph.parameter<Number>();
    const auto first = graph.nop();
    const auto last = graph.finish(number);
    first.then(last);
    const GraphId id = chains.add(graph);
    std::vector<std::thread> others;
    for (unsigned thread = 0; thread < threads; thread++) {
        others.emplace_back([&, thread] {
            for (std::uint64_t i = 0; i < each; i++) {
                const std::array arguments{number(thread * each + i)};
                while (!chains.try_start(id, arguments, {.user_data = thread * each + i})) std::this_thread::yield();
            }
        });
    }
    std::vector<unsigned> times(threads * each);
    others.emplace_back([&] {
        for (std::uint64_t taken = 0; taken < threads * each;) {
            const std::optional<ChainResult> result = chains.pop();
            if (!result) {
                std::this_thread::yield();
                continue;
            }
            if (result->code() == static_cast<std::int64_t>(result->user_data())) times.at(result->user_data())++;
            taken++;
        }
        chains.set_stay(false);
    });
    const LoopExit exit = run(chains);
    for (std::thread& other : others) other.join();
    CHECK(exit.ok());
    CHECK(times == std::vector<unsigned>(threads * each, 1));
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A run ends when a batch of results is there") {
    Ring ring;
    Chains chains(ring);
    chains.set_batch(10);
    chains.set_depth(1);
    Graph graph;
    graph.nop().then(graph.nop());
    const GraphId id = chains.add(graph);
    for (int i = 0; i < 25; i++) chains.start(id);
    CHECK(run(chains).code == RINGSTEP_REQUESTS_BATCH);
    CHECK(chains.ready() == 10);
    unsigned taken = 0;
    for (const ChainResult& result : chains.results()) taken += result.ok() ? 1 : 0;
    CHECK(taken == 10);
    chains.set_batch(0);
    CHECK(run(chains).code == RINGSTEP_REQUESTS_IDLE);
    CHECK(chains.ready() == 15);
}
