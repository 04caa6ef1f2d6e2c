// SPDX-License-Identifier: MIT
#include <ringstep/ring.hpp>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/enter_help.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringstep::Error;
using ringstep::Ring;

namespace {

int read_nop(Ring& ring) {
    io_uring_prep_nop(ring.sq().claim());
    ensure(ring.submit_and_wait(1).error == 0);
    ringstep::Completion completion;
    ensure(ring.cq().pop(completion));
    return completion.result;
}

}  // namespace

TEST_CASE("A ring is opened as loops need it") {
    Ring ring{{.sq_entries = 16, .cq_entries = 128}};
    const auto flags = ring.geometry().setup_flags;
    CHECK((flags & IORING_SETUP_SINGLE_ISSUER) != 0);
    CHECK((flags & IORING_SETUP_DEFER_TASKRUN) != 0);
    // Linux 6.1 has none; where there is one, it is taken.
    io_uring plain{};
    io_uring_params params{};
    params.flags = IORING_SETUP_NO_SQARRAY;
    const bool has_no_sqarray = io_uring_queue_init_params(1, &plain, &params) == 0;
    if (has_no_sqarray) io_uring_queue_exit(&plain);
    CHECK(((flags & IORING_SETUP_NO_SQARRAY) != 0) == has_no_sqarray);
    CHECK((flags & IORING_SETUP_CQSIZE) != 0);
    CHECK(ring.geometry().sq_entries == 16);
    CHECK(ring.geometry().cq_entries == 128);
    CHECK(ring.fd() >= 0);
    CHECK(ring.is_open());
    CHECK_FALSE(ring.has_loop());
    CHECK(read_nop(ring) == 0);
}

TEST_CASE("Geometry for a program") {
    Ring ring{{.sq_entries = 8, .cq_entries = 32, .cqe32 = true, .sqe128 = true}};
    const auto program = ring.geometry().for_program(4096, 100);
    CHECK(program.sq_size == 8 * 128);
    CHECK(program.cq_size == program.cqes + 32 * 32);
    CHECK(program.sq_mask == 7);
    CHECK(program.cq_mask == 31);
    CHECK(program.sqe_shift == 7);
    CHECK(program.cqe_shift == 5);
    CHECK(program.state_size == 100);
    CHECK(program.mem_size == 4096);
}

TEST_CASE("Sizes are rounded up, refused, or clamped") {
    CHECK(Ring({.sq_entries = 100}).geometry().sq_entries == 128);
    CHECK(error_of([] { Ring ring({.sq_entries = 0}); }).error_number() == EINVAL);
    const Error error = error_of([] { Ring ring({.sq_entries = 1U << 20}); });
    CHECK(error.error_number() == EINVAL);
    CHECK(error.advice().find("clamp") != std::string_view::npos);
    CHECK(Ring({.sq_entries = 1U << 20, .clamp = true}).geometry().sq_entries == 32768);
    CHECK(error_of([] { Ring ring({.sq_entries = 64, .cq_entries = 8}); }).error_number() == EINVAL);
}

TEST_CASE("Running out of descriptors says so") {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit none{3, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const Error error = error_of([] { Ring ring; });
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(error.error_number() == EMFILE);
    CHECK(error.advice().find("ulimit -n") != std::string_view::npos);
}

TEST_CASE("Rings move and do not copy") {
    STATIC_CHECK(std::is_nothrow_move_constructible_v<Ring>);
    STATIC_CHECK(std::is_nothrow_move_assignable_v<Ring>);
    STATIC_CHECK_FALSE(std::is_copy_constructible_v<Ring>);
    Ring first;
    const int fd = first.fd();
    Ring second = std::move(first);
    CHECK(second.fd() == fd);
    CHECK(read_nop(second) == 0);
    Ring third;
    third = std::move(second);
    CHECK(third.fd() == fd);
    CHECK(read_nop(third) == 0);
}

TEST_CASE("A ring without the registered descriptor works, too") {
    Ring ring{{.register_ring_fd = false}};
    CHECK(read_nop(ring) == 0);
}

TEST_CASE("The thread that enables a ring owns it") {
    Ring ring{{.start_disabled = true}};
    CHECK(ring.submit_and_wait(0).error == EBADFD);
    std::thread([&] {
        ring.enable();
        ensure(read_nop(ring) == 0);
        ensure(error_of([&] { ring.enable(); }).error_number() == EBADFD);
        ring.close();
    }).join();
    CHECK_FALSE(ring.is_open());
}

TEST_CASE("Submitting on another thread is refused by the kernel, and said") {
    Ring ring;
    ringstep::Submitted submitted;
    std::thread([&] {
        Ring own;  // takes the same place among this thread's registered rings
        io_uring_prep_nop(ring.sq().claim());
        submitted = ring.submit();
        ensure(own.in_flight() == 0);
    }).join();
    CHECK(submitted.error == EEXIST);
    CHECK(ring.sq().claimed() == 1);
    CHECK(ring.submit().count == 1);
}

TEST_CASE("Registered files, given and sparse") {
    int pipe_fds[2];
    REQUIRE(::pipe(pipe_fds) == 0);
    REQUIRE(::write(pipe_fds[1], "x", 1) == 1);
    Ring ring;
    char byte = 0;
    const auto read_slot = [&](int slot) {
        io_uring_sqe* sqe = ring.sq().claim();
        io_uring_prep_read(sqe, slot, &byte, 1, 0);
        sqe->flags |= IOSQE_FIXED_FILE;
        REQUIRE(ring.submit_and_wait(1));
        ringstep::Completion completion;
        REQUIRE(ring.cq().pop(completion));
        return completion.result;
    };
    SECTION("given") {
        const int files[] = {-1, pipe_fds[0]};
        ring.register_files(files);
        CHECK(read_slot(1) == 1);
        CHECK(read_slot(0) == -EBADF);
    }
    SECTION("given, and one of them is no descriptor") {
        const int files[] = {pipe_fds[0], -2};
        CHECK(error_of([&] { ring.register_files(files); }).error_number() == EBADF);
        ring.register_files_sparse(1);
    }
    SECTION("sparse") {
        ring.register_files_sparse(4);
        CHECK(read_slot(2) == -EBADF);
        ring.update_file(2, pipe_fds[0]);
        CHECK(read_slot(2) == 1);
        CHECK(error_of([&] { ring.register_files_sparse(4); }).error_number() == EBUSY);
        CHECK(error_of([&] { ring.update_file(9, pipe_fds[0]); }).error_number() == EINVAL);
        for (const int descriptor : {-2, -3, -100}) {
            const Error error = error_of([&] { ring.update_file(2, descriptor); });
            CHECK(error.error_number() == EINVAL);
            CHECK(std::string_view(error.what()).find("descriptor " + std::to_string(descriptor)) != std::string_view::npos);
        }
        ring.update_file(2, -1);
        CHECK(read_slot(2) == -EBADF);
    }
    ring.unregister_files();
    CHECK_THROWS_AS(ring.unregister_files(), Error);
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
}

TEST_CASE("Registered buffers, given and sparse") {
    const int zero = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    REQUIRE(zero >= 0);
    Ring ring;
    auto buffer = ringstep::RegionMemory::allocate(4096);
    const iovec vec{buffer->data(), buffer->size()};
    const auto read_buffer = [&](unsigned short index) {
        buffer->data()[0] = std::byte{1};
        io_uring_prep_read_fixed(ring.sq().claim(), zero, buffer->data(), 16, 0, index);
        REQUIRE(ring.submit_and_wait(1));
        ringstep::Completion completion;
        REQUIRE(ring.cq().pop(completion));
        return completion.result;
    };
    SECTION("given") {
        ring.register_buffers({&vec, 1});
        CHECK(read_buffer(0) == 16);
        CHECK(buffer->data()[0] == std::byte{0});
    }
    SECTION("sparse") {
        ring.register_buffers_sparse(3);
        CHECK(read_buffer(1) == -EFAULT);
        ring.update_buffer(1, vec);
        CHECK(read_buffer(1) == 16);
        CHECK_THROWS_AS(ring.update_buffer(3, vec), Error);
    }
    ring.unregister_buffers();
    ::close(zero);
}

TEST_CASE("A closed ring stays closed, and closing twice is harmless") {
    Ring ring;
    CHECK(ring.close());
    CHECK(ring.close());
    CHECK_FALSE(ring.is_open());
    CHECK(error_of([&] { (void)ring.submit(); }).error_number() == EBADF);
    CHECK(error_of([&] { (void)ring.cq(); }).error_number() == EBADF);
    CHECK(error_of([&] { (void)ring.sq(); }).error_number() == EBADF);
}

TEST_CASE("A ring can be handed back to liburing") {
    Ring ring;
    CHECK(read_nop(ring) == 0);
    io_uring native = ring.release();
    CHECK_FALSE(ring.is_open());
    io_uring_queue_exit(&native);
}

TEST_CASE("A signal ends a wait, which says so whatever was submitted and whatever has completed") {
    const bool sq_rewind = GENERATE(true, false);
    const unsigned there_before = GENERATE(0U, 1U);
    const unsigned nops = GENERATE(0U, 1U, 2U);
    const bool read_before = GENERATE(false, true);
    const AlarmHandler handler;
    const TestPipe pipe;
    Ring ring{{.sq_rewind = sq_rewind}};
    char byte = 0;
    for (unsigned i = 0; i < there_before; i++) claim_nop(ring, 7);
    REQUIRE(ring.submit_and_wait(there_before));
    claim_read(ring, pipe, &byte, 8);
    if (read_before) REQUIRE(ring.submit().count == 1);
    for (unsigned i = 0; i < nops; i++) claim_nop(ring, 7);
    const unsigned claimed = nops + (read_before ? 0 : 1);
    AlarmHandler::after(20ms);
    // The read does not complete.
    const ringstep::Submitted submitted = ring.submit_and_wait(there_before + nops + 1);
    CHECK(submitted.error == EINTR);
    CHECK(submitted.count == claimed);
    CHECK_FALSE(submitted);
    CHECK(ring.sq().claimed() == 0);
    CHECK(ring.cq().ready() == there_before + nops);
    CHECK(ring.in_flight() == there_before + nops + 1);
    AlarmHandler::after(0ms);
    pipe.feed();
    const ringstep::Submitted waited = ring.submit_and_wait(there_before + nops + 1);
    CHECK(waited.error == 0);
    CHECK(waited.count == 0);
    CHECK(take_all(ring).size() == there_before + nops + 1);
    CHECK(byte == 'x');
}

TEST_CASE("A wait that has what it asked for is a success, also while signals come") {
    const AlarmHandler handler;
    Ring ring{{.sq_entries = 8, .cq_entries = 16}};
    AlarmHandler::after(200us);
    unsigned interrupted = 0;
    const auto until = std::chrono::steady_clock::now() + 200ms;
    for (unsigned round = 0; interrupted == 0 || std::chrono::steady_clock::now() < until; round++) {
        const TestPipe pipe;
        char byte = 0;
        claim_nop(ring, 1);
        claim_read(ring, pipe, &byte, 2);
        if (round % 2 == 0) pipe.feed();
        ringstep::Submitted submitted = ring.submit_and_wait(2);
        REQUIRE(submitted.count == 2);
        if (round % 2 != 0) pipe.feed();
        while (submitted.error == EINTR) {
            interrupted++;
            submitted = ring.submit_and_wait(2);
        }
        REQUIRE(submitted.error == 0);
        REQUIRE(ring.cq().ready() == 2);
        REQUIRE(take_all(ring).size() == 2);
    }
    // More than the CQ holds is all that it holds.
    AlarmHandler::after(0ms);
    for (unsigned i = 0; i < 16; i++) {
        claim_nop(ring, i);
        if (i % 8 == 7) REQUIRE(ring.submit().count == 8);
    }
    CHECK(ring.submit_and_wait(1000).error == 0);
}

TEST_CASE("A timeout that expires ends a wait without an error") {
    const TestPipe pipe;
    Ring ring;
    char byte = 0;
    // A timeout ends a wait that has begun. If the machine is busy, the first ones may expire before that.
    std::array<__kernel_timespec, 3> times{
        {{.tv_sec = 0, .tv_nsec = 10'000'000}, {.tv_sec = 2, .tv_nsec = 0}, {.tv_sec = 30, .tv_nsec = 0}}};
    claim_nop(ring, 1);
    claim_read(ring, pipe, &byte, 2);
    for (__kernel_timespec& time : times) {
        io_uring_sqe* sqe = claim(ring);
        io_uring_prep_timeout(sqe, &time, 0, 0);
        sqe->user_data = 3;
    }
    const bool submit_first = GENERATE(false, true);
    if (submit_first) REQUIRE(ring.submit().count == 5);
    const ringstep::Submitted submitted = ring.submit_and_wait(5);
    CHECK(submitted.error == 0);
    CHECK(submitted.count == (submit_first ? 0 : 5));
    const auto taken = take_all(ring);
    const auto expired = std::ranges::count(taken, -ETIME, &ringstep::Completion::result);
    CHECK(expired >= 1);
    CHECK(taken.size() == 1 + static_cast<std::size_t>(expired));
}

TEST_CASE("A ring that was moved from has no ring, and each of its functions says so") {
    Ring ring;
    Ring other = std::move(ring);
    // NOLINTBEGIN(bugprone-use-after-move): what this is about
    CHECK_FALSE(ring.is_open());
    CHECK_FALSE(ring.has_loop());
    CHECK(ring.fd() == -1);
    CHECK(ring.in_flight() == 0);
    CHECK(ring.region() == nullptr);
    CHECK(ring.geometry().sq_entries == 0);
    CHECK(ring.close());
    const std::array descriptors{0};
    const std::array<iovec, 1> buffers{};
    const std::vector<std::function<void()>> calls{
        [&] { (void)ring.native(); },
        [&] { ring.enable(); },
        [&] { (void)ring.cq(); },
        [&] { (void)ring.sq(); },
        [&] { (void)ring.submit(); },
        [&] { (void)ring.submit_and_wait(1); },
        [&] { (void)ring.release(); },
        [&] { ring.use_region(ringstep::RegionMemory::allocate(4096)); },
        [&] { ring.register_files(descriptors); },
        [&] { ring.register_files_sparse(1); },
        [&] { ring.update_file(0, -1); },
        [&] { ring.unregister_files(); },
        [&] { ring.register_buffers(buffers); },
        [&] { ring.register_buffers_sparse(1); },
        [&] { ring.update_buffer(0, buffers[0]); },
        [&] { ring.unregister_buffers(); },
        [&] { ring.keep_alive(std::make_shared<int>(1)); },
    };
    for (std::size_t i = 0; i < calls.size(); i++) {
        INFO("call " << i);
        const Error error = error_of(calls[i]);
        CHECK(error.error_number() == EBADF);
        CHECK(error.tried().find("moved from") != std::string_view::npos);
    }
    ring = std::move(other);
    // NOLINTEND(bugprone-use-after-move)
    CHECK(read_nop(ring) == 0);
}

TEST_CASE("Sizes that do not fit the kernel's types are refused or clamped, not cut") {
    // Four times as many CQEs would be 0, or 4.
    for (const unsigned entries : {1U << 30, (1U << 30) + 1, ~0U}) {
        CHECK(Ring({.sq_entries = entries, .clamp = true}).geometry().cq_entries == 65536);
        const Error error = error_of([&] { const Ring ring({.sq_entries = entries}); });
        CHECK(error.error_number() == EINVAL);
        CHECK(error.tried().find("4294967295 CQ") != std::string_view::npos);
    }
    Ring ring;
    const int file = 0;
    std::byte byte{};
    const iovec buffer{.iov_base = &byte, .iov_len = 1};
    constexpr std::size_t many = (std::size_t{1} << 32) + 1;  // cut to 32 bits, it would be 1
    for (const Error& error :
         {error_of([&] { ring.register_files({&file, many}); }), error_of([&] { ring.register_buffers({&buffer, many}); })}) {
        CHECK(error.error_number() == EINVAL);
        CHECK(error.tried().find("4294967297") != std::string_view::npos);
    }
    for (const std::size_t size : {std::size_t{1} << 32, (std::size_t{1} << 32) + 4096}) {
        const Error error = error_of([&] { (void)ring.geometry().for_program(size, 100); });
        CHECK(error.error_number() == EFBIG);
        CHECK(error.tried().find(std::to_string(size)) != std::string_view::npos);
    }
    CHECK(error_of([&] { ring.use_region(nullptr); }).error_number() == EINVAL);
}

TEST_CASE("A wait for any number of completions is a wait for a full CQ at most") {
    Ring ring{{.sq_entries = 8, .cq_entries = 8}};
    for (int i = 0; i < 8; i++) io_uring_prep_nop(ring.sq().claim());
    CHECK(ring.submit_and_wait(~0U).count == 8);
    CHECK(ring.cq().ready() == 8);
}
