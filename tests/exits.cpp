// SPDX-License-Identifier: MIT
// Every way in which a run ends, but for detaching: detaching.cpp.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "ensure.hpp"
#include "late_signals.hpp"
#include "exiting.hpp"
#include "loops/scripted.hpp"
#include "child.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using exiting::keep_busy;
using exiting::OnAlarm;
using exiting::OnSignal;
using exiting::Pipe;
using exiting::Signaller;
using exiting::wait_for_end;
using exiting::wait_until_waiting;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;
using Scripted = LoopProgram<scripted_loop>;

namespace {

/// Runs the loop, and sends signals to this thread from when the loop has taken so many turns.
LoopExit run_with_signals(Scripted& program, std::uint64_t turns = 1) {
    const Signaller signaller(program.state(), turns);
    return program.run();
}

}  // namespace

TEST_CASE("The loop stops with a code of its own", "[main]") {
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

TEST_CASE("A signal interrupts a waiting loop, which then goes on where it was", "[main]") {
    const OnAlarm handler;
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    pipe.add_read(program.state());
    program.state()->wait = 1;
    program.state()->stop_at = 1;
    const LoopExit interrupted = run_with_signals(program);
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

TEST_CASE("A signal interrupts a wait that began with completions in the CQ") {
    const OnAlarm handler;
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    add_nops(program.state(), 2);
    pipe.add_read(program.state());
    program.state()->ignore_turns = ~0U;
    program.state()->wait = 3;
    std::atomic<bool> over{false};
    // Should the signal go unnoticed.
    std::thread stopper([&] {
        for (int i = 0; i < 6000 && !over; i++) std::this_thread::sleep_for(10ms);
        if (!over) program.request_stop();
    });
    const LoopExit exit = run_with_signals(program);
    over = true;
    stopper.join();
    CHECK(exit.reason == ExitReason::interrupted);
    CHECK(exit.completions == 0);
    CHECK(ring.cq().ready() == 2);
    pipe.feed();
}

TEST_CASE("A signal gets through to a loop that never waits", "[main]") {
    const OnAlarm handler;
    Ring ring;
    Scripted program(ring);
    if (program.engine() == ringstep::Engine::user)
        SKIP("in user space, a signal ends the run only if it comes while the loop sleeps");
    program.state()->spin = 1;
    const LoopExit exit = run_with_signals(program, 2);
    CHECK(exit.reason == ExitReason::interrupted);
    CHECK(exit.turns > 1);
}

TEST_CASE("A signal handler stops a loop, whether it waits or not", "[main]") {
    static Scripted* running = nullptr;
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    running = &program;
    const OnSignal handler(SIGALRM, [](int) { running->request_stop(); });
    const bool spin = GENERATE(false, true);
    program.state()->spin = spin;
    pipe.add_read(program.state());
    program.state()->wait = 1;
    const LoopExit exit = run_with_signals(program);
    // In the kernel, the signal is what ends the run, before the handler says so.
    CHECK(exit.reason == ExitReason::stop_requested);
    CHECK(exit.error == 0);
    CHECK(ring.in_flight() == 1);
    CHECK(ring.close());
}

TEST_CASE("Each request of a signal handler ends one run, and no run ends without one") {
    static Scripted* running = nullptr;
    static std::atomic<unsigned> requests{0};
    requests = 0;
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    running = &program;
    const OnSignal handler(SIGUSR1, [](int) {
        running->request_stop();
        requests++;
    });
    const bool spin = GENERATE(false, true);
    const unsigned rounds = spin ? 200 : 2000;
    program.state()->spin = spin;
    pipe.add_read(program.state());
    program.state()->wait = 1;
    program.state()->stop_at = 1;
    std::atomic<unsigned> ends{0};
    Nudges nudge{::pthread_self()};
    std::thread sender([&, target = ::pthread_self()] {
        for (unsigned i = 0; i < rounds; i++) {
            // While it sleeps, while it is about to, and between two runs.
            keep_busy(std::chrono::microseconds(i % 8 * 20));
            ensure(::pthread_kill(target, SIGUSR1) == 0);
            nudge.restart();
            wait_for_end(ends, i, nudge);
        }
    });
    unsigned interrupted = 0;
    while (ends < rounds) {
        const LoopExit exit = program.run();
        if (exit.reason == ExitReason::stop_requested) {
            ends++;
            continue;
        }
        ensure(exit.reason == ExitReason::interrupted);
        interrupted++;
    }
    sender.join();
    CHECK((interrupted == 0 || signals_are_late));
    CHECK(requests == rounds);
    pipe.feed();
    CHECK(program.run().ok());
}

TEST_CASE("A request that comes while the loop stops by itself ends the next run") {
    const auto times = static_cast<unsigned>(rounds(300, 1000));
    Ring ring;
    Nops program(ring);
    program.state()->depth = 1;
    std::atomic<unsigned> ends{0};
    std::thread stopper([&] {
        for (unsigned i = 0; i < times; i++) {
            keep_busy(std::chrono::microseconds(i % 8));
            program.request_stop();
            wait_for_end(ends, i);
        }
    });
    unsigned by_themselves = 0;
    while (ends < times) {
        program.state()->total++;
        const LoopExit exit = program.run();
        if (exit.reason == ExitReason::stop_requested) {
            ends++;
        } else {
            ensure(exit.ok());
            by_themselves++;
        }
    }
    stopper.join();
    CHECK(by_themselves > 0);
    CHECK(program.run().ok());
}

TEST_CASE("A token that asks too late ends no later run") {
    Ring ring;
    Nops program(ring);
    program.state()->depth = 1;
    std::stop_source source;
    std::atomic<std::uint64_t> round{0};
    std::atomic<bool> over{false};
    std::thread stopper([&] {
        for (std::uint64_t i = 1; !over; i++) {
            while (round < i && !over) std::this_thread::yield();
            // The loop's last turn has begun.
            while (program.state().load(&ringstep_nop_chain::completed) < i && !over) {
            }
            source.request_stop();
            round = 0;
        }
    });
    unsigned late = 0;
    const std::uint64_t enough = rounds(30, 100);
    const auto until = std::chrono::steady_clock::now() + 5s;
    for (std::uint64_t i = 1; late < enough && std::chrono::steady_clock::now() < until; i++) {
        source = {};
        program.state()->total = i;
        round = i;
        const std::stop_token token = source.get_token();
        LoopExit exit = program.run(token);
        if (exit.ok() && token.stop_requested()) late++;
        while (exit.reason == ExitReason::stop_requested) exit = program.run();
        ensure(exit.ok());
        while (round != 0) std::this_thread::yield();
        // Whatever became of it, the request is over.
        program.state()->total = i;
        const LoopExit next = program.run();
        if (!next.ok()) FAIL("round " << i << ": the next run ended with reason " << static_cast<int>(next.reason));
    }
    over = true;
    stopper.join();
    if (late == 0) SKIP("no token asked too late on this machine");
}

TEST_CASE("A stop token on the wrong thread stops nobody") {
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    pipe.add_read(program.state());
    program.state()->wait = 1;
    program.state()->stop_at = 1;
    std::thread other([&] {
        wait_until_waiting(program.state());
        std::stop_source source;
        source.request_stop();
        ensure(program.run(source.get_token()).reason == ExitReason::wrong_thread);
        std::this_thread::sleep_for(20ms);
        pipe.feed('a');
    });
    const LoopExit exit = program.run();
    other.join();
    CHECK(exit.ok());
    CHECK(exit.completions == 1);
}

TEST_CASE("A handler that asks for a stop leaves errno as it was") {
    const Outcome outcome = in_child([]() -> std::string {
        Ring ring;
        Scripted program(ring);
        // What the request would otherwise leave there.
        if (!forbid(SYS_membarrier, SECCOMP_RET_ERRNO | EPERM)) return "not tried";
        errno = 12345;
        program.request_stop();
        return std::to_string(errno) + (program.run().reason == ExitReason::stop_requested ? ", stopped" : ", not stopped");
    });
    if (outcome.out == "not tried") SKIP("no system call filters here");
    CHECK(outcome.out == "12345, stopped");
}

TEST_CASE("Loops are stopped and woken up when membarrier(2) has been forbidden since they were attached") {
    const Outcome outcome = in_child([]() -> std::string {
        Pipe pipe;
        Ring ring;
        Scripted program(ring);
        pipe.add_read(program.state());
        program.state()->wait = 3;
        const auto count = static_cast<unsigned>(rounds(300, 20'000));
        std::atomic<unsigned> ends{0};
        std::atomic<int> filtered{-1};
        std::thread stopper([&] {
            filtered = forbid(SYS_membarrier, SECCOMP_RET_ERRNO | EPERM) ? 1 : 0;
            if (filtered == 0) return;
            for (unsigned i = 0; i < count; i++) {
                keep_busy(std::chrono::microseconds(i % 8 * 10));
                const std::uint64_t before = program.state().load(&scripted::turns);
                program.wake();
                while (i % 3 == 0 && program.state().load(&scripted::turns) == before) std::this_thread::yield();
                program.request_stop();
                wait_for_end(ends, i);
            }
        });
        while (filtered < 0) std::this_thread::yield();
        while (filtered == 1 && ends < count) {
            ensure(program.run().reason == ExitReason::stop_requested);
            ends++;
        }
        stopper.join();
        return filtered == 1 ? "all stopped" : "not tried";
    });
    if (outcome.out == "not tried") SKIP("no system call filters here");
    CHECK(outcome.err.empty());
    CHECK(outcome.out == "all stopped");
}

TEST_CASE("Who attaches a debugger, or stops the process, does not end what goes on after interruptions") {
    constexpr unsigned rounds = 10;
    const Pipe input;
    const Pipe output;
    const pid_t child = fork_and_run([&] {
        ::alarm(60);
        Pipe own;
        own.fds = input.fds;
        Ring ring;
        Scripted program(ring);
        own.add_read(program.state());
        program.state()->wait = 1;
        program.state()->stop_at = 1;
        output.feed('r');
        std::uint32_t interrupted = 0;
        LoopExit exit;
        do {
            exit = program.run();
            interrupted += exit.reason == ExitReason::interrupted;
        } while (exit.reason == ExitReason::interrupted);
        ensure(exit.ok() && exit.submitted <= 1 && exit.completions == 1 && own.buffer[0] == 'a');
        ensure(::write(output.fds[1], &interrupted, sizeof interrupted) == sizeof interrupted);
        return 0;
    });
    char ready = 0;
    REQUIRE(readable(output.fds[0]));
    REQUIRE(::read(output.fds[0], &ready, 1) == 1);
    std::this_thread::sleep_for(50ms);
    const auto stopped = [child] {
        int status = 0;
        return ::waitpid(child, &status, __WALL | WUNTRACED) == child && WIFSTOPPED(status);
    };
    std::string failed;
    for (unsigned i = 0; i < rounds && failed.empty(); i++) {
        if (::ptrace(PTRACE_SEIZE, child, nullptr, nullptr) != 0) failed = "PTRACE_SEIZE";
        if (failed.empty() && (::ptrace(PTRACE_INTERRUPT, child, nullptr, nullptr) != 0 || !stopped()))
            failed = "PTRACE_INTERRUPT";
        if (failed.empty() && ::ptrace(PTRACE_DETACH, child, nullptr, nullptr) != 0) failed = "PTRACE_DETACH";
        std::this_thread::sleep_for(5ms);
        if (failed.empty() && (::ptrace(PTRACE_ATTACH, child, nullptr, nullptr) != 0 || !stopped())) failed = "PTRACE_ATTACH";
        if (failed.empty() && ::ptrace(PTRACE_DETACH, child, nullptr, nullptr) != 0) failed = "PTRACE_DETACH";
        std::this_thread::sleep_for(5ms);
    }
    for (unsigned i = 0; i < rounds; i++) {
        REQUIRE(::kill(child, SIGSTOP) == 0);
        REQUIRE(stopped());
        REQUIRE(::kill(child, SIGCONT) == 0);
        std::this_thread::sleep_for(5ms);
    }
    int status = 0;
    CHECK(::waitpid(child, &status, WNOHANG) == 0);  // it is still there, and at work
    input.feed('a');
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    std::uint32_t interrupted = 0;
    CHECK(::read(output.fds[0], &interrupted, sizeof interrupted) == sizeof interrupted);
    CHECK(interrupted > 0);
    if (!failed.empty()) WARN(failed << " is not possible here");
}

TEST_CASE("Another thread stops a waiting loop, and nothing is lost", "[main]") {
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

TEST_CASE("A loop that never waits is stopped, too", "[main]") {
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
    // Without an end, so that each of these runs can end only because it was stopped, however late the other thread gets a
    // processor.
    program.state()->total = UINT64_MAX;
    program.state()->depth = 12;
    std::uint64_t submitted = 0;
    std::uint64_t completions = 0;
    for (unsigned stops = 0; stops < 40; stops++) {
        std::stop_source source;
        const auto delay = std::chrono::microseconds(500 + 300 * (stops % 7));
        std::jthread stopper([&source, delay] {
            const auto until = std::chrono::steady_clock::now() + delay;
            while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
            source.request_stop();
        });
        const LoopExit exit = program.run(source.get_token());
        REQUIRE(exit.reason == ExitReason::stop_requested);
        submitted += exit.submitted;
        completions += exit.completions;
    }
    const std::uint64_t total = program.state()->submitted + 1000;
    program.state()->total = total;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(submitted + exit.submitted == total);
    CHECK(completions + exit.completions == total);
    CHECK(program.state()->failed == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Running on another thread is refused", "[main]") {
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

TEST_CASE("Runs on the wrong thread do not touch the run that goes on, nor the stop that was asked of it") {
    Ring ring;
    Scripted program(ring);
    program.state()->spin = 1;
    for (std::uint64_t i = 0; i < rounds(loading_is_cheap() ? 100 : 30, 3000); i++) {
        program.state()->turns = 0;
        std::atomic<bool> over{false};
        std::thread other([&] {
            while (!over) ensure(program.run().reason == ExitReason::wrong_thread);
        });
        std::thread stopper([&] {
            wait_until_waiting(program.state());
            program.request_stop();
        });
        const LoopExit exit = program.run();
        over = true;
        other.join();
        stopper.join();
        REQUIRE(exit.reason == ExitReason::stop_requested);
    }
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
    // Its queues are not where the library looks for the end of what is in flight: closing waits as long as it may.
    Ring ring{{.sq_entries = 64, .cq_entries = 4096, .sq_rewind = false, .close_wait_ms = 100}};
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

TEST_CASE("A write to a pipe without a reader comes with SIGPIPE, and with EPIPE alone where that is ignored") {
    const bool ignored = GENERATE(false, true);
    const bool socket = GENERATE(false, true);
    INFO("ignored: " << ignored << ", a socket: " << socket);
    const Outcome outcome = in_child([&]() -> std::string {
        ::signal(SIGPIPE, ignored ? SIG_IGN : SIG_DFL);
        std::array<int, 2> ends{};
        ensure((socket ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) : ::pipe(ends.data())) == 0);
        ::close(ends[0]);
        Ring ring;
        Scripted program(ring);
        io_uring_prep_write(add_request(program.state()), ends[1], "x", 1, 0);
        program.state()->wait = 1;
        program.state()->stop_at = 1;
        LoopExit exit;
        do {
            exit = program.run();
        } while (exit.reason == ExitReason::interrupted);
        return std::to_string(program.state()->records[0].result);
    });
    if (ignored) {
        CHECK(outcome.status == 0);
        CHECK(outcome.out == std::to_string(-EPIPE));
    } else if (socket || outcome.status != 0) {
        CHECK(outcome.status == 128 + SIGPIPE);
    } else {
        // Linux 6.1 has a thread of its own write to pipes, which gets the signal.
        CHECK(outcome.out == std::to_string(-EPIPE));
    }
}
