// SPDX-License-Identifier: MIT
// FileCopy while something happens: stops, signals, sources that change, watchers.
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/copy_format.hpp>
#include <ringstep/loops/gate.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "loops/files.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;
using ringstep::CopyOperation;
using ringstep::CopyOptions;
using ringstep::CopyResult;
using ringstep::ExitReason;
using ringstep::FileCopy;
using ringstep::Ring;

namespace {

/// Large enough that a copy can be stopped in the middle, also where an emulated processor is the slower part.
const std::size_t large = loading_is_cheap() ? 24 << 20 : 10 << 20;

/// Waits until so much is written.
void wait_for(const FileCopy& copy, std::uint64_t bytes) {
    while (copy.progress().bytes_written < bytes) std::this_thread::yield();
}

/// Runs a copy and stops it somewhere after `bytes` bytes. On a busy machine it may be done before anybody stops it: then it
/// runs again.
CopyResult run_until(FileCopy& copy, const File& input, const File& output, std::uint64_t bytes) {
    CopyResult result;
    for (int tries = 0; tries < 20; tries++) {
        std::stop_source stop;
        std::thread stopper([&] {
            while (copy.progress().bytes_written == 0) std::this_thread::yield();
            wait_for(copy, bytes);
            stop.request_stop();
        });
        result = copy.run(input.fd(), output.fd(), stop.get_token());
        stopper.join();
        if (!result.ok()) break;
    }
    INFO("stopped after " << result.bytes);
    REQUIRE(result.exit.reason == ExitReason::stop_requested);
    REQUIRE(result.resumable());
    return result;
}

/// Returns the bytes of `whole` from one offset up to another.
Bytes part_of(const Bytes& whole, std::size_t from, std::size_t to) { return {whole.data() + from, whole.data() + to}; }

bool is_prefix(const Bytes& part, const Bytes& whole) {
    return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

}  // namespace

TEST_CASE("Stopped, it goes on where it was") {
    const std::string file_system = GENERATE("tmpfs", "ext4");
    const bool direct = GENERATE(false, true);
    CAPTURE(file_system, direct);
    const Folder folder(place(file_system));
    if (direct && !has_direct(folder.path())) SKIP("no O_DIRECT on this file system");
    const Bytes bytes = random_bytes(large + 123);
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(bytes);
    input.drop_cache();
    Ring ring;
    FileCopy copy(
        ring,
        {.queue_depth = 16, .block_size = 16384, .direct = direct, .registered_files = direct, .registered_buffers = direct});
    CopyResult result = run_until(copy, input, output, large / 4);
    CHECK(result.bytes < bytes.size());
    // Nothing else can be done with it in between.
    CHECK(copy.run(input.fd(), output.fd()).error == EBUSY);

    for (int stops = 0; stops < 6 && !result.ok(); stops++) {
        const auto goal = std::min<std::uint64_t>(result.bytes + (1 << 20), bytes.size());
        std::thread stopper([&copy, goal] {
            wait_for(copy, goal);
            copy.request_stop();
        });
        result = copy.resume();
        stopper.join();
    }
    while (result.resumable()) result = copy.resume();
    REQUIRE(result.ok());
    CHECK(result.enters > 1);  // a later stop may have come after the end
    CHECK(result.bytes == bytes.size());
    CHECK(result.exit.submitted == result.exit.completions);
    CHECK((::fcntl(input.fd(), F_GETFL) & O_DIRECT) == 0);
    REQUIRE((output.read() == bytes));
    // A stop that came too late counts for the next run.
    result = copy.run(input.fd(), output.fd());
    while (result.resumable()) result = copy.resume();
    CHECK(result.ok());
}

TEST_CASE("Holes: stopped and resumed") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.truncate(64 << 20);
    for (std::uint64_t i = 0; i < 500; i++) input.write(random_bytes(20000, i), i * 65536);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 8, .block_size = 4096});
    CopyResult result = run_until(copy, input, output, 1 << 20);
    while (result.resumable()) result = copy.resume();
    CHECK(result.ok());
    CHECK(output.allocated() == input.allocated());
    CHECK((output.read() == input.read()));
}

TEST_CASE("Signals interrupt it, and it goes on") {
    struct sigaction action{};
    struct sigaction before{};
    action.sa_handler = [](int) {};
    REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
    const Folder folder;
    const Bytes bytes = random_bytes(large);
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(bytes);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 8, .block_size = 8192});
    std::jthread sender([&, target = ::pthread_self()](const std::stop_token& token) {
        while (!token.stop_requested()) {
            std::this_thread::sleep_for(5ms);
            // Not before the copy has begun: a signal ends the verifier's work, too.
            if (output.size() != 0) ::pthread_kill(target, SIGUSR1);
        }
    });
    // In user space a copy that never has to wait goes on. On a busy machine, a copy in the kernel may be over before the first
    // signal.
    const int attempts = copy.engine() == ringstep::Engine::kernel ? 20 : 1;
    SECTION("seen by the caller") {
        unsigned interrupted = 0;
        for (int attempt = 0; attempt < attempts && interrupted == 0; attempt++) {
            output.truncate(0);
            CopyResult result = copy.run(input.fd(), output.fd());
            while (result.resumable()) {
                CHECK(result.exit.reason == ExitReason::interrupted);
                CHECK(result.exit.error == EINTR);
                CHECK(result.error == 0);
                ++interrupted;
                result = copy.resume();
            }
            CHECK(result.ok());
            if (copy.engine() == ringstep::Engine::kernel) CHECK(result.enters == interrupted + 1);
        }
        if (copy.engine() == ringstep::Engine::kernel) CHECK(interrupted > 0);
    }
    SECTION("copy_file() sees to it") {
        Ring another;
        const CopyOptions options{.queue_depth = 8, .block_size = 8192};
        CopyResult result;
        for (int attempt = 0; attempt < attempts && result.enters <= 1; attempt++) {
            output.truncate(0);
            result = ringstep::copy_file(another, input.fd(), output.fd(), options);
            REQUIRE(result.ok());
        }
        if (copy.engine() == ringstep::Engine::kernel) CHECK(result.enters > 1);
    }
    sender.request_stop();
    sender.join();
    ::sigaction(SIGUSR1, &before, nullptr);
    CHECK((output.read() == bytes));
}

TEST_CASE("Progress is there to be watched by another thread") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(large));
    Ring ring;
    bool in_order = true;
    bool reading_is_ahead = false;
    std::size_t most = 0;
    // On a busy machine, the watcher may sleep through a whole copy.
    for (int attempt = 0; attempt < 20 && (!reading_is_ahead || most <= 5); attempt++) {
        FileCopy copy(ring, {.queue_depth = 8, .block_size = 16384});
        std::vector<std::uint64_t> seen;
        std::atomic<bool> over{false};
        std::thread watcher([&] {
            std::uint64_t last = 0;
            while (!over) {
                const ringstep::CopyProgress progress = copy.progress();
                in_order = in_order && progress.bytes_written >= last && progress.bytes_written <= large;
                last = progress.bytes_written;
                if (last > 0 && last < large) {
                    seen.push_back(last);
                    reading_is_ahead = reading_is_ahead || progress.bytes_read > progress.bytes_written + 16384;
                    in_order = in_order && progress.size == large && progress.turns > 0;
                }
                std::this_thread::sleep_for(1ms);
            }
        });
        CHECK(copy.run(input.fd(), output.fd()).ok());
        over = true;
        watcher.join();
        seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
        most = std::max(most, seen.size());
    }
    CHECK(in_order);
    CHECK(reading_is_ahead);
    CHECK(most > 5);
}

TEST_CASE("A source that has grown in between is copied to its new end") {
    const std::size_t more = GENERATE(as<std::size_t>{}, 1, 4096, 100000, 5 << 20);
    CAPTURE(more);
    const Folder folder;
    const Bytes bytes = random_bytes(large + more);
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(part_of(bytes, 0, large));
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 16, .block_size = 16384});
    (void)run_until(copy, input, output, large / 4);
    input.write(part_of(bytes, large, large + more), large);
    const CopyResult result = copy.resume();
    CHECK(result.ok());
    CHECK(result.size == large + more);
    CHECK((output.read() == bytes));
}

TEST_CASE("A source that has shrunk in between ends where it ends") {
    using Cut = std::pair<std::size_t, bool>;
    const auto [rest, direct] =
        GENERATE(from_range(some_of<Cut>({{0, false}, {1, true}, {100000, false}, {large / 2, true}, {large - 1, false}},
                                         {{0, true}, {1, false}, {100000, true}, {large / 2, false}, {large - 1, true}})));
    CAPTURE(rest, direct);
    const Folder folder(Ext4::path());
    const Bytes bytes = random_bytes(large);
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(bytes);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 32, .block_size = 16384, .direct = direct});
    (void)run_until(copy, input, output, large / 4);
    input.truncate(rest);
    const CopyResult result = copy.resume();
    CHECK(result.ok());
    CHECK(output.size() == result.size);
    CHECK(result.size == rest);  // also where more was copied before the cut
    REQUIRE((output.read() == Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(rest))));
}

TEST_CASE("A source with holes that grows and shrinks in between") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.truncate(64 << 20);
    for (std::uint64_t i = 0; i < 500; i++) input.write(random_bytes(20000, i), i * 65536);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 8, .block_size = 4096});
    (void)run_until(copy, input, output, 1 << 20);
    SECTION("grows, by data behind a hole") {
        input.write(random_bytes(12345), 80 << 20);
        const CopyResult result = copy.resume();
        CHECK(result.ok());
        CHECK(result.size == (80 << 20) + 12345);
        CHECK((output.read() == input.read()));
    }
    SECTION("grows, by a hole") {
        input.truncate(90 << 20);
        CHECK(copy.resume().size == 90 << 20);
        CHECK((output.read() == input.read()));
    }
    SECTION("shrinks to the middle of an extent") {
        input.truncate(400 * 65536 + 777);
        const CopyResult result = copy.resume();
        CHECK(result.ok());
        CHECK(result.size == 400 * 65536 + 777);
        CHECK((output.read() == input.read()));
    }
    SECTION("shrinks to the middle of a hole") {
        input.truncate(400 * 65536 + 40000);
        const CopyResult result = copy.resume();
        CHECK(result.ok());
        CHECK(result.size == 400 * 65536 + 40000);
        CHECK((output.read() == input.read()));
    }
}

TEST_CASE("A source that changes all the time") {
    const std::string file_system = GENERATE("tmpfs", "ext4");
    const bool grows = GENERATE(false, true);
    CAPTURE(file_system, grows);
    const Folder folder(place(file_system));
    const Bytes bytes = random_bytes(2 * large);
    const File input(folder / "in");
    const File output(folder / "out");
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 32, .block_size = 16384});
    for (std::uint64_t round = 0; round < rounds(1, 3); round++) {
        input.truncate(0);
        input.write(part_of(bytes, 0, grows ? large : 2 * large));
        std::atomic<bool> over{false};
        std::thread changer([&] {
            for (std::uint64_t size = grows ? large : 2 * large; !over; std::this_thread::sleep_for(1ms)) {
                if (grows && size + 65536 <= 2 * large) {
                    input.write(part_of(bytes, size, size + 65536), size);
                    size += 65536;
                } else if (!grows && size > large / 4) {
                    size -= 4 * 65536;
                    input.truncate(size);
                }
            }
        });
        const CopyResult result = copy.run(input.fd(), output.fd());
        const std::uint64_t size_then = input.size();
        over = true;
        changer.join();
        CHECK(result.ok());
        CHECK(output.size() == result.size);
        if (grows) {
            CHECK(result.size >= large);
        } else {
            CHECK(result.size >= size_then);
            CHECK(result.size <= 2 * large);
        }
        REQUIRE(is_prefix(output.read(), bytes));
    }
}

TEST_CASE("Cancelled, it says so, lets go of everything and can be used again") {
    const Folder folder;
    const File output(folder / "out");
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 4, .block_size = 4096});
    SECTION("a pipe that says nothing") {
        const Pipe pipe(O_NONBLOCK);
        std::stop_source stop;
        std::thread stopper([&] {
            while (copy.state().load(&ringstep_copy::reading) == 0) std::this_thread::sleep_for(1ms);
            std::this_thread::sleep_for(10ms);
            stop.request_stop();
        });
        CHECK(copy.run(pipe.out(), output.fd(), stop.get_token()).resumable());
        stopper.join();
        CHECK(ring.in_flight() == 1);
        CHECK((::fcntl(pipe.out(), F_GETFL) & O_NONBLOCK) == 0);
        const CopyResult result = copy.cancel();
        CHECK(result.error == ECANCELED);
        CHECK(result.operation == CopyOperation::none);
        CHECK_FALSE(result.ok());
        CHECK_FALSE(result.resumable());
        CHECK_FALSE(result.changed);
        CHECK(result.bytes == 0);
        CHECK(result.exit.submitted == result.exit.completions);
        CHECK(ring.in_flight() == 0);
        CHECK((::fcntl(pipe.out(), F_GETFL) & O_NONBLOCK) != 0);
        // Nobody reads from it any more.
        REQUIRE(::write(pipe.in(), "x", 1) == 1);
        std::this_thread::sleep_for(20ms);
        char byte = 0;
        CHECK(::read(pipe.out(), &byte, 1) == 1);
    }
    SECTION("with a stop requested, which is for the next copy") {
        const Pipe pipe;
        std::thread stopper([&] {
            while (copy.state().load(&ringstep_copy::reading) == 0) std::this_thread::sleep_for(1ms);
            std::this_thread::sleep_for(10ms);
            copy.request_stop();
        });
        CHECK(copy.run(pipe.out(), output.fd()).resumable());
        stopper.join();
        CHECK(ring.in_flight() == 1);
        copy.request_stop();
        CHECK(copy.cancel().error == ECANCELED);
        CHECK(ring.in_flight() == 0);
        const File input(folder / "next");
        input.write(random_bytes(100000));
        const CopyResult next = copy.run(input.fd(), output.fd());
        CHECK(next.exit.reason == ExitReason::stop_requested);
        REQUIRE(next.resumable());
        CHECK(copy.resume().ok());
    }
    SECTION("a file") {
        const File input(folder / "large");
        input.write(random_bytes(large));
        const CopyResult stopped = run_until(copy, input, output, large / 4);
        const CopyResult result = copy.cancel();
        CHECK(result.error == ECANCELED);
        CHECK_FALSE(result.resumable());
        CHECK(result.changed);
        CHECK(result.bytes >= stopped.bytes);
        CHECK(fmt::format("{}", result) == fmt::format("cancelled after {} bytes", result.bytes));
        CHECK(result.bytes == copy.progress().bytes_written);
        CHECK(result.exit.submitted == result.exit.completions);
        CHECK(copy.resume().error == EINVAL);
        CHECK(ring.in_flight() == 0);
    }
    CHECK(copy.cancel().error == EINVAL);  // there is no copy
    const File input(folder / "in");
    input.write(random_bytes(100000));
    CHECK(copy.run(input.fd(), output.fd()).ok());
    CHECK((output.read() == input.read()));
}

TEST_CASE("A copy whose ring was closed leaves the ring alone that has its descriptor now") {
    const Folder folder;
    const File output(folder / "out");
    const Pipe pipe;
    Ring ring;
    auto copy = std::make_optional<FileCopy>(ring, CopyOptions{.queue_depth = 4, .block_size = 4096, .registered_files = true});
    REQUIRE(copy->registered_files());
    std::jthread stopper([&] {
        std::this_thread::sleep_for(100ms);
        copy->request_stop();
    });
    CHECK(copy->run(pipe.out(), output.fd()).resumable());
    stopper.join();
    const int closed = ring.fd();
    CHECK(ring.close());
    Ring other;
    REQUIRE(other.fd() == closed);
    const std::array files{output.fd(), output.fd()};
    other.register_files(files);
    if (GENERATE(false, true)) CHECK(copy->cancel().error == ECANCELED);
    copy.reset();
    for (unsigned slot = 0; slot < files.size(); slot++) {
        io_uring_sqe* const sqe = other.sq().claim();
        io_uring_prep_fsync(sqe, static_cast<int>(slot), 0);
        sqe->flags = IOSQE_FIXED_FILE;
    }
    CHECK(other.submit_and_wait(2).count == 2);
    for (const ringstep::Completion& completion : other.cq()) CHECK(completion.result == 0);
}

TEST_CASE("Destroyed under way: the buffers are freed when nothing can write to them any more, and not before") {
    const Folder folder;
    const File output(folder / "out");
    const Pipe pipe;
    auto ring = std::make_optional<Ring>();
    auto copy = std::make_optional<FileCopy>(*ring, CopyOptions{.queue_depth = 4, .block_size = 4096});
    std::stop_source stop;
    std::thread stopper([&] {
        while (copy->state().load(&ringstep_copy::reading) == 0) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(10ms);
        stop.request_stop();
    });
    REQUIRE(copy->run(pipe.out(), output.fd(), stop.get_token()).resumable());
    stopper.join();
    REQUIRE(ring->in_flight() == 1);
    const auto mapped = [address = copy->state()->buffers] {
        unsigned char resident = 0;
        return ::mincore(reinterpret_cast<void*>(address), 4096, &resident) == 0;
    };
    CHECK(mapped());
    SECTION("the copy first") {
        copy.reset();
        CHECK(ring->in_flight() == 0);
        CHECK_FALSE(mapped());
        // The ring can be used by the next.
        const File input(folder / "in");
        input.write(random_bytes(100000));
        CHECK(ringstep::copy_file(*ring, input.fd(), output.fd()).ok());
        ring.reset();
    }
    SECTION("the ring first") {
        ring.reset();
        CHECK(mapped());
        copy.reset();
        CHECK_FALSE(mapped());
    }
    SECTION("on another thread, which cannot wait for it") {
        std::thread([&] { copy.reset(); }).join();
        CHECK(mapped());
        CHECK(ring->in_flight() == 1);
        ring.reset();
        CHECK_FALSE(mapped());
    }
}

TEST_CASE("A late completion of an earlier copy does nothing to the next one") {
    const Folder folder;
    const File output(folder / "out");
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 1, .block_size = 4096});
    std::uint64_t before = 0;
    for (int round = 0; round < 3; round++) {
        Pipe pipe;
        std::jthread stopper([&] {
            while (copy.state().load(&ringstep_copy::reading) == 0) std::this_thread::yield();
            copy.request_stop();
        });
        REQUIRE(copy.run(pipe.out(), output.fd()).exit.reason == ExitReason::stop_requested);
        stopper.join();
        const std::uint64_t identity = copy.state()->slots[0].identity;
        CHECK(identity != before);
        if (before != 0) {
            Ring sender;
            io_uring_prep_msg_ring(sender.sq().claim(), ring.fd(), 77, before, 0);
            REQUIRE(sender.submit().count == 1);
        }
        REQUIRE(::write(pipe.in(), "its own", 7) == 7);
        pipe.close_in();
        const CopyResult result = copy.resume();
        CHECK(result.ok());
        CHECK(result.size == 7);
        CHECK(output.size() == 7);
        CHECK(copy.state()->foreign == static_cast<std::uint32_t>(round));
        before = identity;
    }
}

TEST_CASE("A copy that is destroyed under way leaves completions of other requests in the CQ") {
    const Folder folder;
    const File output(folder / "out");
    const Pipe pipe;
    const Pipe other;
    std::array<char, 4> buffer{};
    Ring ring;
    auto copy = std::make_optional<FileCopy>(ring, CopyOptions{.queue_depth = 4, .block_size = 4096});
    // With the loop attached, nothing but the loop submits. What is claimed goes with the first submit of a loop.
    io_uring_sqe* const sqe = ring.sq().claim();
    io_uring_prep_read(sqe, other.out(), buffer.data(), buffer.size(), 0);
    sqe->user_data = 4711;
    std::jthread stopper([&] {
        while (copy->state().load(&ringstep_copy::reading) == 0) std::this_thread::yield();
        copy->request_stop();
    });
    REQUIRE(copy->run(pipe.out(), output.fd()).exit.reason == ExitReason::stop_requested);
    stopper.join();
    REQUIRE(ring.in_flight() == 2);
    REQUIRE(::write(other.in(), "late", 4) == 4);
    copy.reset();
    CHECK(ring.in_flight() <= 1);
    for (int tries = 0; tries < 5000 && ring.cq().ready() == 0; tries++) {
        (void)ring.submit_and_wait(0);
        std::this_thread::sleep_for(1ms);
    }
    ringstep::Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.user_data == 4711);
    CHECK(completion.result == 4);
    CHECK_FALSE(ring.cq().pop(completion));
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A copy that is destroyed after another loop has come does not take the state of that one for its own") {
    const Folder folder;
    const File output(folder / "out");
    const Pipe pipe;
    auto ring = std::make_optional<Ring>();
    ring->use_region(ringstep::RegionMemory::allocate(16 << 20));
    auto copy = std::make_optional<FileCopy>(*ring, CopyOptions{.queue_depth = 4, .block_size = 4096});
    std::jthread stopper([&] {
        while (copy->state().load(&ringstep_copy::reading) == 0) std::this_thread::yield();
        copy->request_stop();
    });
    REQUIRE(copy->run(pipe.out(), output.fd()).exit.reason == ExitReason::stop_requested);
    stopper.join();
    const auto mapped = [address = copy->state()->buffers] {
        unsigned char resident = 0;
        return ::mincore(reinterpret_cast<void*>(address), 4096, &resident) == 0;
    };
    copy->program().detach();
    {
        ringstep::Gate gate(*ring);
        copy.reset();
        CHECK(mapped());  // the read is still in flight, and writes there
        io_uring_sqe sqe{};
        io_uring_prep_nop(&sqe);
        gate.push(sqe);
        CHECK(gate.run().ok());
        CHECK(gate.ready() == 1);
    }
    CHECK(mapped());
    CHECK(ring->in_flight() == 1);
    ring.reset();
    CHECK_FALSE(mapped());
}

TEST_CASE("On another thread it does nothing, and can go on where it belongs") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(large));
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 4, .block_size = 16384});
    CopyResult elsewhere;
    std::thread([&] { elsewhere = copy.run(input.fd(), output.fd()); }).join();
    CHECK(elsewhere.exit.reason == ExitReason::wrong_thread);
    CHECK(elsewhere.error == EEXIST);
    CHECK(elsewhere.operation == CopyOperation::set_up);
    (void)run_until(copy, input, output, large / 4);
    std::thread([&] { elsewhere = copy.resume(); }).join();
    CHECK(elsewhere.error == EEXIST);
    CHECK(copy.resume().ok());
    CHECK((output.read() == input.read()));
}

TEST_CASE("A stop before the start, and copy_file() with one") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(large));
    Ring ring;
    std::stop_source stop;
    stop.request_stop();
    const CopyResult result = ringstep::copy_file(ring, input.fd(), output.fd(), {}, stop.get_token());
    CHECK_FALSE(result.ok());
    CHECK(result.error == 0);
    CHECK(result.exit.reason == ExitReason::stop_requested);
    CHECK(result.bytes == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("The ring closed under it") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(10000));
    Ring ring;
    FileCopy copy(ring);
    CHECK(ring.close());
    const CopyResult result = copy.run(input.fd(), output.fd());
    CHECK(result.exit.reason == ExitReason::detached);
    CHECK(result.error == EFAULT);
    CHECK(result.operation == CopyOperation::set_up);
}

TEST_CASE("Another thread is refused, and the copy goes on") {
    const Folder folder;
    const Bytes bytes = random_bytes(large);
    const File input(folder / "in");
    input.write(bytes);
    const File output(folder / "out");
    const File other_output(folder / "other");
    other_output.write(bytes);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 2, .block_size = 4096});
    std::atomic<bool> over{false};
    std::atomic<unsigned> refused{0};
    std::thread other([&] {
        while (!over) {
            for (const CopyResult& result : {copy.run(input.fd(), other_output.fd()), copy.resume()}) {
                ensure(!result.ok() && !result.resumable());
                ensure(result.error == EEXIST && result.operation == CopyOperation::set_up);
            }
            copy.cancel();
            refused++;
        }
    });
    CopyResult result;
    do {
        result = copy.run(input.fd(), output.fd());
        while (result.exit.reason == ExitReason::interrupted) result = copy.resume();
        CHECK(result.ok());
        CHECK(result.size == bytes.size());
        CHECK(result.error == 0);
    } while (refused < 100 && result.ok());
    over = true;
    other.join();
    CHECK(output.read() == bytes);
    CHECK(other_output.read() == bytes);  // not even emptied
}
