// SPDX-License-Identifier: MIT
// Pipes and pairs of sockets, and rings of another library's making.
#pragma once

#include <ringstep/ring.hpp>

#include "ensure.hpp"

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <utility>

namespace descriptors {

/// A pipe. A read from it waits until somebody writes, or until nobody can any more.
struct Pipe {
    std::array<int, 2> fds{-1, -1};

    explicit Pipe(int flags = 0) { REQUIRE(::pipe2(fds.data(), O_CLOEXEC | flags) == 0); }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe() {
        for (const int fd : fds) {
            if (fd >= 0) ::close(fd);
        }
    }
    /// What comes out of the pipe is read here.
    [[nodiscard]] int out() const { return fds[0]; }
    /// What goes into the pipe is written here.
    [[nodiscard]] int in() const { return fds[1]; }
    /// Lets so many reads of one byte end.
    void write(std::size_t bytes = 1) const {
        for (std::size_t i = 0; i < bytes; i++) feed();
    }
    void feed(char byte = 'x') const { ensure(::write(in(), &byte, 1) == 1); }
    void close_in() { ::close(std::exchange(fds[1], -1)); }
};

/// Connects two TCP sockets over 127.0.0.1. The caller closes them.
inline std::array<int, 2> tcp_pair() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(listener, 1) == 0);
    REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    const int connecting = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(connecting, reinterpret_cast<sockaddr*>(&address), size) == 0);
    const int accepted = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    REQUIRE(accepted >= 0);
    ::close(listener);
    return {accepted, connecting};
}

/// Two connected sockets.
struct Sockets {
    std::array<int, 2> ends{-1, -1};

    explicit Sockets(int type = SOCK_STREAM) { REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) == 0); }
    explicit Sockets(std::array<int, 2> connected) : ends(connected) {}
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;
    ~Sockets() {
        for (const int end : ends) ::close(end);
    }
};

/// A ring that liburing has opened, with these flags.
inline ringstep::Ring foreign_ring(unsigned flags = 0, unsigned entries = 8) {
    io_uring native{};
    io_uring_params params{};
    params.flags = flags;
    REQUIRE(io_uring_queue_init_params(entries, &native, &params) == 0);
    return ringstep::Ring::adopt(native, params);
}

}  // namespace descriptors
