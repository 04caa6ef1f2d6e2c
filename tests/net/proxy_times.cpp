// SPDX-License-Identifier: MIT
// The proxy's time limits: how long an upstream is left out, for connecting, for idle connections, and for a drain.
#include <ringstep/net/listener.hpp>
#include <ringstep/net/proxy.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <netinet/in.h>

#include <chrono>
#include <thread>
#include <vector>

#include "net/client.hpp"
#include "net/running_proxy.hpp"
#include "net/unless_held_up.hpp"

using namespace std::chrono_literals;
using ringstep::SocketAddress;

TEST_CASE("An upstream that refuses is left out for a time after some failures, and its clients get another one", "[main]") {
    const Upstream upstream;
    const SocketAddress refuses = nobody();
    RunningProxy proxy{{refuses, upstream.address()}, {.failures = 2, .leave_out = 2s}};
    const auto served = [&] {
        const Client client{proxy.port()};
        const Client server = upstream.accept();
        return server.connected() && client.send("?") && server.receive(1) == "?";
    };
    // It takes two failures at first. After each of the times that it is left out for, it is tried again, and one failure is
    // enough.
    const auto begin = std::chrono::steady_clock::now();
    const auto is_left_out = [&](unsigned at_least) {
        const auto times = proxy->upstream(0).left_out;
        const auto most = 1 + static_cast<unsigned>((std::chrono::steady_clock::now() - begin) / 2s);
        return times >= at_least && times <= most && proxy->upstream(0).failures == times + 1 &&
               proxy->counters().retried == times + 1;
    };
    for (int i = 0; i < 6; i++) CHECK(served());
    CHECK(eventually([&] { return is_left_out(1); }));
    std::this_thread::sleep_for(2100ms);
    for (int i = 0; i < 4; i++) CHECK(served());
    CHECK(eventually([&] { return is_left_out(2); }));
    // It is there now.
    std::this_thread::sleep_for(2100ms);
    const ringstep::Listener late{"127.0.0.1", ntohs(refuses.value().ipv4.port)};
    std::vector<Client> clients;
    for (int i = 0; i < 4; i++) clients.emplace_back(proxy.port());
    CHECK(eventually([&] { return proxy->upstream(0).connections == 2; }));
    clients.clear();
    proxy.stop();
    CHECK(proxy.counters().unserved == 0);
}

TEST_CASE("Connecting has a time limit, after which another upstream is tried", "[main]") {
    const Upstream upstream;
    const FullUpstream hangs;
    RunningProxy proxy{{hangs.address(), upstream.address()}, {.connect = 500ms}};
    const auto begin = std::chrono::steady_clock::now();
    Client client{proxy.port()};
    CHECK(client.send("patience"));
    Client server = upstream.accept();
    CHECK(server.receive(8) == "patience");
    CHECK(std::chrono::steady_clock::now() - begin >= 500ms);
    CHECK(eventually([&] { return proxy->upstream(0).timed_out == 1; }));
    CHECK(eventually([&] { return proxy->upstream(0).failures == 1; }));
    exchange(client, server, 50'000, 5);
}

TEST_CASE("A connection without a byte in either direction ends after a time", "[main]") {
    const Upstream upstream;
    CHECK(unless_held_up(2s, [&](Steps& steps) {
        RunningProxy proxy{{upstream.address()}, {.idle = 3s}};
        steps.begin();
        Client client{proxy.port()};
        Client server = upstream.accept();
        bool good = true;
        for (int i = 0; i < 8 && good; i++) {
            std::this_thread::sleep_for(450ms);
            const Client& sender = i % 2 == 0 ? client : server;
            const Client& reader = i % 2 == 0 ? server : client;
            good = sender.send(".") && reader.receive(1) == ".";
            steps.next();
        }
        return good && is_reset(client) && is_reset(server) && eventually([&] { return proxy->counters().timed_out == 1; });
    }));
}

TEST_CASE("A drain lets connections end, and cuts those that do not in time", "[main]") {
    const Upstream upstream;
    {
        RunningProxy proxy{{upstream.address()}, {}, -1, 256, 60s};
        Client client{proxy.port()};
        Client server = upstream.accept();
        proxy.request_stop();
        std::this_thread::sleep_for(50ms);
        CHECK(client.send("goes on"));
        CHECK(server.receive(7) == "goes on");
        exchange(client, server, 100'000, 6);
    }
    RunningProxy proxy{{upstream.address()}, {}, -1, 256, 1s};
    Client lasting{proxy.port()};
    Client lasting_server = upstream.accept();
    proxy.request_stop();
    CHECK(is_reset(lasting));
    CHECK(is_reset(lasting_server));
}
