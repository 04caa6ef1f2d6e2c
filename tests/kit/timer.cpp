// SPDX-License-Identifier: MIT
// Waiting with a deadline: timer.bpf.h, and what is left of it when a loop has ended.
#include <ringstep/compiled/timed.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/timed.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Timed = LoopProgram<ringstep::loops::timed>;

namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};
constexpr std::uint32_t never_so_often = ~std::uint32_t{0};

std::uint64_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t in(std::chrono::nanoseconds time) { return now() + static_cast<std::uint64_t>(time.count()); }

struct Pipe : descriptors::Pipe {
    char buffer[16] = {};
    void add_read(Ring& ring, std::uint64_t user_data) {
        io_uring_sqe* sqe = ring.sq().claim();
        REQUIRE(sqe != nullptr);
        io_uring_prep_read(sqe, fds[0], buffer, 1, 0);
        sqe->user_data = user_data;
    }
};

/// A run that the last of three nops ends, with the deadline still to come.
void run_with_pending_deadline(Timed& program, std::uint64_t deadline) {
    program.state()->completed = 0;
    program.state()->deadline = deadline;
    program.state()->period = 3'600'000'000'000;  // it may come before the nops have completed
    program.state()->beats = never_so_often;
    program.state()->wait = 1;
    program.state()->nops = 3;
    program.state()->async = 1;
    program.state()->total = 3;
    const LoopExit exit = program.run();
    REQUIRE(exit.ok());
    CHECK(exit.submitted == 3);
    CHECK(exit.completions == 3);
    CHECK(program.state()->strange == 0);
}

void expect_nothing_left(Ring& ring) {
    CHECK(ring.in_flight() == 0);
    for (const ringstep::Completion& completion : ring.cq()) {
        INFO("user_data " << completion.user_data << ", result " << completion.result);
        CHECK(false);
    }
}

ringstep::RingOptions any_ring() {
    const int kind = GENERATE(0, 1, 2);
    return {.sq_entries = 8, .cq_entries = 64, .cqe32 = kind == 2, .sqe128 = kind == 2, .sq_rewind = kind != 1};
}

}  // namespace

TEST_CASE("A deadline ends a wait, for one completion or for many", "[main]") {
    Ring ring{any_ring()};
    Timed program(ring);
    program.state()->wait = GENERATE(1U, 8U);
    program.state()->beats = 1;
    const std::uint64_t deadline = in(5ms);
    program.state()->deadline = deadline;
    const LoopExit exit = program.run();
    CHECK(exit.reason == ExitReason::stopped);
    CHECK(exit.code == 1);
    CHECK(now() >= deadline);
    CHECK(exit.submitted == 0);
    CHECK(exit.completions == 0);
    CHECK(program.state()->completed == 0);
    expect_nothing_left(ring);
}

TEST_CASE("A deadline that has passed ends a wait at once") {
    Ring ring;
    Timed program(ring);
    program.state()->wait = 3;
    program.state()->beats = 4;
    program.state()->deadline = 1;
    program.state()->period = 1;
    const LoopExit exit = program.run();
    CHECK(exit.code == 1);
    CHECK(program.state()->beaten == 4);
    expect_nothing_left(ring);
}

TEST_CASE("Deadlines follow each other, with requests between them") {
    Ring ring{any_ring()};
    Timed program(ring);
    program.state()->wait = GENERATE(1U, 3U);
    program.state()->beats = 20;
    program.state()->deadline = in(1ms);
    program.state()->period = 1'000'000;
    program.state()->nops = 7;
    const LoopExit exit = program.run();
    CHECK(exit.code == 1);
    CHECK(program.state()->beaten == 20);
    CHECK(program.state()->completed == 7);
    CHECK(program.state()->strange == 0);
    CHECK(exit.submitted == 7);
    CHECK(exit.completions == 7);
    expect_nothing_left(ring);
}

TEST_CASE("What has completed before the deadline is not held up by it") {
    Ring ring;
    Timed program(ring);
    run_with_pending_deadline(program, in(1h));
    expect_nothing_left(ring);
}

TEST_CASE("An earlier deadline than the one before holds") {
    Ring ring{any_ring()};
    Timed program(ring);
    run_with_pending_deadline(program, in(1h));
    run_with_pending_deadline(program, in(30min));
    run_with_pending_deadline(program, in(45min));
    program.state()->total = 0;
    program.state()->beats = 1;
    program.state()->wait = GENERATE(1U, 5U);
    program.state()->deadline = in(3ms);
    const LoopExit exit = program.run();
    CHECK(exit.code == 1);
    CHECK(exit.completions == 0);
    expect_nothing_left(ring);
}

TEST_CASE("A timer that fires between two runs is seen by nobody", "[main]") {
    Ring ring;
    Timed program(ring);
    run_with_pending_deadline(program, in(1ms));
    std::this_thread::sleep_for(10ms);
    expect_nothing_left(ring);
    program.state()->beaten = 0;
    run_with_pending_deadline(program, in(1h));
    program.state()->beaten = 0;
    program.state()->beats = 1;
    program.state()->total = 0;
    program.state()->deadline = in(2ms);
    CHECK(program.run().code == 1);
    expect_nothing_left(ring);
}

TEST_CASE("The state may be wiped between two runs") {
    Ring ring;
    Timed program(ring);
    for (int i = 0; i < 5; i++) {
        run_with_pending_deadline(program, in(10min));
        *program.state() = {};
    }
    program.state()->wait = 2;
    program.state()->beats = 1;
    program.state()->deadline = in(2ms);
    CHECK(program.run().code == 1);
    expect_nothing_left(ring);
}

TEST_CASE("The next loop on the ring has nothing to do with the timer of the one before") {
    Ring ring{any_ring()};
    const auto deadline = GENERATE(as<std::chrono::nanoseconds>{}, 1h, 500us);
    const bool detach_elsewhere = GENERATE(false, true);
    std::optional<Timed> program(std::in_place, ring);
    run_with_pending_deadline(*program, in(deadline));
    if (detach_elsewhere) std::thread([&] { program->detach(); }).join();
    program.reset();
    expect_nothing_left(ring);
    LoopProgram<ringstep::loops::nop_chain> nops(ring);
    CHECK(ring.region()->control().timer.armed == 0);
    CHECK(ring.region()->control().timer.updates == 0);
    nops.state()->total = 500;
    nops.state()->depth = 3;
    const LoopExit exit = nops.run();
    CHECK(exit.ok());
    CHECK(exit.completions == 500);
    expect_nothing_left(ring);
}

TEST_CASE("A plain wait does not end early because of a timer") {
    Pipe pipe;
    Ring ring;
    std::optional<Timed> program(std::in_place, ring);
    run_with_pending_deadline(*program, in(300ms));
    std::thread([&] { program->detach(); }).join();
    pipe.add_read(ring, 1);
    pipe.add_read(ring, 2);
    std::thread feeder([&] {
        std::this_thread::sleep_for(500ms);
        pipe.feed();
        pipe.feed();
    });
    CHECK(ring.submit_and_wait(2).count == 2);
    CHECK(ring.cq().ready() == 2);
    feeder.join();
}

TEST_CASE("A ring with a timer can be closed, released, and have its requests waited for", "[main]") {
    Ring ring;
    std::optional<Timed> program(std::in_place, ring);
    run_with_pending_deadline(*program, in(1h));
    SECTION("closed") { CHECK(ring.close()); }
    SECTION("closed after the program") {
        program.reset();
        CHECK(ring.close());
    }
    SECTION("released") {
        program.reset();
        io_uring native = ring.release();
        io_uring_cqe* cqe = nullptr;
        CHECK(io_uring_peek_cqe(&native, &cqe) == -EAGAIN);
        io_uring_queue_exit(&native);
    }
}

TEST_CASE("Who cancels everything cancels the timer, too, and the next wait has another") {
    Pipe pipe;
    Ring ring;
    Timed program(ring);
    run_with_pending_deadline(program, in(1h));
    pipe.add_read(ring, 7);
    io_uring_sqe* sqe = ring.sq().claim();
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = 8;
    program.state()->completed = 0;
    program.state()->total = 0;
    program.state()->beats = 1;
    program.state()->wait = 3;
    // On a busy machine, a deadline may have passed before the requests are submitted.
    for (const std::chrono::nanoseconds time : std::initializer_list<std::chrono::nanoseconds>{300ms, 5s, 60s}) {
        program.state()->beaten = 0;
        program.state()->deadline = in(time);
        CHECK(program.run().code == 1);
        if (program.state()->completed == 2) break;
    }
    CHECK(program.state()->completed == 2);
    CHECK(program.state()->strange == 0);
    expect_nothing_left(ring);
}

TEST_CASE("A stop comes through while a loop waits for its deadline", "[main]") {
    Ring ring;
    Timed program(ring);
    program.state()->wait = GENERATE(1U, 4U);
    program.state()->beats = 1;
    program.state()->deadline = in(1h);
    std::thread stopper([&] {
        while (program.state().load(&timed::turns) == 0) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(5ms);
        program.request_stop();
    });
    const LoopExit exit = program.run();
    stopper.join();
    CHECK(exit.reason == ExitReason::stop_requested);
    expect_nothing_left(ring);
    program.state()->deadline = in(2ms);
    CHECK(program.run().code == 1);
}

TEST_CASE("A signal comes through while a loop waits for its deadline", "[main]") {
    struct sigaction action{};
    struct sigaction before{};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, &before);
    Ring ring;
    Timed program(ring);
    program.state()->wait = 4;
    program.state()->beats = 1;
    program.state()->deadline = in(1h);
    // Again and again: the first one may come before the loop waits.
    itimerval timer{};
    timer.it_value.tv_usec = 30'000;
    timer.it_interval = timer.it_value;
    ::setitimer(ITIMER_REAL, &timer, nullptr);
    const LoopExit exit = program.run();
    timer = {};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
    CHECK(exit.reason == ExitReason::interrupted);
    program.state()->deadline = in(2ms);
    CHECK(program.run().code == 1);
    ::sigaction(SIGALRM, &before, nullptr);
}

TEST_CASE("The timer gets through a CQ that is too small", "[main]") {
    Ring ring{{.sq_entries = 4, .cq_entries = 4}};
    Timed program(ring);
    for (unsigned i = 0; i < 4; i++) io_uring_prep_nop(ring.sq().claim());
    program.state()->nops = 40;
    program.state()->wait = 1;
    program.state()->beats = 1;
    // On a busy machine, a deadline may pass before all have completed.
    for (const std::chrono::nanoseconds time : std::initializer_list<std::chrono::nanoseconds>{300ms, 5s, 60s}) {
        program.state()->beaten = 0;
        program.state()->deadline = in(time);
        CHECK(program.run().code == 1);
        if (program.state()->completed == 4 + 40) break;
    }
    CHECK(program.state()->completed == 4 + 40);
    CHECK(program.state()->strange == 0);
    expect_nothing_left(ring);
}

TEST_CASE("A timer that the kernel refuses does not leave a wait without its deadline") {
    Ring ring;
    Timed program(ring);
    if (program.engine() != ringstep::Engine::kernel) SKIP("the user engine needs no request for it");
    ringstep_control& control = program.state().memory()->control();
    const std::uint64_t address = std::exchange(control.address, 4096);  // nothing is there: the request fails with EFAULT
    program.state()->wait = GENERATE(1U, 8U);
    program.state()->beats = 1;
    const std::uint64_t deadline = in(20ms);
    program.state()->deadline = deadline;
    const LoopExit exit = program.run();
    CHECK(exit.code == 1);
    CHECK(now() >= deadline);
    CHECK(exit.completions == 0);
    control.address = address;
    expect_nothing_left(ring);
    program.state()->beaten = 0;
    program.state()->deadline = in(2ms);
    CHECK(program.run().code == 1);
    expect_nothing_left(ring);
}

TEST_CASE("A deadline that no clock will show is none") {
    Ring ring;
    Timed program(ring);
    const std::uint64_t deadline = GENERATE(never / 2, never / 2 + 1, never / 2 + 2, never - 1);
    run_with_pending_deadline(program, deadline);
    // And the loop sleeps until something comes.
    Pipe pipe;
    pipe.add_read(ring, 1);
    std::thread feeder([&] {
        std::this_thread::sleep_for(50ms);
        pipe.feed();
    });
    program.state()->completed = 0;
    program.state()->total = 1;
    const LoopExit exit = program.run();
    feeder.join();
    CHECK(exit.ok());
    CHECK(exit.turns < 10);
    expect_nothing_left(ring);
}

TEST_CASE("A wait without a deadline sets no timer") {
    Ring ring;
    Timed program(ring);
    run_with_pending_deadline(program, never);
    CHECK(program.state().memory()->control().timer.armed == 0);
    expect_nothing_left(ring);
}
