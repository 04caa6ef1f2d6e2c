// SPDX-License-Identifier: MIT
// A server of frames that runs on a thread of its own, for tests.
#pragma once

#include <ringstep/net/frames.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <stop_token>
#include <thread>
#include <utility>

namespace frames_test {

using namespace std::chrono_literals;
using ringstep::Framing;
using ringstep::ServerEvent;

/// Serves on a thread of its own, and calls a function for each event there.
class Served {
public:
    using Handle = std::function<void(ringstep::Server&, const ServerEvent&)>;

    Served(const Framing& framing, Handle handle, const ringstep::ServerOptions& options = {.linger = 200ms}) {
        std::promise<ringstep::Server*> made;
        auto there = made.get_future();
        thread_ = std::jthread([this, framing, options, &made, handle = std::move(handle)](const std::stop_token& token) {
            try {
                ringstep::Ring ring{{.sq_entries = 256}};
                ringstep::Server server{ring, framing, options};
                server.listen(listener_.fd());
                made.set_value(&server);
                exit_ = ringstep::serve(server, [&](const ServerEvent& event) { handle(server, event); }, token, 5s);
                counters_ = server.counters();
                available_ = server.state()->buffers.ring.available;
                in_flight_ = ring.in_flight();
            } catch (...) {
                made.set_exception(std::current_exception());
            }
        });
        server_ = there.get();
    }
    Served(const Served&) = delete;
    Served& operator=(const Served&) = delete;
    ~Served() { stop(); }
    ringstep::Server* operator->() const { return server_; }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    void stop() {
        if (!thread_.joinable()) return;
        thread_.request_stop();
        thread_.join();
        CHECK(exit_.ok());
        CHECK(available_ == ringstep::Server::buffers);
        CHECK(in_flight_ == 0);
    }
    [[nodiscard]] const ringstep_server_counters& counters() const { return counters_; }

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
    ringstep::Server* server_ = nullptr;
    ringstep::LoopExit exit_;
    ringstep_server_counters counters_{};
    std::uint32_t available_ = 0;
    std::uint64_t in_flight_ = 0;
    std::jthread thread_;
};

}  // namespace frames_test
