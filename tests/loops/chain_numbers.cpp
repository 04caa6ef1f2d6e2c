// SPDX-License-Identifier: MIT
// Numbers at the edges: durations that are over, slots and descriptors that there are not, offsets, alignments.
#include <ringstep/chain/chains.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/chaining.hpp"
#include "loops/files.hpp"
#include "nops.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using chaining::nop_of;
using chaining::result_of;
using chaining::run;
using ringstep::Duration;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::chain::Address;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::Fd;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;
using ringstep::chain::Length;
using ringstep::chain::Number;
using ringstep::chain::Offset;
using ringstep::chain::Slot;

namespace {

/// The open descriptors.
std::vector<std::string> open_descriptors() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
}

std::string refused(auto&& function) {
    const ringstep::Error error = error_of(function);
    CHECK(error.error_number() == EINVAL);
    return error.what();
}

constexpr std::int64_t two_to_31 = std::int64_t{1} << 31;
constexpr std::int64_t two_to_32 = std::int64_t{1} << 32;

}  // namespace

TEST_CASE("Any duration converts, and none wraps") {
    using std::chrono::nanoseconds;
    CHECK(Duration(5ms) == nanoseconds(5'000'000));
    CHECK(Duration(-5ms).over());
    CHECK(Duration(0s).over());
    CHECK_FALSE(Duration(1ns).over());
    CHECK_FALSE(Duration(1ns).unlimited());
    CHECK(Duration(ringstep::for_ever).unlimited());
    CHECK(Duration(std::chrono::hours::max()).unlimited());
    CHECK(Duration(std::chrono::seconds::max()).unlimited());
    CHECK(Duration(std::chrono::milliseconds::min()).over());
    CHECK(Duration(std::chrono::hours::min()) == nanoseconds::min());
    CHECK(Duration(std::chrono::duration<double>(1e30)).unlimited());
    CHECK(Duration(std::chrono::duration<double>(-1e30)).over());
    CHECK(Duration(std::chrono::duration<double>(0.25)) == nanoseconds(250'000'000));
    CHECK(Duration(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())).over());
    CHECK(Duration(std::chrono::duration<std::int64_t, std::pico>(3000)) == nanoseconds(3));
    CHECK(Duration(std::chrono::hours(2'000'000)) == nanoseconds(7'200'000'000'000'000'000));
    CHECK(ringstep::detail::deadline_after(nanoseconds::max() - 1ns) == ~std::uint64_t{0});
    CHECK(ringstep::detail::deadline_after(-1h) > 0);
    CHECK(ringstep::detail::deadline_after(1h) > ringstep::detail::deadline_after(nanoseconds::min()));
}

TEST_CASE("A time that is over ends a request, a graph's chains and a chain at once") {
    const Pipe pipe;
    std::array<char, 8> bytes{};
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto time = GENERATE(from_range(
        some_of<Duration>({-1ms, std::chrono::nanoseconds::min()}, {0ns, -1ns, -1500ms, std::chrono::hours::min()})));
    SECTION("a node") {
        const auto read = graph.read(pipe.out(), bytes.data(), 8, ~0ULL).timeout(time);
        const auto never = graph.nop();
        read.then(never);
        chains.start(chains.add(graph));
        const ChainResult result = result_of(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.failed_node() == read.number());
        CHECK(result.error() == ETIME);
        CHECK(result.result(read) == -ETIME);
        CHECK_FALSE(result.ran(never));
    }
    SECTION("a node, which an edge follows") {
        const auto read = graph.read(pipe.out(), bytes.data(), 8, ~0ULL).all().timeout(time);
        const auto instead = graph.finish(7);
        read.on_failure(instead);
        chains.start(chains.add(graph));
        const ChainResult result = result_of(chains);
        CHECK(result.ok());
        CHECK(result.code() == 7);
    }
    SECTION("a graph") {
        const auto read = graph.read(pipe.out(), bytes.data(), 8, ~0ULL);
        graph.timeout(time);
        const GraphId id = chains.add(graph);
        chains.start(id);
        const ChainResult result = result_of(chains);
        CHECK(result.reason() == ChainReason::timed_out);
        CHECK(result.error() == ETIME);
        CHECK_FALSE(result.ran(read));
    }
    SECTION("a chain") {
        const auto read = graph.read(pipe.out(), bytes.data(), 8, ~0ULL);
        read.finally(graph.nop());
        graph.timeout(1h);
        const GraphId id = chains.add(graph);
        chains.start(id, {}, {.timeout = time});
        chains.start(id, {}, {.timeout = time});
        REQUIRE(run(chains).ok());
        for (const ChainResult& result : chains.results()) {
            CHECK(result.reason() == ChainReason::timed_out);
            CHECK(result.error() == ETIME);
            CHECK_FALSE(result.ran(read));
        }
        CHECK(chains.outstanding() == 0);
    }
    SECTION("a pause, which is a success") {
        const auto pause = graph.pause(time);
        const auto after = graph.nop();
        pause.then(after);
        chains.start(chains.add(graph));
        const ChainResult result = result_of(chains);
        CHECK(result.ok());
        CHECK(result.result(pause) == 0);
        CHECK(result.ran(after));
    }
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A read of an empty pipe whose time is over does not hold the run up") {
    const Pipe pipe;
    std::array<char, 8> buf{};
    Ring ring;
    Chains chains(ring);
    Graph first;
    (void)first.read(pipe.out(), buf.data(), 8, ~0ULL).timeout(-1ms);
    Graph second;
    (void)second.read(pipe.out(), buf.data(), 8, ~0ULL);
    Graph third;
    (void)third.read(pipe.out(), buf.data(), 8, ~0ULL);
    third.timeout(-1ms);
    chains.start(chains.add(first));
    chains.start(chains.add(second), {}, {.timeout = -1ms});
    chains.start(chains.add(third));
    REQUIRE(run(chains).ok());
    unsigned count = 0;
    for (const ChainResult& result : chains.results()) {
        CHECK(result.error() == ETIME);
        count++;
    }
    CHECK(count == 3);
}

TEST_CASE("A request that is continued keeps its guard, and is not ended by the one before") {
    const Pipe pipe;
    std::array<char, 9> bytes{};
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto read = graph.read(pipe.out(), bytes.data(), 8, ~0ULL).all().timeout(1h);
    const GraphId id = chains.add(graph);
    std::thread writer([&] {
        for (const std::string_view part : {"12", "34", "5", "678"}) {
            std::this_thread::sleep_for(30ms);
            ensure(::write(pipe.in(), part.data(), part.size()) == static_cast<ssize_t>(part.size()));
        }
    });
    chains.start(id);
    {
        const ChainResult result = result_of(chains);
        CHECK(result.ok());
        CHECK(result.result(read) == 8);
    }
    writer.join();
    CHECK(std::string_view(bytes.data()) == "12345678");

    Graph guarded;
    (void)guarded.read(pipe.out(), bytes.data(), 8, ~0ULL).all().timeout(100ms);
    const GraphId limited = chains.add(guarded);
    REQUIRE(::write(pipe.in(), "1234", 4) == 4);
    chains.start(limited);
    CHECK(result_of(chains).error() == ETIME);  // the second part never comes
}

TEST_CASE("A request that fills the depth has its guard all the same") {
    const Pipe pipe;
    char byte = 0;
    Ring ring;
    Chains chains(ring);
    chains.set_depth(1);
    Graph graph;
    (void)graph.read(pipe.out(), &byte, 1, ~0ULL).timeout(20ms);
    const GraphId id = chains.add(graph);
    chains.start(id);
    CHECK(result_of(chains).error() == ETIME);
}

TEST_CASE("No limit is no limit, however it is said") {
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto time =
        GENERATE(as<Duration>{}, ringstep::for_ever, std::chrono::hours::max(), std::chrono::nanoseconds::max() - 1ns);
    (void)graph.nop().timeout(time);
    graph.timeout(-1ms);
    const GraphId id = chains.add(graph);
    chains.start(id, {}, {.timeout = time});
    CHECK(result_of(chains).ok());
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A timeout that cannot be set ends what it was to guard, with its error") {
    const Pipe pipe;
    char byte = 0;
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto read = graph.read(pipe.out(), &byte, 1, ~0ULL).timeout(1h);
    // No Duration leads to such a time. The kernel refuses it.
    SECTION("of a node") {
        const GraphId id = chains.add(graph);
        chains.state()->graphs[id.slot].nodes[read.number()].timeout.nanoseconds = -5;
        chains.start(id);
        const ChainResult result = result_of(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.failed_node() == read.number());
        CHECK(result.error() == EINVAL);
        CHECK(result.result(read) == -EINVAL);
    }
    SECTION("of a chain") {
        const GraphId id = chains.add(graph);
        const auto ticket = chains.start(id, {}, {.timeout = 1h});
        chains.state()->instances[ticket.slot].timeout.nanoseconds = -5;
        const ChainResult result = result_of(chains);
        CHECK(result.reason() == ChainReason::failed);
        CHECK(result.failed_node() == RINGSTEP_CHAIN_WHOLE_CHAIN);
        CHECK(graph.name(result.failed_node()) == "the chain's timeout");
        CHECK(result.error() == EINVAL);
        CHECK(result.result(read) == -ECANCELED);
    }
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Any free slot is taken, and later nodes use the one that was given") {
    const Folder folder;
    const File file(folder / "file");
    file.write(random_bytes(64));
    std::array<std::byte, 64> bytes{};
    Ring ring;
    if (::io_uring_register_files_sparse(&ring.native(), 4) != 0) SKIP("no sparse file tables");
    Chains chains(ring);
    chains.set_depth(2);
    Graph graph;
    const std::vector<std::string> before = open_descriptors();
    const auto check = [&](const auto& open, const auto& read, const auto& close) {
        CHECK(run(chains).ok());
        unsigned count = 0;
        for (const ChainResult& result : chains.results()) {
            INFO("node " << result.failed_node() << ": " << result.error());
            CHECK(result.ok());
            CHECK(result.result(open) >= 0);
            CHECK(result.result(open) < 4);
            CHECK(result.result(read) == 64);
            CHECK(result.ran(close));
            CHECK(result.result(close) == 0);
            count++;
        }
        CHECK(count == 10);  // more than there are slots: each was free again
    };
    SECTION("without a slot") {
        const auto open = graph.open_direct(AT_FDCWD, file.path().c_str(), O_RDONLY);
        const auto read = graph.read(open, bytes.data(), bytes.size(), 0);
        const auto close = graph.close(open);
        open.then(read);
        open.finally(close);
        const GraphId id = chains.add(graph);
        for (int i = 0; i < 10; i++) chains.start(id);
        check(open, read, close);
    }
    SECTION("with the kernel's constant for that") {
        const auto open = graph.open_direct(AT_FDCWD, file.path().c_str(), O_RDONLY, 0, Slot{IORING_FILE_INDEX_ALLOC});
        const auto slot = open.result().as<Slot>();
        const auto read = graph.read(slot, bytes.data(), bytes.size(), 0);
        const auto close = graph.close(slot);
        open.then(read);
        open.finally(close);
        const GraphId id = chains.add(graph);
        for (int i = 0; i < 10; i++) chains.start(id);
        check(open, read, close);
    }
    SECTION("with a parameter that is the constant") {
        const auto where = graph.parameter<Slot>();
        const auto open = graph.open_direct(AT_FDCWD, file.path().c_str(), O_RDONLY, 0, where);
        const auto slot = open.result().as<Slot>();
        const auto read = graph.read(slot, bytes.data(), bytes.size(), 0);
        const auto close = graph.close(slot);
        open.then(read);
        open.finally(close);
        const GraphId id = chains.add(graph);
        for (int i = 0; i < 10; i++) chains.start(id, {where(Slot{IORING_FILE_INDEX_ALLOC})});
        check(open, read, close);
    }
    CHECK(open_descriptors() == before);
    CHECK(::fcntl(0, F_GETFD) >= 0);
}

TEST_CASE("Numbers that are out of range are refused while the graph is built") {
    nops::need_results();
    char byte = 0;
    Graph graph;
    const auto first = graph.nop();
    CHECK_THAT(refused([&] { (void)graph.close(Slot{IORING_FILE_INDEX_ALLOC}); }),
               ContainsSubstring("node 1 (close)") && ContainsSubstring("only open_direct() takes it"));
    CHECK_THAT(refused([&] { (void)graph.read(Slot{IORING_FILE_INDEX_ALLOC}, &byte, 1, 0); }),
               ContainsSubstring("only open_direct() takes it"));
    for (const std::uint32_t number : {0xfffffffeU, 0x80000000U, 0x7fffffffU}) {
        CHECK_THAT(refused([&] { (void)graph.close(Slot{number}); }), ContainsSubstring("There is no slot"));
        CHECK_THAT(refused([&] { (void)graph.write(Slot{number}, &byte, 1, 0); }), ContainsSubstring("There is no slot"));
        CHECK_THAT(refused([&] { (void)graph.open_direct(AT_FDCWD, "/", O_RDONLY, 0, Slot{number}); }),
                   ContainsSubstring("There is no slot"));
        CHECK_THAT(refused([&] { (void)graph.request(nop_of(0)).slot(Slot{number}); }), ContainsSubstring("There is no slot"));
    }
    CHECK_THAT(refused([&] { (void)graph.read(-1, &byte, 1, 0); }), ContainsSubstring("There is no descriptor -1"));
    CHECK_THAT(refused([&] { (void)graph.close(AT_FDCWD); }), ContainsSubstring("There is no descriptor -100"));
    CHECK_THAT(refused([&] { (void)graph.read(0, &byte, -1, 0); }), ContainsSubstring("too large, or was negative"));
    CHECK_THAT(refused([&] { (void)graph.read(0, &byte, 1, -2); }), ContainsSubstring("There is no offset -2"));
    CHECK_THAT(refused([&] { first.join(0); }), ContainsSubstring("join() with 0 for node 0 (nop)"));
    CHECK_THAT(refused([&] { first.join(256); }), ContainsSubstring("It takes 1 to 255"));
    CHECK_THAT(refused([&] { first.repeat(0); }), ContainsSubstring("It takes 1 to 65535"));
    CHECK_THAT(refused([&] { first.repeat(65'536); }), ContainsSubstring("repeat() with 65536"));
    CHECK_THAT(refused([&] { first.retry(65'536); }), ContainsSubstring("It takes 0 to 65535"));
    for (const std::uint64_t alignment : {0ULL, 3ULL, 63ULL, 65ULL, 4095ULL, ~0ULL})
        CHECK_THAT(refused([&] { (void)graph.allocate(1, 0, alignment); }), ContainsSubstring("power of two"));
    CHECK_THAT(refused([&] { (void)graph.allocate(1, 16); }), ContainsSubstring("16 arenas"));

    io_uring_sqe sqe{};
    io_uring_prep_recv(&sqe, 0, nullptr, 64, 0);
    sqe.flags = IOSQE_BUFFER_SELECT;
    CHECK_THAT(refused([&] { (void)graph.request(sqe); }), ContainsSubstring("IOSQE_BUFFER_SELECT"));

    // What was refused is not part of the graph, but for the requests whose field was.
    const ringstep_chain_graph compiled = graph.compile();
    CHECK(compiled.node_count == 1 + 3);
    CHECK(compiled.nodes[1].sqe[0] << 56 >> 56 == IORING_OP_NOP);
}

TEST_CASE("A number that a chain comes to is a slot or a descriptor, or the node fails") {
    nops::need_results();
    const Folder folder;
    const File file(folder / "file");
    file.write(random_bytes(64));
    std::array<std::byte, 64> bytes{};
    Ring ring;
    const std::vector<int> files(4, file.fd());
    REQUIRE(::io_uring_register_files(&ring.native(), files.data(), 4) == 0);
    Chains chains(ring);
    Graph graph;
    const auto result = graph.parameter<Number>();
    const auto base = graph.request(nop_of(-1));  // so that it is a result, and not just what was given
    const auto number = graph.variable<Number>();
    const auto sum = graph.set(number, result + base.result());
    base.on_failure(sum);
    const std::vector<std::string> before = open_descriptors();
    const auto run_with = [&](std::int64_t value) {
        const GraphId id = chains.add(graph);
        chains.start(id, {result(static_cast<std::int64_t>(static_cast<std::uint64_t>(value) + 1))});
        ChainResult got = result_of(chains);
        CHECK(got.value(number) == value);
        return got;
    };
    const auto check_untouched = [&] {
        CHECK(open_descriptors() == before);
        // All slots have their file.
        for (unsigned slot = 0; slot < 4; slot++) {
            Graph reads;
            (void)reads.read(Slot{slot}, bytes.data(), 64, 0).exactly();
            chains.start(chains.add(reads));
            CHECK(result_of(chains).ok());
        }
    };
    const std::int64_t wrong = GENERATE(from_range(some_of<std::int64_t>(
        {-1, two_to_31, two_to_32 + 3},
        {-EPERM, -100, -two_to_31, two_to_31 - 1, two_to_32 - 2, two_to_32 - 1, two_to_32, INT64_MIN, INT64_MAX})));
    INFO("the number " << wrong);
    SECTION("a read from that slot") {
        const auto node = graph.read(number.as<Slot>(), bytes.data(), 64, 0);
        sum.then(node);
        CHECK(run_with(wrong).error() == EBADF);
    }
    SECTION("a close of that slot") {
        const auto node = graph.close(number.as<Slot>());
        sum.then(node);
        CHECK(run_with(wrong).error() == EINVAL);
    }
    SECTION("an open into that slot") {
        const auto node = graph.open_direct(AT_FDCWD, file.path().c_str(), O_RDONLY, 0, number.as<Slot>());
        sum.then(node);
        CHECK(run_with(wrong).error() == EINVAL);
    }
    SECTION("a request of any kind, on that slot") {
        io_uring_sqe sqe{};
        io_uring_prep_read(&sqe, 0, bytes.data(), 64, 0);
        const auto node = graph.request(sqe).slot(number.as<Slot>());
        sum.then(node);
        CHECK(run_with(wrong).error() == EBADF);
    }
    SECTION("a request of any kind, on that descriptor") {
        io_uring_sqe sqe{};
        io_uring_prep_read(&sqe, 0, bytes.data(), 64, 0);
        const auto node = graph.request(sqe).fd(number.as<Fd>());
        sum.then(node);
        CHECK(run_with(wrong).error() == EBADF);
    }
    SECTION("a read from that descriptor") {
        const auto node = graph.read(number.as<Fd>(), bytes.data(), 64, 0);
        sum.then(node);
        CHECK(run_with(wrong).error() == EBADF);
    }
    SECTION("a close of that descriptor") {
        const auto node = graph.close(number.as<Fd>());
        sum.then(node);
        CHECK(run_with(wrong).error() == EBADF);
    }
    SECTION("an open in that directory") {
        const auto node = graph.open_at(number.as<Fd>(), ".", O_RDONLY);
        sum.then(node);
        CHECK(run_with(wrong).error() == EBADF);
    }
    check_untouched();
}

TEST_CASE("A number that a chain comes to is a slot if it is one") {
    nops::need_results();
    const Folder folder;
    const File file(folder / "file");
    file.write(random_bytes(64));
    std::array<std::byte, 64> bytes{};
    Ring ring;
    REQUIRE(::io_uring_register_files_sparse(&ring.native(), 4) == 0);
    Chains chains(ring);
    Graph graph;
    const auto number = graph.request(nop_of(GENERATE(1, 3)));
    const auto slot = number.result().as<Slot>();
    const auto open = graph.open_direct(AT_FDCWD, file.path().c_str(), O_RDONLY, 0, slot);
    const auto read = graph.read(slot, bytes.data(), 64, 0).exactly();
    number.then(open).then(read);
    open.finally(graph.close(slot));
    const GraphId id = chains.add(graph);
    for (int i = 0; i < 3; i++) {
        chains.start(id);
        CHECK(result_of(chains).ok());
    }
}

TEST_CASE("An offset that a chain comes to is one in the file, never the file's own position") {
    const Folder folder;
    const File file(folder / "file");
    const Bytes content = random_bytes(64);
    file.write(content);
    REQUIRE(::lseek(file.fd(), 8, SEEK_SET) == 8);
    const Pipe pipe;
    REQUIRE(::write(pipe.in(), "1234567812345678", 16) == 16);
    std::array<unsigned char, 8> bytes{};
    Ring ring;
    Chains chains(ring);
    Graph graph;
    const auto given = graph.parameter<Offset>();
    const auto computed = graph.variable<Offset>();
    const auto minus = graph.set(computed, computed - 1);
    const GraphId id = [&] {
        if (GENERATE(false, true)) {
            minus.then(graph.read(file.fd(), bytes.data(), 8, computed));
        } else {
            const auto direct = graph.read(file.fd(), bytes.data(), 8, computed + 0);
            minus.then(direct);
        }
        return chains.add(graph);
    }();
    chains.start(id, {given(Offset{0})});
    CHECK(result_of(chains).error() == EINVAL);
    CHECK(::lseek(file.fd(), 0, SEEK_CUR) == 8);

    Graph position;
    const auto none = position.parameter<Offset>();
    (void)position.read(file.fd(), bytes.data(), 8, none);
    chains.start(chains.add(position), {none(~0ULL)});  // said so by the application
    CHECK(result_of(chains).ok());
    CHECK(std::memcmp(bytes.data(), content.data() + 8, 8) == 0);
    CHECK(::lseek(file.fd(), 0, SEEK_CUR) == 16);

    for (const bool said : {true, false}) {  // a pipe has none at all
        Graph stream;
        const auto variable = stream.variable<Offset>();
        const auto parameter = stream.parameter<Offset>();
        const auto set = stream.set(variable, variable - 1);
        set.then(said ? stream.read(pipe.out(), bytes.data(), 8, parameter)
                      : stream.read(pipe.out(), bytes.data(), 8, variable));
        chains.start(chains.add(stream), {parameter(~0ULL)});
        // Linux 6.1 does not look at the offset of a pipe, which has no position that could be disturbed.
        const int error = result_of(chains).error();
        CHECK((error == (said ? 0 : EINVAL) || error == 0));
    }
    CHECK(std::memcmp(bytes.data(), "12345678", 8) == 0);
}

TEST_CASE("Memory is allocated on the boundary that was asked for, wherever the arena begins") {
    Ring ring;
    Chains chains(ring);
    std::vector<std::byte> memory(100'000);
    const std::size_t skip = GENERATE(from_range(some_of<std::size_t>({1, 4095}, {0, 16, 63, 64, 511})));
    const std::uint64_t alignment = GENERATE(1U, 8U, 64U, 512U, 4096U);
    const std::span<std::byte> arena = std::span(memory).subspan(skip);
    chains.set_arena(arena);
    Graph graph;
    std::vector<ringstep::chain::Node<Address>> nodes;
    for (const std::uint64_t size : {100ULL, 1ULL, 0ULL, 5000ULL, 4096ULL}) {
        nodes.push_back(alignment == 64 ? graph.allocate(size) : graph.allocate(size, 0, alignment));
        if (nodes.size() > 1) nodes[nodes.size() - 2].then(nodes.back());
    }
    const GraphId id = chains.add(graph);
    chains.start(id);
    const std::byte* end = arena.data();
    {
        const ChainResult result = result_of(chains);
        REQUIRE(result.ok());
        std::size_t index = 0;
        for (const std::size_t size : {100U, 1U, 0U, 5000U, 4096U}) {
            const std::byte* const address = result.address(nodes.at(index++));
            CHECK(reinterpret_cast<std::uintptr_t>(address) % alignment == 0);
            CHECK(address >= end);
            CHECK(address < end + alignment);
            end = address + size;
        }
    }
    CHECK(chains.arena_used() == static_cast<std::uint64_t>(end - arena.data()));
    CHECK(chains.arena_used(16) == 0);

    // As much as there is, to the byte.
    const auto exactly = static_cast<std::size_t>(end - arena.data());
    chains.set_arena(arena.first(exactly));
    chains.start(id);
    CHECK(result_of(chains).ok());
    chains.set_arena(arena.first(exactly - 1));
    chains.start(id);
    const ChainResult result = result_of(chains);
    CHECK(result.failed_node() == nodes.back().number());
    CHECK(result.error() == ENOMEM);
}

TEST_CASE("No size, and no alignment, makes an allocation wrap") {
    Ring ring;
    Chains chains(ring);
    std::vector<std::byte> memory(1000);
    chains.set_arena(memory);
    Graph graph;
    const auto size = graph.parameter<Length>();
    const std::uint64_t alignment = GENERATE(1ULL, 64ULL, 1ULL << 32, 1ULL << 63);
    const auto one = graph.allocate(100, 0, 1);
    const auto node = graph.allocate(size, 0, alignment);
    one.then(node);
    const GraphId id = chains.add(graph);
    for (const std::uint64_t bytes : {1001ULL, 1ULL << 32, 1ULL << 63, ~0ULL, ~0ULL - 63, 0ULL - 100}) {
        chains.set_arena(memory);
        chains.start(id, {size(bytes)});
        const ChainResult result = result_of(chains);
        CHECK(result.failed_node() == node.number());
        CHECK(result.error() == ENOMEM);
        CHECK(chains.arena_used() == 100 + 0);
    }
}

TEST_CASE("A file is read past the page cache into an arena that begins anywhere") {
    const std::string& folder = Ext4::path();
    if (!has_direct(folder)) SKIP("no O_DIRECT there");
    const File file(folder + "/direct");
    const Bytes content = random_bytes(8192);
    file.write(content);
    file.drop_cache();
    Ring ring;
    Chains chains(ring);
    std::vector<std::byte> memory(40'000);
    Graph graph;
    const auto open = graph.open(file.path().c_str(), O_RDONLY | O_DIRECT);
    const auto buffer = graph.allocate(8192, 0, 4096);
    const auto read = graph.read(open, buffer.result(), 8192, 0).exactly();
    open.then(buffer).then(read);
    open.finally(graph.close(open));
    const GraphId id = chains.add(graph);
    for (const std::size_t skip : {0U, 1U, 16U, 100U, 4095U}) {
        chains.set_arena(std::span(memory).subspan(skip));
        chains.start(id);
        const ChainResult result = result_of(chains);
        INFO("node " << result.failed_node() << ", errno " << result.error());
        REQUIRE(result.ok());
        CHECK(std::memcmp(result.address(buffer), content.data(), content.size()) == 0);
    }
}
