// SPDX-License-Identifier: MIT
// Graphs that were compiled do what the same graphs do that are read from tables.
#include <ringstep/chain/chains.hpp>
#include <ringstep/chain/compiled.hpp>
#include <ringstep/graphs/compiled_file.hpp>
#include <ringstep/graphs/compiled_meeting.hpp>
#include <ringstep/graphs/compiled_model_1.hpp>
#include <ringstep/graphs/compiled_model_2.hpp>
#include <ringstep/graphs/compiled_nops.hpp>
#include <ringstep/graphs/compiled_relay.hpp>
#include <ringstep/graphs/compiled_sequence_1.hpp>
#include <ringstep/graphs/compiled_sequence_2.hpp>
#include <ringstep/graphs/compiled_sequence_3.hpp>
#include <ringstep/graphs/compiled_sequence_4.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "descriptors.hpp"
#include "error_of.hpp"
#include "loops/chaining.hpp"
#include "loops/files.hpp"
#include "loops/graphs/compiled.hpp"

using chaining::only;
using chaining::result_of;
using chaining::run;
using descriptors::Pipe;
using descriptors::Sockets;
using ringstep::Ring;
using ringstep::Ticket;
using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::Chains;
using ringstep::chain::CompiledChains;
using ringstep::chain::GraphId;
namespace loops = ringstep::loops;

namespace {

/// A graph, the chains that read it from a table, and those that it was compiled for.
template <class Made, class Loop>
struct Pair {
    using Plan = Made;
    using Table = Chains;
    using Compiled = CompiledChains<Loop>;
};
template <class Made, class Loop>
struct OfTable {
    using Plan = Made;
    using Kind = Chains;
};
template <class Made, class Loop>
struct OfCompiled {
    using Plan = Made;
    using Kind = CompiledChains<Loop>;
};

/// The result of a chain, without addresses, which differ between runs.
struct Became {
    ChainReason reason{};
    std::uint32_t failed = 0;
    int error = 0;
    std::int64_t code = 0;
    std::vector<bool> ran{};
    std::vector<unsigned> runs{};
    std::vector<std::int64_t> results{};
    std::vector<std::int64_t> variables{};
    bool operator==(const Became&) const = default;
};

Became became(const ChainResult& result, const graphs::RandomSequence& plan) {
    Became all{.reason = result.reason(), .failed = result.failed_node(), .error = result.error(), .code = result.code()};
    for (std::size_t i = 0; i < plan.nodes.size(); i++) {
        all.ran.push_back(result.ran(plan.nodes[i]));
        all.runs.push_back(result.runs(plan.nodes[i]));
        const std::int64_t value = result.result(plan.nodes[i]);
        all.results.push_back(plan.allocates[i] && value > 0 ? 1 : value);
    }
    for (const auto& variable : plan.variables) all.variables.push_back(result.value(variable));
    return all;
}

/// Memory that the kernel provides page by page, when it is first used.
class Memory {
public:
    explicit Memory(std::size_t size) : size_(size) {
        at_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        REQUIRE(at_ != MAP_FAILED);
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { ::munmap(at_, size_); }
    [[nodiscard]] std::span<std::byte> all() const { return {static_cast<std::byte*>(at_), size_}; }

private:
    void* at_ = nullptr;
    std::size_t size_;
};

using Numbers = std::array<std::uint64_t, graphs::RandomSequence::numbers>;

/// Runs a chain for each of these arguments.
template <class Kind, class Plan>
std::vector<Became> outcomes(const std::vector<Numbers>& all, int file, std::uint32_t depth) {
    Ring ring{{.sq_entries = 16, .cq_entries = 64}};
    Kind chains(ring);
    const Plan plan;
    const GraphId id = chains.add(plan.graph);
    const Memory memory(std::size_t{1} << 30);
    std::vector<std::byte> buffer(graphs::RandomSequence::buffer_size);
    chains.set_arena(memory.all());
    chains.set_depth(depth);
    std::vector<Became> found(all.size());
    std::size_t started = 0;
    std::size_t ended = 0;
    while (ended < all.size()) {
        while (started < all.size()) {
            std::vector<ringstep::chain::Argument> arguments{plan.file(file), plan.buffer(buffer.data())};
            for (std::size_t i = 0; i < plan.parameters.size(); i++) arguments.push_back(plan.parameters[i](all[started][i]));
            if (!chains.try_start(id, arguments, {.user_data = started})) break;
            started++;
        }
        REQUIRE(run(chains).ok());
        for (const ChainResult& result : chains.results()) {
            found.at(result.user_data()) = became(result, plan);
            ended++;
        }
    }
    CHECK(chains.in_flight() == 0);
    CHECK(chains.active() == 0);
    CHECK(chains.outstanding() == 0);
    CHECK(ring.in_flight() == 0);
    CHECK(chains.state()->requests.foreign == 0);
    CHECK(chains.state()->requests.cancels == 0);
    for (const ringstep_list& list : chains.state()->work) CHECK(list.count == 0);
    return found;
}

}  // namespace

TEMPLATE_TEST_CASE("A compiled graph and the same graph read from a table come to the same", "[main]",
                   (Pair<compiled_sequence_1, loops::compiled_sequence_1>),
                   (Pair<compiled_sequence_2, loops::compiled_sequence_2>),
                   (Pair<compiled_sequence_3, loops::compiled_sequence_3>),
                   (Pair<compiled_sequence_4, loops::compiled_sequence_4>)) {
    nops::need_results();
    const Folder folder;
    const File file(folder / "file");
    file.write(random_bytes(graphs::RandomSequence::file_size));
    std::minstd_rand random(3);
    std::vector<Numbers> all(700);
    for (Numbers& numbers : all) {
        for (std::uint64_t& number : numbers) {
            switch (random() % 8) {
                case 0: number = static_cast<std::uint32_t>(-EAGAIN); break;
                case 1: number = static_cast<std::uint32_t>(-ENOENT); break;
                case 2: number = 0; break;
                case 3: number = random() % 5000; break;
                default: number = random() % 1500;
            }
        }
    }
    for (const std::uint32_t depth : {1U, 5U, 40U}) {
        CAPTURE(depth);
        const std::vector<Became> table = outcomes<typename TestType::Table, typename TestType::Plan>(all, file.fd(), depth);
        const std::vector<Became> compiled =
            outcomes<typename TestType::Compiled, typename TestType::Plan>(all, file.fd(), depth);
        unsigned differ = 0;
        std::size_t first = all.size();
        for (std::size_t i = 0; i < all.size(); i++) {
            if (table[i] == compiled[i]) continue;
            differ++;
            first = std::min(first, i);
        }
        if (differ != 0) {
            CAPTURE(first, all[first], table[first].error, compiled[first].error, table[first].failed, compiled[first].failed);
            CAPTURE(table[first].results, compiled[first].results, table[first].runs, compiled[first].runs);
            CAPTURE(table[first].variables, compiled[first].variables);
            CHECK(differ == 0);
        }
        // The arguments lead to all kinds of ends.
        if (depth == 1) {
            unsigned completed = 0;
            for (const Became& one : table) completed += one.reason == ChainReason::completed ? 1U : 0U;
            CHECK(completed > 0);
        }
    }
}

TEMPLATE_TEST_CASE("A compiled graph of several branches does what the model says", "",
                   (OfCompiled<compiled_model_1, loops::compiled_model_1>),
                   (OfCompiled<compiled_model_2, loops::compiled_model_2>)) {
    nops::need_results();
    Ring ring{{.sq_entries = 16, .cq_entries = 64}};
    typename TestType::Kind chains(ring);
    const typename TestType::Plan plan;
    const GraphId id = chains.add(plan.graph);
    std::minstd_rand random(7);
    unsigned wrong = 0;
    for (int round = 0; round < 10; round++) {
        std::vector<graphs::Inputs> all(400);
        std::vector<bool> cancelled(all.size());
        for (std::size_t i = 0; i < all.size(); i++) {
            for (std::uint32_t& input : all[i])
                input = random() % 3 == 0 ? static_cast<std::uint32_t>(-EPERM) : static_cast<std::uint32_t>(random() % 2000);
            const Ticket ticket = chains.start(id, plan.model.arguments(all[i]), {.user_data = i});
            if (random() % 16 == 0) cancelled[i] = chains.cancel(ticket);
        }
        REQUIRE(run(chains).ok());
        std::size_t ended = 0;
        for (const ChainResult& result : chains.results()) {
            ended++;
            const std::size_t which = result.user_data();
            const bool partly = cancelled[which] && result.reason() == ChainReason::cancelled;
            const std::vector<graphs::Outcome> expected = plan.model.expected(all[which]);
            if (!partly && !result.ok()) wrong++;
            for (std::size_t i = 0; i < expected.size(); i++) {
                const graphs::Outcome found{.runs = result.runs(plan.model.handle(i)),
                                            .result = result.result(plan.model.handle(i))};
                if (partly && (found.runs == 0 || found.result == -ECANCELED)) continue;
                if (!(found == expected[i]) || result.ran(plan.model.handle(i)) != (found.runs != 0)) wrong++;
            }
        }
        CHECK(ended == all.size());
    }
    CHECK(wrong == 0);
    CHECK(ring.in_flight() == 0);
    CHECK(chains.state()->requests.foreign == 0);
    CHECK(chains.state()->requests.cancels == 0);
}

TEMPLATE_TEST_CASE("Files are read to their ends, into memory of the arena", "[main]",
                   (OfTable<compiled_file, loops::compiled_file>), (OfCompiled<compiled_file, loops::compiled_file>)) {
    const Folder folder;
    Ring ring{{.sq_entries = 8, .cq_entries = 32}};
    typename TestType::Kind chains(ring);
    const typename TestType::Plan plan;
    const GraphId id = chains.add(plan.graph);
    std::vector<std::byte> arena(200'000);
    chains.set_arena(arena);
    std::vector<std::string> names;
    std::vector<Bytes> contents;
    for (std::size_t i = 0; i < 20; i++) {
        contents.push_back(random_bytes(i * 300, i + 1));
        names.push_back(folder / ("file" + std::to_string(i)));
        File(names.back()).write(contents.back());
    }
    for (std::size_t i = 0; i < names.size(); i++)
        chains.start(id, {plan.path(names[i].c_str()), plan.least(1000)}, {.user_data = i});
    chains.start(id, {plan.path("/nowhere/to/be/found"), plan.least(1)}, {.user_data = 100});
    chains.start(id, {plan.path(names[3].c_str()), plan.least(1'000'000)}, {.user_data = 101});
    REQUIRE(run(chains).ok());
    std::size_t whole = 0;
    for (const ChainResult& result : chains.results()) {
        if (result.user_data() == 100) {
            CHECK(result.error() == ENOENT);
            CHECK(result.failed_node() == plan.open.number());
            CHECK_FALSE(result.ran(plan.close));
        } else if (result.user_data() == 101) {
            CHECK(result.error() == ENOMEM);
            CHECK(result.failed_node() == plan.memory.number());
            CHECK(result.ran(plan.close));
        } else {
            REQUIRE(result.ok());
            const Bytes& content = contents.at(result.user_data());
            CHECK(result.code() == 0);
            CHECK(result.ran(plan.close));
            CHECK(result.runs(plan.read) == 1);
            REQUIRE(result.result(plan.read) == static_cast<std::int64_t>(content.size()));
            CHECK(std::equal(content.begin(), content.end(),
                             reinterpret_cast<const unsigned char*>(result.address(plan.memory))));
            whole++;
        }
    }
    CHECK(whole == names.size());
    CHECK(ring.in_flight() == 0);
}

TEMPLATE_TEST_CASE("A cycle goes on until its end, or until its limit", "", (OfTable<compiled_relay, loops::compiled_relay>),
                   (OfCompiled<compiled_relay, loops::compiled_relay>)) {
    Ring ring;
    typename TestType::Kind chains(ring);
    const typename TestType::Plan plan;
    const GraphId id = chains.add(plan.graph);
    const Sockets from(SOCK_SEQPACKET);  // a receive takes one part
    const Sockets to(SOCK_DGRAM);
    std::vector<std::byte> buffer(1000);
    const bool ends = GENERATE(true, false);
    const std::size_t parts = ends ? 50 : 120;
    std::thread sender([&] {
        for (std::size_t i = 0; i < parts; i++) {
            const std::vector<std::byte> bytes(1 + i * 5 % 900, std::byte{1});
            ensure(::send(from.ends[1], bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
        }
        if (ends) ensure(::shutdown(from.ends[1], SHUT_WR) == 0);
    });
    std::atomic<bool> over{false};
    std::thread receiver([&] {
        std::vector<std::byte> bytes(2000);
        while (!over) {
            if (::recv(to.ends[1], bytes.data(), bytes.size(), MSG_DONTWAIT) < 0) std::this_thread::yield();
        }
    });
    chains.start(id, {plan.from(from.ends[0]), plan.to(to.ends[0]), plan.buffer(buffer.data())});
    const bool fine = run(chains).ok();
    over = true;
    sender.join();
    receiver.join();
    REQUIRE(fine);
    const ChainResult result = only(chains);
    if (result.ok()) {
        CHECK(result.code() == 7);
        CHECK(result.runs(plan.receive) == result.runs(plan.send) + 1);
    } else {
        CHECK(result.error() == ELOOP);
        CHECK(result.failed_node() == plan.receive.number());
        CHECK(result.runs(plan.receive) == 100);
    }
    if (ends) CHECK(result.ok());
}

TEMPLATE_TEST_CASE("Branches meet, are late, and are cancelled", "[main]", (OfTable<compiled_meeting, loops::compiled_meeting>),
                   (OfCompiled<compiled_meeting, loops::compiled_meeting>)) {
    Ring ring;
    typename TestType::Kind chains(ring);
    const typename TestType::Plan plan;
    const GraphId id = chains.add(plan.graph);
    const Pipe one;
    const Pipe other;
    std::array<std::byte, 8> buffer{};
    const auto start = [&](const ringstep::chain::ChainOptions& options = {}) {
        return chains.start(id, {plan.one(one.out()), plan.other(other.out()), plan.buffer(buffer.data())}, options);
    };
    SECTION("Both in time") {
        start();
        one.write();
        other.write();
        const ChainResult result = result_of(chains);
        CHECK(result.ok());
        CHECK(result.code() == 0);
        CHECK(result.runs(plan.meet) == 1);
        CHECK(result.ran(plan.after));
        CHECK(result.ran(plan.last));
        CHECK(result.ran(plan.more));
    }
    SECTION("One of them late") {
        start();
        other.write();
        const ChainResult result = result_of(chains);
        CHECK(result.ok());
        CHECK(result.code() == 9);
        CHECK(result.result(plan.slow) == -ETIME);
        CHECK_FALSE(result.ran(plan.meet));
        CHECK(result.ran(plan.more));
    }
    SECTION("None of them, and the chain has a limit of its own") {
        start({.timeout = std::chrono::milliseconds(30)});  // less than the other branch waits
        const ChainResult result = result_of(chains);
        CHECK(result.reason() == ChainReason::timed_out);
        CHECK(result.result(plan.fast) == -ECANCELED);
        CHECK(result.ran(plan.last));
        CHECK_FALSE(result.ran(plan.more));
    }
    SECTION("Cancelled while the loop runs, and before it does") {
        const Ticket ticket = start();
        std::thread canceller([&] {
            while (chains.in_flight() < 2) std::this_thread::yield();
            ensure(chains.cancel(ticket));
        });
        REQUIRE(run(chains).ok());
        canceller.join();
        {
            const ChainResult result = only(chains);
            CHECK((result.reason() == ChainReason::cancelled || result.code() == 9));
            CHECK(result.ran(plan.last));
        }
        const Ticket early = start();
        CHECK(chains.cancel(early));
        CHECK_FALSE(chains.cancel(early));
        const ChainResult result = result_of(chains);
        CHECK(result.reason() == ChainReason::cancelled);
        CHECK_FALSE(result.ran(plan.last));
    }
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("The longest graph, in many chains at once and one behind the other", "[main]") {
    Ring ring{{.sq_entries = 8, .cq_entries = 16}};
    CompiledChains<loops::compiled_nops> chains(ring);
    const compiled_nops plan;
    const GraphId id = chains.add(plan.graph);
    for (const std::uint32_t depth : {1U, 7U, 500U}) {
        CAPTURE(depth);
        chains.set_depth(depth);
        for (std::uint32_t i = 0; i < chains.capacity; i++) chains.start(id, {}, {.user_data = i});
        CHECK_FALSE(chains.try_start(id));
        const ringstep::LoopExit exit = run(chains);
        REQUIRE(exit.ok());
        CHECK(exit.submitted == std::uint64_t{chains.capacity} * plan.nodes.size());
        std::uint64_t next = 0;
        unsigned wrong = 0;
        for (const ChainResult& result : chains.results()) {
            if (depth == 1 && result.user_data() != next) wrong++;
            next++;
            if (!result.ok() || result.result(plan.nodes.back()) != 0) wrong++;
            for (const auto& node : plan.nodes)
                if (!result.ran(node) || result.runs(node) != 1) wrong++;
        }
        CHECK(next == chains.capacity);
        CHECK(wrong == 0);
    }
}

TEST_CASE("Chains beyond the depth wait, and those among them that are cancelled never start", "[main]") {
    Ring ring;
    CompiledChains<loops::compiled_relay> chains(ring);
    const compiled_relay plan;
    const GraphId id = chains.add(plan.graph);
    std::vector<std::byte> buffer(1000);
    chains.set_depth(2);
    std::vector<std::unique_ptr<Sockets>> peers;
    std::vector<Ticket> tickets;
    for (std::uint64_t i = 0; i < 5; i++) {
        peers.push_back(std::make_unique<Sockets>());
        const Sockets& sockets = *peers.back();
        tickets.push_back(chains.start(id, {plan.from(sockets.ends[0]), plan.to(sockets.ends[0]), plan.buffer(buffer.data())},
                                       {.user_data = i}));
    }
    std::thread canceller([&] {
        while (chains.in_flight() < 2) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the loop sleeps by now
        ensure(chains.cancel(tickets[4]));
        while (chains.ready() < 1) std::this_thread::yield();
        ensure(chains.in_flight() == 2);
        chains.set_depth(4);
        while (chains.in_flight() < 4) std::this_thread::yield();
        for (const auto& sockets : peers) ensure(::shutdown(sockets->ends[1], SHUT_WR) == 0);
    });
    const ringstep::LoopExit exit = run(chains);
    canceller.join();
    REQUIRE(exit.ok());
    std::size_t ended = 0;
    for (const ChainResult& result : chains.results()) {
        ended++;
        CHECK(result.reason() == (result.user_data() == 4 ? ChainReason::cancelled : ChainReason::completed));
        CHECK(result.ran(plan.receive) == (result.user_data() != 4));
    }
    CHECK(ended == 5);
}

TEST_CASE("Chains of a compiled graph refuse any other graph", "[main]") {
    Ring ring;
    CompiledChains<loops::compiled_relay> chains(ring);
    const auto refusal = [&](const ringstep::chain::Graph& graph) { return error_of([&] { (void)chains.add(graph); }); };
    const ringstep::Error limit = refusal(compiled_relay(99).graph);
    CHECK(limit.code().value() == EINVAL);
    CHECK_THAT(limit.what(),
               Catch::Matchers::ContainsSubstring("compiled graph compiled_relay") &&
                   Catch::Matchers::ContainsSubstring("node 0 (recv) is not as it was when the loop was compiled"));
    CHECK_THAT(refusal(compiled_file().graph).what(), Catch::Matchers::ContainsSubstring("The number of its nodes"));
    const compiled_relay plan;
    (void)chains.add(plan.graph);
    CHECK(error_of([&] { (void)chains.add(plan.graph); }).code().value() == ENOSPC);
}
