// SPDX-License-Identifier: MIT
// A client of servers on 127.0.0.1, for tests. Every call that waits has a time limit.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "eventually.hpp"

/// A TCP connection to a port of 127.0.0.1.
class Client {
public:
    /// Connects to the port. `host`: the address to come from, 127.0.0.0 plus this number; 0: any.
    explicit Client(std::uint16_t port, int receive_buffer = 0, std::uint32_t host = 0)
        : Client(Adopted{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}) {
        if (receive_buffer != 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        if (host != 0) {
            address.sin_addr.s_addr = htonl((INADDR_LOOPBACK & 0xff000000) + host);
            (void)::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
        }
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connect_to(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }
    /// Connects to a socket of any family.
    Client(const sockaddr* address, socklen_t length)
        : Client(Adopted{::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)}) {
        connect_to(address, length);
    }
    /// Accepts a connection of a listening socket, within half a minute. Otherwise, connected() is false.
    [[nodiscard]] static Client accepted_by(int listener) {
        pollfd waits{.fd = listener, .events = POLLIN, .revents = 0};
        int ready = 0;
        do ready = ::poll(&waits, 1, 30'000);
        while (ready < 0 && errno == EINTR);
        return Client(Adopted{ready > 0 ? ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC) : -1});
    }
    Client(Client&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_), ended_(other.ended_), error_(other.error_) {}
    Client& operator=(Client&& other) noexcept {
        std::swap(fd_, other.fd_);
        connected_ = other.connected_;
        ended_ = other.ended_;
        error_ = other.error_;
        return *this;
    }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() { close(); }

    [[nodiscard]] bool connected() const { return connected_; }
    /// After rest(): returns true if the peer has closed, false after a reset or a time limit.
    [[nodiscard]] bool ended() const { return ended_; }
    /// After rest(): returns the errno if the peer has not closed, such as ECONNRESET.
    [[nodiscard]] int error() const { return error_; }
    [[nodiscard]] int fd() const { return fd_; }

    /// Sends all of the text. Returns false if the peer does not take it.
    bool send(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;  // a wake-up of a loop may do that to a call with a time limit
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }
    /// Sends what the peer takes at once, and returns how much that was.
    [[nodiscard]] std::size_t try_send(std::string_view bytes) const {
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return sent < 0 ? 0 : static_cast<std::size_t>(sent);
    }
    /// Receives what is there, up to `most` bytes, and returns how much that was.
    [[nodiscard]] std::size_t try_receive(std::size_t most) const {
        std::string bytes(most, '\0');
        const ssize_t got = ::recv(fd_, bytes.data(), most, MSG_DONTWAIT);
        return got < 0 ? 0 : static_cast<std::size_t>(got);
    }
    /// Receives so many bytes, or fewer if the connection ends.
    [[nodiscard]] std::string receive(std::size_t size) const {
        std::string bytes(size, '\0');
        std::size_t have = 0;
        while (have < size) {
            const ssize_t got = ::recv(fd_, bytes.data() + have, size - have, 0);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) break;
            have += static_cast<std::size_t>(got);
        }
        bytes.resize(have);
        return bytes;
    }
    /// Sends something and expects an answer.
    [[nodiscard]] std::string ask(std::string_view question, std::size_t answer) const {
        return send(question) ? receive(answer) : std::string("(not sent)");
    }
    /// Receives until the peer closes, and returns what came. ended() then says whether that was a proper end.
    [[nodiscard]] std::string rest() {
        std::string all;
        std::array<char, 65536> buffer{};
        for (;;) {
            const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), 0);
            if (got < 0 && errno == EINTR) continue;
            ended_ = got == 0;
            error_ = got < 0 ? errno : 0;
            if (got <= 0) return all;
            all.append(buffer.data(), static_cast<std::size_t>(got));
        }
    }
    void finish() const { ::shutdown(fd_, SHUT_WR); }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    /// Closes with a reset instead of an end.
    void reset() {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close();
    }

private:
    struct Adopted {
        int fd;
    };
    explicit Client(Adopted adopted) : fd_(adopted.fd), connected_(adopted.fd >= 0) {
        const int yes = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        const timeval patience{.tv_sec = 30, .tv_usec = 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    void connect_to(const sockaddr* address, socklen_t length) { connected_ = ::connect(fd_, address, length) == 0; }

    int fd_;
    bool connected_ = false;
    bool ended_ = false;
    int error_ = 0;
};
