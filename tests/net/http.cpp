// SPDX-License-Identifier: MIT
// HTTP servers: what the loop answers by itself, what the application answers, and what clients may do to both.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "net/client.hpp"
#include "net/http_served.hpp"
#include "net/unless_held_up.hpp"

using namespace http_test;

namespace {

/// Says what it got.
void echo(HttpServer& server, const HttpRequest& request) {
    const std::string body = std::string(request.method) + " " + std::string(request.path) + " " + std::string(request.query) +
                             "\n" + std::string(request.body);
    ensure(server.respond(request, {.body = body}));
}

}  // namespace

TEST_CASE("The loop answers from its table, and the application the rest", "[main]") {
    Served server{echo};
    server->set_answer("/health", {.body = "fine\n"});
    server->set_answer("/empty", {.type = {}, .status = 204});
    const Client client{server.port()};

    Response response = ask(client, get("/health"));
    CHECK(response.status == 200);
    CHECK(response.body == "fine\n");
    CHECK(response.has("Content-Type: text/plain; charset=utf-8"));
    CHECK(ask(client, get("/health?verbose=1")).body == "fine\n");
    CHECK(ask(client, get("/other?a=b?c")).body == "GET /other a=b?c\n");
    CHECK(ask(client, get("/healt")).body == "GET /healt \n");
    CHECK(ask(client, get("/health/")).body == "GET /health/ \n");
    CHECK(ask(client, post("/health", "hello")).body == "POST /health \nhello");
    response = ask(client, get("/empty"));
    CHECK(response.head.starts_with("HTTP/1.1 204 No Content\r\nDate: "));
    CHECK(response.head.find("Content-") == std::string::npos);

    // HEAD has the length of the body, and not the body.
    response = ask(client, "HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n", true);
    CHECK(response.has("Content-Length: 5"));
    response = ask(client, "HEAD /other HTTP/1.1\r\nHost: a\r\n\r\n", true);
    CHECK(response.has("Content-Length: 13"));
    CHECK(ask(client, get("/health")).body == "fine\n");
    CHECK(server->answered() == 5);

    // While it runs, answers are replaced, removed, and set again.
    server->set_answer("/health", {.body = "ill\n", .status = 503});
    response = ask(client, get("/health"));
    CHECK(response.status == 503);
    CHECK(response.body == "ill\n");
    server->remove_answer("/health");
    server->remove_answer("/never");
    CHECK(ask(client, get("/health")).body == "GET /health \n");
    server->set_answer("/health", {.body = text_of(8000, 1)});
    CHECK(ask(client, get("/health")).body == text_of(8000, 1));
    server.stop();
    CHECK(server.counters().failed == 0);
    CHECK(server.counters().cut == 0);
}

TEST_CASE("Requests that come one behind the other are answered in their order, however they arrive", "[main]") {
    Served server{echo};
    server->set_answer("/fixed", {.body = "from the table"});
    server->set_answer("/long", {.body = text_of(5000, 3)});
    for (const std::size_t piece : {1U, 50U, 3000U, 60000U}) {
        std::mt19937 random{static_cast<unsigned>(piece)};
        std::string sent;
        std::vector<std::string> expected;
        const int count = piece == 1 ? 8 : 60;
        for (int i = 0; i < count; i++) {
            const std::string path = "/" + std::to_string(i);
            const std::string body = text_of(random() % (piece == 1 ? 40 : 3000), static_cast<unsigned>(i));
            switch (random() % 5) {
                case 0:
                    sent += get("/fixed", "X: " + std::string(random() % 20, 'x') + "\r\n");
                    expected.emplace_back("from the table");
                    break;
                case 1:
                    sent += get("/long");
                    expected.push_back(text_of(5000, 3));
                    break;
                case 2:
                    sent += get(path + "?q");
                    expected.push_back("GET " + path + " q\n");
                    break;
                case 3:
                    sent += post(path, body);
                    expected.push_back("POST " + path + " \n" + body);
                    break;
                default: sent += chunked(path, body, {1, 300, 7, 2000}); expected.push_back("POST " + path + " \n" + body);
            }
        }
        const Client client{server.port()};
        std::jthread sender([&] {
            for (std::string_view rest = sent; !rest.empty();) {
                const std::size_t size = std::min<std::size_t>(1 + random() % piece, rest.size());
                ensure(client.send(rest.substr(0, size)));
                rest.remove_prefix(size);
                if (random() % 64 == 0) std::this_thread::sleep_for(1ms);
            }
            client.finish();
        });
        for (const std::string& body : expected) {
            const Response response = read(client);
            if (response.status == 200 && response.body == body) continue;
            INFO(response.head << response.body.substr(0, 100) << "\nexpected: " << body.substr(0, 100));
            REQUIRE(false);
        }
        CHECK(client.receive(1).empty());
    }
    server.stop();
    CHECK(server.counters().failed == 0);
    CHECK(server.counters().cut == 0);
}

TEST_CASE("Bodies of all sizes arrive whole, by length and in chunks", "[main]") {
    std::string got;
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        got = request.body;
        ensure(request.method == "POST" && request.path == "/body" && request.find("hOST") == "a");
        ensure(self.respond(request, {.body = std::to_string(request.body.size())}));
    }};
    const Client client{server.port()};
    for (const std::size_t size : {0U, 1U, 7000U, 8000U, 8120U, 8191U, 8192U, 8193U, 16384U, 20000U, 100'000U, 1U << 20U}) {
        const std::string body = text_of(size, static_cast<unsigned>(size));
        for (const std::string& request : {post("/body", body), chunked("/body", body, {100'000}),
                                           chunked("/body", body, {8192}), chunked("/body", body, {500, 4000, 1})}) {
            const Response response = ask(client, request);
            INFO(size);
            CHECK(response.body == std::to_string(size));
            const bool same = got == body;
            CHECK(same);
        }
    }
    // Heads that leave just enough room for the body, or a byte too little.
    const std::size_t rest = RINGSTEP_HTTP_SIZE - post("/body", "12345678", "X: \r\n").size();
    for (const std::size_t size : {rest - 1, rest, rest + 1, rest + 8}) {
        const std::string request = post("/body", "12345678", "X: " + std::string(size, 'x') + "\r\n");
        CHECK(ask(client, request).body == "8");
        ensure(client.send(std::string_view(request).substr(0, 100)));
        std::this_thread::sleep_for(5ms);
        CHECK(ask(client, std::string_view(request).substr(100)).body == "8");
        CHECK(got == "12345678");
    }
}

TEST_CASE("A client that expects 100 Continue gets it, unless its body is there", "[main]") {
    Served server{echo};
    const Client client{server.port()};
    for (const std::size_t size : {5U, 20000U}) {
        const std::string body = text_of(size, 1);
        const std::string request = post("/a", body, "Expect: 100-continue\r\n");
        const std::size_t head = request.size() - body.size();
        Response response = ask(client, std::string_view(request).substr(0, head));
        CHECK(response.head == "HTTP/1.1 100 Continue\r\n\r\n");
        response = ask(client, body);
        CHECK(response.status == 200);
        CHECK(response.body == "POST /a \n" + body);
        // The same in pieces.
        ensure(client.send(std::string_view(request).substr(0, 30)));
        std::this_thread::sleep_for(5ms);
        CHECK(ask(client, std::string_view(request).substr(30, head - 30)).status == 100);
        CHECK(ask(client, body).body == "POST /a \n" + body);
    }
    CHECK(ask(client, post("/b", "hello", "Expect: 100-continue\r\n")).body == "POST /b \nhello");
    // HTTP/1.0 has no such answer.
    ensure(client.send("POST /c HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
    std::this_thread::sleep_for(20ms);
    CHECK(ask(client, "hello").body == "POST /c \nhello");
}

TEST_CASE("What cannot be accepted is refused with its status, behind the answers before it", "[main]") {
    HttpOptions options;
    options.longest_body = 10'000;
    Served server{echo, options};
    server->set_answer("/fixed", {.body = "x"});
    const std::string large(20'000, 'x');
    const std::vector<std::pair<std::string, unsigned>> refused{
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {get("/", "A: b\r\n c\r\n"), 400},
        {get("/", "Content-Length: 3\r\nContent-Length: 3\r\n"), 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled "
         "HTTP/1.1\r\nHost: a\r\n\r\n",
         400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
        {get("/", "Expect: the-unexpected\r\n"), 417},
        {get("/" + large), 414},
        {get("/", "A: " + large + "\r\n"), 431},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\n\r\n", 413},
        {chunked("/", large, {3000}), 413},
        {chunked("/", large, {30000}), 413},
    };
    std::uint64_t count = 0;
    for (const auto& [bytes, status] : refused) {
        for (const std::size_t piece : {100'000U, 40U}) {
            Client client{server.port()};
            const std::string before = get("/fixed") + get("/app");
            const std::string all = before + bytes;
            for (std::size_t at = 0; at < all.size() && at < 3000; at += piece)
                if (!client.send(std::string_view(all).substr(at, piece))) break;
            for (std::size_t at = 3000; piece < 100 && at < all.size(); at += 3000)
                if (!client.send(std::string_view(all).substr(at, 3000))) break;
            CHECK(read(client).body == "x");
            CHECK(read(client).body == "GET /app \n");
            const Response response = read(client);
            INFO(bytes.substr(0, 100));
            CHECK(response.status == status);
            CHECK(response.has("Connection: close"));
            CHECK(client.rest().empty());
            CHECK(client.ended());
            CHECK(eventually([&] { return server->refused() == count + 1; }));
            count = server->refused();
        }
    }
    CHECK(server->answered() == 2 * refused.size());
}

TEST_CASE("A head that fills the first buffer to its end is refused at once", "[main]") {
    Served server{echo};
    const std::string begin = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
    for (const std::size_t size : {8192U, 8193U, 9000U, 12'000U}) {
        Client client{server.port()};
        CHECK(client.send(begin + std::string(size - begin.size(), 'x')));
        const Response response = read(client);
        INFO(size);
        CHECK(response.status == 431);
        CHECK(client.rest().empty());
        CHECK(client.ended());
    }
    Client client{server.port()};
    CHECK(client.send("GET /" + std::string(8192, 'x')));
    CHECK(read(client).status == 414);
    // The longest head that is accepted.
    Client longest{server.port()};
    CHECK(longest.send(begin + std::string(8192 - begin.size() - 4, 'x') + "\r\n\r\n"));
    CHECK(read(longest).status == 200);
}

TEST_CASE("Connections stay open as the client and the application want it", "[main]") {
    Served server{[](HttpServer& self, const HttpRequest& request) {
        ensure(self.respond(request, {.body = "a", .close = request.path == "/last"}));
    }};
    server->set_answer("/fixed", {.body = "f"});
    struct Way {
        std::string request;
        std::string line;
        bool closes;
    };
    for (const std::string path : {"/fixed", "/app"}) {
        const std::vector<Way> ways{
            {get(path), "", false},
            {get(path, "Connection: close\r\n"), "Connection: close", true},
            {get(path, "Connection: keep-alive, Close\r\n"), "Connection: close", true},
            {"GET " + path + " HTTP/1.0\r\n\r\n", "Connection: close", true},
            {"GET " + path + " HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "Connection: keep-alive", false},
        };
        for (const Way& way : ways) {
            Client client{server.port()};
            // What is behind a last request is not looked at.
            const Response response = ask(client, way.request + (way.closes ? get(path) : ""));
            INFO(way.request);
            CHECK(response.status == 200);
            CHECK((response.head.find("Connection:") != std::string::npos) == !way.line.empty());
            if (!way.line.empty()) CHECK(response.has(way.line));
            if (way.closes) {
                CHECK(client.rest().empty());
                CHECK(client.ended());
            } else {
                CHECK(ask(client, way.request).status == 200);
            }
        }
    }
    Client client{server.port()};
    CHECK(ask(client, get("/last") + get("/fixed")).has("Connection: close"));
    CHECK(client.rest().empty());
}

TEST_CASE("The end of a connection does not wait for others", "[main]") {
    Served server{echo};
    server->set_answer("/fixed", {.body = "f"});
    const Client other{server.port()};
    for (int i = 0; i < 3; i++) {
        Client client{server.port()};
        CHECK(ask(other, get("/fixed")).body == "f");
        CHECK(ask(client, get("/fixed")).body == "f");
        client.finish();
        const auto begin = std::chrono::steady_clock::now();
        CHECK(client.rest().empty());
        CHECK(client.ended());
        CHECK(std::chrono::steady_clock::now() - begin < 25s);
    }
    CHECK(ask(other, get("/fixed")).body == "f");
}

TEST_CASE("Responses that cannot be sent are not sent", "[main]") {
    const std::string longest(61'000, 'x');
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        const HttpField split{.name = "A", .value = "b\r\nInjected: c"};
        const HttpField odd{.name = "A b", .value = "c"};
        const HttpField good{.name = "A", .value = "b"};
        ensure(!self.respond(request, {.fields = {&split, 1}}));
        ensure(!self.respond(request, {.fields = {&odd, 1}}));
        ensure(!self.respond(request, {.status = 1000}));
        ensure(!self.respond(request, {.body = longest + std::string(1000, 'x')}));
        ensure(self.respond(request, {.body = longest, .fields = {&good, 1}}));
        ensure(!self.respond(request, {.body = "twice"}));
    }};
    const Client client{server.port()};
    for (int i = 0; i < 3; i++) {
        const Response response = ask(client, get("/"));
        CHECK(response.has("A: b"));
        CHECK(response.body.size() == longest.size());
    }
    const auto error_of = [&](std::string_view path, const HttpResponse& response) {
        try {
            server->set_answer(path, response);
        } catch (const ringstep::Error& error) {
            return error.code().value();
        }
        return 0;
    };
    CHECK(error_of("a", {}) == EINVAL);
    CHECK(error_of("", {}) == EINVAL);
    CHECK(error_of("/a?b", {}) == EINVAL);
    CHECK(error_of("/a", {.status = 99}) == EINVAL);
    CHECK(error_of("/a", {.close = true}) == EINVAL);
    CHECK(error_of("/a", {.body = std::string_view(longest).substr(0, 8192)}) == EMSGSIZE);
    CHECK(error_of("/" + std::string(128, 'a'), {}) == ENAMETOOLONG);
    for (int i = 0; i < RINGSTEP_HTTP_ANSWERS; i++) server->set_answer("/" + std::to_string(i), {.body = std::to_string(i)});
    CHECK(error_of("/a", {}) == ENOSPC);
    for (int i = 0; i < RINGSTEP_HTTP_ANSWERS; i += 5)
        CHECK(ask(client, get("/" + std::to_string(i))).body == std::to_string(i));
    CHECK(ask(client, get("/nowhere")).body.size() == longest.size());
}

TEST_CASE("Other threads answer while the loop runs", "[main]") {
    std::mutex mutex;
    std::vector<HttpRequest> work;
    Served server{[&](HttpServer&, const HttpRequest& request) {
        const std::lock_guard lock(mutex);
        work.push_back(request);
    }};
    std::vector<std::jthread> workers;
    for (int i = 0; i < 2; i++) {
        workers.emplace_back([&](const std::stop_token& token) {
            while (!token.stop_requested()) {
                HttpRequest request;
                {
                    const std::lock_guard lock(mutex);
                    if (!work.empty()) {
                        request = work.back();
                        work.pop_back();
                    }
                }
                if (request.method.empty())
                    std::this_thread::sleep_for(1ms);
                else
                    echo(*server.operator->(), request);
            }
        });
    }
    std::vector<std::jthread> clients;
    std::atomic<int> right = 0;
    for (int i = 0; i < 8; i++) {
        clients.emplace_back([&, i] {
            const Client client{server.port()};
            const std::string body = text_of(static_cast<std::size_t>(i) * 3000, static_cast<unsigned>(i));
            std::string all;
            for (int round = 0; round < 10; round++) all += post("/" + std::to_string(round), body);
            std::jthread sender([&] { ensure(client.send(all)); });
            for (int round = 0; round < 10; round++)
                right += read(client).body == "POST /" + std::to_string(round) + " \n" + body ? 1 : 0;
        });
    }
    clients.clear();
    CHECK(right == 80);
    workers.clear();
}

TEST_CASE("Clients that are too slow or silent are closed", "[main]") {
    // Each section sets one limit and not the other, so that it is clear which limit has closed the connections.
    HttpOptions options;
    SECTION("in the middle of a request") {
        options.server.read = 300ms;
        options.server.idle = ringstep::for_ever;
        Served server{echo, options};
        Client slow_head{server.port()};
        Client slow_body{server.port()};
        ensure(slow_head.send("GET / HTTP/1.1\r\nHo"));
        ensure(slow_body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + std::string(9000, 'x')));
        CHECK(slow_head.rest().empty());
        CHECK(slow_body.rest().empty());
        CHECK(server->counters().timed_out == 2);
    }
    SECTION("between requests") {
        options.server.read = ringstep::for_ever;
        options.server.idle = 700ms;
        CHECK(unless_held_up(350ms, [&](Steps& steps) {
            Served server{echo, options};
            server->set_answer("/fixed", {.body = "x"});
            steps.begin();
            Client silent{server.port()};
            const bool answered = ask(silent, get("/fixed")).body == "x";
            steps.next();
            return answered && silent.rest().empty() && silent.ended() && server->counters().timed_out == 1;
        }));
    }
}

TEST_CASE("A drain closes idle connections, and those with a request behind its answer", "[main]") {
    Served server{echo, {}, {}, 60s};
    server->set_answer("/fixed", {.body = "x"});
    Client idle{server.port()};
    Client busy{server.port()};
    CHECK(ask(idle, get("/fixed")).body == "x");
    CHECK(ask(busy, get("/fixed")).body == "x");
    const std::string begun = "GET /fixed HTTP/1.1\r\nHo";
    ensure(busy.send(begun));
    CHECK(eventually([&] { return server->counters().received == 2 * get("/fixed").size() + begun.size(); }));
    server.request_stop();
    CHECK(idle.rest().empty());
    CHECK(idle.ended());
    const Response response = ask(busy, "st: a\r\n\r\n");
    CHECK(response.body == "x");
    CHECK(response.has("Connection: close"));
    CHECK(busy.rest().empty());
    server.stop();
    CHECK(server.counters().timed_out == 0);
}

TEST_CASE("A client that does not read makes the loop stop reading from it, and loses nothing") {
    Served server{echo};
    server->set_answer("/long", {.body = text_of(8000, 3)});
    const Client client{server.port(), 4096};
    std::string sent;
    for (int i = 0; i < 1500; i++) sent += get(i % 2 == 0 ? "/long" : "/app");
    std::jthread sender([&] { ensure(client.send(sent)); });
    std::this_thread::sleep_for(200ms);
    CHECK(server->counters().frames < 1400);
    int right = 0;
    for (int i = 0; i < 1500; i++) {
        const Response response = read(client);
        if (response.status != 200) break;
        right += response.body == (i % 2 == 0 ? text_of(8000, 3) : "GET /app \n") ? 1 : 0;
    }
    CHECK(right == 1500);
    CHECK(server->counters().blocked > 0);
}
