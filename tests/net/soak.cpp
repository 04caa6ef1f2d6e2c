// SPDX-License-Identifier: MIT
// Connections that end in every way, many thousands of them, by ./dev test --thorough a million: no descriptor, no buffer, no
// slot and no connection may be left.
#include <ringstep/compiled/kv.hpp>

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "net/client.hpp"
#include "net/frames_served.hpp"
#include "net/http_served.hpp"
#include "net/leaks.hpp"
#include "net/running_proxy.hpp"
#include "net/running_server.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;

namespace {

using KeyValue = RunningServer<ringstep::loops::kv>;

/// What clients say to a server, and what it answers.
struct Talk {
    std::string ask;
    std::string answer;
    std::string last;  ///< behind which the server closes
    std::string last_answer;
};

/// Uses a connection, and ends it in one of 8 ways.
void use(std::uint16_t port, std::uint32_t host, const Talk& talk, std::uint64_t way) {
    Client client{port, 0, host};
    ensure(client.connected());
    switch (way % 8) {
        case 0:  // the client closes
            ensure(client.ask(talk.ask, talk.answer.size()) == talk.answer);
            break;
        case 1:  // the server closes first
            ensure(client.send(talk.last));
            ensure(client.rest() == talk.last_answer);
            ensure(client.ended());
            ensure(client.send(talk.ask));  // which nobody wants any more
            break;
        case 2:  // the client reads no answer
            ensure(client.send(talk.ask));
            client.reset();
            break;
        case 3:  // nor asks
            client.reset();
            break;
        case 4:  // the client sends no more, and reads all
            ensure(client.send(talk.ask));
            client.finish();
            ensure(client.rest() == talk.answer);
            ensure(client.ended());
            break;
        case 5:  // half a question
            ensure(client.send(std::string_view(talk.ask).substr(0, talk.ask.size() / 2)));
            break;
        case 6:  // a part of the answers is read
            ensure(client.send(talk.ask + talk.ask + talk.ask));
            ensure(client.receive(1).size() == 1);
            client.reset();
            break;
        default:
            for (int i = 0; i < 3; i++) ensure(client.ask(talk.ask, talk.answer.size()) == talk.answer);
            client.reset();
    }
}

/// Opens and ends connections by two threads. They come from several addresses, so that there are enough ports.
void soak(std::uint16_t port, const Talk& talk, std::uint64_t count) {
    std::vector<std::jthread> clients;
    for (std::uint64_t thread = 0; thread < 2; thread++) {
        clients.emplace_back([&, thread] {
            for (std::uint64_t i = thread; i < count; i += 2)
                use(port, static_cast<std::uint32_t>(2 + i / 8 % 16), talk, i / 2);
        });
    }
}

/// Notes what is open at first, and says how long it took.
class Watch {
public:
    explicit Watch(std::string what)
        : what_(std::move(what)), descriptors_(descriptors_open()), began_(std::chrono::steady_clock::now()) {}
    /// Nothing of this server is left in slots, while it runs and waits.
    static void check_slots() {
        CHECK(eventually([] { return sockets_in_slots() == 0; }));
    }
    void end(std::uint64_t count) const {
        INFO(what_ << ": " << descriptors_ << " descriptors before");
        CHECK(eventually([&] { return descriptors_open() <= descriptors_; }));
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began_;
        std::printf("%s: %llu connections in %.1f s\n", what_.c_str(), static_cast<unsigned long long>(count), took.count());
        std::fflush(stdout);
    }

private:
    std::string what_;
    std::size_t descriptors_;
    std::chrono::steady_clock::time_point began_;
};

/// How many of all connections a server gets. An emulated kernel takes too long for a million.
std::uint64_t share(std::uint64_t percent) {
    if (!loading_is_cheap() && rounds(0, 1) == 0) SKIP("with --thorough only");
    return rounds(6'000, loading_is_cheap() ? 1'000'000 : 16'000) * percent / 100;
}

/// Checks that as many connections were accepted and closed, that none was refused, and that no completion was stale.
void check_counters(const auto& counters, std::uint64_t count) {
    CHECK(counters.accepted == count);
    CHECK(counters.closed == count);
    CHECK(counters.refused == 0);
    CHECK(counters.foreign == 0);
}

const Talk talk_of_key_value{"PING\r\n", "+PONG\r\n", "PING\r\nQUIT\r\nPING\r\n", "+PONG\r\n+BYE\r\n"};

}  // namespace

TEST_CASE("Of many connections to key-value nothing is left") {
    const std::uint64_t count = share(30);
    {
        const KeyValue first;
    }  // its program stays loaded, and the waker's descriptor open
    const Watch watch("key-value");
    {
        KeyValue server;
        soak(server.port(), talk_of_key_value, count);
        const bool ended = eventually([&] { return server->open() == 0; });
        INFO(server.said());
        REQUIRE(ended);
        Watch::check_slots();
        check_counters(server.counters(), count);
        CHECK(server.stop().ok());
        CHECK(server.available() == KeyValue::Server::buffers);
        CHECK(server.in_flight() == 0);
    }
    watch.end(count);
}

TEST_CASE("Of many connections to a server of frames nothing is left") {
    const std::uint64_t count = share(20);
    std::atomic<std::uint64_t> opened = 0;
    std::atomic<std::uint64_t> closed = 0;
    const auto handle = [&](ringstep::Server& server, const ringstep::ServerEvent& event) {
        if (event.kind == ringstep::ServerEvent::Kind::opened) opened++;
        if (event.kind == ringstep::ServerEvent::Kind::closed) closed++;
        if (event.kind != ringstep::ServerEvent::Kind::frame) return;
        (void)server.reply(event.connection, event.text());
        (void)server.reply(event.connection, "|");
        server.answer(event.connection, event.text() == "end");
    };
    {
        const frames_test::Served first{ringstep::Framing::lines(100), handle};
    }
    const Watch watch("frames");
    {
        frames_test::Served server{ringstep::Framing::lines(100), handle};
        soak(server.port(), {"some\n", "some|", "some\nend\nsome\n", "some|end|"}, count);
        REQUIRE(eventually([&] { return server->open() == 0; }));
        CHECK(eventually([&] { return closed == count; }));
        CHECK(opened == count);
        Watch::check_slots();
        server.stop();
        check_counters(server.counters(), count);
    }
    watch.end(count);
}

TEST_CASE("Of many connections to an HTTP server nothing is left") {
    const std::uint64_t count = share(20);
    const std::string body(300, 'x');
    const auto handle = [&](ringstep::HttpServer& server, const ringstep::HttpRequest& request) {
        (void)server.respond(request, {.body = body});
    };
    const auto prepare = [&](ringstep::HttpServer& server) { server.set_answer("/fixed", {.body = body}); };
    ringstep::HttpOptions options;
    options.dates = false;
    // Both by the loop and by the application.
    Talk talk{http_test::get("/fixed") + http_test::get("/other"), {}, http_test::get("/fixed", "Connection: close\r\n"), {}};
    {
        const http_test::Served first{handle, options, prepare};
        for (const auto& [ask, answer] : {std::pair(&talk.ask, &talk.answer), std::pair(&talk.last, &talk.last_answer)}) {
            Client client{first.port()};
            ensure(client.send(*ask));
            client.finish();
            *answer = client.rest();
        }
        ensure(talk.answer.size() > 2 * body.size() && talk.last_answer.size() > body.size());
    }
    const Watch watch("HTTP");
    {
        http_test::Served server{handle, options, prepare};
        soak(server.port(), talk, count);
        REQUIRE(eventually([&] { return server->open() == 0; }));
        Watch::check_slots();
        server.stop();
        check_counters(server.counters(), count);
    }
    watch.end(count);
}

TEST_CASE("Of many connections by way of a proxy nothing is left") {
    const std::uint64_t count = share(30);
    // The server behind it, whose own descriptors are there before.
    KeyValue server;
    const ringstep::SocketAddress upstream = ringstep::SocketAddress::ip("127.0.0.1", server.port());
    {
        const RunningProxy first{{upstream}};
    }
    REQUIRE(eventually([&] { return server->open() == 0; }));
    const std::uint64_t before = server.counters().accepted;
    const Watch watch("proxy");
    {
        RunningProxy proxy{{upstream, nobody()}, {.failures = 2, .leave_out = 50ms}};
        soak(proxy.port(), talk_of_key_value, count);
        REQUIRE(eventually([&] { return proxy->open() == 0; }));
        REQUIRE(eventually([&] { return server->open() == 0; }));
        Watch::check_slots();
        proxy.stop();
        check_counters(proxy.counters(), count);
        CHECK(proxy.counters().unserved == 0);
        CHECK(proxy.upstream(0).connections + before >= server.counters().accepted);
    }
    watch.end(count);
    CHECK(server.counters().accepted == server.counters().closed);
    CHECK(server.stop().ok());
    CHECK(server.available() == KeyValue::Server::buffers);
    CHECK(server.in_flight() == 0);
}
