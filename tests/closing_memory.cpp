// SPDX-License-Identifier: MIT
// A ring that is closed when there is no memory left.
#include <ringstep/program.hpp>

#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>

using ringstep::RegionMemory;
using ringstep::Ring;

namespace {

std::atomic<bool> memory_left{true};

}  // namespace

// For all of this program.
void* operator new(std::size_t size) {
    void* const memory = memory_left ? std::malloc(size) : nullptr;
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
    return memory_left ? std::malloc(size) : nullptr;
}
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
