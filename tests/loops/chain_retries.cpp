// SPDX-License-Identifier: MIT
// Requests that are tried again, and short transfers.
#include <ringstep/chain/chains.hpp>

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "loops/chaining.hpp"
#include "loops/files.hpp"

using namespace std::chrono_literals;
using chaining::nop_of;
using chaining::only;
using chaining::run;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;
using ringstep::chain::Length;
using ringstep::chain::Offset;

TEST_CASE("EAGAIN is tried again, as often as was said") {
    Ring ring;
    Chains chains(ring);
    SECTION("by the node") {
        Graph graph;
        const auto again = graph.request(nop_of(-EAGAIN)).retry(5);
        chains.start(chains.add(graph));
        const LoopExit exit = run(chains);
        CHECK(exit.submitted == 6);
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.error() == EAGAIN);
        CHECK(result.runs(again) == 1);
    }
    SECTION("by an edge, after a pause, until it is bounded") {
        Graph graph;
        const auto again = graph.request(nop_of(-EAGAIN)).repeat(4);
        const auto pause = graph.pause(1ms).repeat(4);
        again.on_failure(pause);
        pause.then(again);
        graph.begin(again);
        chains.start(chains.add(graph));
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.error() == ELOOP);
        CHECK(result.failed_node() == again.number());
        CHECK(result.runs(again) == 4);
        CHECK(result.result(pause) == 0);
    }
}

TEST_CASE("Short transfers are continued, or followed by their edges") {
    const Folder folder;
    const File file(folder / "file");
    const Bytes content = random_bytes(1000);
    file.write(content);
    std::vector<std::byte> memory(4000);
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto length = graph.parameter<Length>();
    const auto offset = graph.parameter<Offset>();
    SECTION("a read is continued until the end of the file") {
        const auto read = graph.read(file.fd(), memory.data(), length, offset).all();
        const auto next = graph.nop();
        read.then(next);
        chains.start(chains.add(graph), {length(4000), offset(100)});
        const LoopExit exit = run(chains);
        CHECK(exit.submitted == 3);  // the rest, the end, the nop
        const ChainResult result = only(chains);
        CHECK(result.ok());
        CHECK(result.result(read) == 900);
        CHECK(result.ran(next));
        CHECK(std::memcmp(memory.data(), content.data() + 100, 900) == 0);
    }
    SECTION("or not") {
        const auto read = graph.read(file.fd(), memory.data(), length, offset);
        const auto full = graph.finish(1);
        const auto part = graph.finish(2);
        const auto end = graph.finish(3);
        read.on_success(full);
        read.on_short(part);
        read.on_end(end);
        const GraphId id = chains.add(graph);
        chains.start(id, {length(1000), offset(0)}, {.user_data = 1});
        chains.start(id, {length(1000), offset(1)}, {.user_data = 2});
        chains.start(id, {length(1000), offset(1000)}, {.user_data = 3});
        chains.start(id, {length(0), offset(1000)}, {.user_data = 1});
        REQUIRE(run(chains).ok());
        for (const ChainResult& result : chains.results())
            CHECK(result.code() == static_cast<std::int64_t>(result.user_data()));
    }
    SECTION("or a failure") {
        const auto read = graph.read(file.fd(), memory.data(), length, offset).exactly();
        chains.start(chains.add(graph), {length(1000), offset(1)});
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.error() == EIO);
        CHECK(result.result(read) == 999);
    }
    SECTION("a length that is none is refused") {
        const auto wrong = graph.variable<Length>();
        const auto compute = graph.set(wrong, wrong - 1);
        const auto read = graph.read(file.fd(), memory.data(), wrong, offset);
        compute.then(read);
        chains.start(chains.add(graph), {length(0), offset(0)});
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.failed_node() == read.number());
        CHECK(result.error() == EOVERFLOW);
    }
    SECTION("a write into a pipe that takes less goes on when there is room") {
        const Pipe pipe;
        std::vector<std::byte> much(300'000);
        for (std::size_t i = 0; i < much.size(); i++) much[i] = static_cast<std::byte>(i % 253);
        const auto write = graph.write(pipe.in(), much.data(), length, ~0ULL);
        chains.start(chains.add(graph), {length(much.size()), offset(0)});
        std::vector<std::byte> got(much.size());
        std::jthread reader([&] {
            for (std::size_t at = 0; at < got.size();) {
                const ssize_t count = ::read(pipe.out(), got.data() + at, std::min<std::size_t>(got.size() - at, 10'000));
                if (count <= 0) break;
                at += static_cast<std::size_t>(count);
            }
        });
        REQUIRE(run(chains).ok());
        reader.join();
        const ChainResult result = only(chains);
        CHECK(result.ok());
        CHECK(result.result(write) == static_cast<std::int64_t>(much.size()));
        CHECK(got == much);
    }
}
