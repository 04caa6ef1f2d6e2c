// SPDX-License-Identifier: MIT
#include <ringstep/loops/gate.hpp>
#include <ringstep/loops/gate_large.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/requests.hpp"
#include "thorough.hpp"

using requests::nop;
using requests::Pipe;
using requests::read_of;
using ringstep::ExitReason;
using ringstep::Gate;
using ringstep::LargeGate;
using ringstep::LoopExit;
using ringstep::RequestCompletion;
using ringstep::Ring;
using ringstep::Ticket;

namespace {

/// What a request is to the gate.
struct Request {
    std::uint32_t request_class = 0;
    std::uint64_t file = 0;
};

/// How many requests a gate takes in flight, and which of them.
struct Limits {
    std::uint32_t depth = 0;
    std::uint32_t file_limit = 0;
    std::uint32_t patience = 0;
};

/// The gate, written down as simply as can be. Nops complete in the order in which they are submitted, a turn reaps 32, and
/// submits 64 as long as completions fill less than half of the CQ.
class Model {
public:
    Model(const Limits& limits, std::uint32_t cq_entries) : limits_(limits), most_ready_(cq_entries / 2) {}

    void push(std::uint64_t number, Request request) { waiting_[request.request_class].emplace_back(number, request.file); }

    std::vector<std::uint64_t> run() {
        std::vector<std::uint64_t> order;
        std::vector<std::uint64_t> files;  // of those in order
        std::size_t reaped = 0;
        for (;;) {
            for (unsigned i = 0; i < 32 && reaped < order.size(); i++) in_flight_[files[reaped++]]--;
            const std::size_t ready = order.size() - reaped;
            std::size_t room = ready < most_ready_ ? std::min<std::size_t>(most_ready_ - ready, 64) : 0;
            for (; room != 0 && order.size() - reaped < limits_.depth; room--) {
                const std::optional<std::uint32_t> next = next_class();
                if (!next) break;
                auto& queue = waiting_[*next];
                const auto found = first(*next);
                order.push_back(found->first);
                files.push_back(found->second);
                in_flight_[found->second]++;
                for (std::uint32_t lower = *next + 1; lower < Gate::classes; lower++) {
                    if (!waiting_[lower].empty()) passed_over_[lower]++;
                }
                passed_over_[*next] = 0;
                queue.erase(found);
            }
            if (order.size() == reaped) return order;
        }
    }

private:
    using Queue = std::deque<std::pair<std::uint64_t, std::uint64_t>>;

    Queue::iterator first(std::uint32_t request_class) {
        return std::ranges::find_if(waiting_[request_class], [this](const auto& waiting) {
            return limits_.file_limit == 0 || in_flight_[waiting.second] < limits_.file_limit;
        });
    }

    /// The highest class that has a request which may go; of those that have been passed over too often, if there are any.
    std::optional<std::uint32_t> next_class() {
        std::optional<std::uint32_t> next;
        std::optional<std::uint32_t> impatient;
        for (std::uint32_t number = Gate::classes; number-- > 0;) {
            if (first(number) == waiting_[number].end()) continue;
            next = number;
            if (limits_.patience != 0 && passed_over_[number] >= limits_.patience) impatient = number;
        }
        return impatient ? impatient : next;
    }

    Limits limits_;
    std::size_t most_ready_;
    std::array<Queue, Gate::classes> waiting_;
    std::array<std::uint32_t, Gate::classes> passed_over_{};
    std::map<std::uint64_t, std::uint32_t> in_flight_;
};

/// The numbers of all that can be taken, in order. A failure is not a number.
std::vector<std::uint64_t> taken(auto& gate) {
    std::vector<std::uint64_t> order;
    for (const auto& completion : gate.completions())
        order.push_back(completion.ok() ? completion.user_data : ~std::uint64_t{0});
    return order;
}

void check_settled(const auto& gate, const Ring& ring) {
    CHECK(gate.outstanding() == 0);
    CHECK(ring.in_flight() == 0);
    CHECK(gate.waiting() == 0);
    CHECK(gate.in_flight() == 0);
    CHECK(gate.state()->requests.foreign == 0);
    CHECK(gate.state()->classes == 0);
    CHECK(std::ranges::all_of(gate.state()->waiting, [](std::uint32_t count) { return count == 0; }));
    // Every file is forgotten: as many as were ever opened are unused again.
    std::uint32_t unused = 0;
    for (std::uint32_t at = gate.state()->table.unused; at != 0; at = gate.state()->files[at - 1].next) unused++;
    CHECK(unused == gate.state()->table.opened);
    CHECK(std::ranges::all_of(gate.state()->buckets, [](std::uint32_t bucket) { return bucket == 0; }));
}

}  // namespace

TEMPLATE_TEST_CASE("The whole capacity goes through a small ring, class by class, each in order", "", Gate, LargeGate) {
    Ring ring{ringstep::RingOptions{.sq_entries = 8}};
    TestType gate(ring, {.depth = 16});
    for (std::uint64_t i = 0; i < TestType::capacity; i++) gate.push(nop(i), static_cast<std::uint32_t>(i % TestType::classes));
    CHECK_FALSE(gate.try_push(nop(0)));
    CHECK(error_of([&] { gate.push(nop(0)); }).error_number() == ENOSPC);
    const LoopExit exit = gate.run();
    CHECK(exit.ok());
    CHECK(exit.code == RINGSTEP_REQUESTS_IDLE);
    const std::vector<std::uint64_t> order = taken(gate);
    std::vector<std::uint64_t> expected(TestType::capacity);
    constexpr std::uint64_t each = TestType::capacity / TestType::classes;
    for (std::uint64_t i = 0; i < TestType::capacity; i++) expected[i] = i % each * TestType::classes + i / each;
    CHECK(order == expected);
    check_settled(gate, ring);
}

// In rounds, each pushed before its run, so that one order is right. Every combination of limits has its rounds.
TEST_CASE("Requests at random go as the model says") {
    constexpr std::array<std::uint32_t, 4> file_limits{0, 1, 2, 5};
    constexpr std::array<std::uint32_t, 5> patiences{0, 0, 1, 3, 10};
    constexpr std::array<std::uint32_t, 4> numbers_of_files{1, 5, 50, 700};
    Ring ring{{.sq_entries = 16, .cq_entries = 128}};
    LargeGate gate(ring);
    std::minstd_rand random(1);
    std::uint64_t next = 0;
    while (next < rounds(20'000, 100'000)) {
        const Limits limits{.depth = 1 + static_cast<std::uint32_t>(random() % 100),
                            .file_limit = file_limits.at(random() % file_limits.size()),
                            .patience = patiences.at(random() % patiences.size())};
        const std::uint32_t files = numbers_of_files.at(random() % numbers_of_files.size());
        gate.set_depth(limits.depth);
        gate.set_file_limit(limits.file_limit);
        gate.set_patience(limits.patience);
        gate.state()->impatient = 0;
        std::ranges::fill(gate.state()->passed_over, 0U);
        Model model(limits, 128);
        const std::uint64_t count = 1 + random() % (limits.file_limit == 0 ? 3000 : 300);
        for (std::uint64_t i = 0; i < count; i++, next++) {
            const Request request{.request_class = static_cast<std::uint32_t>(random() % Gate::classes),
                                  .file = random() % files};
            gate.push(nop(next), request.request_class, request.file);
            model.push(next, request);
        }
        const LoopExit exit = gate.run();
        REQUIRE(exit.ok());
        INFO("depth " << limits.depth << ", limit " << limits.file_limit << ", patience " << limits.patience << ", files "
                      << files);
        REQUIRE(taken(gate) == model.run());
    }
    CHECK(ring.cq().dropped() == 0);
    check_settled(gate, ring);
}

TEST_CASE("A class that there is not is refused, and so is a change of the limit under way") {
    Ring ring;
    Gate gate(ring);
    CHECK(error_of([&] { gate.push(nop(1), Gate::classes); }).error_number() == EINVAL);
    CHECK(error_of([&] { (void)gate.try_push(nop(1), 99); }).error_number() == EINVAL);
    gate.push(nop(1));
    CHECK(error_of([&] { gate.set_file_limit(3); }).error_number() == EBUSY);
    CHECK(gate.run().ok());
    CHECK(taken(gate).size() == 1);
    gate.set_file_limit(3);
    gate.push(nop(2));
    CHECK(gate.run().ok());
    CHECK(taken(gate).size() == 1);
    check_settled(gate, ring);
}

TEST_CASE("A request that fails says so and holds nobody up") {
    Ring ring;
    Gate gate(ring, {.depth = 2, .file_limit = 1});
    char byte = 0;
    for (std::uint64_t i = 0; i < 100; i++) gate.push(i % 3 == 0 ? read_of(-1, &byte, 1, i) : nop(i));
    CHECK(gate.run().ok());
    unsigned count = 0;
    for (const auto& completion : gate.completions()) {
        CHECK(completion.result == (completion.user_data % 3 == 0 ? -EBADF : 0));
        count++;
    }
    CHECK(count == 100);
    check_settled(gate, ring);
}

TEST_CASE("A file at its limit holds nobody else up, and its next one goes when it may") {
    std::array<Pipe, 2> pipes;
    std::array<char, 8> bytes{};
    Ring ring;
    Gate gate(ring, {.depth = 3, .file_limit = 1});
    for (unsigned i = 0; i < 6; i++) gate.push(read_of(pipes.at(i % 2).out(), &bytes.at(i), 1, i));
    for (unsigned i = 6; i < 20; i++) gate.push(nop(i), 7, 1000 + i);
    gate.set_batch(14);
    CHECK(gate.run().code == RINGSTEP_REQUESTS_BATCH);  // all nops, though the depth would allow for another read
    std::vector<std::uint64_t> order = taken(gate);
    std::ranges::sort(order);
    CHECK(order.front() == 6);
    CHECK(order.back() == 19);
    CHECK(gate.in_flight() == 2);
    CHECK(gate.waiting() == 4);
    gate.set_batch(0);
    REQUIRE(::write(pipes[1].in(), "abc", 3) == 3);
    REQUIRE(::write(pipes[0].in(), "def", 3) == 3);
    CHECK(gate.run().ok());
    CHECK(taken(gate).size() == 6);
    CHECK(bytes == std::array<char, 8>{'d', 'a', 'e', 'b', 'f', 'c'});
    check_settled(gate, ring);
}

TEST_CASE("Waiting, parked and submitted requests can be cancelled") {
    Pipe pipe;
    std::array<char, 8> bytes{};
    Ring ring;
    Gate gate(ring, {.depth = 2, .file_limit = 1});
    std::vector<Ticket> tickets;
    for (unsigned i = 0; i < 5; i++) tickets.push_back(gate.push(read_of(pipe.out(), &bytes.at(i), 1, i), i % 2));
    std::thread other([&] {
        while (gate.in_flight() != 1 || gate.waiting() != 4) std::this_thread::yield();
        ensure(gate.cancel(tickets[2]));  // parked
        ensure(gate.cancel(tickets[0]));  // in flight
        ensure(gate.cancel(tickets[1]));  // parked, lower class
        while (gate.outstanding() - gate.ready() != 2) std::this_thread::yield();
        ensure(::write(pipe.in(), "ab", 2) == 2);
    });
    CHECK(gate.run().ok());
    other.join();
    std::array<int, 5> results{};
    for (const auto& completion : gate.completions()) results.at(completion.user_data) = completion.result;
    CHECK(results == std::array{-ECANCELED, -ECANCELED, -ECANCELED, 1, 1});
    CHECK(bytes[4] == 'a');  // class 0 before class 1
    CHECK(bytes[3] == 'b');
    check_settled(gate, ring);
}

TEST_CASE("Requests of a full gate can be cancelled, also those that it has not looked at") {
    Pipe pipe;
    std::array<char, 6> bytes{};
    Ring ring;
    Gate gate(ring, {.depth = 2});
    std::vector<Ticket> tickets;
    for (unsigned i = 0; i < 6; i++) tickets.push_back(gate.push(read_of(pipe.out(), &bytes.at(i), 1, i), i == 5 ? 3 : 0));
    std::thread other([&] {
        while (gate.in_flight() != 2) std::this_thread::yield();
        ensure(gate.waiting() == 4);
        ensure(gate.cancel(tickets[3]));  // waits
        while (gate.ready() != 1) std::this_thread::yield();
        ensure(gate.cancel(tickets[0]));  // in flight: the next one goes
        while (gate.ready() != 2 || gate.in_flight() != 2) std::this_thread::yield();
        ensure(gate.waiting() == 2);
        ensure(gate.cancel(tickets[5]));  // waits, in another class
        while (gate.ready() != 3) std::this_thread::yield();
        ensure(::write(pipe.in(), "abc", 3) == 3);
    });
    CHECK(gate.run().ok());
    other.join();
    std::array<int, 6> results{};
    std::array<std::uint64_t, 6> sequence{};
    for (const auto& completion : gate.completions()) {
        results.at(completion.user_data) = completion.result;
        sequence.at(completion.user_data) = completion.own.sequence;
    }
    CHECK(results == std::array{-ECANCELED, 1, 1, -ECANCELED, 1, -ECANCELED});
    CHECK(sequence == std::array<std::uint64_t, 6>{0, 1, 2, 3, 4, 5});
    check_settled(gate, ring);
}

TEST_CASE("The depth changes while the loop runs, 0 holds everything back") {
    Ring ring;
    Gate gate(ring, {.depth = 0});
    for (std::uint64_t i = 0; i < 1000; i++) gate.push(nop(i));
    std::thread other([&] {
        while (gate.waiting() != 1000) std::this_thread::yield();
        ensure(gate.in_flight() == 0);
        ensure(gate.ready() == 0);
        gate.set_depth(7);
    });
    CHECK(gate.run().ok());
    other.join();
    CHECK(taken(gate).size() == 1000);
    check_settled(gate, ring);
}

TEST_CASE("More in flight than the CQ holds: nothing is lost") {
    Ring ring{{.sq_entries = 4, .cq_entries = 4}};
    LargeGate gate(ring, {.depth = 500, .file_limit = 100});
    for (std::uint64_t i = 0; i < 5000; i++) gate.push(nop(i), static_cast<std::uint32_t>(i % 3), i % 7);
    CHECK(gate.run().ok());
    std::vector<std::uint64_t> order = taken(gate);
    std::ranges::sort(order);
    std::vector<std::uint64_t> expected(5000);
    std::iota(expected.begin(), expected.end(), std::uint64_t{0});
    CHECK(order == expected);
    check_settled(gate, ring);
}

TEST_CASE("A stop under way loses nothing, and the next run goes on") {
    Pipe pipe;
    std::array<char, 6> bytes{};
    Ring ring;
    Gate gate(ring, {.depth = 6, .file_limit = 2});
    for (unsigned i = 0; i < 6; i++) gate.push(read_of(pipe.out(), &bytes.at(i), 1, i));
    std::jthread other([&] {
        while (gate.in_flight() != 2) std::this_thread::yield();
        gate.program().request_stop();
    });
    CHECK(gate.run().reason == ExitReason::stop_requested);
    CHECK(gate.outstanding() == 6);
    CHECK(gate.waiting() == 4);
    REQUIRE(::write(pipe.in(), "abcdef", 6) == 6);
    CHECK(gate.run().ok());
    std::vector<std::uint64_t> order = taken(gate);
    std::ranges::sort(order);  // two of them wait at once: the kernel decides which gets the first byte
    CHECK(order == std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5});
    check_settled(gate, ring);
}

TEST_CASE("Three threads push and cancel while the loop runs, a fourth takes, the depth changes") {
    constexpr std::uint64_t threads = 3;
    constexpr std::uint64_t each = 6000;
    Ring ring{{.sq_entries = 16}};
    Gate gate(ring, {.depth = 8, .file_limit = 3, .patience = 5});
    gate.set_stay(true);
    std::vector<std::thread> others;
    std::atomic<std::uint64_t> cancels{0};
    for (unsigned number = 0; number < threads; number++) {
        others.emplace_back([&, number] {
            std::minstd_rand random(number + 1);
            std::vector<Ticket> recent;
            for (std::uint64_t i = 0; i < each; i++) {
                std::optional<Ticket> ticket;
                while (!(ticket = gate.try_push(nop(number * each + i), static_cast<std::uint32_t>(random() % Gate::classes),
                                                random() % 10)))
                    std::this_thread::yield();
                recent.push_back(*ticket);
                if (random() % 8 == 0 && gate.cancel(recent[random() % recent.size()])) cancels++;
                if (random() % 512 == 0) gate.set_depth(1 + static_cast<std::uint32_t>(random() % 40));
            }
        });
    }
    requests::run_among(gate, others, threads * each, cancels);
    check_settled(gate, ring);
}

TEST_CASE("Patience lets the lowest class through") {
    Ring ring;
    Gate gate(ring, {.depth = 1, .patience = 4});
    for (std::uint64_t i = 0; i < 20; i++) gate.push(nop(i));
    for (std::uint64_t i = 20; i < 23; i++) gate.push(nop(i), 7);
    CHECK(gate.run().ok());
    CHECK(taken(gate) ==
          std::vector<std::uint64_t>{0, 1, 2, 3, 20, 4, 5, 6, 7, 21, 8, 9, 10, 11, 22, 12, 13, 14, 15, 16, 17, 18, 19});
    check_settled(gate, ring);
}
