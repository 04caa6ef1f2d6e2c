// SPDX-License-Identifier: MIT
// What the tests of ends of runs share.
#pragma once

#include <ringstep/region.hpp>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace exiting {

using namespace std::chrono_literals;

// A pipe, to have a request that completes when the test wants it to.
struct Pipe : descriptors::Pipe {
    char buffer[16] = {};
    void add_read(const ringstep::RegionView<scripted>& state, unsigned offset = 0) {
        io_uring_sqe* sqe = add_request(state);
        const auto number = sqe->user_data;
        io_uring_prep_read(sqe, fds[0], buffer + offset, 1, 0);
        sqe->user_data = number;
    }
};

inline void wait_until_waiting(const ringstep::RegionView<scripted>& state) {
    wait_for_a_turn(state);
    std::this_thread::sleep_for(20ms);
}

// Has a signal handled for as long as it lives.
class OnSignal {
public:
    OnSignal(int signal, void (*handler)(int)) : signal_(signal) {
        struct sigaction action{};
        action.sa_handler = handler;
        REQUIRE(::sigaction(signal_, &action, &before_) == 0);
    }
    OnSignal(const OnSignal&) = delete;
    OnSignal& operator=(const OnSignal&) = delete;
    ~OnSignal() { ::sigaction(signal_, &before_, nullptr); }

private:
    int signal_;
    struct sigaction before_{};
};

struct OnAlarm : OnSignal {
    OnAlarm() : OnSignal(SIGALRM, [](int) {}) {}
};

// Sends SIGALRM to the thread that has made this object, every 10 ms, as soon as the loop has taken so many turns. The
// destructor ends that. A single signal might come before the loop waits, and would interrupt nothing.
class Signaller {
public:
    explicit Signaller(ringstep::RegionView<scripted> state, std::uint64_t turns = 1)
        : thread_([this, state, turns, target = ::pthread_self()] {
              while (!over_ && state.load(&scripted::turns) < turns) std::this_thread::sleep_for(1ms);
              for (; !over_; std::this_thread::sleep_for(10ms)) ensure(::pthread_kill(target, SIGALRM) == 0);
          }) {}
    Signaller(const Signaller&) = delete;
    Signaller& operator=(const Signaller&) = delete;
    ~Signaller() {
        over_ = true;
        thread_.join();
    }

private:
    std::atomic<bool> over_{false};
    std::thread thread_;
};

// Sleeping would take longer.
inline void keep_busy(std::chrono::microseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
}

// Waits for one end more than `before`, and checks that it is only one. Calls `meanwhile` again and again until then.
template <class Function>
void wait_for_end(const std::atomic<unsigned>& ends, unsigned before, Function&& meanwhile) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (ends == before) {
        ensure(std::chrono::steady_clock::now() < until);
        meanwhile();
        std::this_thread::yield();
    }
    ensure(ends == before + 1);
}
inline void wait_for_end(const std::atomic<unsigned>& ends, unsigned before) {
    wait_for_end(ends, before, [] {});
}

}  // namespace exiting
