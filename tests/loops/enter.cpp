// SPDX-License-Identifier: MIT
// The loop enter in the place of io_uring_enter(2), and hooks on it.
#include <ringstep/compiled/hooked.hpp>
#include <ringstep/error.hpp>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/nop_chain.hpp>

#include "error_of.hpp"
#include "loops/enter_help.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringstep::Completion;
using ringstep::Enter;
using ringstep::Entered;
using ringstep::EnterEnd;
using ringstep::Ring;
using Hooked = ringstep::EnterLoop<ringstep::loops::hooked>;

namespace {

ringstep::RingOptions any_ring() {
    const int kind = GENERATE(0, 1, 2);
    return {.sq_entries = 16, .cq_entries = 64, .cqe32 = kind == 2, .sqe128 = kind == 2, .sq_rewind = kind != 1};
}

}  // namespace

TEST_CASE("Requests are submitted and waited for, and their completions stay in the CQ", "[main]") {
    Ring ring{any_ring()};
    Enter enter{ring};
    for (std::uint64_t round = 0; round < 20; round++) {
        const auto count = static_cast<std::uint32_t>(round % 17);
        for (std::uint64_t i = 0; i < count; i++) claim_nop(ring, 100 * round + i);
        const Entered entered = enter.submit_and_wait(count);
        CHECK(entered);
        CHECK(entered.error == 0);
        CHECK(entered.submitted == count);
        CHECK(entered.completions == count);
        const auto taken = take_all(ring);
        REQUIRE(taken.size() == count);
        for (std::uint64_t i = 0; i < count; i++) CHECK(taken[i].user_data == 100 * round + i);
        CHECK(ring.in_flight() == 0);
    }
}

TEST_CASE("Waits that are over at once let the kernel complete other requests", "[main]") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    char byte = 0;
    Ring ring{any_ring()};
    Enter enter{ring};
    // The kernel completes this receive as part of its deferred work.
    io_uring_sqe* const receive = ring.sq().claim();
    io_uring_prep_recv(receive, ends[0], &byte, 1, 0);
    receive->user_data = 1;
    constexpr unsigned sends_at = 50;
    std::uint64_t turns = 0;
    unsigned round = 0;
    bool done = false;
    for (; round < 100 && !done; round++) {
        if (round == sends_at) REQUIRE(::write(ends[1], "a", 1) == 1);
        claim_nop(ring, 2);
        const Entered entered = enter.submit_and_wait(1);
        REQUIRE(entered);
        turns += entered.exit.turns;
        for (const Completion& completion : take_all(ring)) done = done || completion.user_data == 1;
    }
    CHECK(done);
    CHECK(round <= sends_at + 2);
    // Without deferred work, a run ends in the turn that submits.
    if (enter.engine() == ringstep::Engine::kernel) CHECK(turns <= sends_at + 4);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("Completions that were there before count, as they do for io_uring_enter") {
    Ring ring{any_ring()};
    Enter enter{ring};
    for (std::uint64_t i = 0; i < 10; i++) claim_nop(ring, i);
    CHECK(enter.submit().completions == 10);
    CHECK(enter.submit_and_wait(10).end == EnterEnd::complete);
    Completion first;
    REQUIRE(ring.cq().pop(first));
    CHECK(enter.submit_and_wait(10, 1ms).end == EnterEnd::timed_out);
    claim_nop(ring, 10);
    const Entered entered = enter.submit_and_wait(10);
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.submitted == 1);
    const auto taken = take_all(ring);
    REQUIRE(taken.size() == 10);
    for (std::uint64_t i = 0; i < 10; i++) CHECK(taken[i].user_data == i + 1);
}

TEST_CASE("A submit that waits for nothing lets the kernel post what is due") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Enter enter{ring};
    claim_read(ring, pipe, &byte, 5);
    CHECK(enter.submit().completions == 0);
    CHECK(ring.in_flight() == 1);
    pipe.feed();
    CHECK(enter.submit().completions == 1);
    const auto taken = take_all(ring);
    REQUIRE(taken.size() == 1);
    CHECK(taken[0].user_data == 5);
    CHECK(taken[0].result == 1);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A wait has an end", "[main]") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring{any_ring()};
    Enter enter{ring};
    for (const std::uint32_t count : {1U, 2U, 5U}) {
        for (const std::chrono::nanoseconds timeout :
             {std::chrono::nanoseconds(-1s), 0ns, 1ns, std::chrono::nanoseconds(3ms)}) {
            CAPTURE(count, timeout.count());
            claim_read(ring, pipe, &byte, 1);
            const auto begin = std::chrono::steady_clock::now();
            const Entered entered = enter.submit_and_wait(count, timeout);
            CHECK(std::chrono::steady_clock::now() - begin >= timeout);
            CHECK(entered.end == EnterEnd::timed_out);
            CHECK(entered.submitted == 1);
            CHECK(entered.completions == 0);
            CHECK(take_all(ring).empty());
            CHECK(ring.in_flight() == 1);
            pipe.feed();
            CHECK(enter.submit_and_wait(1, 1h).end == EnterEnd::complete);
            CHECK(take_all(ring).size() == 1);
            CHECK(ring.in_flight() == 0);
        }
    }
}

TEST_CASE("Time-outs of all lengths follow each other, and leave nothing behind") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    std::optional<Enter> enter(std::in_place, ring);
    claim_read(ring, pipe, &byte, 1);
    for (const std::chrono::minutes timeout : {60min, 30min, 20min, 60min}) {
        claim_nop(ring, 2);
        // The nop is there at once, another completion is not: the timer is set.
        std::jthread stopper([&] {
            while (ring.cq().ready() == 0) std::this_thread::yield();
            std::this_thread::sleep_for(3ms);
            enter->request_stop();
        });
        const Entered entered = enter->submit_and_wait(2, timeout);
        CHECK(entered.end == EnterEnd::stop_requested);
        CHECK(entered.submitted != 0);
        CHECK(take_all(ring).size() == 1);
    }
    CHECK(enter->submit_and_wait(1, 2ms).end == EnterEnd::timed_out);
    CHECK(enter->submit_and_wait(2, 2ms).end == EnterEnd::timed_out);
    CHECK(take_all(ring).empty());
    CHECK(ring.in_flight() == 1);
    pipe.feed();
    CHECK(enter->submit_and_wait(1, 1h));
    CHECK(take_all(ring).size() == 1);
    enter.reset();
    CHECK(ring.in_flight() == 0);
    CHECK(ring.cq().ready() == 0);
}

TEST_CASE("The kernel takes a part of the SQEs") {
    const bool rewind = GENERATE(false, true);
    Ring ring{{.sq_entries = 16, .submit_all = false, .sq_rewind = rewind}};
    Enter enter{ring};
    for (std::uint64_t i = 0; i < 8; i++) {
        claim_nop(ring, i);
    }
    io_uring_sqe* bad = claim(ring);
    bad->opcode = 255;
    bad->user_data = 8;
    for (std::uint64_t i = 9; i < 13; i++) claim_nop(ring, i);
    const Entered first = enter.submit_and_wait(13, 1h);
    CHECK(first.end == EnterEnd::partial);
    CHECK(first.error == 0);
    CHECK(first.submitted == 9);
    CHECK(ring.sq().claimed() == 4);
    claim_nop(ring, 13);
    const Entered second = enter.submit_and_wait(14, 1h);
    CHECK(second.end == EnterEnd::complete);
    CHECK(second.submitted == 5);
    auto taken = take_all(ring);
    REQUIRE(taken.size() == 14);
    // Linux 6.1 completes the one that it refuses before those that it took.
    std::ranges::sort(taken, {}, &ringstep::Completion::user_data);
    for (std::uint64_t i = 0; i < 14; i++) {
        CHECK(taken[i].user_data == i);
        CHECK(taken[i].result == (i == 8 ? -EINVAL : 0));
    }
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("What overflows the CQ comes later, in order") {
    Ring ring{{.sq_entries = 32, .cq_entries = 32}};
    Hooked hooked{ring};
    std::uint64_t next = 0;
    std::uint64_t expected = 0;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 32; i++) claim_nop(ring, next++);
        CHECK(hooked.submit_and_wait(32).submitted == 32);
    }
    while (expected < next) {
        const Entered entered = hooked.submit_and_wait(1, 1s);
        REQUIRE(entered.end == EnterEnd::complete);
        for (const Completion& completion : take_all(ring)) CHECK(completion.user_data == expected++);
    }
    CHECK(hooked.state()->completions == next);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A wait for more than the CQ holds is one for all that it holds") {
    Ring ring{{.sq_entries = 8, .cq_entries = 8}};
    Enter enter{ring};
    for (std::uint64_t i = 0; i < 8; i++) claim_nop(ring, i);
    const Entered entered = enter.submit_and_wait(GENERATE(8U, 9U, 1000U, 0xffffffffU), GENERATE(ringstep::for_ever, 1h));
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.completions == 8);
    CHECK(take_all(ring).size() == 8);
}

TEST_CASE("A signal ends the wait", "[main]") {
    const AlarmHandler handler;
    Ring ring;
    Enter enter{ring};
    AlarmHandler::after(30ms);
    const Entered entered = enter.submit_and_wait(GENERATE(1U, 3U), GENERATE(ringstep::for_ever, 1h));
    AlarmHandler::after(0us);
    CHECK(entered.end == EnterEnd::interrupted);
    CHECK(entered.error == EINTR);
    CHECK(take_all(ring).empty());
    claim_nop(ring, 1);
    CHECK(enter.submit_and_wait(1));
}

TEST_CASE("Another thread stops the wait, and wakes it without counting as a completion", "[main]") {
    Ring ring;
    Enter enter{ring};
    std::stop_source source;
    std::jthread other([&] {
        for (int i = 0; i < 5; i++) {
            std::this_thread::sleep_for(2ms);
            enter.program().wake();
        }
        source.request_stop();
    });
    const Entered entered = enter.submit_and_wait(GENERATE(1U, 3U), ringstep::for_ever, source.get_token());
    CHECK(entered.end == EnterEnd::stop_requested);
    other.join();
    CHECK(take_all(ring).empty());
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Cancelled requests complete, and the ring is free for other loops") {
    const TestPipe pipe;
    std::array<char, 8> bytes{};
    Ring ring;
    std::optional<Enter> enter(std::in_place, ring);
    for (unsigned i = 0; i < 8; i++) claim_read(ring, pipe, &bytes[i], i);
    CHECK(enter->submit_and_wait(1, 1ms).end == EnterEnd::timed_out);
    io_uring_sqe* cancel = claim(ring);
    io_uring_prep_cancel_fd(cancel, pipe.reader(), IORING_ASYNC_CANCEL_ALL);
    cancel->user_data = 100;
    CHECK(enter->submit_and_wait(9, 10s).end == EnterEnd::complete);
    for (const Completion& completion : take_all(ring))
        CHECK(completion.result == (completion.user_data == 100 ? 8 : -ECANCELED));
    CHECK(ring.in_flight() == 0);
    enter.reset();
    ringstep::LoopProgram<ringstep::loops::nop_chain> nops(ring);
    nops.state()->total = 100;
    nops.state()->depth = 1;
    CHECK(nops.run().ok());
}

TEST_CASE("Requests in flight and a timer do not keep a ring from closing", "[main]") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Enter enter{ring};
    claim_read(ring, pipe, &byte, 1);
    CHECK(enter.submit_and_wait(2, 1ms).end == EnterEnd::timed_out);
    CHECK(ring.close());
    const Entered entered = enter.submit_and_wait(1, 1ms);
    CHECK(entered.end == EnterEnd::failed);
    CHECK(entered.error != 0);
}

// --- Hooks
// -----------------------------------------------------------------------------------------------------------------------

TEST_CASE("Hooks see each request once and each completion once", "[main]") {
    Ring ring{any_ring()};
    Hooked hooked{ring};
    std::uint64_t submitted = 0;
    for (const std::uint32_t at_most : {0U, 1U, 5U}) {
        CAPTURE(at_most);
        hooked.state()->at_most = at_most;
        for (int round = 0; round < 10; round++) {
            for (int i = 0; i < 13; i++) claim_nop(ring, submitted++);
            CHECK(hooked.submit_and_wait(static_cast<std::uint32_t>(round % 14)));
            CHECK(hooked.state()->submissions == submitted);
            CHECK(hooked.state()->completions == submitted);
            if (round % 4 == 3) (void)take_all(ring);  // otherwise they stay, and are not seen again
        }
        (void)take_all(ring);
    }
}

TEST_CASE("A hook changes requests and completions in their place") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring{any_ring()};
    Hooked hooked{ring};
    claim_read(ring, pipe, &byte, 1 | HOOKED_AS_NOP);  // as it is, it would not complete
    claim_nop(ring, 2 | HOOKED_CHANGE);
    claim_nop(ring, 3);
    CHECK(hooked.submit_and_wait(3, 10s));
    const auto taken = take_all(ring);
    REQUIRE(taken.size() == 3);
    CHECK(taken[0].user_data == (1 | HOOKED_AS_NOP));
    CHECK(taken[0].result == 0);
    CHECK(taken[1].result == 1000);
    CHECK(taken[2].result == 0);
}

TEST_CASE("A hook takes completions out of the middle of the CQ, and the others stay in order") {
    Ring ring{any_ring()};
    Hooked hooked{ring};
    std::mt19937 random(GENERATE(from_range(some_of<unsigned>({1}, {2, 3}))));
    std::vector<std::uint64_t> expected;
    std::uint64_t number = 0;
    std::uint64_t swallowed = 0;
    for (int round = 0; round < 200; round++) {
        const auto count = random() % 17;
        for (std::uint64_t i = 0; i < count; i++) {
            const bool swallow = random() % 2 == 0;
            claim_nop(ring, number | (swallow ? HOOKED_SWALLOW : 0));
            if (swallow) {
                swallowed++;
            } else {
                expected.push_back(number);
            }
            number++;
        }
        const Entered entered = hooked.submit_and_wait(static_cast<std::uint32_t>(expected.size()), 10s);
        REQUIRE(entered.end == EnterEnd::complete);
        CHECK(entered.completions == expected.size());
        if (random() % 3 == 0 || expected.size() > 40) {
            const auto taken = take_all(ring);
            REQUIRE(taken.size() == expected.size());
            for (std::size_t i = 0; i < taken.size(); i++) CHECK(taken[i].user_data == expected[i]);
            expected.clear();
        }
        CHECK(ring.in_flight() == expected.size());
    }
    CHECK(swallowed > 100);
}

TEST_CASE("What is swallowed does not count for the wait") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Hooked hooked{ring};
    claim_nop(ring, 1 | HOOKED_SWALLOW);
    claim_nop(ring, 2 | HOOKED_SWALLOW);
    claim_read(ring, pipe, &byte, 3);
    CHECK(hooked.submit_and_wait(1, 5ms).end == EnterEnd::timed_out);
    std::jthread feeder([&] {
        std::this_thread::sleep_for(5ms);
        pipe.feed();
    });
    CHECK(hooked.submit_and_wait(1, 1h));
    const auto taken = take_all(ring);
    REQUIRE(taken.size() == 1);
    CHECK(taken[0].user_data == 3);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A hook makes requests anew, as often as it takes") {
    Ring ring{any_ring()};
    Hooked hooked{ring};
    for (std::uint64_t i = 0; i < 10; i++) claim_nop(ring, i | (i * 20 * HOOKED_AGAIN));
    const Entered entered = hooked.submit_and_wait(10, 60s);
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.submitted == 10);
    const auto taken = take_all(ring);
    REQUIRE(taken.size() == 10);
    std::uint64_t sum = 0;
    for (const Completion& completion : taken) {
        CHECK(completion.user_data < 10);
        sum += completion.user_data;
    }
    CHECK(sum == 45);
    CHECK(hooked.state()->again == 20 * 45);
    CHECK(ring.in_flight() == 0);
    CHECK(entered.exit.submitted == 10 + 20 * 45);
}

TEST_CASE("Nothing goes past the hook when a signal or a stop ends the wait") {
    const AlarmHandler handler;
    const TestPipe pipe;
    std::array<char, 64> bytes{};
    Ring ring;
    Hooked hooked{ring};
    std::uint64_t seen = 0;
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 40; i++) claim_read(ring, pipe, &bytes[i], i | HOOKED_SWALLOW);
        std::jthread feeder([&] {
            std::this_thread::sleep_for(2ms);
            pipe.feed(40);
            if (round % 2 == 0) hooked.request_stop();
        });
        if (round % 2 != 0) AlarmHandler::after(3ms);
        const Entered entered = hooked.submit_and_wait(1, 20ms);
        CHECK(entered.end != EnterEnd::complete);
        for (const Completion& completion : take_all(ring)) {
            INFO("user_data " << completion.user_data);
            CHECK(false);
        }
        feeder.join();
        AlarmHandler::after(0us);
        seen += 40;
        while (hooked.state()->completions < seen) CHECK(hooked.submit_and_wait(1, 5ms).end != EnterEnd::failed);
        CHECK(take_all(ring).empty());
    }
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Each request to stop ends one wait, also when it comes while the rest is handed to the hook") {
    constexpr unsigned rounds = 300;
    const AlarmHandler handler;
    Ring ring{{.cq_entries = 128}};
    Hooked hooked{ring};
    hooked.state()->at_most = 1;
    std::atomic<unsigned> ends{0};
    std::thread stopper([&] {
        const auto until = std::chrono::steady_clock::now() + 60s;
        for (unsigned i = 0; i < rounds; i++) {
            hooked.request_stop();
            while (ends == i) {
                ensure(std::chrono::steady_clock::now() < until);
                std::this_thread::yield();
            }
            ensure(ends == i + 1);
        }
    });
    // In the kernel, signals end waits early, so that there is a rest.
    AlarmHandler::after(300us);
    while (ends < rounds) {
        for (unsigned i = 0; i < 40; i++) claim_nop(ring, i);
        do {
            const Entered entered = hooked.submit_and_wait(1);
            ensure(entered.end == EnterEnd::complete || entered.end == EnterEnd::stop_requested ||
                   entered.end == EnterEnd::interrupted);
            if (entered.end == EnterEnd::stop_requested) ends++;
            while (ring.cq().ready() != 0) (void)take_all(ring);
        } while (ring.sq().claimed() != 0 && ends < rounds);
    }
    stopper.join();
    AlarmHandler::after(0us);
    CHECK(hooked.submit());
}

TEST_CASE("Requests are cancelled by their user_data, and the cancellation has no completion", "[main]") {
    const TestPipe pipe;
    std::array<char, 4> bytes{};
    Ring ring{any_ring()};
    Enter enter{ring};
    CHECK_FALSE(enter.cancel(5));
    claim_read(ring, pipe, &bytes[0], 5);
    CHECK_FALSE(enter.cancel(5));  // it is not submitted
    claim_read(ring, pipe, &bytes[1], 6);
    claim_read(ring, pipe, &bytes[2], 5);
    CHECK(enter.submit().submitted == 3);
    CHECK(enter.cancel(5));
    CHECK(ring.sq().claimed() == 0);
    CHECK(enter.submit_and_wait(2, 1h));
    unsigned cancelled = 0;
    for (const Completion& completion : enter.completions()) {
        CHECK(completion.user_data == 5);
        CHECK(completion.result == -ECANCELED);
        cancelled++;
    }
    CHECK(cancelled == 2);
    CHECK_FALSE(enter.cancel(5));
    CHECK(ring.in_flight() == 1);
    pipe.feed();
    CHECK(enter.submit_and_wait(1, 1h).completions == 1);
    CHECK_FALSE(enter.cancel(6));  // it is complete
    const auto taken = take_all(ring);
    REQUIRE(taken.size() == 1);
    CHECK(taken[0].user_data == 6);
    CHECK(taken[0].result == 1);
    CHECK(enter.submit().completions == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A closed ring has no requests to cancel, and no completions to take") {
    Ring ring;
    Enter enter{ring};
    const int closed = ring.fd();
    REQUIRE(ring.close());
    Ring other;  // has the descriptor of the closed one
    CHECK(other.fd() == closed);
    const TestPipe pipe;
    char byte = 0;
    claim_read(other, pipe, &byte, 5);
    CHECK(other.submit().count == 1);
    CHECK_FALSE(enter.cancel(5));
    pipe.feed();
    CHECK(other.submit_and_wait(1).error == 0);
    REQUIRE(other.cq().ready() == 1);
    CHECK(take_all(other)[0].result == 1);
    const ringstep::Error error = error_of([&] { (void)enter.completions(); });
    CHECK(error.error_number() == EBADF);
}

TEST_CASE("A class whose program was taken away has no loop any more") {
    Ring ring;
    Enter enter{ring};
    const auto taken = std::move(enter.program());
    CHECK(taken.attached());
    claim_nop(ring, 1);
    for (const Entered& entered : {enter.submit_and_wait(1, 1h), enter.run()}) {
        CHECK(entered.end == EnterEnd::failed);
        CHECK(entered.exit.reason == ringstep::ExitReason::detached);
        CHECK(entered.submitted == 0);
    }
    enter.request_stop();
    enter.wake();
}

TEST_CASE("A wait that was interrupted goes on until its own deadline") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Enter enter{ring};
    claim_read(ring, pipe, &byte, 1);
    enter.request_stop();
    CHECK(enter.submit_and_wait(1, 1h).end == EnterEnd::stop_requested);
    enter.request_stop();
    CHECK(enter.run().end == EnterEnd::stop_requested);
    pipe.feed();
    Entered entered = enter.run();
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.completions == 1);
    CHECK(take_all(ring).size() == 1);

    const auto begin = std::chrono::steady_clock::now();
    enter.request_stop();
    CHECK(enter.submit_and_wait(1, 40ms).end == EnterEnd::stop_requested);
    std::this_thread::sleep_until(begin + 45ms);
    CHECK(enter.run().end == EnterEnd::timed_out);
}

TEST_CASE("Hooks see the completions of cancelled requests") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Hooked hooked{ring};
    claim_read(ring, pipe, &byte, 3 | HOOKED_SWALLOW);
    CHECK(hooked.submit().submitted == 1);
    CHECK(hooked.cancel(3 | HOOKED_SWALLOW));
    while (ring.in_flight() != 0) CHECK(hooked.submit());
    CHECK(take_all(ring).empty());
}
