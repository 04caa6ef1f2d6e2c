// SPDX-License-Identifier: MIT
// Every way in which a run ends.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "ensure.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <thread>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;
using Scripted = LoopProgram<scripted_loop>;

namespace {

// A pipe, to have a request that completes when the test wants it to.
struct Pipe {
    std::array<int, 2> fds{};
    char buffer[16] = {};
    Pipe() { REQUIRE(::pipe(fds.data()) == 0); }
    ~Pipe() {
        for (const int fd : fds) ::close(fd);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    void add_read(const ringstep::RegionView<scripted>& state, unsigned offset = 0) {
        io_uring_sqe* sqe = add_request(state);
        const auto number = sqe->user_data;
        io_uring_prep_read(sqe, fds[0], buffer + offset, 1, 0);
        sqe->user_data = number;
    }
    void feed(char byte = 'x') const { ensure(::write(fds[1], &byte, 1) == 1); }
};

void wait_until_waiting(const ringstep::RegionView<scripted>& state) {
    while (state.load(&scripted::turns) == 0) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);
}

struct OnAlarm {
    OnAlarm() {
        struct sigaction action{};
        action.sa_handler = [](int) {};
        ::sigaction(SIGALRM, &action, &before);
    }
    ~OnAlarm() { ::sigaction(SIGALRM, &before, nullptr); }
    struct sigaction before{};
    static void after(std::chrono::microseconds delay) {
        itimerval timer{};
        timer.it_value.tv_usec = static_cast<suseconds_t>(delay.count());
        ::setitimer(ITIMER_REAL, &timer, nullptr);
    }
};

}  // namespace

TEST_CASE("The loop stops with a code of its own") {
    Ring ring;
    Scripted program(ring);
    const std::int64_t code = GENERATE(std::int64_t{0}, std::int64_t{1}, std::int64_t{-5}, std::int64_t{1} << 40);
    add_nops(program.state(), 1);
    program.state()->stop_at = 1;
    program.state()->code = code;
    const LoopExit exit = program.run();
    CHECK(exit.reason == ExitReason::stopped);
    CHECK(exit.error == 0);
    CHECK(exit.code == code);
    CHECK(exit.ok() == (code == 0));
    CHECK_FALSE(exit.resumable());
}

TEST_CASE("A bad return value ends the run and is named; the loop can run again") {
    Ring ring;
    Scripted program(ring);
    const int value = GENERATE(7, 2, -1, -22);
    program.state()->returns = value;
    const LoopExit bad = program.run();
    CHECK(bad.reason == ExitReason::bad_return);
    CHECK(bad.error == EINVAL);
    CHECK(bad.code == value);
    CHECK(bad.turns == 1);
    program.state()->returns = 0;
    add_nops(program.state(), 3);
    program.state()->stop_at = 3;
    program.state()->wait = 1;
    const LoopExit good = program.run();
    CHECK(good.ok());
    CHECK(good.completions == 3);
}

TEST_CASE("A signal interrupts a waiting loop, which then goes on where it was") {
    const OnAlarm handler;
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    pipe.add_read(program.state());
    program.state()->wait = 1;
    program.state()->stop_at = 1;
    OnAlarm::after(50ms);
    const LoopExit interrupted = program.run();
    CHECK(interrupted.reason == ExitReason::interrupted);
    CHECK(interrupted.error == EINTR);
    CHECK(interrupted.resumable());
    CHECK(interrupted.submitted == 1);
    CHECK(ring.in_flight() == 1);
    pipe.feed('a');
    const LoopExit done = program.run();
    CHECK(done.ok());
    CHECK(done.submitted == 0);
    CHECK(done.completions == 1);
    CHECK(pipe.buffer[0] == 'a');
}

TEST_CASE("A signal gets through to a loop that never waits") {
    const OnAlarm handler;
    Ring ring;
    Scripted program(ring);
    if (program.engine() == ringstep::Engine::user)
        SKIP("in user space, a signal ends the run only if it comes while the loop sleeps");
    program.state()->spin = 1;
    OnAlarm::after(50ms);
    const LoopExit exit = program.run();
    CHECK(exit.reason == ExitReason::interrupted);
    CHECK(exit.turns > 1);
}

TEST_CASE("A signal handler stops a loop, whether it waits or not") {
    static Scripted* running = nullptr;
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    running = &program;
    struct sigaction action{};
    struct sigaction before{};
    action.sa_handler = [](int) { running->request_stop(); };
    REQUIRE(::sigaction(SIGALRM, &action, &before) == 0);
    const bool spin = GENERATE(false, true);
    program.state()->spin = spin;
    pipe.add_read(program.state());
    program.state()->wait = 1;
    OnAlarm::after(50ms);
    const LoopExit exit = program.run();
    // In the kernel, the signal is what ends the run, before the handler says so.
    CHECK(exit.resumable());
    if (program.engine() == ringstep::Engine::user && spin) CHECK(exit.reason == ExitReason::stop_requested);
    if (exit.reason == ExitReason::interrupted) CHECK(program.run().reason == ExitReason::stop_requested);
    ::sigaction(SIGALRM, &before, nullptr);
    CHECK(ring.in_flight() == 1);
    CHECK(ring.close());
}

TEST_CASE("Another thread stops a waiting loop, and nothing is lost") {
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    pipe.add_read(program.state(), 0);
    pipe.add_read(program.state(), 1);
    program.state()->wait = 2;
    program.state()->stop_at = 2;
    std::stop_source source;
    std::thread stopper([&] {
        wait_until_waiting(program.state());
        source.request_stop();
    });
    const LoopExit stopped = program.run(source.get_token());
    stopper.join();
    CHECK(stopped.reason == ExitReason::stop_requested);
    CHECK(stopped.error == 0);
    CHECK(stopped.resumable());
    CHECK(ring.in_flight() == 2);
    // Within one wake-up: the turn that submitted and at most a spurious one, never the turn after the wake-up.
    CHECK(program.state()->turns <= 2);
    pipe.feed('a');
    pipe.feed('b');
    const LoopExit done = program.run(std::stop_token{});
    CHECK(done.ok());
    CHECK(done.completions == 2);
    CHECK(pipe.buffer[0] + pipe.buffer[1] == 'a' + 'b');
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A loop that never waits is stopped, too") {
    Ring ring;
    Scripted program(ring);
    program.state()->spin = 1;
    std::stop_source source;
    std::thread stopper([&] {
        wait_until_waiting(program.state());
        source.request_stop();
    });
    CHECK(program.run(source.get_token()).reason == ExitReason::stop_requested);
    stopper.join();
}

TEST_CASE("A stop requested beforehand ends the next run at once, and only that one") {
    Ring ring;
    Nops program(ring);
    program.state()->total = 10;
    program.state()->depth = 1;
    SECTION("by the token") {
        std::stop_source source;
        source.request_stop();
        const LoopExit exit = program.run(source.get_token());
        CHECK(exit.reason == ExitReason::stop_requested);
        CHECK(exit.turns == 0);
    }
    SECTION("by the program, twice") {
        program.request_stop();
        program.request_stop();
        const LoopExit exit = program.run();
        CHECK(exit.reason == ExitReason::stop_requested);
        CHECK(exit.turns == 0);
    }
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.completions == 10);
    CHECK(program.state()->failed == 0);
}

TEST_CASE("Stops at any moment lose no completion") {
    Ring ring{{.sq_entries = 16}};
    Nops program(ring);
    program.state()->total = 200000;
    program.state()->depth = 12;
    unsigned stops = 0;
    std::uint64_t submitted = 0;
    std::uint64_t completions = 0;
    LoopExit exit;
    do {
        std::stop_source source;
        const auto delay = std::chrono::microseconds(500 + 300 * (stops % 7));
        std::jthread stopper([&source, delay](std::stop_token ended) {
            const auto until = std::chrono::steady_clock::now() + delay;
            while (!ended.stop_requested() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
            source.request_stop();
        });
        exit = program.run(source.get_token());
        submitted += exit.submitted;
        completions += exit.completions;
        stops += exit.reason == ExitReason::stop_requested;
    } while (exit.reason == ExitReason::stop_requested);
    CHECK(exit.ok());
    CHECK(stops > 0);
    CHECK(submitted == 200000);
    CHECK(completions == 200000);
    CHECK(program.state()->failed == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Taking the loop off while it runs ends the run") {
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    const bool spin = GENERATE(false, true);
    program.state()->spin = spin;
    pipe.add_read(program.state());
    program.state()->wait = 1;
    std::thread remover([&] {
        wait_until_waiting(program.state());
        program.detach();
    });
    const LoopExit exit = program.run();
    remover.join();
    CHECK(exit.reason == ExitReason::detached);
    CHECK(exit.error == EFAULT);
    CHECK_FALSE(program.attached());
    // What it left is the ring's.
    pipe.feed();
    REQUIRE(ring.submit_and_wait(1));
    ringstep::Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.result == 1);
    // And a program that is off stays off.
    CHECK(program.run().reason == ExitReason::detached);
}

TEST_CASE("Running on another thread is refused") {
    Ring ring;
    Nops program(ring);
    program.state()->total = 1;
    program.state()->depth = 1;
    LoopExit exit;
    std::thread([&] { exit = program.run(); }).join();
    CHECK(exit.reason == ExitReason::wrong_thread);
    CHECK(exit.error == EEXIST);
    CHECK(exit.turns == 0);
    CHECK(program.run().ok());
}

TEST_CASE("A ring that is not enabled yet runs nothing; the thread that enables it may run it") {
    Ring ring{{.start_disabled = true}};
    Nops program(ring);
    program.state()->total = 10;
    program.state()->depth = 2;
    const LoopExit disabled = program.run();
    CHECK(disabled.reason == ExitReason::disabled);
    CHECK(disabled.error == EBADFD);
    LoopExit exit;
    std::thread([&] {
        ring.enable();
        exit = program.run();
        ring.close();
    }).join();
    CHECK(exit.ok());
    CHECK(exit.completions == 10);
}

TEST_CASE("A ring that was made smaller under a loop is noticed") {
    Ring ring{{.sq_entries = 64, .cq_entries = 4096, .sq_rewind = false}};
    Nops program(ring);
    program.state()->total = 10;
    program.state()->depth = 1;
    CHECK(program.run().ok());
    io_uring_params smaller{};
    smaller.flags = IORING_SETUP_CQSIZE;
    smaller.sq_entries = 8;
    smaller.cq_entries = 16;
    const int resized = io_uring_resize_rings(&ring.native(), &smaller);
    if (resized < 0) SKIP("this kernel does not resize rings: " << resized);
    program.state()->total += 10;
    const LoopExit exit = program.run();
    CHECK(exit.reason == ExitReason::rings_changed);
    CHECK(exit.error == ESTALE);
}
