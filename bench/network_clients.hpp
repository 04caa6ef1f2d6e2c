// SPDX-License-Identifier: MIT
// The load of bench-network and bench-load: connections that send requests, receive the answers, and take down how long each
// answer took.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <ringstep/net/listener.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/clock.hpp"

namespace bench::network {

/// Returns how often TCP's retransmission timer has run out in this network namespace, which takes 200 ms or more. On the
/// loopback device, that happens where a queue of the kernel overflows, or where other work keeps a processor that long. Then
/// percentiles are of that, and not of servers.
inline std::uint64_t tcp_timeouts() {
    std::ifstream file("/proc/net/netstat");
    std::string line;
    std::vector<std::string> names;
    while (std::getline(file, line)) {
        if (!line.starts_with("TcpExt:")) continue;
        std::istringstream stream(line);
        std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
        if (names.empty()) {
            names = std::move(words);
            continue;
        }
        for (std::size_t i = 0; i < std::min(names.size(), words.size()); i++)
            if (names[i] == "TCPTimeouts") return std::stoull(words[i]);
    }
    return 0;
}

/// The requests that a connection sends in one round, the answers that it must get, and how many rounds there are.
struct Load {
    std::string requests;
    std::string answers;
    std::size_t pipeline = 1;    ///< requests in `requests`. All their answers have the same length
    std::uint64_t rounds = 1;    ///< for each connection
    std::uint64_t interval = 0;  ///< nanoseconds between the begins of two rounds, of all connections together; 0: see follow()
};

/// Connections to a server. The same for all ways.
class Clients {
public:
    Clients(std::uint16_t port, std::size_t count) {
        const ringstep::SocketAddress address = ringstep::SocketAddress::ip("127.0.0.1", port);
        poll_ = ::epoll_create1(EPOLL_CLOEXEC);
        if (poll_ < 0) fail("epoll_create1");
        for (std::size_t i = 0; i < count; i++) {
            const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (fd < 0) fail("socket");
            connections_.push_back({.fd = fd});
            // All answers to a pipeline fit, so the server never has to wait for the client.
            const int room = 1 << 20;
            if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)  // needs root
                ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
            const int yes = 1;
            ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            const timeval patience{.tv_sec = patience_seconds, .tv_usec = 0};
            ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            if (::connect(fd, address.native(), address.length()) != 0) fail("connect");
            epoll_event event{};
            event.events = EPOLLIN | EPOLLOUT | EPOLLET;
            event.data.u64 = i;
            if (::epoll_ctl(poll_, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
        }
    }
    Clients(const Clients&) = delete;
    Clients& operator=(const Clients&) = delete;
    ~Clients() {
        for (const Connection& connection : connections_) ::close(connection.fd);
        if (poll_ >= 0) ::close(poll_);
    }

    /// On each connection, sends the requests, and then receives the answers. What follows what never depends on the clock.
    void round(const Load& load, bool compares) {
        for (const Connection& connection : connections_) {
            for (std::size_t sent = 0; sent < load.requests.size();) {
                const ssize_t count =
                    ::send(connection.fd, load.requests.data() + sent, load.requests.size() - sent, MSG_NOSIGNAL);
                if (count < 0) fail("send");
                sent += static_cast<std::size_t>(count);
            }
        }
        buffer_.resize(load.answers.size());
        for (const Connection& connection : connections_) {
            for (std::size_t got = 0; got < load.answers.size();) {
                const ssize_t count = ::recv(connection.fd, buffer_.data() + got, load.answers.size() - got, MSG_WAITALL);
                if (count < 0 && errno == EINTR) continue;
                if (count <= 0) fail("recv", count < 0 ? errno : ECONNRESET);
                got += static_cast<std::size_t>(count);
            }
            if (compares && buffer_ != load.answers) throw std::runtime_error("a server's answers are wrong");
        }
    }

    /**
     * Makes all rounds, and appends the latency of each request in nanoseconds. Without an interval, each connection begins its
     * next round when it has all answers to the one before it, and a latency counts from there.
     *
     * With an interval, rounds are due at fixed times, on the connections in turn, and a latency counts from the time when the
     * round was due. So a server that stops for a moment pays for all requests that would have come meanwhile.
     */
    void follow(const Load& load, std::vector<double>& latencies) {
        load_ = &load;
        latencies_ = &latencies;
        buffer_.resize(load.answers.size());
        const std::uint64_t total = load.rounds * connections_.size();
        for (Connection& connection : connections_) connection = {.fd = connection.fd};
        answered_ = 0;
        start_ = now();
        std::uint64_t due = 0;  // rounds that have been
        std::uint64_t last = start_;
        std::array<epoll_event, 256> events{};
        if (load.interval == 0) {
            due = total;
            for (std::size_t i = 0; i < connections_.size(); i++) {
                connections_[i].due = load.rounds;
                begin(i);
            }
        }
        while (answered_ < total) {
            for (; due < total && start_ + due * load.interval <= now(); due++) {
                const std::size_t number = due % connections_.size();
                connections_[number].due++;
                if (!connections_[number].busy) begin(number);
            }
            // Sleep would be too coarse where another round is due soon.
            const int count = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), due < total ? 0 : 1000);
            if (count < 0 && errno != EINTR) fail("epoll_wait");
            for (int i = 0; i < count; i++) go_on(events[static_cast<std::size_t>(i)].data.u64);
            if (count > 0) last = now();
            if (count == 0 && now() - last > patience_seconds * 1'000'000'000ULL) fail("waiting for answers", ETIMEDOUT);
        }
    }

private:
    static constexpr int patience_seconds = 30;
    static constexpr std::size_t compared = 12;  // bytes of a round's first answer: an HTTP status, or a key

    struct Connection {
        int fd = -1;
        std::uint64_t due = 0;    // rounds that are due
        std::uint64_t begun = 0;  // of these
        bool busy = false;        // a round is under way
        std::uint64_t since = 0;  // when it began, or was due
        std::size_t sent = 0;     // bytes of it
        std::size_t got = 0;
    };

    [[noreturn]] static void fail(const char* what, int error = errno) {
        throw std::system_error(error, std::generic_category(), what);
    }
    void begin(std::size_t number) {
        Connection& connection = connections_[number];
        connection.since =
            load_->interval == 0 ? now() : start_ + (number + connection.begun * connections_.size()) * load_->interval;
        connection.begun++;
        connection.busy = true;
        connection.sent = 0;
        connection.got = 0;
        send(connection);
    }
    void send(Connection& connection) {
        const std::string& requests = load_->requests;
        while (connection.sent < requests.size()) {
            const ssize_t count = ::send(connection.fd, requests.data() + connection.sent, requests.size() - connection.sent,
                                         MSG_NOSIGNAL | MSG_DONTWAIT);
            if (count < 0 && errno == EAGAIN) return;
            if (count < 0) fail("send");
            connection.sent += static_cast<std::size_t>(count);
        }
    }
    // Sends and receives what can be, and begins the next round if this one is over.
    void go_on(std::size_t number) {
        Connection& connection = connections_[number];
        if (!connection.busy) return;
        send(connection);
        for (;;) {
            const std::size_t wanted = load_->answers.size() - connection.got;
            const ssize_t count = ::recv(connection.fd, buffer_.data(), wanted, MSG_DONTWAIT);
            if (count < 0 && errno == EAGAIN) return;
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) fail("recv", count < 0 ? errno : ECONNRESET);
            const std::size_t each = load_->answers.size() / load_->pipeline;
            const std::size_t before = connection.got / each;
            const std::size_t seen = std::min(static_cast<std::size_t>(count), compared);
            if (connection.got == 0 && buffer_.compare(0, seen, load_->answers, 0, seen) != 0)
                throw std::runtime_error("a server's answer is another one than before");
            connection.got += static_cast<std::size_t>(count);
            latencies_->insert(latencies_->end(), connection.got / each - before,
                               static_cast<double>(now() - connection.since));
            if (connection.got == load_->answers.size()) {
                answered_++;
                connection.busy = false;
                if (connection.due > connection.begun) begin(number);
                return;
            }
            if (static_cast<std::size_t>(count) < wanted) return;  // the next bytes are another event
        }
    }

    std::vector<Connection> connections_;
    std::string buffer_;
    int poll_ = -1;
    const Load* load_ = nullptr;
    std::vector<double>* latencies_ = nullptr;
    std::uint64_t start_ = 0;
    std::uint64_t answered_ = 0;  // rounds
};

}  // namespace bench::network
