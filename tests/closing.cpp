// SPDX-License-Identifier: MIT
// Rings that end while requests are in flight.
#include <ringstep/program.hpp>

#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopProgram;
using ringstep::RegionMemory;
using ringstep::Ring;
using Scripted = LoopProgram<scripted_loop>;

namespace {

struct Pipe {
    std::array<int, 2> fds{};
    Pipe() { REQUIRE(::pipe(fds.data()) == 0); }
    ~Pipe() {
        for (const int fd : fds) ::close(fd);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
};

/// Leaves `count` reads of the pipe in flight on the ring, into `buffer`.
void leave_reads(Scripted& program, const Pipe& pipe, void* buffer, unsigned count) {
    for (unsigned i = 0; i < count; i++) io_uring_prep_read(add_request(program.state()), pipe.fds[0], buffer, 1, 0);
    program.state()->wait = 1;
    program.request_stop();
    REQUIRE(program.run().reason == ExitReason::stop_requested);  // before the first turn
    std::thread stopper([&] {
        while (program.state().load(&scripted::turns) == 0) std::this_thread::sleep_for(1ms);
        program.request_stop();
    });
    REQUIRE(program.run().reason == ExitReason::stop_requested);
    stopper.join();
}

}  // namespace

TEST_CASE("Closing cancels and waits, so buffers are free afterwards") {
    const Pipe pipe;
    Ring ring;
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = buffer;
    {
        Scripted program(ring);
        leave_reads(program, pipe, buffer->data(), 10);
        ring.keep_alive(buffer);
        buffer.reset();
        CHECK(ring.in_flight() == 10);
    }
    CHECK_FALSE(watched.expired());
    CHECK(ring.close());
    CHECK(watched.expired());
    // Nobody reads from the pipe any more.
    REQUIRE(::write(pipe.fds[1], "x", 1) == 1);
    std::this_thread::sleep_for(20ms);
    char byte = 0;
    CHECK(::read(pipe.fds[0], &byte, 1) == 1);
}

TEST_CASE("Closing with the loop still attached takes the loop off first") {
    const Pipe pipe;
    auto buffer = RegionMemory::allocate(4096);
    Ring ring;
    Scripted program(ring);
    leave_reads(program, pipe, buffer->data(), 3);
    CHECK(ring.close());
    CHECK_FALSE(program.attached());
    CHECK(program.run().reason == ExitReason::detached);
}

TEST_CASE("Destructors do the same, in either order") {
    const Pipe pipe;
    auto buffer = RegionMemory::allocate(4096);
    std::optional<Ring> ring(std::in_place);
    std::optional<Scripted> program(std::in_place, *ring);
    const std::weak_ptr<RegionMemory> region = program->state().memory();
    leave_reads(*program, pipe, buffer->data(), 3);
    SECTION("program first") {
        program.reset();
        ring.reset();
    }
    SECTION("ring first") {
        ring.reset();
        program.reset();
    }
    CHECK(region.expired());
}

TEST_CASE("What cannot be waited for keeps its memory for ever") {
    const Pipe pipe;
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched_buffer = buffer;
    std::weak_ptr<RegionMemory> watched_region;
    bool quiet = true;
    {
        Ring ring;
        Scripted program(ring);
        watched_region = ring.region();
        leave_reads(program, pipe, buffer->data(), 2);
        ring.keep_alive(buffer);
        buffer.reset();
        // Only the owner can cancel: another thread closes without knowing when the requests end.
        std::thread([&] { quiet = ring.close(); }).join();
    }
    CHECK_FALSE(quiet);
    CHECK_FALSE(watched_buffer.expired());
    CHECK_FALSE(watched_region.expired());
    // The owner's registered descriptor still holds the ring: its requests still write, into memory that is still there.
    REQUIRE(::write(pipe.fds[1], "y", 1) == 1);
    std::this_thread::sleep_for(20ms);
}

TEST_CASE("A request that skips its completion makes closing give up in time, with the memory kept") {
    const Pipe pipe;
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = buffer;
    bool quiet = true;
    std::chrono::steady_clock::duration took{};
    {
        Ring ring{{.close_wait_ms = 50}};
        io_uring_sqe* sqe = ring.sq().claim();
        io_uring_prep_nop(sqe);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        REQUIRE(ring.submit());
        ring.keep_alive(buffer);
        buffer.reset();
        const auto before = std::chrono::steady_clock::now();
        quiet = ring.close();
        took = std::chrono::steady_clock::now() - before;
    }
    CHECK_FALSE(quiet);
    CHECK(took < 5s);
    CHECK_FALSE(watched.expired());
}
