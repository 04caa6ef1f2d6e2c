// SPDX-License-Identifier: MIT
// Waiting in stages, and for groups of requests.
#include <ringstep/error.hpp>
#include <ringstep/loops/stages.hpp>

#include "ensure.hpp"
#include "loops/enter_help.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <stop_token>
#include <poll.h>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using ringstep::Completion;
using ringstep::Entered;
using ringstep::EnterEnd;
using ringstep::RequestGroup;
using ringstep::Ring;
using ringstep::Stage;
using ringstep::Stages;

namespace {

constexpr auto none = ringstep::for_ever;

template <class Function>
int errno_of(Function&& function) {
    try {
        function();
    } catch (const ringstep::Error& error) {
        CHECK_FALSE(error.advice().empty());
        return error.error_number();
    }
    return 0;
}

std::size_t take(Ring& ring) { return take_all(ring).size(); }

ringstep::RingOptions any_ring() {
    const int kind = GENERATE(0, 1, 2);
    return {.sq_entries = 32, .cq_entries = 64, .cqe32 = kind == 2, .sqe128 = kind == 2, .sq_rewind = kind != 1};
}

}  // namespace

TEST_CASE("The first stage ends the wait if it gets what it wants", "[main]") {
    Ring ring{any_ring()};
    Stages stages{ring, {{8, 1h}, {4, 1h}, {1}}};
    for (std::uint64_t i = 0; i < 8; i++) claim_nop(ring, i);
    const Entered entered = stages.submit_and_wait();
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.submitted == 8);
    CHECK(entered.completions == 8);
    CHECK(stages.stage() == 0);
    CHECK(take(ring) == 8);
}

TEST_CASE("Fewer completions are enough in a later stage, and the first that has enough ends the wait") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring{any_ring()};
    const std::uint64_t count = GENERATE(1U, 3U, 4U, 7U);
    // With four, the second stage ends the wait, and has all the time for that.
    Stages stages{ring, {{8, 2ms}, {4, count >= 4 ? std::chrono::nanoseconds(1h) : 3ms}, {1, none}}};
    claim_read(ring, pipe, &byte, 100);
    for (std::uint64_t i = 0; i < count; i++) claim_nop(ring, i);
    const auto begin = std::chrono::steady_clock::now();
    const Entered entered = stages.submit_and_wait();
    const auto time = std::chrono::steady_clock::now() - begin;
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.completions == count);
    CHECK(stages.stage() == (count >= 4 ? 1 : 2));
    CHECK(time >= (count >= 4 ? 2ms : 5ms));
    CHECK(take(ring) == count);
    CHECK(ring.in_flight() == 1);
}

TEST_CASE("The end of the last stage is the end of the wait") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Stages stages{ring, {{8, 1ms}, {4, 1ms}, {2, 1ms}}};
    claim_read(ring, pipe, &byte, 1);
    claim_nop(ring, 2);
    for (int round = 0; round < 3; round++) {
        const auto begin = std::chrono::steady_clock::now();
        const Entered entered = stages.submit_and_wait();
        CHECK(std::chrono::steady_clock::now() - begin >= 3ms);
        CHECK(entered.end == EnterEnd::timed_out);
        CHECK(entered.submitted == (round == 0 ? 2 : 0));
        CHECK(entered.completions == 1);
        CHECK(stages.stage() == 2);
    }
    CHECK(take(ring) == 1);
}

TEST_CASE("A completion that comes while the last stage waits ends it") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Stages stages{ring, {{8, 1ms}, {4, 1ms}, {1, none}}};
    claim_read(ring, pipe, &byte, 1);
    std::jthread feeder([&] {
        while (stages.stage() != 2) std::this_thread::sleep_for(1ms);
        pipe.feed();
    });
    CHECK(stages.submit_and_wait().end == EnterEnd::complete);
    CHECK(stages.stage() == 2);
    CHECK(take(ring) == 1);
    CHECK(ring.in_flight() == 0);
}

namespace {

/// Submits timeouts, which complete one after the other, `apart` from each other.
void claim_timeouts(Ring& ring, std::vector<__kernel_timespec>& times, std::chrono::nanoseconds apart) {
    std::chrono::nanoseconds after{};
    for (__kernel_timespec& time : times) {
        after += apart;
        time = {.tv_sec = 0, .tv_nsec = after.count()};
        io_uring_sqe* sqe = claim(ring);
        io_uring_prep_timeout(sqe, &time, 0, IORING_TIMEOUT_ETIME_SUCCESS);
        sqe->user_data = 1;
    }
}

/// Waits with one timeout in flight, and returns how many turns that took.
std::uint64_t turns_for_timeout(Ring& ring, Stages& stages, std::chrono::nanoseconds after) {
    std::vector<__kernel_timespec> times(1);
    claim_timeouts(ring, times, after);
    const Entered entered = stages.submit_and_wait();
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.completions == 1);
    CHECK(take(ring) == 1);
    return entered.exit.turns;
}

/// Waits for four reads, the first of which ends earlier than the others. Returns how many turns that took.
std::uint64_t turns_for_reads(Ring& ring, Stages& stages, std::uint64_t turns_before) {
    std::array<TestPipe, 4> pipes;
    std::array<char, 4> bytes{};
    for (std::size_t i = 0; i < pipes.size(); i++) claim_read(ring, pipes.at(i), &bytes.at(i), i);
    const auto until_turn = [&](std::uint64_t turn) {
        const auto limit = std::chrono::steady_clock::now() + 50ms;  // the second turn may never come
        while (std::atomic_ref(stages.state().memory()->control().turns).load() < turns_before + turn &&
               std::chrono::steady_clock::now() < limit)
            std::this_thread::sleep_for(1ms);
    };
    std::jthread feeder([&] {
        until_turn(1);
        pipes[0].feed();
        until_turn(2);
        for (std::size_t i = 1; i < pipes.size(); i++) pipes.at(i).feed();
    });
    const Entered entered = stages.submit_and_wait();
    CHECK(entered.end == EnterEnd::complete);
    CHECK(stages.stage() == 0);
    CHECK(take(ring) == 4);
    return entered.exit.turns;
}

}  // namespace

TEST_CASE("Where completions are rare, a wait in stages sleeps once", "[main]") {
    Ring ring{any_ring()};
    SECTION("two stages") {
        Stages stages{ring, {{32, 1ms}, {1}}};
        CHECK(turns_for_timeout(ring, stages, 8ms) <= 3);  // the loop does not know yet
        CHECK(stages.stage() == 1);
        for (int round = 0; round < 5; round++) {
            CHECK(turns_for_timeout(ring, stages, 8ms) == 2);
            CHECK(stages.stage() == 1);
        }
    }
    SECTION("many stages") {
        Stages stages{ring, {{32, 1ms}, {16, 1ms}, {8, 1ms}, {4, 1ms}, {1, 1h}}};
        CHECK(turns_for_timeout(ring, stages, 12ms) <= 6);
        for (int round = 0; round < 5; round++) {
            CHECK(turns_for_timeout(ring, stages, 12ms) == 2);
            CHECK(stages.stage() == 4);
        }
    }
    SECTION("until the last one is over") {
        Stages stages{ring, {{8, 1ms}, {4, 1ms}, {2, 1ms}}};
        const TestPipe pipe;
        char byte = 0;
        claim_read(ring, pipe, &byte, 1);
        for (int round = 0; round < 5; round++) {
            const Entered entered = stages.submit_and_wait();
            CHECK(entered.end == EnterEnd::timed_out);
            CHECK(stages.stage() == 2);
            if (round != 0) CHECK(entered.exit.turns == 2);
        }
        pipe.feed();
    }
}

TEST_CASE("The end of a stage that ends waits still wakes the thread up") {
    Ring ring;
    // Completions after 3 ms and 6 ms: too few for the first two stages, and enough for the third, which begins after 10 ms.
    Stages stages{ring, {{8, 1ms}, {4, 9ms}, {2, 1h}, {1, none}}};
    for (int round = 0; round < 5; round++) {
        std::vector<__kernel_timespec> times(2);
        claim_timeouts(ring, times, 3ms);
        const auto begin = std::chrono::steady_clock::now();
        CHECK(stages.submit_and_wait().end == EnterEnd::complete);
        CHECK(std::chrono::steady_clock::now() - begin >= 10ms);  // so the end of the second stage was not missed
        CHECK(stages.stage() == 2);
        CHECK(take(ring) == 2);
    }
}

TEST_CASE("When completions become frequent, the first stage ends waits again, with one sleep") {
    Ring ring;
    Stages stages{ring, {{32, 1ms}, {1}}};
    for (int round = 0; round < 3; round++) (void)turns_for_timeout(ring, stages, 8ms);
    REQUIRE(stages.state()->aim == 1);
    stages.set({{4, 1h}, {1}});
    std::uint64_t turns = stages.state().memory()->control().turns;
    const std::uint64_t first = turns_for_reads(ring, stages, turns);
    CHECK(first <= 3);
    std::uint64_t least = first;
    for (int round = 0; round < 3; round++) {
        turns = stages.state().memory()->control().turns;
        least = std::min(least, turns_for_reads(ring, stages, turns));
    }
    CHECK(least == 2);
}

TEST_CASE("Stages of no time are passed through, as far as they do not end the wait") {
    Ring ring;
    Stages stages{ring, {{5, 0ns}, {3, 0ns}, {2, 0ns}}};
    for (std::uint64_t i = 0; i < 3; i++) claim_nop(ring, i);
    CHECK(stages.submit_and_wait());
    CHECK(take(ring) == 3);
    claim_nop(ring, 1);
    CHECK(stages.submit_and_wait().end == EnterEnd::timed_out);
    CHECK(take(ring) == 1);
    stages.set({{0, 0ns}});
    CHECK(stages.submit_and_wait());
}

TEST_CASE("A stage whose time is negative is over at once, and one that is too long never") {
    Ring ring;
    Stages stages{ring, {{5, -1ns}, {3, std::chrono::hours::min()}, {2, -1h}}};
    claim_nop(ring, 1);
    CHECK(stages.submit_and_wait().end == EnterEnd::timed_out);
    CHECK(stages.stage() == 2);
    CHECK(take(ring) == 1);
    CHECK(errno_of([&] { stages.set({{1, std::chrono::hours::max()}, {1, 1ms}}); }) == EINVAL);
    stages.set({{5, -1ns}, {1, std::chrono::hours::max()}});
    claim_nop(ring, 1);
    CHECK(stages.submit_and_wait().end == EnterEnd::complete);
    CHECK(stages.stage() == 1);
    CHECK(take(ring) == 1);
    // As long as can be said, and still an end.
    stages.set({{1, std::chrono::nanoseconds::max() - 1ns}, {1, 1ms}});
    claim_nop(ring, 1);
    CHECK(stages.submit_and_wait().end == EnterEnd::complete);
    CHECK(stages.stage() == 0);
    CHECK(take(ring) == 1);
    const RequestGroup group = stages.group(0xff, 7);
    const auto over = GENERATE(as<ringstep::Duration>{}, -1ms, 0ns, std::chrono::hours::min());
    const TestPipe pipe;
    char byte = 0;
    claim_read(ring, pipe, &byte, 7);
    CHECK(stages.submit_and_wait_for_all({group.all()}, over).end == EnterEnd::timed_out);
    pipe.feed();
    CHECK(stages.submit_and_wait_for_any({group.all()}, std::chrono::nanoseconds::max() - 1ns).end == EnterEnd::complete);
    CHECK(take(ring) == 1);
}

TEST_CASE("What cannot be waited for is refused") {
    Ring ring;
    const std::vector<Stage> most(RINGSTEP_STAGES_STAGES, Stage{1, 1ms});
    Stages stages{ring, most};
    CHECK(errno_of([&] { stages.set(std::vector<Stage>(RINGSTEP_STAGES_STAGES + 1, Stage{1, 1ms})); }) == EINVAL);
    CHECK(errno_of([&] { stages.set(std::vector<Stage>{}); }) == EINVAL);
    CHECK(errno_of([&] { stages.set({{1, none}, {1, 1ms}}); }) == EINVAL);
    CHECK(errno_of([&] { (void)stages.group(0xf0, 0x11); }) == EINVAL);
    // What was refused has changed nothing.
    CHECK(stages.state()->stage_count == RINGSTEP_STAGES_STAGES);
    CHECK(stages.submit_and_wait().end == EnterEnd::timed_out);

    std::vector<RequestGroup> groups;
    for (std::uint64_t i = 0; i < RINGSTEP_STAGES_GROUPS; i++) groups.push_back(stages.group(0xff, i));
    CHECK(errno_of([&] { (void)stages.group(0xff, 99); }) == ENOSPC);
    groups.pop_back();
    CHECK(errno_of([&] { (void)stages.group(0xff, 99); }) == 0);
}

TEST_CASE("A stop and a signal end a wait in stages", "[main]") {
    const AlarmHandler handler;
    Ring ring;
    Stages stages{ring, {{8, 1ms}, {4, 1h}, {1, none}}};
    std::stop_source source;
    std::jthread stopper([&] {
        std::this_thread::sleep_for(5ms);
        source.request_stop();
    });
    CHECK(stages.submit_and_wait(source.get_token()).end == EnterEnd::stop_requested);
    stopper.join();
    AlarmHandler::after(20ms);
    CHECK(stages.submit_and_wait().end == EnterEnd::interrupted);
    AlarmHandler::after(0us);
    CHECK(take(ring) == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A group is waited for whatever else completes", "[main]") {
    const TestPipe writes_pipe;
    const TestPipe other_pipe;
    std::array<char, 16> bytes{};
    Ring ring{any_ring()};
    Stages stages{ring};
    const RequestGroup writes = stages.group(0xff00, 0x100);
    for (unsigned i = 0; i < 3; i++) claim_read(ring, writes_pipe, &bytes[i], 0x100 | i);
    for (unsigned i = 0; i < 3; i++) claim_read(ring, other_pipe, &bytes[8 + i], 0x200 | i);
    for (unsigned i = 0; i < 20; i++) claim_nop(ring, 0x300 | i);
    CHECK(stages.submit_and_wait_for_all({writes.all()}, 3ms).end == EnterEnd::timed_out);
    CHECK(writes.submitted() == 3);
    CHECK(writes.in_flight() == 3);
    other_pipe.feed(2);
    writes_pipe.feed(2);
    CHECK(stages.submit_and_wait_for_all({writes.all()}, 3ms).end == EnterEnd::timed_out);
    CHECK(writes.completed() == 2);
    CHECK(stages.submit_and_wait_for_all({writes.at_least(2)}, 10s).end == EnterEnd::complete);
    CHECK(take(ring) == 24);  // taken or not, it counts once
    std::jthread feeder([&] {
        std::this_thread::sleep_for(5ms);
        other_pipe.feed();
        std::this_thread::sleep_for(5ms);
        writes_pipe.feed();
    });
    CHECK(stages.submit_and_wait_for_all({writes.all()}).end == EnterEnd::complete);
    CHECK(writes.in_flight() == 0);
    CHECK(take(ring) == 2);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Several groups, all of them or one") {
    const TestPipe first_pipe;
    const TestPipe second_pipe;
    std::array<char, 16> bytes{};
    Ring ring;
    Stages stages{ring};
    const RequestGroup first = stages.group(0xff00, 0x100);
    const RequestGroup second = stages.group(0xff00, 0x200);
    const RequestGroup both = stages.group(0xf000, 0);  // the requests of the other two
    for (unsigned i = 0; i < 4; i++) {
        claim_read(ring, first_pipe, &bytes[i], 0x100 | i);
        claim_read(ring, second_pipe, &bytes[8 + i], 0x200 | i);
    }
    CHECK(stages.submit().submitted == 8);
    second_pipe.feed(2);
    CHECK(stages.submit_and_wait_for_any({first.at_least(1), second.at_least(2)}, 10s).end == EnterEnd::complete);
    CHECK(stages.submit_and_wait_for_all({first.at_least(1), second.at_least(2)}, 2ms).end == EnterEnd::timed_out);
    CHECK(both.completed() == 2);
    first_pipe.feed(4);
    CHECK(stages.submit_and_wait_for_all({first.all(), second.at_least(2)}, 10s).end == EnterEnd::complete);
    CHECK(stages.submit_and_wait_for_any({second.all(), both.at_least(6)}, 10s).end == EnterEnd::complete);
    CHECK(stages.submit_and_wait_for_any({second.all()}, 1ms).end == EnterEnd::timed_out);
    CHECK(second.in_flight() == 2);
    second_pipe.feed(2);
    CHECK(stages.submit_and_wait_for_all({second.all()}));
    CHECK(take(ring) == 8);
}

TEST_CASE("A group that outlives its Stages keeps its counts, and touches nothing of the next ones") {
    Ring ring;
    std::optional<RequestGroup> old;
    {
        Stages stages{ring};
        old = stages.group(0xff, 1);
        claim_nop(ring, 1);
        CHECK(stages.submit_and_wait_for_all({old->all()}));
        CHECK(take(ring) == 1);
    }
    CHECK(old->completed() == 1);
    Stages next{ring};
    const RequestGroup group = next.group(0xff, 2);
    CHECK(old->completed() == 1);
    old.reset();
    claim_nop(ring, 2);
    CHECK(next.submit_and_wait_for_all({group.all()}));
    CHECK(group.completed() == 1);
    CHECK(group.in_flight() == 0);
}

TEST_CASE("A group counts from when it was made, and another may take its place") {
    Ring ring;
    Stages stages{ring};
    for (std::uint64_t i = 0; i < 5; i++) claim_nop(ring, 1);
    CHECK(stages.submit().completions == 5);
    std::optional<RequestGroup> group = stages.group(0xff, 1);
    CHECK(stages.submit().completions == 5);
    CHECK(group->completed() == 0);
    claim_nop(ring, 1);
    CHECK(stages.submit_and_wait_for_all({group->all()}));
    CHECK(group->completed() == 1);
    group.reset();
    claim_nop(ring, 1);
    CHECK(stages.submit());
    group = stages.group(0xff, 1);
    CHECK(stages.submit());
    CHECK(group->completed() == 0);
    claim_nop(ring, 1);
    claim_nop(ring, 2);
    CHECK(stages.submit_and_wait_for_all({group->at_least(1)}));
    CHECK(group->submitted() == 1);
    CHECK(take(ring) == 9);
}

TEST_CASE("Failed and cancelled requests end, too") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring;
    Stages stages{ring};
    const RequestGroup group = stages.group(0xff, 1);
    claim_read(ring, pipe, &byte, 1);
    io_uring_sqe* bad = claim(ring);
    bad->opcode = 255;
    bad->user_data = 1;
    CHECK(stages.submit_and_wait_for_all({group.all()}, 2ms).end == EnterEnd::timed_out);
    io_uring_sqe* cancel = claim(ring);
    io_uring_prep_cancel_fd(cancel, pipe.reader(), 0);
    cancel->user_data = 2;
    CHECK(stages.submit_and_wait_for_all({group.all()}, 10s));
    for (const Completion& completion : take_all(ring)) CHECK((completion.user_data == 2) == completion.ok());
}

TEST_CASE("Requests that Stages cancels end, and nothing else completes", "[main]") {
    const TestPipe pipe;
    std::array<char, 3> bytes{};
    Ring ring;
    Stages stages{ring};
    const RequestGroup group = stages.group(0xff00, 0x100);
    CHECK_FALSE(stages.cancel(0x101));
    claim_read(ring, pipe, &bytes[0], 0x101);
    claim_read(ring, pipe, &bytes[1], 0x101);
    claim_read(ring, pipe, &bytes[2], 0x202);
    CHECK(stages.submit());
    CHECK(group.in_flight() == 2);
    CHECK(stages.cancel(0x101));
    CHECK(stages.submit_and_wait_for_all({group.all()}, 10s));
    CHECK(group.completed() == 2);
    std::size_t cancelled = 0;
    for (const Completion& completion : stages.completions()) {
        CHECK(completion.user_data == 0x101);
        CHECK(completion.result == -ECANCELED);
        cancelled++;
    }
    CHECK(cancelled == 2);
    CHECK_FALSE(stages.cancel(0x101));
    CHECK(ring.in_flight() == 1);
    CHECK(stages.cancel(0x202));
    while (ring.in_flight() != 0) {
        CHECK(stages.submit());
        (void)take(ring);
    }
}

TEST_CASE("A wait that was interrupted goes on as it was") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring{{.sq_entries = 8, .cq_entries = 8}};
    Stages stages{ring, {{1, none}}};
    const RequestGroup group = stages.group(0xff, 1);
    claim_read(ring, pipe, &byte, 1);
    CHECK(stages.submit());
    stages.request_stop();
    CHECK(stages.submit_and_wait_for_all({group.all()}, 1h).end == EnterEnd::stop_requested);
    for (unsigned i = 0; i < 8; i++) claim_nop(ring, 2);
    CHECK(stages.run().end == EnterEnd::cq_full);
    CHECK(take(ring) == 8);
    pipe.feed();
    CHECK(stages.run().end == EnterEnd::complete);
    CHECK(group.in_flight() == 0);
    CHECK(take(ring) == 1);

    // A group that does not complete, and one that has: one of them is enough.
    claim_read(ring, pipe, &byte, 1);
    const RequestGroup other = stages.group(0xff, 2);
    claim_nop(ring, 2);
    stages.request_stop();
    CHECK(stages.submit_and_wait_for_any({group.at_least(2), other.at_least(1)}, 1h).end == EnterEnd::stop_requested);
    CHECK(stages.run().end == EnterEnd::complete);
    CHECK(take(ring) == 1);

    // Stages are no groups.
    stages.request_stop();
    CHECK(stages.submit_and_wait().end == EnterEnd::stop_requested);
    pipe.feed();
    CHECK(stages.run().end == EnterEnd::complete);
    CHECK(take(ring) == 1);
}

TEST_CASE("A multishot request is one request with many completions") {
    const TestPipe pipe;
    Ring ring;
    Stages stages{ring};
    const RequestGroup group = stages.group(0xff, 1);
    io_uring_sqe* poll = claim(ring);
    io_uring_prep_poll_multishot(poll, pipe.reader(), POLLIN);
    poll->user_data = 1;
    CHECK(stages.submit());
    for (std::uint64_t i = 1; i <= 3; i++) {
        pipe.feed();
        CHECK(stages.submit_and_wait_for_all({group.at_least(i)}, 10s));
    }
    CHECK(group.in_flight() == 1);
    io_uring_sqe* cancel = claim(ring);
    io_uring_prep_cancel_fd(cancel, pipe.reader(), 0);
    cancel->user_data = 2;
    CHECK(stages.submit_and_wait_for_all({group.all()}, 10s));
    CHECK(group.in_flight() == 0);
    (void)take(ring);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A CQ that nobody empties ends a wait for a group") {
    const TestPipe pipe;
    char byte = 0;
    Ring ring{{.sq_entries = 8, .cq_entries = 8}};
    Stages stages{ring};
    const RequestGroup group = stages.group(0xff, 1);
    claim_read(ring, pipe, &byte, 1);
    for (unsigned i = 0; i < 7; i++) claim_nop(ring, 2);
    CHECK(stages.submit());
    for (unsigned i = 0; i < 8; i++) claim_nop(ring, 2);
    CHECK(stages.submit_and_wait_for_all({group.all()}, 10s).end == EnterEnd::cq_full);
    CHECK(take(ring) == 8);
    pipe.feed();
    Entered entered;
    std::size_t taken = 0;
    do {
        entered = stages.submit_and_wait_for_all({group.all()}, 10s);
        taken += take(ring);
    } while (entered.end == EnterEnd::cq_full);
    CHECK(entered.end == EnterEnd::complete);
    CHECK(taken == 8);
}

TEST_CASE("A wait on another thread is refused, and leaves the wait of the owning thread alone") {
    const TestPipe pipe;
    Ring ring;
    Stages stages{ring, {{2}}};
    std::array<char, 2> bytes{};
    for (char& byte : bytes) io_uring_prep_read(ring.sq().claim(), pipe.reader(), &byte, 1, 0);
    std::thread other([&] {
        while (std::atomic_ref(stages.state().memory()->control().turns).load() == 0) std::this_thread::sleep_for(1ms);
        pipe.feed();
        for (int i = 0; i < 20; i++) {
            for (const Entered& entered :
                 {stages.submit(), stages.submit_and_wait(), stages.submit_and_wait_for_all({}, none)}) {
                ensure(entered.end == EnterEnd::failed);
                ensure(entered.error == EEXIST);
                ensure(entered.exit.reason == ringstep::ExitReason::wrong_thread);
            }
            stages.program().wake();  // the wait looks at its state again
            std::this_thread::sleep_for(1ms);
        }
        pipe.feed();
    });
    Entered entered;
    do {
        entered = stages.submit_and_wait();
    } while (entered.end == EnterEnd::interrupted);
    other.join();
    CHECK(entered.end == EnterEnd::complete);
    CHECK(entered.completions == 2);
    CHECK(take(ring) == 2);
}
