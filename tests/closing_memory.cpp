// SPDX-License-Identifier: MIT
// A ring that is closed when there is no memory left.
#include <ringstep/program.hpp>

#include "loops/scripted.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <new>
#include <thread>

using ringstep::RegionMemory;
using ringstep::Ring;

namespace {

std::atomic<bool> memory_left{true};
std::atomic<long> until_failure{0};  // the allocation, counted from 1, that fails; 0: none

void* allocate(std::size_t size) noexcept {
    if (!memory_left) return nullptr;
    if (until_failure != 0 && until_failure.fetch_sub(1) == 1) return nullptr;
    return std::malloc(size);
}

std::ptrdiff_t descriptors_open() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

}  // namespace

// For all of this program.
void* operator new(std::size_t size) {
    void* const memory = allocate(size);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }

TEST_CASE("Closing needs no memory, and keeps what has to be kept") {
    const bool wrong_thread = GENERATE(false, true);
    std::array<int, 2> pipe{};
    REQUIRE(::pipe(pipe.data()) == 0);
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = buffer;
    std::weak_ptr<RegionMemory> region;
    std::atomic<bool> closing{false};
    bool quiet = false;
    {
        Ring ring;
        {
            const ringstep::LoopProgram<scripted_loop> program(ring);
            region = ring.region();
        }
        io_uring_prep_read(ring.sq().claim(), pipe[0], buffer->data(), 1, 0);
        REQUIRE(ring.submit().count == 1);
        ring.keep_alive(std::move(buffer));
        std::thread other([&] {
            while (!closing) std::this_thread::yield();
            if (wrong_thread) quiet = ring.close();
            closing = false;
        });
        memory_left = false;
        closing = true;
        while (closing) std::this_thread::yield();
        if (!wrong_thread) quiet = ring.close();
        memory_left = true;
        other.join();
    }
    CHECK(quiet != wrong_thread);
    CHECK(watched.expired() != wrong_thread);
    CHECK(region.expired() != wrong_thread);
    for (const int fd : pipe) ::close(fd);
}

TEST_CASE("What cannot be noted to be kept is kept for ever") {
    const bool earlier_ones = GENERATE(false, true);
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = buffer;
    const auto number = std::make_shared<int>(1);
    {
        Ring ring;
        for (int i = 0; i < 4 && earlier_ones; i++) ring.keep_alive(number);
        memory_left = false;
        ring.keep_alive(std::move(buffer));
        memory_left = true;
        CHECK(number.use_count() == (earlier_ones ? 5 : 1));
        CHECK(ring.close());
    }
    CHECK(number.use_count() == 1);
    CHECK_FALSE(watched.expired());
}

TEST_CASE("Memory that runs out at any moment fails the call that needs it, and nothing else") {
    const long step = loading_is_cheap() ? 1 : 5;
    const auto descriptors = descriptors_open();
    long failures = 0;
    bool over = false;
    for (long number = 1; !over; number += step) {
        std::weak_ptr<const void> kept;
        bool ran = false;
        try {
            auto object = std::make_shared<int>(1);
            kept = object;
            until_failure = number;
            Ring ring;
            ring.keep_alive(std::move(object));
            ringstep::LoopProgram<scripted_loop> program(ring);
            add_nops(program.state(), 3);
            program.state()->stop_at = 3;
            ran = program.run().ok();
            program.detach();
            ran = ring.close() && ran;
            over = until_failure > 0;
        } catch (const std::bad_alloc&) {
            failures++;
        }
        until_failure = 0;
        if (over) {
            CHECK(ran);
            CHECK(kept.expired());
        }
        // The waker of the process stays open, and so does the program that it has loaded, by two descriptors.
        REQUIRE(descriptors_open() <= descriptors + 3);
    }
    CHECK(failures != 0);
}

TEST_CASE("A run does not end the process if there is no memory for its trace") {
    memory_left = false;
    ringstep::detail::trace_exit("scripted", {.reason = ringstep::ExitReason::wrong_thread, .error = EEXIST});
    memory_left = true;
    SUCCEED();
}
