// SPDX-License-Identifier: MIT
// Signals as requests to stop.
#include <ringstep/program.hpp>
#include <ringstep/signals.hpp>

#include "ensure.hpp"
#include "late_signals.hpp"
#include "error_of.hpp"
#include "loops/scripted.hpp"
#include "child.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using ringstep::StopOnSignals;
using Scripted = LoopProgram<scripted_loop>;

namespace {

// A loop that waits for a byte that only the test sends.
struct Server {
    Server() : program(ring) {
        // Reads of pipes keep a thread of the kernel busy in Linux 6.1.
        ensure(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
        io_uring_sqe* sqe = add_request(program.state());
        io_uring_prep_read(sqe, fds[0], &byte, 1, 0);
        program.state()->wait = 1;
        program.state()->stop_at = 1;
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() {
        ring.close();
        for (const int fd : fds) ::close(fd);
    }
    LoopExit run() {
        LoopExit exit;
        do {
            exit = program.run();
        } while (exit.reason == ExitReason::interrupted);
        return exit;
    }
    void feed() const { ensure(::write(fds[1], "x", 1) == 1); }

    std::array<int, 2> fds{};
    char byte = 0;
    Ring ring;
    Scripted program;
};

// What the process does about a signal.
void (*handler_of(int signal))(int) {
    struct sigaction now{};
    ensure(::sigaction(signal, nullptr, &now) == 0);
    return now.sa_handler;
}

// Catch2 has handlers of its own for these.
class Defaults {
public:
    Defaults() {
        for (std::size_t i = 0; i < signals.size(); i++) before_[i] = ::signal(signals[i], SIG_DFL);
    }
    Defaults(const Defaults&) = delete;
    Defaults& operator=(const Defaults&) = delete;
    ~Defaults() {
        for (std::size_t i = 0; i < signals.size(); i++) ::signal(signals[i], before_[i]);
    }

private:
    static constexpr std::array<int, 3> signals = {SIGTERM, SIGINT, SIGHUP};
    std::array<void (*)(int), 3> before_{};
};

}  // namespace

TEST_CASE("Each signal ends one run, whichever thread it comes to") {
    const Defaults defaults;
    Server server;
    const StopOnSignals signals{server.program};
    CHECK(signals.received() == 0);
    constexpr unsigned rounds = 500;
    std::atomic<unsigned> ends{0};
    Nudges nudge{::pthread_self()};
    std::thread sender([&, target = ::pthread_self()] {
        for (unsigned i = 0; i < rounds; i++) {
            const auto until = std::chrono::steady_clock::now() + 30s;
            const int signal = i % 3 == 0 ? SIGINT : SIGTERM;
            ensure(::pthread_kill(i % 2 == 0 ? target : ::pthread_self(), signal) == 0);
            nudge.restart();
            while (ends == i) {
                ensure(std::chrono::steady_clock::now() < until);
                nudge();
                std::this_thread::yield();
            }
            ensure(ends == i + 1 && signals.received() == signal);
        }
    });
    while (ends < rounds) {
        const ExitReason reason = server.run().reason;
        if (signals_are_late && reason == ExitReason::interrupted) continue;
        ensure(reason == ExitReason::stop_requested);
        ends++;
    }
    sender.join();
    server.feed();
    CHECK(server.run().ok());
}

TEST_CASE("The handlers that were there come back, and ignored signals stay ignored") {
    const Defaults defaults;
    static std::atomic<int> seen{0};
    void (*const mine)(int) = [](int signal) { seen = signal; };
    REQUIRE(::signal(SIGTERM, mine) != SIG_ERR);
    REQUIRE(::signal(SIGINT, SIG_IGN) != SIG_ERR);
    Server server;
    {
        const StopOnSignals first{server.program};
        CHECK(handler_of(SIGTERM) != mine);
        CHECK(handler_of(SIGINT) == SIG_IGN);
        CHECK(handler_of(SIGHUP) == SIG_DFL);
        {
            const StopOnSignals second{server.program, {SIGTERM, SIGHUP}};
            CHECK(handler_of(SIGHUP) != SIG_DFL);
        }
        CHECK(handler_of(SIGHUP) == SIG_DFL);
        CHECK(handler_of(SIGTERM) != mine);
        ::raise(SIGINT);
        CHECK(first.received() == 0);
        ::raise(SIGTERM);
        CHECK(first.received() == SIGTERM);
        CHECK(seen == 0);
    }
    CHECK(handler_of(SIGTERM) == mine);
    CHECK(server.run().reason == ExitReason::stop_requested);
    ::raise(SIGTERM);
    CHECK(seen == SIGTERM);
}

TEST_CASE("What cannot be handled is refused, with nothing left behind") {
    const Defaults defaults;
    Server server;
    for (const int signal : {SIGKILL, SIGSTOP, 0, -1, 1000, 32}) {
        const auto error = error_of([&] { const StopOnSignals signals(server.program, {SIGTERM, signal}); });
        CHECK(error.error_number() == EINVAL);
        CHECK(handler_of(SIGTERM) == SIG_DFL);
    }
}

TEST_CASE("One signal stops the loops of all threads") {
    const Defaults defaults;
    std::atomic<unsigned> ready{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 4; i++) {
        threads.emplace_back([&] {
            Server server;
            const StopOnSignals signals{server.program};
            ready++;
            ensure(server.run().reason == ExitReason::stop_requested);
            ensure(signals.received() == SIGTERM);
        });
    }
    while (ready < 4) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);
    // None of them has gone before all are told.
    REQUIRE(::kill(::getpid(), SIGTERM) == 0);
    for (std::thread& thread : threads) thread.join();
    CHECK(handler_of(SIGTERM) == SIG_DFL);
}

TEST_CASE("Signals that come as loops come and go stop those that are there, or do what they did before") {
    const Defaults defaults;
    static std::atomic<unsigned> elsewhere{0};
    elsewhere = 0;
    REQUIRE(::signal(SIGTERM, [](int) { elsewhere++; }) != SIG_ERR);
    Server server;
    std::atomic<bool> over{false};
    std::thread sender([&] {
        // Faster, and a slow machine does nothing but to handle signals.
        for (; !over; std::this_thread::sleep_for(200us)) ::kill(::getpid(), SIGTERM);
    });
    unsigned stopped = 0;
    for (unsigned i = 0; i < 300; i++) {
        const StopOnSignals signals{server.program};
        ensure(server.run().reason == ExitReason::stop_requested);
        stopped++;
    }
    over = true;
    sender.join();
    CHECK(stopped == 300);
}

TEST_CASE("A child that was forked does not stop its parent's loops, and can have its own") {
    const Defaults defaults;
    Server server;
    const StopOnSignals signals{server.program};
    pid_t child = fork_and_run([] {
        ::raise(SIGTERM);
        return 1;
    });
    const int killed = status_of(child);
    CHECK(WIFSIGNALED(killed));
    CHECK(WTERMSIG(killed) == SIGTERM);
    child = fork_and_run([&] {
        int right = 0;
        {
            Server own;
            const StopOnSignals its_own{own.program};
            ::raise(SIGTERM);
            right = own.run().reason == ExitReason::stop_requested && its_own.received() == SIGTERM ? 0 : 1;
        }
        if (signals.received() != 0 || handler_of(SIGTERM) != SIG_DFL) right = 2;
        return right;
    });
    CHECK(status_of(child) == 0);
    server.feed();
    CHECK(server.run().ok());
    CHECK(signals.received() == 0);
}

TEST_CASE("A child in a PID namespace of its own, with its parent's number, destroys its copy") {
    // Returns the status of a child that is number 1 of a new namespace, or -1 if there can be none.
    const auto status_in_namespace = [](const auto& action) {
        // Loading a loop takes privileges that only the first user namespace gives.
        if (::unshare(CLONE_NEWPID) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) return -1;
        const pid_t child = ::fork();
        if (child == 0) ::_exit(action());
        return status_of(child);
    };
    const pid_t outer = ::fork();  // unshare() changes its caller for good
    if (outer == 0) {
        ::alarm(60);
        const int status = status_in_namespace([&]() noexcept {
            Server server;
            std::optional<StopOnSignals> signals(std::in_place, server.program);
            const int inner = status_in_namespace([&]() noexcept {
                if (::getpid() != 1) return 2;
                signals.reset();
                return 0;
            });
            if (inner == -1) return 77;
            return inner == 0 ? 0 : 3;
        });
        ::_exit(status == -1 ? 77 : WIFEXITED(status) ? WEXITSTATUS(status) : 4);
    }
    const int status = status_of(outer);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) SKIP("no namespaces here");
    CHECK(status == 0);
}

TEST_CASE("A server ends on SIGTERM, once, and what comes before its loop is not lost") {
    const Defaults defaults;
    const auto servers = static_cast<unsigned>(loading_is_cheap() ? 20 : rounds(6, 20));
    for (unsigned round = 0; round < servers; round++) {
        std::array<int, 2> told{};
        REQUIRE(::pipe(told.data()) == 0);
        const pid_t child = fork_and_run([&] {
            ::alarm(60);
            Server server;
            const StopOnSignals signals{server.program};
            ensure(::write(told[1], "r", 1) == 1);
            const LoopExit exit = server.run();
            return exit.reason == ExitReason::stop_requested && signals.received() == SIGTERM ? 3 : 1;
        });
        char ready = 0;
        REQUIRE(readable(told[0]));
        REQUIRE(::read(told[0], &ready, 1) == 1);
        std::this_thread::sleep_for(std::chrono::microseconds(round * 2000 / servers));
        REQUIRE(::kill(child, SIGTERM) == 0);
        const int status = status_of(child);
        REQUIRE(WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) == 3);
        for (const int fd : told) ::close(fd);
    }
}
