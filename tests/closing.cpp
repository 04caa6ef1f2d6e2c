// SPDX-License-Identifier: MIT
// Rings that end while requests are in flight.
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

using namespace std::chrono_literals;
using descriptors::Pipe;
using ringstep::ExitReason;
using ringstep::LoopProgram;
using ringstep::RegionMemory;
using ringstep::Ring;
using Scripted = LoopProgram<scripted_loop>;

namespace {

/// Leaves `count` reads of the pipe in flight on the ring, into `buffer`.
void leave_reads(Scripted& program, const Pipe& pipe, void* buffer, unsigned count) {
    for (unsigned i = 0; i < count; i++) io_uring_prep_read(add_request(program.state()), pipe.fds[0], buffer, 1, 0);
    program.state()->wait = 1;
    program.request_stop();
    REQUIRE(program.run().reason == ExitReason::stop_requested);  // before the first turn
    std::thread stopper([&] {
        wait_for_a_turn(program.state());
        program.request_stop();
    });
    REQUIRE(program.run().reason == ExitReason::stop_requested);
    stopper.join();
}

class Stopwatch {
public:
    [[nodiscard]] auto elapsed() const { return std::chrono::steady_clock::now() - start_; }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Posts a completion on a ring, from another one.
void send_message(int ring_fd) {
    io_uring other{};
    ensure(io_uring_queue_init(1, &other, 0) == 0);
    io_uring_prep_msg_ring(io_uring_get_sqe(&other), ring_fd, 0, 0, 0);
    io_uring_cqe* cqe = nullptr;
    ensure(io_uring_submit_and_wait_timeout(&other, &cqe, 1, nullptr, nullptr) == 1);
    ensure(cqe->res == 0);
    io_uring_queue_exit(&other);
}

/// A gigabyte of addresses, of which all but a little is the same memory again and again.
class Folded {
public:
    static constexpr std::size_t size = std::size_t{1} << 30;
    Folded() {
        const int memory = ::memfd_create("folded", MFD_CLOEXEC);
        REQUIRE(memory >= 0);
        REQUIRE(::ftruncate(memory, static_cast<off_t>(fold)) == 0);
        void* const start = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        REQUIRE(start != MAP_FAILED);
        data_ = static_cast<std::byte*>(start);
        for (std::size_t at = 0; at < size; at += fold) {
            if (::mmap(data_ + at, fold, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, 0) == MAP_FAILED) FAIL("mmap");
        }
        ::close(memory);
    }
    ~Folded() { ::munmap(data_, size); }
    Folded(const Folded&) = delete;
    Folded& operator=(const Folded&) = delete;
    [[nodiscard]] std::byte* data() const { return data_; }
    void fill(std::byte value) const { std::fill_n(data_, fold, value); }
    [[nodiscard]] bool consists_of(std::byte value) const {
        return std::all_of(data_, data_ + fold, [value](std::byte byte) { return byte == value; });
    }

private:
    static constexpr std::size_t fold = std::size_t{4} << 20;
    std::byte* data_ = nullptr;
};

/// Pages that are not there until somebody says so. Who writes to one, a worker of the kernel's as well, waits for that.
class Faults {
public:
    Faults() {
        fd_ = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
        if (fd_ < 0) return;
        uffdio_api api{};
        api.api = UFFD_API;
        data_ = static_cast<std::byte*>(
            ::mmap(nullptr, pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        uffdio_register range{};
        range.range.start = reinterpret_cast<std::uintptr_t>(data_);
        range.range.len = pages * page_size;
        range.mode = UFFDIO_REGISTER_MODE_MISSING;
        there_ = ::ioctl(fd_, UFFDIO_API, &api) == 0 && ::ioctl(fd_, UFFDIO_REGISTER, &range) == 0;
    }
    ~Faults() {
        if (there_)
            for (std::size_t i = 0; i < pages; i++) resolve(i);
        std::this_thread::sleep_for(20ms);
        if (fd_ >= 0) ::close(fd_);
    }
    Faults(const Faults&) = delete;
    Faults& operator=(const Faults&) = delete;
    [[nodiscard]] bool there() const { return there_; }
    [[nodiscard]] std::byte* page(std::size_t number) const { return data_ + number * page_size; }
    /// Until so many wait.
    void wait_for(unsigned count) const {
        while (count > 0) {
            pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
            ensure(::poll(&readable, 1, 10'000) == 1);
            uffd_msg message{};
            if (::read(fd_, &message, sizeof message) == sizeof message) count--;
        }
    }
    void resolve(std::size_t number) const {
        uffdio_zeropage zero{};
        zero.range.start = reinterpret_cast<std::uintptr_t>(page(number));
        zero.range.len = page_size;
        (void)::ioctl(fd_, UFFDIO_ZEROPAGE, &zero);  // also a second time
    }

private:
    static constexpr std::size_t pages = 4;
    static constexpr std::size_t page_size = 4096;
    int fd_ = -1;
    std::byte* data_ = nullptr;
    bool there_ = false;
};

void connect_sockets(std::array<int, 2>& sockets) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::listen(listener, 1) == 0);
    REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    sockets[0] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(sockets[0], reinterpret_cast<sockaddr*>(&address), length) == 0);
    sockets[1] = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    REQUIRE(sockets[1] >= 0);
    ::close(listener);
}

}  // namespace

TEST_CASE("Closing cancels and waits, so buffers are free afterwards", "[main]") {
    const Pipe pipe;
    Ring ring{{.close_wait_ms = 60'000}};
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

TEST_CASE("Closing with the loop still attached takes the loop off first", "[main]") {
    const Pipe pipe;
    auto buffer = RegionMemory::allocate(4096);
    Ring ring{{.close_wait_ms = 60'000}};
    Scripted program(ring);
    leave_reads(program, pipe, buffer->data(), 3);
    CHECK(ring.close());
    CHECK_FALSE(program.attached());
    CHECK(program.run().reason == ExitReason::detached);
}

TEST_CASE("Destructors do the same, in either order", "[main]") {
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

TEST_CASE("Requests without a completion do not hold up closing", "[main]") {
    Ring ring{{.close_wait_ms = 60'000}};
    SECTION("nops of the application") {
        for (int i = 0; i < 3; i++) {
            io_uring_sqe* sqe = ring.sq().claim();
            io_uring_prep_nop(sqe);
            sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        }
        REQUIRE(ring.submit().count == 3);
    }
    SECTION("files that a loop closes") {
        Scripted program(ring);
        for (int i = 0; i < 3; i++) {
            io_uring_sqe* sqe = add_request(program.state());
            io_uring_prep_close(sqe, ::dup(STDIN_FILENO));
            sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        }
        add_nops(program.state(), 1);
        program.state()->wait = 1;
        program.state()->stop_at = 1;
        REQUIRE(program.run().ok());
    }
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = buffer;
    ring.keep_alive(std::move(buffer));
    CHECK(ring.close());
    CHECK(watched.expired());
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A message of another ring is not taken for the end of a request: nothing is written to memory that was given back") {
    const bool by_loop = GENERATE(false, true);
    const int zeros = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    REQUIRE(zeros >= 0);
    const Folded memory;
    std::atomic<bool> released{false};
    {
        Ring ring{{.close_wait_ms = 60'000}};
        std::optional<Scripted> program;
        const auto prepare = [&](io_uring_sqe* sqe) {
            io_uring_prep_read(sqe, zeros, memory.data(), static_cast<unsigned>(Folded::size), 0);
            sqe->flags |= IOSQE_ASYNC;
        };
        if (by_loop) {
            program.emplace(ring);
            prepare(add_request(program->state()));
            program->state()->wait = 1;
            program->state()->stop_at = 1;  // the message is that one
        } else {
            prepare(ring.sq().claim());
            REQUIRE(ring.submit().count == 1);
        }
        ring.keep_alive(std::shared_ptr<const void>(memory.data(), [&](const void*) {
            memory.fill(std::byte{0x55});
            released = true;
        }));
        std::thread sender([&] {
            if (by_loop) wait_for_a_turn(program->state());
            std::this_thread::sleep_for(10ms);
            send_message(ring.fd());
        });
        if (by_loop) {
            CHECK(program->run().ok());
        } else {
            (void)ring.submit_and_wait(1);
            ringstep::Completion completion;
            REQUIRE(ring.cq().pop(completion));
        }
        sender.join();
        CHECK(ring.in_flight() == 0);
        CHECK(ring.close());
    }
    CHECK(released);
    std::this_thread::sleep_for(50ms);
    CHECK(memory.consists_of(std::byte{0x55}));
    ::close(zeros);
}

TEST_CASE("A request that the kernel cannot cancel is waited for; beyond the time for it, memory is kept") {
    Faults faults;
    if (!faults.there()) SKIP("no userfaultfd for faults of the kernel");
    const bool resolved = GENERATE(true, false);
    const unsigned table = GENERATE(0U, 1U, 100U);
    const int zeros = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    REQUIRE(zeros >= 0);
    bool quiet = false;
    std::atomic<bool> released{false};
    std::atomic<bool> resolving{false};
    std::thread resolver;
    const Stopwatch watch;
    {
        Ring ring{{.close_wait_ms = resolved ? 20'000U : 400U}};
        if (table != 0) {
            ring.register_files_sparse(table);
            ring.update_file(0, zeros);
        }
        // A worker of the kernel's stops in the middle of each read, because the page is not there.
        for (unsigned i = 0; i < 2; i++) {
            io_uring_sqe* sqe = ring.sq().claim();
            io_uring_prep_read(sqe, table != 0 ? 0 : zeros, faults.page(i), 1, 0);
            sqe->flags |= IOSQE_ASYNC;
            if (table != 0) sqe->flags |= IOSQE_FIXED_FILE;
            if (table > 1 && i == 0) {
                // Begins while the ring is being closed, and closes a slot that tells of the end.
                sqe->flags |= IOSQE_IO_LINK;
                io_uring_prep_close_direct(ring.sq().claim(), 0);
            }
        }
        REQUIRE(ring.submit().error == 0);
        ring.keep_alive(std::shared_ptr<const void>(faults.page(0), [&](const void*) { released = true; }));
        faults.wait_for(2);
        send_message(ring.fd());
        send_message(ring.fd());
        resolver = std::thread([&] {
            std::this_thread::sleep_for(250ms);  // by then it has been closed
            if (table > 1) faults.resolve(0);
            if (!resolved) return;
            std::this_thread::sleep_for(250ms);
            resolving = true;
            faults.resolve(0);
            faults.resolve(1);
        });
        quiet = ring.close();
        CHECK(resolving == resolved);
    }
    resolver.join();
    CHECK(quiet == resolved);
    CHECK(released == resolved);
    CHECK(watch.elapsed() < 15s);
    ::close(zeros);
}

TEST_CASE("Requests of every kind are over when closing says so") {
    const Pipe pipe;
    Ring ring{{.close_wait_ms = 60'000}};
    std::array<int, 2> sockets{-1, -1};
    std::array<char, 4096> buffer{};
    __kernel_timespec hour{.tv_sec = 3600, .tv_nsec = 0};
    const unsigned table = GENERATE(0U, 1U, 3U, 200U);
    if (table != 0) ring.register_files_sparse(table);
    unsigned submitted = 1;
    SECTION("multishot") { io_uring_prep_poll_multishot(ring.sq().claim(), pipe.fds[0], POLLIN); }
    SECTION("with a linked timeout") {
        io_uring_sqe* sqe = ring.sq().claim();
        io_uring_prep_read(sqe, pipe.fds[0], buffer.data(), 1, 0);
        sqe->flags |= IOSQE_IO_LINK;
        io_uring_prep_link_timeout(ring.sq().claim(), &hour, 0);
        submitted = 2;
    }
    SECTION("a timeout without a completion") {
        io_uring_sqe* sqe = ring.sq().claim();
        io_uring_prep_timeout(sqe, &hour, 0, 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    }
    SECTION("a zero-copy send whose second completion is not there yet") {
        connect_sockets(sockets);
        io_uring_prep_send_zc(ring.sq().claim(), sockets[0], buffer.data(), buffer.size(), 0, 0);
    }
    SECTION("with files of the table") {
        if (table != 0) {
            ring.update_file(table - 1, pipe.fds[0]);
            io_uring_sqe* sqe = ring.sq().claim();
            io_uring_prep_read(sqe, static_cast<int>(table - 1), buffer.data(), 1, 0);
            sqe->flags |= IOSQE_FIXED_FILE;
        } else {
            submitted = 0;
        }
    }
    SECTION("submitted without this class") {
        io_uring_sqe* sqe = ring.sq().claim();
        io_uring_prep_read(sqe, pipe.fds[0], buffer.data(), 1, 0);
        const unsigned count = ring.geometry().rewinds() ? 1 : ring.sq().claimed();
        submitted = 0;
        CHECK(::syscall(SYS_io_uring_enter, ring.native().ring_fd, count, 0, 0, nullptr, 0) == 1);
        CHECK(ring.in_flight() == 0);
    }
    CHECK(ring.submit().count >= submitted);
    CHECK(ring.close());
    if (sockets[0] < 0) {
        REQUIRE(::write(pipe.fds[1], "x", 1) == 1);
        std::this_thread::sleep_for(20ms);
        char byte = 0;
        CHECK(::read(pipe.fds[0], &byte, 1) == 1);
    }
    for (const int fd : sockets)
        if (fd >= 0) ::close(fd);
}

TEST_CASE("Requests of the application beside those of a loop", "[main]") {
    const Pipe pipe;
    Ring ring{{.close_wait_ms = 60'000}};
    Scripted program(ring);
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = buffer;
    // Claimed here, submitted by the loop; or by the application, when the loop has gone.
    io_uring_prep_read(ring.sq().claim(), pipe.fds[0], buffer->data(), 1, 0);
    leave_reads(program, pipe, buffer->data(), 3);
    program.detach();
    io_uring_prep_read(ring.sq().claim(), pipe.fds[0], buffer->data(), 1, 0);
    REQUIRE(ring.submit().count == 1);
    for (int i = 0; i < 5; i++) send_message(ring.fd());
    (void)ring.submit_and_wait(5);
    for ([[maybe_unused]] const auto& completion : ring.cq()) {
    }
    CHECK(ring.in_flight() == 0);
    ring.keep_alive(buffer);
    buffer.reset();
    CHECK(ring.close());
    CHECK(watched.expired());
    REQUIRE(::write(pipe.fds[1], "x", 1) == 1);
    std::this_thread::sleep_for(20ms);
    char byte = 0;
    CHECK(::read(pipe.fds[0], &byte, 1) == 1);
}

TEST_CASE("A ring that was given back to liburing keeps its memory") {
    auto buffer = RegionMemory::allocate(4096);
    const std::weak_ptr<RegionMemory> watched = buffer;
    const Pipe pipe;
    const bool used = GENERATE(false, true);
    Ring ring;
    ring.keep_alive(buffer);
    if (used) {
        io_uring_prep_read(ring.sq().claim(), pipe.fds[0], buffer->data(), 1, 0);
        REQUIRE(ring.submit().count == 1);
        send_message(ring.fd());
        (void)ring.submit_and_wait(1);
        for ([[maybe_unused]] const auto& completion : ring.cq()) {
        }
        CHECK(ring.in_flight() == 0);
    }
    buffer.reset();
    io_uring native = ring.release();
    CHECK(watched.expired() != used);
    CHECK_FALSE(ring.is_open());
    CHECK(ring.close() != used);
    io_uring_queue_exit(&native);
}

TEST_CASE("A ring that was never used is closed at once") {
    // The kernel takes ten milliseconds and more to say that the last request has ended. A ring without requests does not ask.
    // The quickest of many shows this, however busy the machine is.
    auto quickest = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 300; i++) {
        Ring ring;
        const Stopwatch watch;
        CHECK(ring.close());
        quickest = std::min(quickest, watch.elapsed());
    }
    CHECK(quickest < 10ms);
}
