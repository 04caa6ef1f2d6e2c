// SPDX-License-Identifier: MIT
// Who is at the other end of what a loop closes learns of it at once, also while the loop sleeps.
#include <ringstep/loops/gate.hpp>
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopProgram;
using ringstep::Ring;
using Scripted = LoopProgram<scripted_loop>;

namespace {

/// Two ends of a connection. The loop closes `ours`.
struct Ends {
    int ours = -1, other = -1;
};

Ends unix_pair() {
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
    return {fds[0], fds[1]};
}

Ends tcp_pair() {
    const std::array<int, 2> fds = descriptors::tcp_pair();
    return {fds[0], fds[1]};
}

/// The loop's end is the one that is written to.
Ends pipe_ends() {
    std::array<int, 2> fds{};
    REQUIRE(::pipe2(fds.data(), O_CLOEXEC) == 0);
    return {fds[1], fds[0]};
}

/// Whether the end of file comes while the loop has nothing else to do.
bool end_comes(int fd) {
    pollfd look{.fd = fd, .events = POLLIN, .revents = 0};
    char byte = 0;
    return ::poll(&look, 1, 30'000) == 1 && ::read(fd, &byte, 1) == 0;
}

constexpr unsigned slot = 1;
constexpr std::uint64_t receive = 77;

struct Case {
    std::string name;
    bool registered = false;  // ours is in the table, and nowhere else
    std::function<void(const ringstep::RegionView<scripted>&, int fd)> script;
};

std::array<char, 16> received;
std::array<int, 1> no_file{-1};

std::vector<Case> cases() {
    using State = const ringstep::RegionView<scripted>&;
    return {
        {"a close", false,
         [](State state, int fd) {
             io_uring_sqe* sqe = add_request(state);
             io_uring_prep_close(sqe, fd);
         }},
        {"a close of a slot", true,
         [](State state, int) {
             io_uring_sqe* sqe = add_request(state);
             io_uring_prep_close_direct(sqe, slot);
         }},
        {"an update of the table", true,
         [](State state, int) {
             io_uring_sqe* sqe = add_request(state);
             io_uring_prep_files_update(sqe, no_file.data(), 1, slot);
         }},
        {"another file in the slot", true,
         [](State state, int) {
             io_uring_sqe* sqe = add_request(state);
             io_uring_prep_openat_direct(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0, slot);
         }},
        {"a request that used it last", false,
         [](State state, int fd) {
             io_uring_sqe* sqe = add_request(state);
             io_uring_prep_recv(sqe, fd, received.data(), received.size(), 0);
             sqe->user_data = receive;
             sqe = add_request(state);
             io_uring_prep_close(sqe, fd);
             sqe = add_request(state);
             io_uring_prep_cancel64(sqe, receive, 0);
         }},
        {"a request that used the slot last", true,
         [](State state, int) {
             io_uring_sqe* sqe = add_request(state);
             io_uring_prep_recv(sqe, static_cast<int>(slot), received.data(), received.size(), 0);
             sqe->user_data = receive;
             sqe->flags |= IOSQE_FIXED_FILE;
             sqe = add_request(state);
             io_uring_prep_close_direct(sqe, slot);
             sqe = add_request(state);
             io_uring_prep_cancel64(sqe, receive, 0);
         }},
    };
}

void check_end(const Case& what, const Ends& ends, bool silent = false) {
    Ring ring{{.sq_entries = 16}};
    if (what.registered) {
        ring.register_files_sparse(4);
        REQUIRE(::io_uring_register_files_update(&ring.native(), slot, &ends.ours, 1) == 1);
        ::close(ends.ours);
    }
    Scripted program(ring);
    what.script(program.state(), ends.ours);
    const std::uint32_t count = program.state()->sqe_count;
    if (silent) reinterpret_cast<io_uring_sqe*>(program.state()->templates[0])->flags |= IOSQE_CQE_SKIP_SUCCESS;
    program.state()->wait = silent ? count : count + 1;  // more than will come
    bool ended = false;
    std::thread other([&] {
        ended = end_comes(ends.other);
        program.request_stop();
    });
    const ringstep::LoopExit exit = program.run();
    other.join();
    CHECK(exit.reason == ExitReason::stop_requested);
    CHECK(ended);
    CHECK(exit.turns < 20);  // and it did sleep
    ::close(ends.other);
}

}  // namespace

TEST_CASE("The other side sees the end of what a loop closed before it sleeps") {
    for (const Case& what : cases()) {
        DYNAMIC_SECTION(what.name << ", socket pair") { check_end(what, unix_pair()); }
        DYNAMIC_SECTION(what.name << ", TCP") { check_end(what, tcp_pair()); }
    }
    DYNAMIC_SECTION("a close without a completion") { check_end(cases()[0], tcp_pair(), true); }
    DYNAMIC_SECTION("a close of a slot without a completion") { check_end(cases()[1], tcp_pair(), true); }
    for (const Case& what : cases()) {
        if (what.name.starts_with("a request")) continue;  // nothing can be received from that end of a pipe
        DYNAMIC_SECTION(what.name << ", pipe") { check_end(what, pipe_ends()); }
    }
}

TEST_CASE("The other side sees the end of what a loop's schedule closed") {
    const Ends ends = unix_pair();
    const Ends idle = unix_pair();
    Ring ring{{.sq_entries = 16}};
    ringstep::Gate gate(ring);
    io_uring_sqe sqe{};
    io_uring_prep_recv(&sqe, idle.ours, received.data(), 1, 0);  // keeps the loop asleep
    gate.push(sqe);
    io_uring_prep_recv(&sqe, ends.ours, received.data() + 1, 1, 0);
    const ringstep::Ticket last_user = gate.push(sqe);
    io_uring_prep_close(&sqe, ends.ours);
    gate.push(sqe);
    bool ended = false;
    std::thread other([&] {
        std::this_thread::sleep_for(100ms);
        gate.cancel(last_user);
        ended = end_comes(ends.other);
        ensure(::write(idle.other, "x", 1) == 1);
    });
    CHECK(gate.run().ok());
    other.join();
    CHECK(ended);
    for (const int fd : {ends.other, idle.ours, idle.other}) ::close(fd);
}
