// SPDX-License-Identifier: MIT
// The result of one request goes to the next.
#include <ringstep/chain/chains.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/chaining.hpp"
#include "loops/files.hpp"

using chaining::nop_of;
using chaining::only;
using chaining::run;
using descriptors::Sockets;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::Ticket;
using ringstep::chain::Address;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::Fd;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;
using ringstep::chain::Length;
using ringstep::chain::Offset;
using ringstep::chain::Slot;

TEST_CASE("A sequence runs in order, and all of it", "[main]") {
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto first = graph.nop();
    const auto second = graph.request(nop_of(7));
    const auto third = graph.nop();
    first.then(second).then(third);
    const GraphId id = chains.add(graph);
    const Ticket ticket = chains.start(id, {}, {.user_data = 42});
    const LoopExit exit = run(chains);
    CHECK(exit.ok());
    CHECK(exit.code == RINGSTEP_REQUESTS_IDLE);
    CHECK(exit.submitted == 3);
    const ChainResult result = only(chains);
    CHECK(result.ok());
    CHECK(result.ticket() == ticket);
    CHECK(result.user_data() == 42);
    CHECK(result.result(second) == 7);
    CHECK(result.ran(third));
    CHECK(result.error() == 0);
}

TEST_CASE("A file of unknown size is read into memory", "[main]") {
    const Folder folder;
    const Bytes content = random_bytes(100'000);
    const std::string name = folder / "file";
    File(name).write(content);
    Ring ring;
    Chains chains(ring);
    std::vector<std::byte> memory(200'000);
    chains.set_arena(memory);

    Graph graph;
    const auto path = graph.parameter<Address>();
    const auto open = graph.open(path, O_RDONLY);
    const auto stat = graph.statx(open);
    const auto buffer = graph.allocate(stat.size());
    const auto read = graph.read(open, buffer.result(), stat.size(), 0).all();
    const auto close = graph.close(open);
    open.then(stat).then(buffer).then(read);
    open.finally(close);
    const GraphId id = chains.add(graph);
    SECTION("that is there") {
        chains.start(id, {path(name.c_str())});
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        REQUIRE(result.ok());
        REQUIRE(result.result(read) == 100'000);
        CHECK(std::memcmp(result.address(buffer), content.data(), content.size()) == 0);
        CHECK(result.ran(close));
        CHECK(result.result(close) == 0);
    }
    SECTION("that is missing") {
        const std::string missing = name + ".missing";
        chains.start(id, {path(missing.c_str())});
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.failed_node() == open.number());
        CHECK(result.error() == ENOENT);
        CHECK(result.result(open) == -ENOENT);
        CHECK_FALSE(result.ran(stat));
        CHECK_FALSE(result.ran(close));
    }
    SECTION("for which there is no memory") {
        chains.set_arena(std::span(memory).first(1000));
        chains.start(id, {path(name.c_str())});
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.failed_node() == buffer.number());
        CHECK(result.error() == ENOMEM);
        CHECK(result.ran(close));
        CHECK(chains.arena_used() == 0);
    }
}

TEST_CASE("A receive is sent on, exactly as much as came") {
    const Sockets from;
    const Sockets to;
    std::array<char, 64> memory{};
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto input = graph.parameter<Fd>();
    const auto output = graph.parameter<Fd>();
    const auto total = graph.variable<Length>();
    const auto receive = graph.recv(input, memory.data(), memory.size()).repeat(100);
    const auto send = graph.send(output, memory.data(), receive.result()).repeat(100);
    const auto count = graph.set(total, total + receive.result()).repeat(100);
    const auto ended = graph.finish(77);
    receive.then(send).then(count).then(receive);
    receive.on_end(ended);
    graph.begin(receive);
    chains.start(chains.add(graph), {output(to.ends[0]), input(from.ends[1])});

    const std::vector<std::string> messages{"a", "hello", std::string(64, 'x'), "the end"};
    std::jthread peer([&] {
        std::array<char, 100> got{};
        for (const std::string& message : messages) {
            ensure(::send(from.ends[0], message.data(), message.size(), 0) == static_cast<ssize_t>(message.size()));
            ensure(::recv(to.ends[1], got.data(), got.size(), 0) == static_cast<ssize_t>(message.size()));
            ensure(std::string_view(got.data(), message.size()) == message);
        }
        ::shutdown(from.ends[0], SHUT_WR);
    });
    REQUIRE(run(chains).ok());
    const ChainResult result = only(chains);
    CHECK(result.ok());
    CHECK(result.code() == 77);
    CHECK(result.value(total) == 1 + 5 + 64 + 7);
    CHECK(result.runs(receive) == 5);
    CHECK(result.result(receive) == 0);
}

TEST_CASE("A log is written, synced, and then the waiting are told", "[main]") {
    const Folder folder;
    const File file(folder / "log");
    const Pipe waiting;
    const std::string record = "record;";
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto offset = graph.parameter<Offset>();
    const auto write = graph.write(file.fd(), record.data(), record.size(), offset);
    const auto sync = graph.fsync(file.fd(), IORING_FSYNC_DATASYNC);
    const auto notify = graph.write(waiting.in(), "!", 1, ~0ULL);
    write.then(sync).then(notify);
    const GraphId id = chains.add(graph);
    for (std::uint64_t i = 0; i < 100; i++) chains.start(id, {offset(i * record.size())});
    REQUIRE(run(chains).ok());
    unsigned count = 0;
    for (const ChainResult& result : chains.results()) {
        CHECK(result.ok());
        CHECK(result.result(write) == static_cast<std::int64_t>(record.size()));
        count++;
    }
    CHECK(count == 100);
    CHECK(file.size() == 100 * record.size());
    std::array<char, 200> told{};
    CHECK(::read(waiting.out(), told.data(), told.size()) == 100);
}

TEST_CASE("Registered files are opened into slots, read by them and closed", "[main]") {
    const Folder folder;
    const File file(folder / "file");
    file.write(random_bytes(64));
    std::array<std::byte, 64> bytes{};
    Ring ring;
    if (::io_uring_register_files_sparse(&ring.native(), 8) != 0) SKIP("no sparse file tables");
    Chains chains(ring);
    Graph graph;
    const auto slot = graph.parameter<Slot>();
    const auto open = graph.open_direct(AT_FDCWD, file.path().c_str(), O_RDONLY, 0, slot);
    const auto read = graph.read(slot, bytes.data(), bytes.size(), 0);
    const auto close = graph.close(slot);
    open.then(read);
    open.finally(close);
    const GraphId id = chains.add(graph);
    for (int round = 0; round < 2; round++) {
        chains.start(id, {slot(Slot{3})});
        REQUIRE(run(chains).ok());
        const ChainResult result = only(chains);
        CHECK(result.ok());
        CHECK(result.result(read) == 64);
        CHECK(result.ran(close));
        CHECK(result.result(close) == 0);
    }
}
