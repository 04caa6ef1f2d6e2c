// SPDX-License-Identifier: MIT
// Requests that tests push to loops, and what they need.
#pragma once

#include "descriptors.hpp"
#include "ensure.hpp"
#include "nops.hpp"

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <fcntl.h>
#include <unistd.h>

#include <ringstep/blocks/requests.hpp>
#include <ringstep/exit.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <thread>
#include <vector>

namespace requests {

using nops::nop;

inline io_uring_sqe read_of(int fd, void* buffer, unsigned size, std::uint64_t user_data, std::uint64_t offset = 0) {
    io_uring_sqe sqe{};
    io_uring_prep_read(&sqe, fd, buffer, size, offset);
    sqe.user_data = user_data;
    return sqe;
}

inline io_uring_sqe write_of(int fd, const void* buffer, unsigned size, std::uint64_t user_data, std::uint64_t offset = 0) {
    io_uring_sqe sqe{};
    io_uring_prep_write(&sqe, fd, buffer, size, offset);
    sqe.user_data = user_data;
    return sqe;
}

using descriptors::Pipe;

/// Runs a loop of requests on this thread, while `work` goes on in another one, which waits for what it wants to see.
template <class Face>
ringstep::LoopExit run_beside(Face& face, const auto& work) {
    std::jthread other([&] {
        work();
        face.set_stay(false);
    });
    face.set_stay(true);
    return face.run();
}

void wait_until(const auto& condition) {
    while (!condition()) std::this_thread::yield();
}

/// Runs a loop whose requests other threads push, their user_data from 0 to total - 1, while one more thread takes the
/// completions and lets the loop end after the last. Each has to come once, and no more of them cancelled than were asked to
/// be.
template <class Face>
void run_among(Face& face, std::vector<std::thread>& pushers, std::uint64_t total, const std::atomic<std::uint64_t>& cancels) {
    std::vector<unsigned> times(total);
    std::uint64_t cancelled = 0;
    std::thread taker([&] {
        ringstep::RequestCompletion completion;
        for (std::uint64_t taken = 0; taken < total;) {
            if (!face.pop(completion)) {
                std::this_thread::yield();
                continue;
            }
            taken++;
            times.at(completion.user_data)++;
            if (completion.result == -ECANCELED) cancelled++;
        }
        face.set_stay(false);
    });
    const ringstep::LoopExit exit = face.run();
    for (std::thread& pusher : pushers) pusher.join();
    taker.join();
    CHECK(exit.ok());
    CHECK(std::ranges::all_of(times, [](unsigned count) { return count == 1; }));
    CHECK(cancelled <= cancels);
}

}  // namespace requests
