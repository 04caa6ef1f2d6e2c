// SPDX-License-Identifier: MIT
// What clients, upstreams and limits do to servers and to the proxy: resets behind every byte, floods of connects, no buffers
// for seconds, no slots, and upstreams that do whatever they like.
#include <ringstep/compiled/kv.hpp>
#include <ringstep/net/frames.hpp>
#include <ringstep/net/listener.hpp>

#include <catch2/catch_test_macros.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
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
using ringstep::ServerEvent;

namespace {

using KeyValue = RunningServer<ringstep::loops::kv>;

/// Skips a test that takes an emulated kernel too long.
void only_where_quick() {
    if (!loading_is_cheap() && rounds(0, 1) == 0) SKIP("with --thorough only");
}

/// Resets connections behind each number of bytes of a request, and behind each number of bytes of its answer: at once, and
/// when the server has seen the bytes, as it has when it has answered another client. Returns the number of connections.
std::uint64_t reset_everywhere(std::uint16_t port, const std::string& request, const std::string& answer,
                               const std::function<void()>& ask_other) {
    std::uint64_t count = 0;
    for (const bool seen : {false, true}) {
        for (std::size_t bytes = 0; bytes <= request.size(); bytes++, count++) {
            Client client{port};
            ensure(client.send(std::string_view(request).substr(0, bytes)));
            if (seen) ask_other();
            client.reset();
        }
        for (std::size_t bytes = 1; bytes <= answer.size(); bytes += rounds(3, 1), count++) {
            Client client{port};
            ensure(client.send(request));
            const std::string got = client.receive(bytes);
            if (got != answer.substr(0, bytes)) {
                INFO(bytes << " bytes of the answer");
                CHECK(got == answer.substr(0, bytes));
            }
            if (seen) ask_other();
            client.reset();
        }
    }
    ask_other();
    return count;
}

/// Sends a request on a connection of its own, and returns all of the answer.
std::string answer_to(std::uint16_t port, const std::string& request) {
    Client client{port};
    ensure(client.send(request));
    client.finish();
    std::string answer = client.rest();
    ensure(client.ended());
    return answer;
}

/// Opens more connections than a server takes, again and again, and ends them in several ways. Meanwhile and afterwards, a
/// client that was there before is served. Returns the number of connections.
std::uint64_t flood(std::uint16_t port, unsigned connections, std::string_view half, const std::function<void()>& ask_other) {
    std::uint64_t count = 0;
    for (unsigned round = 0; round < rounds(2, 20); round++) {
        std::vector<Client> clients;
        for (unsigned i = 0; i < connections; i++, count++) {
            clients.emplace_back(port);
            if (i % 3 == 1) (void)clients.back().try_send(half);
            if (i % 100 == 0) ask_other();
        }
        ask_other();
        for (unsigned i = 0; i < connections; i++) {
            if ((i + round) % 2 == 0) clients[i].reset();
        }
    }
    return count;
}

}  // namespace

// --- Resets ------------------------------------------------------------------------------------------------------------------

TEST_CASE("A reset behind any byte of a talk with key-value ends only its own connection") {
    only_where_quick();
    KeyValue server;
    const Client other{server.port()};
    const auto ask_other = [&] { ensure(other.ask("PING\r\n", 7) == "+PONG\r\n"); };
    const std::string request = "SET key value\r\nGET key\r\nPING\r\nGET none\r\nnonsense\r\n";
    const std::string answer = answer_to(server.port(), request);
    CHECK(answer == "+OK\r\n=value\r\n+PONG\r\n-NONE\r\n-ERR what?\r\n");
    const std::uint64_t count = reset_everywhere(server.port(), request, answer, ask_other);
    const bool ended = eventually([&] { return server->open() == 1; });
    INFO(server.said());
    CHECK(ended);
    CHECK(server.counters().accepted == count + 2);
    CHECK(server.counters().failed > 0);
    CHECK(server.stop().ok());
    CHECK(server.available() == KeyValue::Server::buffers);
    CHECK(server.in_flight() == 0);
    CHECK(server.counters().foreign == 0);
}

TEST_CASE("A reset behind any byte of a talk with an application ends only its own connection") {
    only_where_quick();
    std::atomic<std::int64_t> open = 0;
    frames_test::Served server{ringstep::Framing::lines(100), [&](ringstep::Server& is, const ServerEvent& event) {
                                   if (event.kind == ServerEvent::Kind::opened) open++;
                                   if (event.kind == ServerEvent::Kind::closed) open--;
                                   if (event.kind != ServerEvent::Kind::frame) return;
                                   ensure(is.reply(event.connection, event.text()));
                                   ensure(is.reply(event.connection, "|"));
                                   is.answer(event.connection);
                               }};
    const Client other{server.port()};
    const auto ask_other = [&] { ensure(other.ask("x\n", 2) == "x|"); };
    const std::string request = "one\r\ntwo\n\nfour four\n";
    const std::string answer = answer_to(server.port(), request);
    CHECK(answer == "one|two||four four|");
    const std::uint64_t count = reset_everywhere(server.port(), request, answer, ask_other);
    CHECK(eventually([&] { return server->open() == 1; }));
    CHECK(eventually([&] { return open == 1; }));
    server.stop();
    CHECK(server.counters().accepted == count + 2);
    CHECK(server.counters().closed == count + 2);
    CHECK(server.counters().foreign == 0);
}

TEST_CASE("A reset behind any byte of requests over HTTP ends only its own connection") {
    only_where_quick();
    std::string file = std::filesystem::temp_directory_path() / "ringstep-faults-XXXXXX";
    const int fd = ::mkstemp(file.data());
    ensure(fd >= 0);
    ensure(::write(fd, "0123456789", 10) == 10);
    ::close(fd);
    ringstep::HttpOptions options;
    options.dates = false;  // so that all answers are the same
    http_test::Served server{[](ringstep::HttpServer& is, const ringstep::HttpRequest& request) {
                                 ensure(is.respond(request, {.body = request.body}));
                             },
                             options,
                             [&](ringstep::HttpServer& is) {
                                 is.set_answer("/fixed", {.body = "fixed"});
                                 is.add_file("/file", file);
                             }};
    const Client other{server.port()};
    const auto ask_other = [&] { ensure(http_test::ask(other, http_test::get("/fixed")).body == "fixed"); };
    const std::string request =
        http_test::get("/fixed") + http_test::get("/file") + http_test::chunked("/app", "what the application gets", {3, 7});
    const std::string answer = answer_to(server.port(), request);
    CHECK(answer.ends_with("what the application gets"));
    const std::uint64_t count = reset_everywhere(server.port(), request, answer, ask_other);
    CHECK(eventually([&] { return server->open() == 1; }));
    CHECK(server->broken() == 0);
    server.stop();
    CHECK(server.counters().accepted == count + 2);
    CHECK(server.counters().closed == count + 2);
    CHECK(server.counters().foreign == 0);
    std::filesystem::remove(file);
}

// --- Floods ------------------------------------------------------------------------------------------------------------------

TEST_CASE("Floods of connects beyond the limit do not disturb a client that is there, and leave nothing behind") {
    only_where_quick();
    rlimit files{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
    const rlimit before = files;
    if (files.rlim_cur < 4096) files.rlim_cur = std::min<rlim_t>(4096, files.rlim_max);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
    {
        KeyValue server;
        const Client other{server.port()};
        (void)flood(server.port(), KeyValue::Server::capacity + 300, "SET half",
                    [&] { ensure(other.ask("PING\r\n", 7) == "+PONG\r\n"); });
        const bool ended = eventually([&] { return server->open() == 1; });
        INFO(server.said());
        CHECK(ended);
        CHECK(server.counters().refused > 0);
        CHECK(Client{server.port()}.ask("PING\r\n", 7) == "+PONG\r\n");
        CHECK(eventually([&] { return sockets_in_slots() == 1; }));
        CHECK(server.stop().ok());
        CHECK(server.counters().accepted == server.counters().closed);
        CHECK(server.available() == KeyValue::Server::buffers);
        CHECK(server.in_flight() == 0);
    }
    {
        http_test::Served server{[](ringstep::HttpServer& is, const ringstep::HttpRequest& request) {
            ensure(is.respond(request, {.body = "application"}));
        }};
        const Client other{server.port()};
        (void)flood(server.port(), ringstep::HttpServer::capacity + 300, "GET / HTTP/1.1\r\nHos",
                    [&] { ensure(http_test::ask(other, http_test::get("/")).body == "application"); });
        CHECK(eventually([&] { return server->open() == 1; }));
        CHECK(http_test::ask(Client{server.port()}, http_test::get("/")).body == "application");
        CHECK(eventually([&] { return sockets_in_slots() == 1; }));
        server.stop();
        CHECK(server.counters().refused > 0);
        CHECK(server.counters().accepted == server.counters().closed);
    }
    CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("Floods of connects to a proxy wait or are closed, and a client that is there goes on") {
    only_where_quick();
    const Upstream upstream;
    for (const bool refuse : {false, true}) {
        RunningProxy proxy{{upstream.address()}, {.connections = 16, .refuse = refuse}};
        const Client other{proxy.port()};
        const Client server = upstream.accept();
        std::atomic<bool> over = false;
        std::jthread accepts([&] {
            std::vector<Client> open;
            while (!over) {
                pollfd waits{.fd = upstream.fd(), .events = POLLIN, .revents = 0};
                if (::poll(&waits, 1, 1) > 0) open.push_back(upstream.accept());
                // Those whose client is gone.
                std::erase_if(open, [](const Client& one) {
                    char byte = 0;
                    const ssize_t got = ::recv(one.fd(), &byte, 1, MSG_DONTWAIT);
                    return got == 0 || (got < 0 && errno != EAGAIN);
                });
            }
        });
        (void)flood(proxy.port(), 60, "half", [&] {
            ensure(other.send("?"));
            ensure(server.receive(1) == "?");
            ensure(server.send("!"));
            ensure(other.receive(1) == "!");
        });
        CHECK(eventually([&] { return proxy->open() == 1; }));
        CHECK((proxy->counters().refused > 0) == refuse);
        over = true;
        accepts.join();
        {
            Client late{proxy.port()};
            CHECK(late.send("late"));
            Client there = upstream.accept();
            CHECK(there.receive(4) == "late");
        }
        CHECK(eventually([&] { return proxy->open() == 1; }));
        CHECK(eventually([&] { return sockets_in_slots() == 2; }));
        proxy.stop();
    }
}

// --- No buffers --------------------------------------------------------------------------------------------------------------

TEST_CASE("While an application holds all buffers for seconds, clients wait, and nothing is lost") {
    only_where_quick();
    std::mutex mutex;
    bool holds = true;
    std::vector<ServerEvent> held;
    const auto answer = [](ringstep::Server& server, const ServerEvent& event) {
        ensure(server.reply(event.connection, event.text()));
        ensure(server.reply(event.connection, "|"));
        server.answer(event.connection);
    };
    frames_test::Served server{ringstep::Framing::lines(100), [&](ringstep::Server& is, const ServerEvent& event) {
                                   if (event.kind != ServerEvent::Kind::frame) return;
                                   const std::lock_guard lock(mutex);
                                   if (holds)
                                       held.push_back(event);
                                   else
                                       answer(is, event);
                               }};
    const auto available = [&] { return std::atomic_ref(server->state()->buffers.ring.available).load(); };
    // Each line is a receive of its own, and so takes a buffer.
    std::vector<Client> clients;
    for (int i = 0; i < 300; i++) clients.emplace_back(server.port());
    std::string expected;
    int line = 0;
    for (; line < 1000 && available() != 0; line++) {
        for (const Client& client : clients) ensure(client.send(std::to_string(line) + "\n"));
        expected += std::to_string(line) + "|";
        std::this_thread::sleep_for(20ms);
    }
    CHECK(eventually([&] { return available() == 0; }));
    Client late{server.port()};
    CHECK(late.send("late\n"));
    CHECK(eventually([&] { return server->counters().starved > 0; }));
    const double before = processor_time();
    std::this_thread::sleep_for(std::chrono::milliseconds(rounds(1500, 10'000)));
    CHECK(processor_time() - before < 0.5);
    CHECK(late.try_receive(1) == 0);
    // A client that goes meanwhile frees what was held for it only when its frame is answered.
    clients.back().reset();
    clients.pop_back();
    {
        const std::lock_guard lock(mutex);
        holds = false;
        for (const ServerEvent& event : held) answer(*server.operator->(), event);
    }
    std::size_t right = 0;
    for (const Client& client : clients) right += client.receive(expected.size()) == expected ? 1U : 0U;
    CHECK(right == clients.size());
    CHECK(late.receive(5) == "late|");
    clients.clear();
    late.close();
    CHECK(eventually([&] { return server->open() == 0; }));
    server.stop();
    CHECK(server.counters().evicted == 0);
    CHECK(server.counters().timed_out == 0);
}

// --- Events that nobody takes ------------------------------------------------------------------------------------------------

TEST_CASE("While an application takes no events, connections wait, and every one of them is told later") {
    only_where_quick();
    // As many events as the loop keeps are 8 for each connection that may be open, and each of these brings two.
    constexpr std::uint64_t count = 9 * ringstep::Server::capacity / 2;
    const ringstep::Listener listener{"127.0.0.1", 0, {.backlog = 4096}};
    ringstep::Ring ring{{.sq_entries = 256}};
    ringstep::Server server{ring, ringstep::Framing::lines(100), {.linger = 100ms}};
    server.listen(listener.fd());
    std::uint64_t accepted = 0;
    std::uint64_t opened = 0;
    std::uint64_t closed = 0;
    std::jthread application([&] {
        for (std::uint64_t i = 0; i < count; i++) {
            Client client{listener.port()};
            ensure(client.connected());
            client.reset();
        }
        ensure(eventually([&] { return server.counters().closed >= ringstep::Server::capacity; }));
        std::this_thread::sleep_for(300ms);
        accepted = server.counters().accepted;
        const Client last{listener.port()};
        ensure(last.send("last\n"));
        (void)eventually([&] {
            ServerEvent event;
            while (server.take(event)) {
                if (event.kind == ServerEvent::Kind::opened) opened++;
                if (event.kind == ServerEvent::Kind::closed) closed++;
                if (event.kind == ServerEvent::Kind::frame) server.answer(event.connection, true);
            }
            return closed + server.counters().refused > count;
        });
        server.drain(1s);
    });
    CHECK(server.run().ok());
    application.join();
    CHECK(accepted < count);
    // A connection that comes while all slots are taken is refused, and nothing is told of it.
    CHECK(opened + server.counters().refused == count + 1);
    CHECK(closed == opened);
    CHECK(server.state()->buffers.ring.available == ringstep::Server::buffers);
}
