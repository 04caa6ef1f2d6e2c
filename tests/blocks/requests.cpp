// SPDX-License-Identifier: MIT
#include <ringstep/blocks/requests.hpp>
#include <ringstep/compiled/relay.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
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

using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::RequestCompletion;
using ringstep::Ring;
using ringstep::Ticket;
using Relay = ringstep::RequestLoop<ringstep::loops::relay>;

using requests::nop;
using requests::Pipe;
using requests::read_of;

TEST_CASE("What is pushed completes, in order and with its own data") {
    Ring ring{{.sq_entries = 8}};
    Relay relay(ring);
    relay.state()->depth = 4;
    for (std::uint64_t i = 0; i < Relay::capacity; i++) relay.push(nop(1000 + i), {.group = i, .options = 0, .__reserved = 0});
    CHECK_FALSE(relay.try_push(nop(1)));
    CHECK(error_of([&] { relay.push(nop(1)); }).error_number() == ENOSPC);
    CHECK(relay.outstanding() == Relay::capacity);
    const LoopExit exit = relay.run();
    CHECK(exit.ok());
    CHECK(exit.code == RINGSTEP_REQUESTS_IDLE);
    CHECK(relay.ready() == Relay::capacity);
    std::uint64_t next = 0;
    for (const auto& completion : relay.completions()) {
        CHECK(completion.user_data == 1000 + next);
        CHECK(completion.own.group == next);
        CHECK(completion.ok());
        next++;
    }
    CHECK(next == Relay::capacity);
    CHECK(relay.outstanding() == 0);
    CHECK(relay.state()->requests.foreign == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Slots are used again and again") {
    Ring ring;
    Relay relay(ring);
    relay.state()->depth = 32;
    std::uint64_t pushed = 0;
    std::uint64_t popped = 0;
    while (popped < 20000) {
        while (pushed < 20000 && relay.try_push(nop(pushed))) pushed++;
        REQUIRE(relay.run().ok());
        for (const auto& completion : relay.completions()) REQUIRE(completion.user_data == popped++);
    }
    CHECK(relay.state()->mailbox.received == 20000);
}

TEST_CASE("A run ends when a batch is there") {
    Ring ring;
    Relay relay(ring);
    relay.state()->depth = 1;
    relay.set_batch(10);
    for (std::uint64_t i = 0; i < 25; i++) relay.push(nop(i));
    RequestCompletion completion;
    for (const unsigned expected : {10U, 10U, 5U}) {
        const LoopExit exit = relay.run();
        CHECK(exit.reason == ExitReason::stopped);
        CHECK(exit.code == (expected == 10 ? RINGSTEP_REQUESTS_BATCH : RINGSTEP_REQUESTS_IDLE));
        CHECK(relay.ready() == expected);
        while (relay.pop(completion)) CHECK(completion.ok());
    }
    CHECK(relay.outstanding() == 0);
}

TEST_CASE("Requests that no loop can schedule are refused") {
    Ring ring;
    Relay relay(ring);
    const auto why = [&](const io_uring_sqe& sqe) {
        const ringstep::Error error = error_of([&] { relay.push(sqe); });
        CHECK(error.error_number() == EINVAL);
        return std::string(error.advice());
    };
    using Catch::Matchers::ContainsSubstring;
    io_uring_sqe sqe = nop(1);
    sqe.flags = IOSQE_IO_LINK;
    CHECK_THAT(why(sqe), ContainsSubstring("loops link or chain"));
    sqe.flags = IOSQE_IO_DRAIN;
    CHECK_THAT(why(sqe), ContainsSubstring("loop drain"));
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
    CHECK_THAT(why(sqe), ContainsSubstring("needs the completion"));
    sqe = {};
    io_uring_prep_multishot_accept(&sqe, 0, nullptr, nullptr, 0);
    CHECK_THAT(why(sqe), ContainsSubstring("multishot"));
    sqe = {};
    io_uring_prep_recv_multishot(&sqe, 0, nullptr, 0, 0);
    CHECK_THAT(why(sqe), ContainsSubstring("multishot"));
    sqe = {};
    io_uring_prep_poll_multishot(&sqe, 0, 1);
    CHECK_THAT(why(sqe), ContainsSubstring("multishot"));
    CHECK(relay.outstanding() == 0);
    CHECK(relay.run().ok());
}

TEST_CASE("What waits and what is in flight can be cancelled") {
    Pipe pipe;
    std::array<char, 8> bytes{};
    Ring ring;
    Relay relay(ring);
    relay.state()->depth = 2;
    std::vector<Ticket> tickets;
    for (std::uint64_t i = 0; i < 5; i++) tickets.push_back(relay.push(read_of(pipe.out(), &bytes[i], 1, i)));
    std::thread other([&] {
        while (relay.in_flight() != 2 || relay.waiting() != 3) std::this_thread::yield();
        for (const std::size_t which : {4U, 1U, 3U}) ensure(relay.cancel(tickets[which]));
        ensure(!relay.cancel(tickets[4]));
        while (relay.outstanding() - relay.ready() != 2) std::this_thread::yield();
        ensure(::write(pipe.in(), "ab", 2) == 2);
    });
    const LoopExit exit = relay.run();
    other.join();
    CHECK(exit.ok());
    std::array<int, 5> results{};
    for (const auto& completion : relay.completions()) results.at(completion.user_data) = completion.result;
    CHECK(results == std::array{1, -ECANCELED, 1, -ECANCELED, -ECANCELED});
    CHECK_FALSE(relay.cancel(tickets[0]));
    CHECK(relay.state()->requests.refused == 2);
    CHECK(relay.state()->requests.foreign == 0);
    CHECK(relay.outstanding() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A stop loses nothing, and the next run goes on") {
    Pipe pipe;
    std::array<char, 4> bytes{};
    Ring ring;
    Relay relay(ring);
    relay.state()->depth = 2;
    for (std::uint64_t i = 0; i < 4; i++) relay.push(read_of(pipe.out(), &bytes[i], 1, i));
    std::jthread other([&] {
        while (relay.in_flight() != 2) std::this_thread::yield();
        relay.program().request_stop();
    });
    CHECK(relay.run().reason == ExitReason::stop_requested);
    CHECK(relay.outstanding() == 4);
    CHECK(relay.waiting() == 2);
    REQUIRE(::write(pipe.in(), "abcd", 4) == 4);
    CHECK(relay.run().ok());
    CHECK(relay.ready() == 4);
}

TEST_CASE("Pushed by several threads while the loop runs, taken by another") {
    constexpr unsigned threads = 3;
    constexpr std::uint64_t each = 4000;
    Ring ring{{.sq_entries = 16}};
    Relay relay(ring);
    relay.state()->depth = 16;
    relay.set_stay(true);
    std::vector<std::thread> others;
    std::atomic<std::uint64_t> cancels{0};
    for (unsigned number = 0; number < threads; number++) {
        others.emplace_back([&, number] {
            std::minstd_rand random(number + 1);
            for (std::uint64_t i = 0; i < each; i++) {
                std::optional<Ticket> ticket;
                while (!(ticket = relay.try_push(nop(number * each + i)))) std::this_thread::yield();
                if (random() % 16 == 0 && relay.cancel(*ticket)) cancels++;
                if (random() % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
            }
        });
    }
    requests::run_among(relay, others, threads * each, cancels);
    CHECK(relay.outstanding() == 0);
    CHECK(relay.state()->requests.foreign == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Requests of an earlier loop on the ring are not taken for own ones") {
    Pipe pipe;
    char byte = 0;
    Ring ring;
    {
        Relay first(ring);
        first.state()->depth = 1;
        first.push(read_of(pipe.out(), &byte, 1, 7));
        std::jthread other([&] {
            while (first.in_flight() != 1) std::this_thread::yield();
            first.program().request_stop();
        });
        CHECK(first.run().reason == ExitReason::stop_requested);
    }
    Relay second(ring);
    second.state()->depth = 1;
    second.push(read_of(pipe.out(), &byte, 1, 8));
    REQUIRE(::write(pipe.in(), "ab", 2) == 2);
    CHECK(second.run().ok());
    RequestCompletion completion;
    REQUIRE(second.pop(completion));
    CHECK(completion.user_data == 8);
    CHECK(completion.result == 1);
    CHECK(second.state()->requests.foreign <= 1);  // which of the two reads completes first is the kernel's choice
}

TEST_CASE("Several slots are taken at once, or none") {
    ringstep::FreeSlots slots(8);
    CHECK(slots.capacity() == 8);
    CHECK_FALSE(slots.take(9));
    const std::optional<Ticket> three = slots.take(3);
    REQUIRE(three);
    CHECK(slots.outstanding() == 3);
    const Ticket second = slots.next(*three);
    const Ticket third = slots.next(second);
    std::vector<bool> taken(8);
    for (const Ticket& ticket : {*three, second, third}) {
        CHECK_FALSE(taken.at(ticket.slot));
        taken.at(ticket.slot) = true;
    }
    CHECK_FALSE(slots.take(6));
    CHECK(slots.outstanding() == 3);
    std::optional<Ticket> rest = slots.take(5);
    for (int i = 0; i < 5; i++) {
        REQUIRE(rest);
        CHECK_FALSE(taken.at(rest->slot));
        taken.at(rest->slot) = true;
        if (i < 4) rest = slots.next(*rest);
    }
    CHECK_FALSE(slots.take());
    slots.give_back(second);
    CHECK(slots.take() == Ticket{.slot = second.slot, .generation = second.generation + 1});
    CHECK(slots.outstanding() == 8);
}

TEST_CASE("A slot is marked once, and held once") {
    using Marked = ringstep::FreeSlots::Marked;
    ringstep::FreeSlots slots(2);
    const Ticket one = slots.take().value();
    CHECK_FALSE(slots.hold(one));
    CHECK(slots.mark(one) == Marked::yes);
    CHECK(slots.mark(one) == Marked::no);
    slots.give_back(one);
    CHECK(slots.mark(one) == Marked::no);
    CHECK(slots.mark({.slot = 2, .generation = 0}) == Marked::no);

    const Ticket two = slots.take().value();
    slots.open(two);
    CHECK(slots.of(two.slot) == two);
    SECTION("held, then marked") {
        CHECK(slots.hold(two));
        CHECK_FALSE(slots.hold(two));
        CHECK(slots.mark(two) == Marked::held);
        CHECK(slots.mark(two) == Marked::no);
        CHECK(slots.release(two));
        CHECK(slots.mark(two) == Marked::no);
    }
    SECTION("held, and not marked") {
        CHECK(slots.hold(two));
        CHECK_FALSE(slots.release(two));
        CHECK_FALSE(slots.hold(two));
        CHECK(slots.mark(two) == Marked::yes);
    }
    SECTION("marked, then not to be held") {
        CHECK(slots.mark(two) == Marked::yes);
        CHECK_FALSE(slots.hold(two));
    }
    SECTION("over before the holder lets go") {
        CHECK(slots.hold(two));
        slots.give_back(two);
        CHECK_FALSE(slots.release(two));
        const Ticket again = slots.take().value();
        CHECK(again == Ticket{.slot = two.slot, .generation = two.generation + 1});
        CHECK(slots.mark(again) == Marked::yes);
    }
}

TEST_CASE("A slot that somebody is about to send a message of is not used again before") {
    using Marked = ringstep::FreeSlots::Marked;
    ringstep::FreeSlots slots(1);
    const Ticket one = slots.take().value();
    SECTION("marked") {
        CHECK(slots.mark_and_pin(one) == Marked::yes);
        CHECK(slots.mark_and_pin(one) == Marked::no);
    }
    SECTION("held, then marked") {
        slots.open(one);
        CHECK(slots.hold(one));
        CHECK(slots.mark_and_pin(one) == Marked::held);
        CHECK(slots.release_and_pin(one));
    }
    SECTION("not marked") {
        slots.open(one);
        CHECK(slots.hold(one));
        CHECK_FALSE(slots.release_and_pin(one));
        CHECK(slots.mark_and_pin(one) == Marked::yes);
    }
    slots.give_back(one);
    CHECK_FALSE(slots.take());
    CHECK(slots.outstanding() == 1);
    slots.unpin(one);
    CHECK(slots.outstanding() == 0);
    const Ticket next = slots.take().value();
    CHECK(next.generation == one.generation + 1);
    CHECK(slots.mark_and_pin(next) == Marked::yes);
    slots.unpin(next);
    slots.give_back(next);
    CHECK(slots.take());
}

TEST_CASE("A ticket is never good again") {
    // Where numbers of 15, 29 and 32 bits begin anew.
    for (const unsigned bits : {15U, 29U, 32U}) {
        const std::uint64_t round = std::uint64_t{1} << bits;
        ringstep::FreeSlots slots(1, round - 1);
        CHECK(slots.take()->generation == round - 1);
        slots.give_back({.slot = 0, .generation = round - 1});
        CHECK(slots.take() == Ticket{.slot = 0, .generation = round});
        CHECK(slots.mark({.slot = 0, .generation = 0}) == ringstep::FreeSlots::Marked::no);
        CHECK(slots.mark({.slot = 0, .generation = round - 1}) == ringstep::FreeSlots::Marked::no);
        CHECK(slots.mark({.slot = 0, .generation = round}) == ringstep::FreeSlots::Marked::yes);
    }
}

TEST_CASE("An old ticket cancels nothing, also where its generation comes again to the loop") {
    const Pipe pipe;
    char byte = 0;
    Ring ring;
    Relay relay(ring);
    relay.state()->depth = 1;
    relay.set_batch(1);
    RequestCompletion completion;
    const Ticket old = relay.push(nop(1));
    CHECK(relay.run().code == RINGSTEP_REQUESTS_BATCH);
    CHECK(relay.pop(completion));
    // The generation in a message comes again after 32,768 uses of the slot, that in user_data after 65,536.
    const std::uint32_t uses = loading_is_cheap() ? RINGSTEP_IDENTITY_GENERATION + 1 : RINGSTEP_REQUEST_GENERATION + 1;
    for (std::uint32_t i = 1; i < uses; i++) {
        relay.push(nop(i));
        if (relay.run().code != RINGSTEP_REQUESTS_BATCH || !relay.pop(completion) || completion.user_data != i) FAIL(i);
    }
    const Ticket now = relay.push(read_of(pipe.out(), &byte, 1, 99));
    REQUIRE(now.slot == old.slot);
    CHECK(now.generation == old.generation + uses);
    const std::uint64_t first_identity = relay.state()->requests.identity | ringstep_identity_of_slot(old.slot, 0);
    CHECK((relay.state()->slots[now.slot].request.identity == first_identity) == loading_is_cheap());
    std::thread other([&] {
        while (relay.in_flight() != 1) std::this_thread::yield();
        ensure(!relay.cancel(old));
        pipe.write();
    });
    CHECK(relay.run().code == RINGSTEP_REQUESTS_BATCH);
    other.join();
    REQUIRE(relay.pop(completion));
    CHECK(completion.user_data == 99);
    CHECK(completion.result == 1);
    CHECK(relay.state()->requests.foreign == 0);
}

TEST_CASE("Slots are taken and given back by several threads, several at once") {
    ringstep::FreeSlots slots(64);
    std::vector<std::atomic<int>> owners(64);
    std::atomic<int> wrong{0};
    const auto work = [&](unsigned seed) {
        std::minstd_rand random(seed);
        for (int round = 0; round < 5000; round++) {
            const auto count = static_cast<std::uint32_t>(1 + random() % 12);
            const std::optional<Ticket> first = slots.take(count);
            if (!first) continue;
            std::vector<Ticket> mine{*first};
            while (mine.size() < count) mine.push_back(slots.next(mine.back()));
            for (const Ticket& ticket : mine) wrong += owners.at(ticket.slot)++ != 0;
            for (const Ticket& ticket : mine) wrong += --owners.at(ticket.slot) != 0;
            for (const Ticket& ticket : mine) slots.give_back(ticket);
        }
    };
    {
        std::vector<std::jthread> threads;
        for (unsigned seed = 1; seed <= 4; seed++) threads.emplace_back(work, seed);
    }
    CHECK(wrong == 0);
    CHECK(slots.outstanding() == 0);
    CHECK(slots.take(64));
}

TEST_CASE("What is pushed together completes, in order and with its own data") {
    Ring ring{{.sq_entries = 8}};
    Relay relay(ring);
    relay.state()->depth = 4;
    std::vector<io_uring_sqe> sqes;
    for (std::uint64_t i = 0; i < 100; i++) sqes.push_back(nop(1000 + i));
    std::vector<Ticket> tickets(sqes.size());
    relay.push(sqes, {.group = 5, .options = 6, .__reserved = 0}, tickets);
    relay.push(nop(1100));
    CHECK(relay.outstanding() == 101);
    CHECK(relay.run().ok());
    std::uint64_t next = 0;
    for (const auto& completion : relay.completions()) {
        CHECK(completion.user_data == 1000 + next);
        if (next < 100) {
            CHECK(completion.own.group == 5);
            CHECK(completion.own.options == 6);
            CHECK(completion.ticket == tickets.at(next));
        }
        next++;
    }
    CHECK(next == 101);
    sqes[50].flags = IOSQE_IO_LINK;
    CHECK(error_of([&] { relay.push(sqes); }).error_number() == EINVAL);
    sqes[50].flags = 0;
    CHECK(error_of([&] { relay.push(sqes, {}, std::span(tickets).first(99)); }).error_number() == EINVAL);
    CHECK(relay.outstanding() == 0);
    const std::vector<io_uring_sqe> many(Relay::capacity, nop(1));
    relay.push(nop(1));
    CHECK_FALSE(relay.try_push(many));
    CHECK(error_of([&] { relay.push(many); }).error_number() == ENOSPC);
    CHECK(relay.run().ok());
}
