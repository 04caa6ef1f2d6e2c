// SPDX-License-Identifier: MIT
// A proxy on a thread of its own, and upstreams for it.
#pragma once

#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/net/proxy.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <future>
#include <iterator>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "net/client.hpp"

/// A proxy that runs on a thread of its own, with these upstreams.
class RunningProxy {
public:
    explicit RunningProxy(const std::vector<ringstep::SocketAddress>& upstreams, const ringstep::ProxyOptions& options = {},
                          int listener = -1, unsigned sq_entries = 256,
                          std::chrono::milliseconds drain_limit = std::chrono::seconds(3)) {
        std::promise<ringstep::Proxy*> made;
        auto there = made.get_future();
        thread_ =
            std::jthread([this, &upstreams, options, listener, sq_entries, drain_limit, &made](const std::stop_token& token) {
                try {
                    ringstep::Ring ring{{.sq_entries = sq_entries}};
                    ringstep::Proxy proxy{ring, options};
                    for (const ringstep::SocketAddress& upstream : upstreams) proxy.add_upstream(upstream);
                    proxy.listen(listener < 0 ? listener_.fd() : listener);
                    made.set_value(&proxy);
                    exit_ = ringstep::serve(proxy, token, drain_limit);
                    in_flight_ = ring.in_flight();
                    counters_ = proxy.counters();
                    for (unsigned i = 0; i < ringstep::Proxy::most_upstreams; i++) upstreams_.push_back(proxy.upstream(i));
                } catch (...) {
                    made.set_exception(std::current_exception());
                }
            });
        proxy_ = there.get();
    }
    RunningProxy(const RunningProxy&) = delete;
    RunningProxy& operator=(const RunningProxy&) = delete;
    ~RunningProxy() { stop(); }

    ringstep::Proxy* operator->() const { return proxy_; }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }

    void request_stop() { thread_.request_stop(); }
    /// Drains the proxy, destroys it, and checks that nothing is left.
    void stop() {
        if (!thread_.joinable()) return;
        thread_.request_stop();
        thread_.join();
        CHECK(exit_.ok());
        CHECK(in_flight_ == 0);
        for (const ringstep_proxy_upstream_counters& upstream : upstreams_) CHECK(upstream.open == 0);
        CHECK(counters_.accepted == counters_.closed);
        CHECK(counters_.foreign == 0);
    }
    /// What was counted. Call it after stop().
    [[nodiscard]] const ringstep_proxy_counters& counters() const { return counters_; }
    [[nodiscard]] const ringstep_proxy_upstream_counters& upstream(unsigned number) const { return upstreams_.at(number); }
    [[nodiscard]] std::int64_t code() const { return exit_.code; }

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
    ringstep::Proxy* proxy_ = nullptr;
    ringstep::LoopExit exit_;
    ringstep_proxy_counters counters_{};
    std::uint64_t in_flight_ = 0;
    std::vector<ringstep_proxy_upstream_counters> upstreams_;
    std::jthread thread_;
};

/// A listening socket that accepts by hand.
class Upstream {
public:
    [[nodiscard]] Client accept() const { return Client::accepted_by(listener_.fd()); }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    [[nodiscard]] int fd() const { return listener_.fd(); }
    [[nodiscard]] ringstep::SocketAddress address() const { return ringstep::SocketAddress::ip("127.0.0.1", port()); }

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
};

/// A listening Unix socket without a file.
class LocalUpstream {
public:
    explicit LocalUpstream(const std::string& name)
        : address_(ringstep::SocketAddress::local("@" + name + std::to_string(::getpid()))),
          fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        ensure(::bind(fd_.get(), address_.native(), address_.length()) == 0);
        ensure(::listen(fd_.get(), 100) == 0);
    }
    [[nodiscard]] Client accept() const { return Client::accepted_by(fd_.get()); }
    [[nodiscard]] const ringstep::SocketAddress& address() const { return address_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

private:
    ringstep::SocketAddress address_;
    ringstep::detail::OwnedFd fd_;
};

/// A TCP port of 127.0.0.1 on which nobody listens.
inline ringstep::SocketAddress nobody() {
    const ringstep::Listener listener{"127.0.0.1", 0};
    return ringstep::SocketAddress::ip("127.0.0.1", listener.port());
}

/// A listening socket whose queue is full, so that connecting to it does not end.
class FullUpstream {
public:
    FullUpstream() {
        for (int& fd : fds_) {
            fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            const ringstep::SocketAddress to = address();
            (void)::connect(fd, to.native(), to.length());
        }
    }
    FullUpstream(const FullUpstream&) = delete;
    FullUpstream& operator=(const FullUpstream&) = delete;
    ~FullUpstream() {
        for (const int fd : fds_) ::close(fd);
    }
    [[nodiscard]] ringstep::SocketAddress address() const { return ringstep::SocketAddress::ip("127.0.0.1", listener_.port()); }

private:
    ringstep::Listener listener_{"127.0.0.1", 0, {.backlog = 0}};
    std::array<int, 4> fds_{};
};

/// Bytes without a pattern, the same ones for each seed.
inline std::string random_bytes(std::size_t size, unsigned seed) {
    std::mt19937_64 random{seed};
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i + 8 <= size; i += 8) {
        const std::uint64_t word = random();
        std::memcpy(&bytes[i], &word, 8);
    }
    return bytes;
}

/// Sends bytes in pieces of random sizes, then ends the stream. Returns false if the peer does not take them.
inline bool send_and_finish(const Client& client, std::string_view bytes, unsigned seed) {
    std::mt19937 random{seed};
    while (!bytes.empty()) {
        const std::size_t size = std::min<std::size_t>(1 + random() % 60'000, bytes.size());
        if (!client.send(bytes.substr(0, size))) return false;
        bytes.remove_prefix(size);
    }
    client.finish();
    return true;
}

/// Lets both sides send `size` bytes at the same time, and checks what arrives.
inline void exchange(Client& one, Client& other, std::size_t size, unsigned seed) {
    const std::string there = random_bytes(size, seed);
    const std::string back = random_bytes(size + size / 3, seed + 1);
    auto sent_there = std::async(std::launch::async, [&] { return send_and_finish(one, there, seed); });
    auto sent_back = std::async(std::launch::async, [&] { return send_and_finish(other, back, seed + 1); });
    auto arrived = std::async(std::launch::async, [&] { return other.rest() == there && other.ended(); });
    const std::string came = one.rest();
    INFO("seed " << seed << ": " << came.size() << " of " << back.size() << " bytes, errno " << one.error());
    CHECK((came == back));
    CHECK(one.ended());
    CHECK(arrived.get());
    CHECK(sent_there.get());
    CHECK(sent_back.get());
}

/// Returns the number of open descriptors of this process.
inline std::ptrdiff_t open_descriptors() { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); }

/// Returns true if a connection ends with a reset, after these bytes.
inline bool is_reset(Client& client, std::string_view after = "") {
    return client.rest() == after && client.error() == ECONNRESET;
}
