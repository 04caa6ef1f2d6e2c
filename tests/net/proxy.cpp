// SPDX-License-Identifier: MIT
// A proxy between clients and upstreams of this process.
#include <ringstep/net/listener.hpp>
#include <ringstep/net/proxy.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "net/client.hpp"

using namespace std::chrono_literals;
using ringstep::Balance;
using ringstep::SocketAddress;

namespace {

/// A proxy that runs on a thread of its own.
class RunningProxy {
public:
    explicit RunningProxy(const ringstep::ProxyOptions& options = {}) {
        std::promise<ringstep::Proxy*> made;
        auto there = made.get_future();
        thread_ = std::jthread([this, options, &made](const std::stop_token& token) {
            try {
                ringstep::Ring ring{{.sq_entries = 256}};
                ringstep::Proxy proxy{ring, options};
                proxy.listen(listener_.fd());
                made.set_value(&proxy);
                exit_ = ringstep::serve(proxy, token, drain_limit);
                in_flight_ = ring.in_flight();
                counters_ = proxy.counters();
                for (unsigned i = 0; i < ringstep::Proxy::most_upstreams; i++) open_ += proxy.upstream(i).open;
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
    [[nodiscard]] const ringstep_proxy_counters& counters() const { return counters_; }

    /// Drains the proxy, destroys it, and checks that nothing is left.
    void stop() {
        if (!thread_.joinable()) return;
        thread_.request_stop();
        thread_.join();
        CHECK(exit_.ok());
        CHECK(in_flight_ == 0);
        CHECK(open_ == 0);
        CHECK(counters_.accepted == counters_.closed);
        CHECK(counters_.foreign == 0);
    }

    std::chrono::milliseconds drain_limit = 100ms;

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
    ringstep::Proxy* proxy_ = nullptr;
    ringstep::LoopExit exit_;
    ringstep_proxy_counters counters_{};
    std::uint64_t in_flight_ = 0;
    std::uint64_t open_ = 0;
    std::jthread thread_;
};

/// A listening socket that accepts by hand.
class Upstream {
public:
    [[nodiscard]] Client accept() const { return Client::accepted_by(listener_.fd()); }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    [[nodiscard]] SocketAddress address() const { return SocketAddress::tcp("127.0.0.1", port()); }

private:
    ringstep::Listener listener_{"127.0.0.1", 0};
};

}  // namespace

TEST_CASE("A proxy passes bytes on in both directions, and ends of streams", "[main]") {
    const Upstream upstream;
    RunningProxy proxy;
    proxy->add_upstream(upstream.address());
    Client client{proxy.port()};
    ensure(client.connected());
    Client server = upstream.accept();
    CHECK(client.send("hello"));
    CHECK(server.receive(5) == "hello");
    CHECK(server.send("world"));
    CHECK(client.receive(5) == "world");
    client.finish();
    CHECK(server.rest().empty());
    CHECK(server.ended());
    CHECK(server.send("still here"));
    CHECK(client.receive(10) == "still here");
    server.finish();
    CHECK(client.rest().empty());
    CHECK(client.ended());
}
