// SPDX-License-Identifier: MIT
// A server that runs on a thread of its own, for tests.
#pragma once

#include <ringstep/net/listener.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

/// Runs serve() for a server of this loop, until stop() or the end of the object.
template <class Loop>
class RunningServer {
public:
    using Server = ringstep::ServerLoop<Loop>;

    /// Unless options are given, a closed connection does not wait long for its peer to close.
    explicit RunningServer(const ringstep::ServerOptions& options = {.linger = std::chrono::milliseconds(200)},
                           unsigned sq_entries = 256) {
        std::promise<Server*> made;
        auto there = made.get_future();
        thread_ = std::jthread([this, options, sq_entries, &made](const std::stop_token& token) {
            try {
                ringstep::Ring ring{{.sq_entries = sq_entries}};
                Server server{ring, options};
                server.listen(listener_.fd());
                made.set_value(&server);
                exit_ = ringstep::serve(server, token, drain_limit);
                in_flight_ = ring.in_flight();
                available_ = server.state()->buffers.ring.available;
                counters_ = server.counters();
                ended_.set_value();
                may_go_.get_future().wait();
            } catch (...) {
                made.set_exception(std::current_exception());
            }
        });
        server_ = there.get();
    }
    RunningServer(const RunningServer&) = delete;
    RunningServer& operator=(const RunningServer&) = delete;
    ~RunningServer() { stop(); }

    Server* operator->() const { return server_; }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    [[nodiscard]] ringstep_server_counters counters() const { return server_ != nullptr ? server_->counters() : counters_; }

    /// Returns all counters of the server as text. Tests show it when they fail.
    [[nodiscard]] std::string said() const {
        const ringstep_server_counters c = counters();
        std::string text;
        const std::pair<const char*, std::uint64_t> all[] = {{"accepted", c.accepted},   {"closed", c.closed},
                                                             {"refused", c.refused},     {"frames", c.frames},
                                                             {"received", c.received},   {"sent", c.sent},
                                                             {"failed", c.failed},       {"cut", c.cut},
                                                             {"too_long", c.too_long},   {"overflowed", c.overflowed},
                                                             {"timed_out", c.timed_out}, {"evicted", c.evicted},
                                                             {"starved", c.starved},     {"blocked", c.blocked},
                                                             {"foreign", c.foreign}};
        for (const auto& [name, count] : all) text += std::string(name) + " " + std::to_string(count) + ", ";
        return text;
    }

    /// Drains the server and destroys it. Returns how the run has ended.
    ringstep::LoopExit stop() {
        if (server_ != nullptr) {
            thread_.request_stop();
            ended_.get_future().wait();
            server_ = nullptr;
            may_go_.set_value();
            thread_.join();
        }
        return exit_;
    }
    /// Returns how many buffers the kernel had at the end. Call it after stop().
    [[nodiscard]] std::uint32_t available() const { return available_; }
    /// Returns how many requests were in flight at the end. Call it after stop().
    [[nodiscard]] std::uint64_t in_flight() const { return in_flight_; }

    static inline std::chrono::milliseconds drain_limit{5000};

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
    Server* server_ = nullptr;
    ringstep::LoopExit exit_;
    std::uint32_t available_ = 0;
    std::uint64_t in_flight_ = 0;
    ringstep_server_counters counters_{};
    std::promise<void> ended_;
    std::promise<void> may_go_;
    std::jthread thread_;
};
