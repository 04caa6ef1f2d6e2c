// SPDX-License-Identifier: MIT
#include <ringstep/loops/chains.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/files.hpp"
#include "nops.hpp"

using namespace std::chrono_literals;
using ringstep::Address;
using ringstep::Argument;
using ringstep::ChainReason;
using ringstep::ChainResult;
using ringstep::Chains;
using ringstep::ExitReason;
using ringstep::Fd;
using ringstep::Graph;
using ringstep::GraphId;
using ringstep::Length;
using ringstep::LoopExit;
using ringstep::Number;
using ringstep::Offset;
using ringstep::Ring;
using ringstep::Slot;
using ringstep::Ticket;

namespace {

struct Sockets {
    Sockets() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0); }
    ~Sockets() {
        for (const int end : ends) ::close(end);
    }
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;
    std::array<int, 2> ends{};
};

/// A nop with a result.
io_uring_sqe nop_of(int result) {
    io_uring_sqe sqe = nops::nop(0, 1);
    sqe.len = static_cast<std::uint32_t>(result);
    return sqe;
}

/// Runs until there is nothing left to do. An interruption is none of these tests' business: io_uring_enter(2) may report one
/// at any time, and going on is all that it asks for.
LoopExit run(Chains& chains) {
    LoopExit all = chains.run();
    while (all.reason == ExitReason::interrupted) {
        const LoopExit before = all;
        all = chains.run();
        all.submitted += before.submitted;
    }
    return all;
}

ChainResult only(Chains& chains) {
    std::optional<ChainResult> result = chains.pop();
    REQUIRE(result);
    CHECK(chains.ready() == 0);
    CHECK(chains.in_flight() == 0);
    CHECK(chains.active() == 0);
    CHECK(chains.state()->requests.cancels == 0);
    CHECK(chains.state()->requests.foreign == 0);
    return std::move(*result);
}

}  // namespace

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
    const auto notify = graph.write(waiting.input(), "!", 1, ~0ULL);
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
    CHECK(::read(waiting.output(), told.data(), told.size()) == 100);
}

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
        const auto write = graph.write(pipe.input(), much.data(), length, ~0ULL);
        chains.start(chains.add(graph), {length(much.size()), offset(0)});
        std::vector<std::byte> got(much.size());
        std::jthread reader([&] {
            for (std::size_t at = 0; at < got.size();) {
                const ssize_t count = ::read(pipe.output(), got.data() + at, std::min<std::size_t>(got.size() - at, 10'000));
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

TEST_CASE("Branches fan out and meet again") {
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto begin = graph.nop();
    const auto meet = graph.nop().join(5);
    std::vector<ringstep::RawNode> middle;
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
    const auto first = graph.read(pipe.output(), &bytes[0], 1, ~0ULL);
    const auto second = graph.read(pipe.output(), &bytes[1], 1, ~0ULL);
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

TEST_CASE("Time limits: of a node, of a graph, of one chain", "[main]") {
    const Pipe pipe;
    char byte = 0;
    Ring ring;
    Chains chains(ring);
    Graph graph;
    SECTION("a node that takes too long fails") {
        const auto read = graph.read(pipe.output(), &byte, 1, ~0ULL).timeout(2ms);
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
        const auto read = graph.read(pipe.output(), &byte, 1, ~0ULL);
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
        (void)graph.read(pipe.output(), &byte, 1, ~0ULL);
        graph.timeout(1h);
        const GraphId id = chains.add(graph);
        chains.start(id, {}, {.user_data = 1, .timeout = 2ms});
        chains.start(id, {}, {.user_data = 2});
        std::jthread other([&] {
            while (chains.ready() == 0) std::this_thread::yield();
            ensure(::write(pipe.input(), "x", 1) == 1);
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
    const auto read = graph.read(pipe.output(), buffer, 1, ~0ULL);
    const GraphId id = chains.add(graph);
    std::vector<Ticket> tickets;
    for (std::uint64_t i = 0; i < 4; i++) tickets.push_back(chains.start(id, {buffer(&bytes[i])}, {.user_data = i}));
    std::jthread other([&] {
        while (chains.in_flight() != 2 || chains.active() != 4) std::this_thread::yield();
        ensure(chains.cancel(tickets[1]));  // in flight
        ensure(chains.cancel(tickets[3]));  // not begun
        ensure(!chains.cancel(tickets[3]));
        while (chains.ready() != 2) std::this_thread::yield();
        ensure(::write(pipe.input(), "ab", 2) == 2);
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
    const auto read = graph.read(pipe.output(), &bytes[0], 2, ~0ULL);
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
    REQUIRE(::write(pipe.input(), "ab", 2) == 2);
    CHECK(run(chains).ok());
    const ChainResult result = only(chains);
    CHECK(result.ok());
    CHECK(result.result(read) == 2);
    CHECK(result.ran(next));
}

TEST_CASE("As many chains as there is room for, on rings that are much smaller") {
    Ring ring{{.sq_entries = 8, .cq_entries = 16}};
    Chains chains(ring);
    if (GENERATE(false, true)) chains.set_depth(4096);  // the CQ overflows
    Graph graph;
    const auto first = graph.nop();
    const auto second = graph.nop();
    first.then(second);
    const GraphId id = chains.add(graph);
    for (std::uint64_t i = 0; i < Chains::capacity; i++) chains.start(id, {}, {.user_data = i});
    CHECK_FALSE(chains.try_start(id));
    const ringstep::Error error = error_of([&] { chains.start(id); });
    CHECK(error.error_number() == ENOSPC);
    CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("All 4096 are under way"));
    CHECK(chains.outstanding() == Chains::capacity);
    const LoopExit exit = run(chains);
    REQUIRE(exit.ok());
    CHECK(exit.submitted == 2 * Chains::capacity);
    CHECK(chains.ready() == Chains::capacity);
    std::vector<unsigned> times(Chains::capacity);
    for (const ChainResult& result : chains.results()) {
        times.at(result.user_data())++;
        if (!result.ok() || !result.ran(second)) FAIL("chain " << result.user_data());
    }
    CHECK(times == std::vector<unsigned>(Chains::capacity, 1));
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
    (void)graph.read(pipe.output(), buffer, 1, ~0ULL);
    const GraphId id = chains.add(graph);
    for (std::size_t i = 0; i < bytes.size(); i++) chains.start(id, {buffer(&bytes[i])});
    std::jthread other([&] {
        while (chains.in_flight() != Chains::capacity) std::this_thread::yield();
        const std::string all(Chains::capacity, 'z');
        ensure(::write(pipe.input(), all.data(), all.size()) == static_cast<ssize_t>(all.size()));
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
    CHECK_THAT(why([&] { chains.add(small); }), ContainsSubstring("64 already"));
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
