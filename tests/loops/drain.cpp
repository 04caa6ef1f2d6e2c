// SPDX-License-Identifier: MIT
#include <ringstep/loops/drain.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/requests.hpp"
#include "thorough.hpp"

using requests::nop;
using requests::Pipe;
using requests::read_of;
using requests::run_beside;
using requests::wait_until;
using requests::write_of;
using ringstep::Drain;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::Ticket;

namespace {

std::vector<std::uint64_t> take_all(Drain& drain) {
    std::vector<std::uint64_t> order;
    for (const auto& completion : drain.completions()) order.push_back(completion.user_data);
    return order;
}

void check_idle(Drain& drain, Ring& ring) {
    CHECK(drain.outstanding() == 0);
    CHECK(drain.waiting() == 0);
    CHECK(drain.in_flight() == 0);
    CHECK(drain.active_groups() == 0);
    CHECK(drain.state()->requests.foreign == 0);
    CHECK(drain.state()->behind.count == 0);
    CHECK(ring.in_flight() == 0);
}

}  // namespace

TEST_CASE("Without barriers, everything runs at once") {
    Ring ring{{.sq_entries = 8}};
    Drain drain(ring);
    for (std::uint64_t i = 0; i < Drain::capacity; i++) drain.push(nop(i), i % 7);
    CHECK_FALSE(drain.try_push(nop(1)));
    CHECK_FALSE(drain.try_barrier(nop(1)));
    CHECK_FALSE(drain.try_barrier_of_all(nop(1)));
    CHECK(error_of([&] { drain.push(nop(1)); }).error_number() == ENOSPC);
    CHECK(error_of([&] { drain.barrier(nop(1)); }).error_number() == ENOSPC);
    CHECK(error_of([&] { drain.barrier_of_all(nop(1)); }).error_number() == ENOSPC);
    CHECK(drain.run().ok());
    std::vector<std::uint64_t> order = take_all(drain);
    std::ranges::sort(order);
    REQUIRE(order.size() == Drain::capacity);
    for (std::uint64_t i = 0; i < order.size(); i++) CHECK(order[i] == i);
    CHECK(drain.state()->barriers == 0);
    check_idle(drain, ring);
}

TEST_CASE("A barrier waits for its group, and the group for it") {
    Pipe pipe;
    Pipe gate;
    std::array<char, 8> bytes{};
    Ring ring;
    Drain drain(ring);
    drain.push(read_of(pipe.out(), &bytes[0], 1, 0), 1);
    drain.push(nop(1), 1);
    drain.barrier(read_of(gate.out(), &bytes[1], 1, 2), 1);
    drain.push(nop(3), 1);
    io_uring_sqe flagged = nop(4);
    flagged.flags = IOSQE_IO_DRAIN;
    drain.push(flagged, 1);
    drain.push(nop(5), 1);
    for (std::uint64_t i = 0; i < 3; i++) drain.push(nop(10 + i), 2);
    const LoopExit exit = run_beside(drain, [&] {
        // Group 2 and what stands before the barrier.
        wait_until([&] { return drain.ready() == 4; });
        ensure(drain.in_flight() == 1);
        ensure(drain.waiting() == 4);
        pipe.write();
        wait_until([&] { return drain.ready() == 5 && drain.in_flight() == 1; });
        ensure(drain.waiting() == 3);
        gate.write();
        wait_until([&] { return drain.ready() == 9; });
    });
    CHECK(exit.ok());
    const std::vector<std::uint64_t> order = take_all(drain);
    REQUIRE(order.size() == 9);
    CHECK(std::vector(order.begin() + 4, order.end()) == std::vector<std::uint64_t>{0, 2, 3, 4, 5});
    CHECK(drain.state()->barriers == 2);
    check_idle(drain, ring);
}

TEST_CASE("Requests that are pushed together keep their order and their barriers") {
    Ring ring;
    Drain drain(ring);
    Pipe pipe;
    char byte = 0;
    std::vector<io_uring_sqe> sqes{read_of(pipe.out(), &byte, 1, 0), nop(1), nop(2), nop(3)};
    sqes[1].flags = sqes[2].flags = IOSQE_IO_DRAIN;
    std::array<Ticket, 4> tickets{};
    drain.push(sqes, 7, tickets);
    CHECK(drain.try_push(std::span<const io_uring_sqe>{}, 7));
    CHECK(error_of([&] { drain.push(sqes, 7, std::span(tickets).first(3)); }).error_number() == EINVAL);
    CHECK(drain.outstanding() == 4);
    CHECK(drain.cancel(tickets[2]));
    pipe.write();
    CHECK(drain.run().ok());
    std::vector<std::uint64_t> order;
    for (const auto& completion : drain.completions()) {
        CHECK(completion.ticket == tickets.at(completion.user_data));
        CHECK(completion.own.group == 7);
        CHECK((completion.result == -ECANCELED) == (completion.user_data == 2));
        if (completion.user_data != 2) order.push_back(completion.user_data);
    }
    CHECK(order == std::vector<std::uint64_t>{0, 1, 3});
    CHECK(drain.state()->barriers == 1);
    const std::vector<io_uring_sqe> many(Drain::capacity, nop(1));
    drain.push(nop(0));
    CHECK_FALSE(drain.try_push(many));
    CHECK(error_of([&] { drain.push(many); }).error_number() == ENOSPC);
    CHECK_FALSE(drain.try_push(std::vector<io_uring_sqe>(Drain::capacity + 1, nop(1))));
    CHECK(drain.try_push(std::span(many).subspan(1)));
    CHECK(drain.run().ok());
    CHECK(take_all(drain).size() == Drain::capacity);
    check_idle(drain, ring);
}

TEST_CASE("A barrier of the whole ring waits for every group, and all wait for it") {
    Pipe first;
    Pipe second;
    Pipe gate;
    std::array<char, 4> bytes{};
    Ring ring;
    Drain drain(ring);
    drain.push(read_of(first.out(), &bytes[0], 1, 0), 1);
    drain.barrier(nop(1), 1);
    drain.push(read_of(second.out(), &bytes[1], 1, 2), 2);
    drain.barrier_of_all(read_of(gate.out(), &bytes[2], 1, 3));
    drain.push(nop(4), 2);
    drain.push(nop(5), 3);
    drain.barrier(nop(6), 3);
    drain.barrier_of_all(nop(7));
    drain.barrier_of_all(nop(8));
    drain.push(nop(9), 1);
    const LoopExit exit = run_beside(drain, [&] {
        wait_until([&] { return drain.in_flight() == 2 && drain.waiting() == 8; });
        first.write();
        wait_until([&] { return drain.ready() == 2; });
        ensure(drain.in_flight() == 1);
        ensure(drain.waiting() == 7);
        second.write();
        wait_until([&] { return drain.ready() == 3 && drain.in_flight() == 1; });
        ensure(drain.waiting() == 6);
        gate.write();
        wait_until([&] { return drain.ready() == 10; });
    });
    CHECK(exit.ok());
    const std::vector<std::uint64_t> order = take_all(drain);
    REQUIRE(order.size() == 10);
    CHECK(std::vector(order.begin(), order.begin() + 4) == std::vector<std::uint64_t>{0, 1, 2, 3});
    CHECK(std::ranges::find(order, 5) < std::ranges::find(order, 6));
    CHECK(std::vector(order.begin() + 7, order.end()) == std::vector<std::uint64_t>{7, 8, 9});
    check_idle(drain, ring);
}

TEST_CASE("What fails lets a barrier go on, and a barrier that fails the rest") {
    Ring ring;
    Drain drain(ring);
    char byte = 0;
    drain.push(read_of(-1, &byte, 1, 0), 1);
    drain.barrier(read_of(-1, &byte, 1, 1), 1);
    drain.push(nop(2), 1);
    drain.barrier_of_all(read_of(-1, &byte, 1, 3));
    drain.push(nop(4), 1);
    CHECK(drain.run().ok());
    std::vector<int> results;
    for (const auto& completion : drain.completions()) results.push_back(completion.result);
    CHECK(results == std::vector{-EBADF, -EBADF, 0, -EBADF, 0});
    check_idle(drain, ring);
}

TEST_CASE("What waits for a barrier, and barriers, can be cancelled") {
    Pipe pipe;
    std::array<char, 4> bytes{};
    Ring ring;
    Drain drain(ring);
    const Ticket holds = drain.push(read_of(pipe.out(), &bytes[0], 1, 0), 1);
    const Ticket barrier = drain.barrier(nop(1), 1);
    const Ticket waits = drain.push(nop(2), 1);
    drain.push(nop(3), 1);
    const Ticket all = drain.barrier_of_all(nop(4));
    const Ticket behind = drain.push(nop(5), 1);
    drain.push(nop(6), 2);
    const LoopExit exit = run_beside(drain, [&] {
        wait_until([&] { return drain.in_flight() == 1 && drain.waiting() == 6; });
        ensure(drain.cancel(waits));
        ensure(!drain.cancel(waits));
        wait_until([&] { return drain.ready() == 1; });
        ensure(drain.cancel(behind));
        wait_until([&] { return drain.ready() == 2; });
        ensure(drain.cancel(barrier));  // 3 goes on
        wait_until([&] { return drain.ready() == 4; });
        ensure(drain.cancel(all));  // 6 goes on
        wait_until([&] { return drain.ready() == 6; });
        ensure(drain.cancel(holds));
        wait_until([&] { return drain.ready() == 7; });
    });
    CHECK(exit.ok());
    std::map<std::uint64_t, int> results;
    for (const auto& completion : drain.completions()) results[completion.user_data] = completion.result;
    CHECK(results == std::map<std::uint64_t, int>{
                         {0, -ECANCELED}, {1, -ECANCELED}, {2, -ECANCELED}, {3, 0}, {4, -ECANCELED}, {5, -ECANCELED}, {6, 0}});
    CHECK(drain.state()->requests.refused == 4);
    check_idle(drain, ring);
}

TEST_CASE("A barrier in flight that is cancelled lets the rest go on") {
    Pipe pipe;
    std::array<char, 2> bytes{};
    Ring ring;
    Drain drain(ring);
    const Ticket one = drain.barrier(read_of(pipe.out(), &bytes[0], 1, 0), 1);
    drain.push(nop(1), 1);
    const Ticket all = drain.barrier_of_all(read_of(pipe.out(), &bytes[1], 1, 2));
    drain.push(nop(3), 1);
    const LoopExit exit = run_beside(drain, [&] {
        wait_until([&] { return drain.in_flight() == 1; });
        ensure(drain.cancel(one));
        wait_until([&] { return drain.ready() == 2 && drain.in_flight() == 1; });
        ensure(drain.cancel(all));
        wait_until([&] { return drain.ready() == 4; });
    });
    CHECK(exit.ok());
    std::vector<int> results;
    for (const auto& completion : drain.completions()) results.push_back(completion.result);
    CHECK(results == std::vector{-ECANCELED, 0, -ECANCELED, 0});
    check_idle(drain, ring);
}

TEST_CASE("A stop under way loses nothing, and the order holds over several runs") {
    Pipe pipe;
    char byte = 0;
    Ring ring;
    Drain drain(ring);
    drain.push(read_of(pipe.out(), &byte, 1, 0), 1);
    drain.barrier(nop(1), 1);
    drain.barrier_of_all(nop(2));
    drain.push(nop(3), 1);
    {
        std::jthread other([&] {
            wait_until([&] { return drain.in_flight() == 1 && drain.waiting() == 3; });
            drain.program().request_stop();
        });
        CHECK(drain.run().reason == ExitReason::stop_requested);
    }
    CHECK(drain.outstanding() == 4);
    CHECK(drain.ready() == 0);
    drain.push(nop(4), 1);
    pipe.write();
    CHECK(drain.run().ok());
    CHECK(take_all(drain) == std::vector<std::uint64_t>{0, 1, 2, 3, 4});
    check_idle(drain, ring);
}

TEST_CASE("As many groups as there are requests, and more over time") {
    Ring ring;
    Drain drain(ring);
    Pipe pipe;
    std::vector<char> bytes(Drain::capacity);
    // All in flight at once: none is over before the last one has come. Keys that differ in their upper half, too.
    const auto key = [](std::uint64_t i) { return i % 2 == 0 ? i << 40 : i; };
    for (std::uint64_t i = 0; i < Drain::capacity; i++) drain.push(read_of(pipe.out(), &bytes[i], 1, i), key(i));
    const LoopExit exit = run_beside(drain, [&] {
        wait_until([&] { return drain.in_flight() == Drain::capacity; });
        ensure(drain.active_groups() == Drain::capacity);
        pipe.write(Drain::capacity);
        wait_until([&] { return drain.ready() == Drain::capacity; });
    });
    CHECK(exit.ok());
    CHECK(take_all(drain).size() == Drain::capacity);
    check_idle(drain, ring);
    for (std::uint64_t round = 0; round < 3; round++) {
        for (std::uint64_t i = 0; i < Drain::capacity / 2; i++) {
            drain.push(nop(2 * i), key(round * 10000 + i));
            drain.barrier(nop(2 * i + 1), key(round * 10000 + i));
        }
        CHECK(drain.run().ok());
        std::map<std::uint64_t, std::uint64_t> last;
        for (const auto& completion : drain.completions()) {
            if (completion.user_data % 2 == 1) CHECK(last[completion.own.group] == completion.user_data - 1);
            last[completion.own.group] = completion.user_data;
        }
        CHECK(last.size() == Drain::capacity / 2);
        check_idle(drain, ring);
    }
    CHECK(drain.state()->table.opened <= Drain::capacity);
}

TEST_CASE("A barrier releases thousands of requests without an overflow of the CQ") {
    Ring ring{{.sq_entries = 64, .cq_entries = 64}};
    Drain drain(ring);
    const bool all = GENERATE(false, true);  // of the group or of the whole ring
    std::atomic<bool> over = false;
    std::atomic<bool> overflowed = false;
    std::jthread watcher([&] {
        const std::atomic_ref<unsigned> flags(*ring.native().sq.kflags);
        while (!over) {
            if ((flags.load() & IORING_SQ_CQ_OVERFLOW) != 0) overflowed = true;
        }
    });
    Pipe pipe;
    char byte = 0;
    for (int round = 0; round < 3; round++) {
        // The barrier completes when all the others have arrived behind it.
        const io_uring_sqe barrier = read_of(pipe.out(), &byte, 1, 0);
        if (all) {
            drain.barrier_of_all(barrier, 1);
        } else {
            drain.barrier(barrier, 1);
        }
        for (std::uint64_t i = 1; i < Drain::capacity; i++) drain.push(nop(i), 1);
        const LoopExit exit = run_beside(drain, [&] {
            wait_until([&] { return drain.waiting() == Drain::capacity - 1; });
            ensure(::write(pipe.in(), "x", 1) == 1);
            wait_until([&] { return drain.ready() == Drain::capacity; });
        });
        CHECK(exit.ok());
        CHECK(take_all(drain).size() == Drain::capacity);
        check_idle(drain, ring);
    }
    over = true;
    watcher.join();
    CHECK_FALSE(overflowed);
    CHECK(ring.cq().dropped() == 0);
}

TEST_CASE("More completions than the CQ holds: none is lost") {
    Ring ring{{.sq_entries = 64, .cq_entries = 64}};
    Drain drain(ring);
    Pipe pipe;
    std::vector<char> bytes(600);
    for (std::uint64_t i = 0; i < bytes.size(); i++) drain.push(read_of(pipe.out(), &bytes[i], 1, i), 1);
    drain.barrier(nop(1000), 1);
    const LoopExit exit = run_beside(drain, [&] {
        wait_until([&] { return drain.in_flight() == 600; });
        const std::string all(600, 'x');
        ensure(::write(pipe.in(), all.data(), all.size()) == 600);
        wait_until([&] { return drain.ready() == 601; });
    });
    CHECK(exit.ok());
    std::vector<std::uint64_t> order = take_all(drain);
    REQUIRE(order.size() == 601);
    CHECK(order.back() == 1000);
    std::ranges::sort(order);
    for (std::uint64_t i = 0; i < 600; i++) REQUIRE(order[i] == i);
    check_idle(drain, ring);
}

namespace {

// What the order has to be, from the requests in the order in which they were pushed and the sequence in which they completed.
// That one starts before another one completes cannot be seen in completions; a request that reads what the one before the
// barrier has written can: see the next test.
class Model {
public:
    void pushed(std::uint64_t group, bool barrier, bool all) {
        // For each request: what has to complete before it, as counts in its group and in all.
        Entry entry{.group = group, .barrier = barrier, .all = all};
        entries_.push_back(entry);
    }
    // Which requests may complete next? Those with nothing before them that they wait for.
    bool may_complete(std::uint64_t index) {
        const Entry& entry = entries_[index];
        if (entry.done) return false;
        for (std::uint64_t i = first_; i < index; i++) {
            const Entry& before = entries_[i];
            if (before.done) continue;
            if (before.all || entry.all) return false;
            if (before.group == entry.group && (before.barrier || entry.barrier)) return false;
        }
        return true;
    }
    void complete(std::uint64_t index) {
        entries_[index].done = true;
        while (first_ < entries_.size() && entries_[first_].done) first_++;
    }
    [[nodiscard]] bool finished() const { return first_ == entries_.size(); }

private:
    struct Entry {
        std::uint64_t group = 0;
        bool barrier = false;
        bool all = false;
        bool done = false;
    };
    std::vector<Entry> entries_;
    std::uint64_t first_ = 0;
};

io_uring_sqe random_request(std::minstd_rand& random, const Pipe& pipe, char* byte, std::uint64_t number, bool& writes) {
    writes = false;
    switch (random() % 16) {
        case 0: return nop(number, -static_cast<int>(1 + random() % 100));
        case 1: {
            io_uring_sqe sqe = nop(number);
            sqe.flags = IOSQE_ASYNC;  // completes whenever a worker has done it
            return sqe;
        }
        case 2: writes = true; return read_of(pipe.out(), byte, 1, number);
        default: return nop(number);
    }
}

}  // namespace

TEST_CASE("Requests at random keep the order of a simple model") {
    const std::uint64_t total = rounds(20'000, 100'000);
    Ring ring{{.sq_entries = 32, .cq_entries = 128}};
    Drain drain(ring);
    Pipe pipe;
    Model model;
    std::minstd_rand random(4);
    std::vector<char> bytes(total);
    std::uint64_t pushed = 0;
    std::uint64_t completed = 0;
    std::uint64_t cancels = 0;
    std::uint64_t cancelled = 0;
    std::vector<Ticket> recent;
    while (completed < total) {
        const std::uint64_t burst = 1 + random() % 200;
        recent.clear();
        for (std::uint64_t i = 0; i < burst && pushed < total; i++) {
            const std::uint64_t group = random() % 6;
            const auto kind = random() % 64;
            bool writes = false;
            const io_uring_sqe sqe = random_request(random, pipe, &bytes[pushed], pushed, writes);
            std::optional<Ticket> ticket;
            if (kind == 0) {
                ticket = drain.try_barrier_of_all(sqe, group);
            } else if (kind < 8) {
                ticket = drain.try_barrier(sqe, group);
            } else {
                ticket = drain.try_push(sqe, group);
            }
            REQUIRE(ticket);
            if (writes) pipe.write();
            model.pushed(group, kind != 0 && kind < 8, kind == 0);
            recent.push_back(*ticket);
            pushed++;
        }
        for (const Ticket& ticket : recent) {
            if (random() % 32 == 0 && drain.cancel(ticket)) cancels++;
        }
        drain.set_batch(random() % 3 == 0 ? 1 + static_cast<std::uint32_t>(random() % 40) : 0);
        REQUIRE(drain.run().reason == ExitReason::stopped);
        for (const auto& completion : drain.completions()) {
            REQUIRE(completion.user_data < pushed);
            if (completion.result == -ECANCELED) {
                cancelled++;
            } else {
                REQUIRE(model.may_complete(completion.user_data));
            }
            model.complete(completion.user_data);
            completed++;
        }
    }
    CHECK(model.finished());
    CHECK(cancelled > 0);
    CHECK(cancelled <= cancels);
    CHECK(drain.state()->barriers > total / 20);
    drain.set_batch(0);
    check_idle(drain, ring);
}

TEST_CASE("Pushed by several threads while the loop runs") {
    constexpr unsigned threads = 3;
    constexpr std::uint64_t each = 5000;
    Ring ring{{.sq_entries = 32}};
    Drain drain(ring);
    drain.set_stay(true);
    std::vector<std::jthread> others;
    for (std::uint64_t number = 0; number < threads; number++) {
        others.emplace_back([&, number] {
            std::minstd_rand random(static_cast<unsigned>(number) + 1);
            for (std::uint64_t i = 0; i < each; i++) {
                const std::uint64_t data = number << 32 | i;
                std::optional<Ticket> ticket;
                for (;;) {
                    // Each thread has a group of its own in which every request is a barrier, and shares another one.
                    ticket = i % 2 == 0 ? drain.try_barrier(nop(data), number) : drain.try_push(nop(data), 100);
                    if (ticket) break;
                    std::this_thread::yield();
                }
                if (random() % 32 == 0) drain.cancel(*ticket);
                if (random() % 512 == 0) {
                    while (!drain.try_barrier_of_all(nop(~0ULL))) std::this_thread::yield();
                }
            }
        });
    }
    std::jthread taker([&] {
        std::array<std::uint64_t, threads> next{};
        std::array<std::uint64_t, threads> counts{};
        std::uint64_t taken = 0;
        ringstep::Drain::completion_type completion;
        while (taken < threads * each) {
            if (!drain.pop(completion)) {
                std::this_thread::yield();
                continue;
            }
            if (completion.user_data == ~0ULL) continue;
            taken++;
            const std::uint64_t number = completion.user_data >> 32;
            counts.at(number)++;
            if (completion.own.group == 100 || completion.result == -ECANCELED) continue;
            const std::uint64_t index = completion.user_data & 0xffffffff;
            ensure(index >= next.at(number));
            next.at(number) = index + 1;
        }
        for (const std::uint64_t count : counts) ensure(count == each);
        drain.set_stay(false);
    });
    CHECK(drain.run().ok());
    taker.join();
    others.clear();
    (void)take_all(drain);
    check_idle(drain, ring);
}

TEST_CASE("Requests that no loop can schedule are refused, whatever they are to be") {
    Ring ring;
    Drain drain(ring);
    io_uring_sqe sqe = nop(1);
    sqe.flags = IOSQE_IO_LINK;
    CHECK(error_of([&] { drain.push(sqe); }).error_number() == EINVAL);
    CHECK(error_of([&] { drain.barrier(sqe); }).error_number() == EINVAL);
    CHECK(error_of([&] { drain.barrier_of_all(sqe); }).error_number() == EINVAL);
    CHECK(drain.outstanding() == 0);
}
