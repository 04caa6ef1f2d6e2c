// SPDX-License-Identifier: MIT
// A 32-bit task runs a loop in the kernel: tests/compat/task.c. A 64-bit process has loaded the loop and attached it.
#include <ringstep/program.hpp>

#include "child.hpp"
#include "descriptors.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

using ringstep::Ring;
using Scripted = ringstep::LoopProgram<scripted_loop>;

TEST_CASE("A 32-bit task runs a loop, and its requests have the 32-bit layout") {
    constexpr unsigned nops = 20;
    descriptors::Sockets sockets;
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(60);
        ::dup2(sockets.ends[0], 0);
        ::execl(RINGSTEP_TASK_OF_32_BITS, "task", nullptr);
        ::_exit(errno == ENOEXEC ? 77 : 2);
    }
    const int peer = sockets.ends[1];
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY | IORING_SETUP_R_DISABLED;
    REQUIRE(::send(peer, &params, sizeof params, MSG_NOSIGNAL) == sizeof params);
    ::close(sockets.ends[0]);
    sockets.ends[0] = -1;
    std::array<std::uint32_t, 2> told{};
    if (::recv(peer, told.data(), sizeof told, MSG_WAITALL) != sizeof told) {
        const int status = status_of(child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) SKIP("this kernel has no 32-bit programs");
        FAIL("the task ended with status " << status);
    }
    REQUIRE(::recv(peer, &params, sizeof params, MSG_WAITALL) == sizeof params);

    const int process = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
    REQUIRE(process >= 0);
    const int fd = static_cast<int>(::syscall(SYS_pidfd_getfd, process, told[0], 0));
    ::close(process);
    REQUIRE(fd >= 0);
    io_uring native{};
    REQUIRE(io_uring_queue_mmap(fd, &params, &native) == 0);
    native.ring_fd = native.enter_ring_fd = fd;
    native.flags = params.flags;
    native.features = params.features;
    {
        Ring ring = Ring::adopt(native, params);
        Scripted program(ring, {.engine = ringstep::Engine::kernel});
        add_nops(program.state(), nops);
        // The address and what lies there are the task's: two words of 32 bits.
        io_uring_sqe* const sqe = add_request(program.state());
        io_uring_prep_rw(IORING_OP_WRITEV, sqe, 0, nullptr, 1, 0);
        sqe->addr = told[1];
        program.state()->wait = 1;
        program.state()->stop_at = nops + 1;
        REQUIRE(::send(peer, "g", 1, MSG_NOSIGNAL) == 1);
        CHECK(status_of(child) == 0);
        std::array<unsigned, nops + 1> seen{};
        for (const scripted_record& record : records(program.state())) {
            REQUIRE(record.user_data <= nops);
            CHECK(record.result == (record.user_data < nops ? 0 : 2));
            seen[static_cast<std::size_t>(record.user_data)]++;
        }
        CHECK(std::ranges::all_of(seen, [](unsigned count) { return count == 1; }));
        std::array<char, 4> text{};
        CHECK(::recv(peer, text.data(), text.size(), MSG_DONTWAIT) == 2);
        CHECK(text[0] == 'h');
        CHECK(text[1] == 'i');
        program.detach();
        native = ring.release();
    }
    io_uring_queue_exit(&native);
}
