// SPDX-License-Identifier: MIT
// Which requests raise SIGPIPE when nobody reads any more, and what helps: as docs/turn.md says.
#include <ringstep/format.hpp>
#include <ringstep/loops/gate.hpp>
#include <check/parse.hpp>

#include <catch2/catch_test_macros.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "child.hpp"

namespace {

constexpr std::string_view text = "text";
constexpr int nosignal = 0x100;  // RWF_NOSIGNAL, which older headers do not have

volatile std::sig_atomic_t signals = 0;

/// Counts SIGPIPE as long as it lives, or does something else with it.
class OnSigpipe {
public:
    explicit OnSigpipe(void (*handler)(int)) {
        struct sigaction action{};
        action.sa_handler = handler;
        REQUIRE(::sigaction(SIGPIPE, &action, &before_) == 0);
        signals = 0;
    }
    OnSigpipe(const OnSigpipe&) = delete;
    OnSigpipe& operator=(const OnSigpipe&) = delete;
    ~OnSigpipe() { ::sigaction(SIGPIPE, &before_, nullptr); }

    static void count(int /*signal*/) { signals = signals + 1; }

private:
    struct sigaction before_{};
};

enum class Kind : std::uint8_t {
    pipe,
    unix_socket,
    tcp_socket
};

std::string name_of(Kind kind) {
    return kind == Kind::pipe ? "a pipe" : kind == Kind::unix_socket ? "a Unix socket" : "a TCP socket";
}

/// Something to write to that nobody reads.
class NoReader {
public:
    explicit NoReader(Kind kind) {
        std::array<int, 2> ends{-1, -1};
        if (kind == Kind::pipe) {
            REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
        } else if (kind == Kind::unix_socket) {
            REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        } else {
            connect(ends);
        }
        ::close(ends[0]);
        fd_ = ends[1];
    }
    NoReader(const NoReader&) = delete;
    NoReader& operator=(const NoReader&) = delete;
    ~NoReader() { ::close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }

private:
    // Also without a network: two ends on the loopback device.
    static void connect(std::array<int, 2>& ends) {
        const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        REQUIRE(::bind(listener, any, size) == 0);
        REQUIRE(::listen(listener, 1) == 0);
        REQUIRE(::getsockname(listener, any, &size) == 0);
        ends[1] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::connect(ends[1], any, size) == 0);
        ends[0] = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        REQUIRE(ends[0] >= 0);
        ::close(listener);
        REQUIRE(::shutdown(ends[1], SHUT_WR) == 0);  // the first write fails, not the one after an answer from the peer
    }

    int fd_ = -1;
};

io_uring_sqe write_to(int fd, int flags = 0) {
    io_uring_sqe sqe{};
    io_uring_prep_write(&sqe, fd, text.data(), text.size(), ~0ULL);
    sqe.rw_flags = flags;
    return sqe;
}

/// A loop that runs requests, one after the other.
class Requests {
public:
    /// Has the loop run the request, until it is over. Its result.
    int result_of(const io_uring_sqe& sqe) {
        gate_.push(sqe);
        ringstep::LoopExit exit;
        do {
            exit = gate_.run();
        } while (exit.resumable());
        INFO(fmt::format("the loop {}", exit));
        CHECK(exit.ok());
        int result = 1;
        for (const auto& completion : gate_.completions()) result = completion.result;
        return result;
    }

private:
    ringstep::Ring ring_;
    ringstep::Gate gate_{ring_};
};

ringstep::support::KernelVersion kernel() {
    utsname name{};
    ::uname(&name);
    const auto version = ringstep::support::parse_version(name.release);
    return version ? *version : ringstep::support::KernelVersion{};
}

}  // namespace

TEST_CASE("A write raises SIGPIPE, and no signal comes if a thread of the kernel does it") {
    const OnSigpipe handler(OnSigpipe::count);
    Requests requests;
    for (const Kind kind : {Kind::pipe, Kind::unix_socket, Kind::tcp_socket}) {
        INFO(name_of(kind));
        const NoReader target(kind);
        iovec part{const_cast<char*>(text.data()), text.size()};
        io_uring_sqe vectored{};
        io_uring_prep_writev(&vectored, target.fd(), &part, 1, ~0ULL);
        for (const io_uring_sqe& sqe : {write_to(target.fd()), vectored}) {
            signals = 0;
            CHECK(requests.result_of(sqe) == -EPIPE);
            // Before Linux 6.4, the kernel leaves every write to a pipe to a thread of its own.
            CHECK(signals == (kind == Kind::pipe && kernel() < ringstep::support::KernelVersion{6, 4, 0} ? 0 : 1));
        }
        signals = 0;
        io_uring_sqe by_worker = write_to(target.fd());
        by_worker.flags = IOSQE_ASYNC;
        CHECK(requests.result_of(by_worker) == -EPIPE);
        CHECK(signals == 0);
    }
}

TEST_CASE("Sends, splice and tee raise no SIGPIPE, with MSG_NOSIGNAL or without") {
    const OnSigpipe handler(OnSigpipe::count);
    Requests requests;
    iovec part{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    std::array<int, 2> filled{};
    REQUIRE(::pipe2(filled.data(), O_CLOEXEC) == 0);
    REQUIRE(::write(filled[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    for (const Kind kind : {Kind::pipe, Kind::unix_socket, Kind::tcp_socket}) {
        INFO(name_of(kind));
        const NoReader target(kind);
        std::vector<std::pair<std::string, io_uring_sqe>> cases;
        const auto add = [&](const std::string& name) -> io_uring_sqe* {
            cases.emplace_back(name, io_uring_sqe{});
            return &cases.back().second;
        };
        io_uring_prep_splice(add("splice"), filled[0], -1, target.fd(), -1, text.size(), 0);
        if (kind == Kind::pipe) {
            io_uring_prep_tee(add("tee"), filled[0], target.fd(), text.size(), 0);
        } else {
            io_uring_prep_send(add("send"), target.fd(), text.data(), text.size(), 0);
            io_uring_prep_send(add("send with MSG_NOSIGNAL"), target.fd(), text.data(), text.size(), MSG_NOSIGNAL);
            io_uring_prep_sendmsg(add("sendmsg"), target.fd(), &message, 0);
        }
        if (kind == Kind::tcp_socket) {
            io_uring_prep_send_zc(add("send_zc"), target.fd(), text.data(), text.size(), 0, 0);
            io_uring_prep_sendmsg_zc(add("sendmsg_zc"), target.fd(), &message, 0);
        }
        for (auto& [name, sqe] : cases) {
            for (const unsigned flags : {0U, IOSQE_ASYNC}) {
                INFO(name << (flags != 0 ? ", by a thread of the kernel" : ""));
                sqe.flags = static_cast<__u8>(flags);
                CHECK(requests.result_of(sqe) == -EPIPE);
            }
        }
        CHECK(signals == 0);
    }
    ::close(filled[0]);
    ::close(filled[1]);
}

TEST_CASE("RWF_NOSIGNAL keeps a write from raising SIGPIPE, from Linux 6.18 on") {
    const OnSigpipe handler(OnSigpipe::count);
    Requests requests;
    for (const Kind kind : {Kind::pipe, Kind::unix_socket, Kind::tcp_socket}) {
        INFO(name_of(kind));
        const NoReader target(kind);
        const int result = requests.result_of(write_to(target.fd(), nosignal));
        CHECK(result == (kernel() < ringstep::support::KernelVersion{6, 18, 0} ? -EOPNOTSUPP : -EPIPE));
        CHECK(signals == 0);
    }
}

TEST_CASE("A write to a socket that nobody reads, for the test below", "[.write]") {
    CHECK(Requests().result_of(write_to(NoReader(Kind::unix_socket).fd())) == -EPIPE);
}

TEST_CASE("SIGPIPE ends a process that has not said anything about it; ignored, only the request fails") {
    const auto run = [](void (*action)(int)) {
        return run_program({"/proc/self/exe", "[.write]"}, [action] { (void)std::signal(SIGPIPE, action); });
    };
    CHECK(run(SIG_DFL).status == 128 + SIGPIPE);
    const Outcome ignored = run(SIG_IGN);
    INFO(ignored.out);
    CHECK(ignored.status == 0);
}
