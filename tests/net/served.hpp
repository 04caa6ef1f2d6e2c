// SPDX-License-Identifier: MIT
// What the servers of tests have in common whose application takes events: a thread of their own, and a function for each
// event.
#pragma once

#include <ringstep/net/listener.hpp>
#include <ringstep/net/server.hpp>
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

/// Serves on a thread of its own, and calls a function for each event there.
template <class Server, class Event>
class ServedBy {
public:
    using Handle = std::function<void(Server&, const Event&)>;
    using Prepare = std::function<void(Server&)>;

    ServedBy(const ServedBy&) = delete;
    ServedBy& operator=(const ServedBy&) = delete;
    ~ServedBy() { stop(); }
    Server* operator->() const { return server_; }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    void request_stop() { thread_.request_stop(); }
    /// Drains the server, destroys it, and checks that nothing is left of it.
    void stop() {
        if (!thread_.joinable()) return;
        thread_.request_stop();
        thread_.join();
        CHECK(exit_.ok());
        CHECK(available_ == Server::buffers);
        CHECK(in_flight_ == 0);
        CHECK(open_ == 0);
    }
    /// Returns what the server had counted when it ended.
    [[nodiscard]] const ringstep_server_counters& counters() const { return counters_; }

protected:
    /// `make` returns the server for a ring. `prepare`, if there is one, is called before the server listens. `drain` is how
    /// long the server's drain may take.
    template <class Make>
    ServedBy(Make make, Handle handle, Prepare prepare = {}, std::chrono::seconds drain = std::chrono::seconds(5)) {
        std::promise<Server*> made;
        auto there = made.get_future();
        thread_ = std::jthread(
            [this, make, &made, drain, handle = std::move(handle), prepare = std::move(prepare)](const std::stop_token& token) {
                try {
                    ringstep::Ring ring{{.sq_entries = 256}};
                    Server server = make(ring);
                    if (prepare) prepare(server);
                    server.listen(listener_.fd());
                    made.set_value(&server);
                    exit_ = ringstep::serve(server, [&](const Event& event) { handle(server, event); }, token, drain);
                    counters_ = server.counters();
                    available_ = server.state()->buffers.ring.available;
                    in_flight_ = ring.in_flight();
                    open_ = server.open();
                } catch (...) {
                    made.set_exception(std::current_exception());
                }
            });
        server_ = there.get();
    }

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
    Server* server_ = nullptr;
    ringstep::LoopExit exit_;
    ringstep_server_counters counters_{};
    std::uint32_t available_ = 0;
    std::uint32_t open_ = 0;
    std::uint64_t in_flight_ = 0;
    std::jthread thread_;
};
