// SPDX-License-Identifier: MIT
// HTTP responses whose bodies are written piece by piece, and answers that are flushed in parts.
#include <ringstep/net/frames.hpp>
#include <ringstep/net/http.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "net/client.hpp"
#include "net/http_files.hpp"
#include "net/http_served.hpp"
#include "thorough.hpp"

using namespace http_test;
using ringstep::HttpBody;
using ringstep::ServerConnection;
using ringstep::ServerEvent;

namespace {

/// Reads the body of a response in chunks, and returns nothing if it is cut off or malformed.
std::optional<std::string> read_chunks(const Client& client, std::size_t* count = nullptr) {
    std::string body;
    for (;;) {
        std::string line;
        while (!line.ends_with("\r\n")) {
            const std::string byte = client.receive(1);
            if (byte.empty() || line.size() > 20) return {};
            line += byte;
        }
        const std::size_t size = std::stoul(line, nullptr, 16);
        const std::string piece = client.receive(size + 2);
        if (piece.size() != size + 2 || !piece.ends_with("\r\n")) return {};
        if (size == 0) return body;
        if (count != nullptr) ++*count;
        body.append(piece, 0, size);
    }
}

/// Writes a text in pieces of a size, as many at a time as there is room for.
auto in_pieces(std::shared_ptr<const std::string> text, std::size_t size) {
    return [text = std::move(text), size, at = std::size_t{0}](HttpBody& body) mutable {
        for (; at < text->size(); at += size)
            if (!body.write(std::string_view(*text).substr(at, size))) return true;
        return false;
    };
}

}  // namespace

TEST_CASE("Bodies of any length are written piece by piece", "[main]") {
    const auto text = std::make_shared<const std::string>(random_text(1'000'000, 3));
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        const std::size_t size = std::stoul(std::string(request.path.substr(1)));
        ensure(self.stream(request, {.type = "text/x-test"}, in_pieces(text, size)));
    }};
    const Client client{server.port()};
    for (const std::size_t size : {65'000U, 4096U, 997U}) {
        const Response head = ask(client, get("/" + std::to_string(size)), true);
        CHECK(head.status == 200);
        CHECK(head.has("Transfer-Encoding: chunked"));
        CHECK(head.has("Content-Type: text/x-test"));
        CHECK(head.head.find("Content-Length") == std::string::npos);
        const bool same = read_chunks(client) == *text;
        CHECK(same);
    }
    // The next request of the connection is answered behind the body, also if it has come before.
    ensure(client.send(get("/30000") + "HEAD /7 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/65000")));
    CHECK(read(client, true).status == 200);
    CHECK(read_chunks(client) == *text);
    CHECK(read(client, true).has("Transfer-Encoding: chunked"));
    CHECK(read(client, true).status == 200);
    CHECK(read_chunks(client) == *text);
    server.stop();
    CHECK(server.counters().failed == 0);
}

TEST_CASE("A client of HTTP/1.0 gets the body as it is, and then the end of the connection", "[main]") {
    const auto text = std::make_shared<const std::string>(random_text(300'000, 4));
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        ensure(self.stream(request, {.body = "first ", .status = 201}, in_pieces(text, 5000)));
    }};
    Client client{server.port()};
    const Response head = ask(client, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true);
    CHECK(head.status == 201);
    CHECK(head.head.find("Transfer-Encoding") == std::string::npos);
    CHECK(head.has("Connection: close"));
    const bool same = client.rest() == "first " + *text;
    CHECK(same);
    CHECK(client.ended());
}

TEST_CASE("Empty bodies, statuses without a body, and heads that cannot be sent") {
    std::atomic<int> calls{0};
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        const auto nothing = [&](HttpBody&) {
            calls++;
            return false;
        };
        if (request.path == "/bad") {
            const HttpField field{.name = "X-Bad", .value = "a\r\nb"};
            ensure(!self.stream(request, {.fields = {&field, 1}}, nothing));
            ensure(self.respond(request, {.status = 500}));
        } else {
            ensure(self.stream(request, {.status = request.path == "/304" ? 304U : 200U}, nothing));
        }
    }};
    const Client client{server.port()};
    CHECK(ask(client, get("/"), true).status == 200);
    CHECK(read_chunks(client) == "");
    CHECK(calls == 1);
    const Response unchanged = ask(client, get("/304"), true);
    CHECK(unchanged.status == 304);
    CHECK(unchanged.head.find("Transfer-Encoding") == std::string::npos);
    CHECK(ask(client, get("/bad")).status == 500);
    CHECK(ask(client, head_of("/"), true).status == 200);
    CHECK(calls == 1);
}

TEST_CASE("A body that comes little by little is continued by any thread", "[main]") {
    std::mutex mutex;
    std::vector<std::string> ready;
    bool last = false;
    std::atomic<std::uint64_t> connection{~0ULL};
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        ensure(self.stream(request, {}, [&](HttpBody& body) {
            connection = body.connection().slot | std::uint64_t{body.connection().generation} << 32U;
            const std::lock_guard lock(mutex);
            for (const std::string& piece : ready) ensure(body.write(piece));
            ready.clear();
            return !last;
        }));
    }};
    const Client client{server.port()};
    CHECK(ask(client, get("/"), true).status == 200);
    REQUIRE(eventually([&] { return connection != ~0ULL; }));
    const ServerConnection there{static_cast<std::uint32_t>(connection), static_cast<std::uint32_t>(connection >> 32U)};
    for (int i = 0; i < 30; i++) {
        const std::string piece = "piece " + std::to_string(i) + "\n";
        {
            const std::lock_guard lock(mutex);
            ready.push_back(piece);
            last = i == 29;
        }
        server->nudge(there);
        // The client has each piece before the next one is made.
        if (i < 29) {
            const std::string chunk = client.receive(piece.size() + 5);
            CHECK(chunk.substr(chunk.find('\n') + 1) == piece + "\r\n");
        }
    }
    CHECK(read_chunks(client) == "piece 29\n");
    server->nudge(there);  // which has no effect any more
    CHECK(ask(client, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true).status == 200);
}

TEST_CASE("Bodies that several threads begin and nudge, also late and for nothing, are whole") {
    // What a thread hands to the function of a body. A nudge that got lost would leave pieces here, and the client waiting.
    struct Pieces {
        std::mutex mutex;
        std::string ready;
        bool last = false;
    };
    std::mutex mutex;
    std::deque<HttpRequest> requests;
    std::atomic<bool> over{false};
    std::atomic<unsigned> seed{0};
    Served server{[&](HttpServer&, const HttpRequest& request) {
        const std::lock_guard lock(mutex);
        requests.push_back(request);
    }};
    const auto make = [&](const HttpRequest& request, std::mt19937& random) {
        const ServerConnection connection = request.connection;
        const std::size_t count = std::stoul(std::string(request.path.substr(1)));
        const auto pieces = std::make_shared<Pieces>();
        ensure(server->stream(request, {}, [pieces](HttpBody& body) {
            const std::lock_guard lock(pieces->mutex);
            if (!body.write(pieces->ready)) return true;
            pieces->ready.clear();
            return !pieces->last;
        }));
        for (std::size_t i = 0; i < count; i++) {
            {
                const std::lock_guard lock(pieces->mutex);
                pieces->ready += std::to_string(i) + ",";
                pieces->last = i + 1 == count;
            }
            server->nudge(connection);
            if (random() % 2 != 0) std::this_thread::yield();
        }
        // These nudges come when the body is over. The connection may have its next body by then, which they must not harm.
        for (auto late = random() % 3; late > 0; late--) server->nudge(connection);
    };
    {
        std::vector<std::jthread> threads;
        for (unsigned thread = 0; thread < 3; thread++) {
            threads.emplace_back([&] {
                std::mt19937 random(seed++);
                while (!over) {
                    std::optional<HttpRequest> request;
                    {
                        const std::lock_guard lock(mutex);
                        if (!requests.empty()) {
                            request = requests.front();
                            requests.pop_front();
                        }
                    }
                    if (request)
                        make(*request, random);
                    else
                        std::this_thread::sleep_for(100us);
                }
            });
        }
        std::vector<Client> clients;
        for (unsigned i = 0; i < 4; i++) clients.emplace_back(server.port());
        std::size_t wrong = 0;
        for (unsigned round = 0; round < rounds(100, 20000); round++) {
            // Two requests at once, so that the second one begins as soon as the first one's body has ended.
            const std::size_t count = 1 + round % 5;
            const std::string request = get("/" + std::to_string(count));
            std::string expected;
            for (std::size_t i = 0; i < count; i++) expected += std::to_string(i) + ",";
            for (const Client& client : clients) ensure(client.send(request + request));
            for (const Client& client : clients) {
                for (int i = 0; i < 2; i++) {
                    if (read(client, true).status != 200 || read_chunks(client) != expected) wrong++;
                }
            }
            if (wrong != 0) break;
        }
        over = true;
        CHECK(wrong == 0);
    }
    server.stop();
    CHECK(server.counters().failed == 0);
}

TEST_CASE("Clients that do not read, and clients that go, do not disturb bodies of others", "[main]") {
    const auto text = std::make_shared<const std::string>(random_text(2'000'000, 5));
    std::atomic<int> alive{0};
    struct Counted {
        std::atomic<int>* count;
        explicit Counted(std::atomic<int>& all) : count(&all) { all++; }
        Counted(const Counted& other) : count(other.count) { ++*count; }
        Counted& operator=(const Counted&) = delete;
        ~Counted() { --*count; }
    };
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        ensure(self.stream(request, {}, [write = in_pieces(text, 10'000), counted = Counted(alive)](HttpBody& body) mutable {
            return write(body);
        }));
    }};
    std::vector<Client> slow;
    for (int i = 0; i < 8; i++) {
        slow.emplace_back(server.port(), 8192);
        ensure(slow.back().send(get("/")));
    }
    const Client quick{server.port()};
    CHECK(ask(quick, get("/"), true).status == 200);
    const bool same = read_chunks(quick) == *text;
    CHECK(same);
    for (std::size_t i = 0; i < 4; i++) {
        ensure(slow[i].receive(1 + i * 20'000).size() == 1 + i * 20'000);
        if (i % 2 == 0)
            slow[i].close();
        else
            slow[i].reset();
    }
    for (std::size_t i = 4; i < slow.size(); i++) {
        CHECK(read(slow[i], true).status == 200);
        const bool whole = read_chunks(slow[i]) == *text;
        CHECK(whole);
    }
    CHECK(eventually([&] { return server->open() == 5; }));
    CHECK(eventually([&] { return alive == 0; }));
}

TEST_CASE("A body that is idle ends with its connection, and when the time of a drain is over") {
    const bool reset = GENERATE(true, false);
    ringstep::Listener listener{"127.0.0.1", 0};
    std::atomic<std::size_t> open{0};
    std::atomic<int> alive{0};
    std::jthread thread([&](const std::stop_token& token) {
        ringstep::Ring ring{{.sq_entries = 256}};
        HttpServer server{ring};
        server.listen(listener.fd());
        const ringstep::LoopExit exit = ringstep::serve(
            server,
            [&](const HttpRequest& request) {
                alive++;
                const std::shared_ptr<int> life(new int, [&](const int* it) {
                    delete it;
                    alive--;
                });
                ensure(server.stream(request, {.body = "begin"}, [life](HttpBody&) { return true; }));
            },
            token, 300ms);
        open = server.open();
        ensure(exit.ok() && ring.in_flight() == 0);
    });
    Client client{listener.port()};
    CHECK(ask(client, get("/"), true).status == 200);
    CHECK(client.receive(10) == "5\r\nbegin\r\n");
    CHECK(eventually([&] { return alive == 1; }));
    if (reset) {
        client.reset();
        CHECK(eventually([&] { return alive == 0; }));
    }
    thread.request_stop();
    thread.join();
    CHECK(alive == 0);
    CHECK(open == 0);
    if (!reset) CHECK(client.rest().empty());
}

TEST_CASE("Output that was flushed can be written to again when its event was taken, and not before") {
    ringstep::Listener listener{"127.0.0.1", 0};
    std::atomic<ringstep::Server*> made{nullptr};
    std::jthread thread([&] {
        ringstep::Ring ring{{.sq_entries = 256}};
        ringstep::Server server{ring, ringstep::Framing::lines(100), {.linger = 200ms}};
        server.listen(listener.fd());
        made = &server;
        // Nobody but the test takes events. serve() would.
        ensure(server.run().reason == ringstep::ExitReason::stop_requested);
    });
    REQUIRE(eventually([&] { return made != nullptr; }));
    ringstep::Server& server = *made;
    {
        const Client client{listener.port()};
        CHECK(client.send("a\n"));
        ServerEvent event;
        const auto take = [&](ServerEvent::Kind kind) {
            return eventually([&] { return server.take(event) && event.kind == kind; });
        };
        REQUIRE(take(ServerEvent::Kind::frame));
        const ServerConnection it = event.connection;
        CHECK(server.reply(it, "part"));
        // The nudge comes while the output is being flushed, or after that. Its event is in front of the other one or behind
        // it.
        CHECK(server.flush(it));
        server.nudge(it);
        CHECK(client.receive(4) == "part");
        REQUIRE(eventually([&] { return server.ready() == 2; }));
        CHECK(server.room(it) == 0);
        CHECK_FALSE(server.reply(it, "more"));
        CHECK(server.flush(it));  // it is being flushed already, so no second event comes
        REQUIRE(take(ServerEvent::Kind::room));
        CHECK(server.room(it) != 0);
        CHECK(server.reply(it, "more"));
        server.answer(it);
        CHECK(client.receive(4) == "more");
    }
    CHECK(eventually([&] { return server.open() == 0; }));
    server.request_stop();
}

TEST_CASE("A body that begins with more than a response holds is refused as a whole") {
    Served server{[&](HttpServer& self, const HttpRequest& request) {
        const auto nothing = [](HttpBody&) { return false; };
        const std::string head = "HTTP/1.1 200 OK\r\n";
        ensure(!self.stream(request, {.body = std::string(RINGSTEP_HTTP_REPLY - head.size(), 'x')}, nothing));
        ensure(self.stream(request, {.body = std::string(RINGSTEP_HTTP_REPLY - 300, 'x')}, nothing));
    }};
    const Client client{server.port()};
    CHECK(ask(client, get("/"), true).status == 200);
    const bool same = read_chunks(client) == std::string(RINGSTEP_HTTP_REPLY - 300, 'x');
    CHECK(same);
}

TEST_CASE("A function that throws cuts its connection off, and the server goes on") {
    std::atomic<bool> serving{true};
    ringstep::Listener listener{"127.0.0.1", 0};
    std::jthread thread([&](const std::stop_token& token) {
        ringstep::Ring ring{{.sq_entries = 256}};
        HttpServer server{ring};
        server.listen(listener.fd());
        int thrown = 0;
        while (serving) {
            try {
                (void)ringstep::serve(
                    server,
                    [&](const HttpRequest& request) {
                        ensure(server.stream(request, {.body = "begin"},
                                             [](HttpBody&) -> bool { throw std::runtime_error("the rows are gone"); }));
                    },
                    token, 1s);
                serving = false;
            } catch (const std::runtime_error&) {
                thrown++;
            }
        }
        ensure(thrown == 3);
    });
    for (int i = 0; i < 3; i++) {
        Client client{listener.port()};
        CHECK(ask(client, get("/"), true).status == 200);
        // No chunk says that this is the end of the body.
        CHECK(client.rest() == "5\r\nbegin\r\n");
        CHECK(client.ended());
    }
    thread.request_stop();
}

TEST_CASE("An answer of a server of frames that is longer than its output is flushed in parts", "[main]") {
    // The application is told after each part, and of a connection that has failed instead.
    std::mutex mutex;
    std::vector<ServerEvent> events;
    ringstep::Listener listener{"127.0.0.1", 0};
    std::atomic<ringstep::Server*> made{nullptr};
    std::jthread thread([&](const std::stop_token& token) {
        ringstep::Ring ring{{.sq_entries = 256}};
        ringstep::Server server{ring, ringstep::Framing::lines(100), {.linger = 200ms}};
        server.listen(listener.fd());
        made = &server;
        const ringstep::LoopExit exit = ringstep::serve(
            server,
            [&](const ServerEvent& event) {
                const std::lock_guard lock(mutex);
                events.push_back(event);
            },
            token, 5s);
        ensure(exit.ok() && server.open() == 0 && ring.in_flight() == 0);
    });
    REQUIRE(eventually([&] { return made != nullptr; }));
    ringstep::Server& server = *made;
    const auto next = [&](ServerEvent::Kind kind) {
        ServerEvent found;
        ensure(eventually([&] {
            const std::lock_guard lock(mutex);
            const auto at = std::find_if(events.begin(), events.end(), [&](const auto& event) { return event.kind == kind; });
            if (at == events.end()) return false;
            found = *at;
            events.erase(at);
            return true;
        }));
        return found.connection;
    };
    constexpr auto frame = ServerEvent::Kind::frame;
    constexpr auto room = ServerEvent::Kind::room;
    Client client{listener.port()};
    CHECK(client.send("a\nb\nc\n"));
    std::string expected;
    const ServerConnection it = next(frame);
    CHECK_FALSE(server.flush({it.slot, it.generation + 1}));
    const std::size_t whole = server.room(it);
    CHECK(whole >= 4096);
    for (int part = 0; part < 5; part++) {
        const std::string text = random_text(whole - static_cast<std::size_t>(part), static_cast<std::uint64_t>(part));
        CHECK(server.reply(it, text));
        CHECK_FALSE(server.reply(it, "123456"));
        CHECK(server.flush(it));
        expected += text;
        const bool same = client.receive(text.size()) == text;
        CHECK(same);
        CHECK(next(room) == it);
        CHECK(server.room(it) == whole);
    }
    CHECK(server.flush(it));  // nothing to send
    CHECK(next(room) == it);
    CHECK(server.reply(it, "end"));
    server.answer(it);
    CHECK(client.receive(3) == "end");

    // The answer ends before the flush does: the next frame begins as ever.
    CHECK(next(frame) == it);
    CHECK(server.reply(it, std::string(whole / 2, 'x')));
    CHECK(server.flush(it));
    server.answer(it);
    CHECK(client.receive(whole / 2) == std::string(whole / 2, 'x'));
    CHECK(next(frame) == it);
    CHECK(eventually([&] { return server.room(it) != 0; }));
    CHECK(server.reply(it, "third"));
    CHECK(server.flush(it));
    CHECK(client.receive(5) == "third");
    server.answer(it, true);
    CHECK_FALSE(server.flush(it));
    CHECK(server.room(it) == 0);
    CHECK(client.rest().empty());
    CHECK(client.ended());
    client.close();

    // A peer that goes in the middle of an answer.
    Client gone{listener.port(), 4096};
    CHECK(gone.send("x\n"));
    const ServerConnection other = next(frame);
    bool broken = false;
    for (int part = 0; part < 200 && !broken; part++) {
        if (part == 1) gone.reset();
        if (server.room(other) >= 1000) (void)server.reply(other, std::string(1000, 'y'));
        CHECK(server.flush(other));
        REQUIRE(eventually([&] {
            const std::lock_guard lock(mutex);
            for (auto at = events.begin(); at != events.end(); ++at) {
                if (at->connection != other || (at->kind != room && at->kind != ServerEvent::Kind::broken)) continue;
                broken = at->kind == ServerEvent::Kind::broken;
                events.erase(at);
                return true;
            }
            return false;
        }));
    }
    CHECK(broken);
    server.answer(other);
    CHECK(eventually([&] { return server.open() == 0; }));
    thread.request_stop();
}
