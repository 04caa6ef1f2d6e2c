// SPDX-License-Identifier: MIT
// What tests of loops of the kind of enter have in common.
#pragma once

#include <ringstep/ring.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "ensure.hpp"

/// For requests that complete when the test wants them to. Made of sockets: reads of pipes keep a thread of the kernel busy in
/// Linux 6.1, which then completes them whenever it likes.
class TestPipe {
public:
    TestPipe() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds_.data()) == 0); }
    TestPipe(const TestPipe&) = delete;
    TestPipe& operator=(const TestPipe&) = delete;
    ~TestPipe() {
        for (const int fd : fds_) ::close(fd);
    }
    [[nodiscard]] int reader() const { return fds_[0]; }
    [[nodiscard]] int writer() const { return fds_[1]; }
    void feed(unsigned bytes = 1) const {
        while (bytes-- > 0) ensure(::write(fds_[1], "x", 1) == 1);
    }

private:
    std::array<int, 2> fds_{};
};

inline io_uring_sqe* claim(ringstep::Ring& ring) {
    io_uring_sqe* sqe = ring.sq().claim();
    REQUIRE(sqe != nullptr);
    return sqe;
}

inline void claim_nop(ringstep::Ring& ring, std::uint64_t user_data) {
    io_uring_sqe* sqe = claim(ring);
    io_uring_prep_nop(sqe);
    sqe->user_data = user_data;
}

inline void claim_read(ringstep::Ring& ring, const TestPipe& pipe, void* byte, std::uint64_t user_data) {
    io_uring_sqe* sqe = claim(ring);
    io_uring_prep_read(sqe, pipe.reader(), byte, 1, 0);
    sqe->user_data = user_data;
}

inline std::vector<ringstep::Completion> take_all(ringstep::Ring& ring) {
    std::vector<ringstep::Completion> taken;
    for (const ringstep::Completion& completion : ring.cq()) taken.push_back(completion);
    return taken;
}

/// A signal that is handled, and so ends system calls. It comes again and again: the first may be too early on a slow machine.
class AlarmHandler {
public:
    AlarmHandler() {
        struct sigaction action{};
        action.sa_handler = [](int) {};
        ::sigaction(SIGALRM, &action, &before_);
    }
    AlarmHandler(const AlarmHandler&) = delete;
    AlarmHandler& operator=(const AlarmHandler&) = delete;
    ~AlarmHandler() {
        after(std::chrono::microseconds(0));
        ::sigaction(SIGALRM, &before_, nullptr);
    }
    static void after(std::chrono::microseconds delay) {
        itimerval timer{};
        timer.it_value.tv_usec = static_cast<suseconds_t>(delay.count());
        timer.it_interval = timer.it_value;
        ::setitimer(ITIMER_REAL, &timer, nullptr);
    }

private:
    struct sigaction before_{};
};
