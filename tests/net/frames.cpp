// SPDX-License-Identifier: MIT
// Servers whose application answers frames: lines, frames with a length in front, and frames of a fixed size.
#include <ringstep/net/frames.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "net/client.hpp"
#include "net/frames_served.hpp"

using namespace std::chrono_literals;
using frames_test::Served;
using ringstep::Framing;
using ringstep::ServerEvent;

namespace {

void echo(ringstep::Server& server, const ServerEvent& event) {
    if (event.kind != ServerEvent::Kind::frame) return;
    ensure(server.reply(event.connection, event.text()));
    ensure(server.reply(event.connection, "|"));
    server.answer(event.connection);
}

/// Sends bytes in pieces of random sizes.
void send_in_pieces(const Client& client, std::string_view bytes, unsigned seed, std::size_t most) {
    std::mt19937 random{seed};
    while (!bytes.empty()) {
        const std::size_t size = std::min<std::size_t>(1 + random() % most, bytes.size());
        ensure(client.send(bytes.substr(0, size)));
        bytes.remove_prefix(size);
        if (random() % 16 == 0) std::this_thread::sleep_for(1ms);
    }
}

}  // namespace

TEST_CASE("An application answers frames of each kind, however they arrive", "[main]") {
    struct Kind {
        Framing framing;
        std::function<std::string(std::string)> put;  // makes a frame of a text
        bool with_length;
    };
    const auto bytes_of = [](std::size_t number, unsigned width, bool network) {
        std::string bytes;
        for (unsigned i = 0; i < width; i++) bytes += static_cast<char>(number >> 8 * (network ? width - 1 - i : i) & 0xff);
        return bytes;
    };
    const std::vector<Kind> kinds{
        {Framing::lines(4094), [](std::string text) { return std::move(text) + "\r\n"; }, false},
        {Framing::length_prefix(4096, 0, 4, true, 4),
         [&](const std::string& text) { return bytes_of(text.size(), 4, true) + text; }, true},
        {Framing::length_prefix(4096, 1, 2, false, 0),
         [&](const std::string& text) { return "x" + bytes_of(text.size() + 3, 2, false) + text; }, true},
        {Framing::length_prefix(4096, 3, 8, true, 11),
         [&](const std::string& text) { return "abc" + bytes_of(text.size(), 8, true) + text; }, true},
        {Framing::length_prefix(200, 0, 1, false, 1),
         [&](std::string text) {
             text.resize(std::min<std::size_t>(text.size(), 199));
             return bytes_of(text.size(), 1, false) + text;
         },
         true},
        {Framing::fixed(5000 / 2), [](std::string text) { return text.resize(2500, '.'), text; }, true},
    };
    const std::size_t which = GENERATE(0U, 1U, 2U, 3U, 4U, 5U);
    const Kind& kind = kinds[which];
    Served server{kind.framing, echo};
    for (const std::size_t piece : {3U, 700U, 20000U}) {
        Client client{server.port()};
        std::string sent;
        std::string expected;
        std::mt19937 random{static_cast<unsigned>(piece)};
        const int count = piece < 10 ? 20 : 100;
        for (int i = 0; i < count; i++) {
            std::string text(random() % (piece < 10 ? 50 : 2400), static_cast<char>('a' + i % 26));
            const std::string frame = kind.put(text);
            sent += frame;
            expected += (kind.with_length ? frame : text) + "|";
        }
        std::thread sender([&] {
            send_in_pieces(client, sent, 5, piece);
            client.finish();
        });
        const bool right = client.rest() == expected;
        CHECK(right);
        CHECK(client.ended());
        sender.join();
    }
    server.stop();
    CHECK(server.counters().frames == 220);
    CHECK(server.counters().failed == 0);
    CHECK(server.counters().cut == 0);
}

TEST_CASE("Other threads answer, in the order of each connection, and are told of connections", "[main]") {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::deque<ServerEvent> work;
    std::atomic<unsigned> opened = 0;
    std::atomic<unsigned> closed = 0;
    {
        Served server{Framing::lines(100), [&](ringstep::Server&, const ServerEvent& event) {
                          if (event.kind == ServerEvent::Kind::opened) opened++;
                          if (event.kind == ServerEvent::Kind::closed) closed++;
                          if (event.kind != ServerEvent::Kind::frame) return;
                          const std::lock_guard lock(mutex);
                          work.push_back(event);
                          changed.notify_one();
                      }};
        std::vector<std::jthread> workers;
        for (int i = 0; i < 3; i++) {
            workers.emplace_back([&](const std::stop_token& token) {
                std::unique_lock lock(mutex);
                while (changed.wait(lock, token, [&] { return !work.empty(); })) {
                    const ServerEvent event = work.front();
                    work.pop_front();
                    lock.unlock();
                    ensure(server->reply(event.connection, event.text()));
                    ensure(server->reply(event.connection, "\n"));
                    server->answer(event.connection, event.text() == "end");
                    lock.lock();
                }
            });
        }
        std::vector<std::jthread> clients;
        for (int i = 0; i < 8; i++) {
            clients.emplace_back([&, i] {
                for (int round = 0; round < 10; round++) {
                    Client client{server.port()};
                    std::string all;
                    for (int line = 0; line < 50; line++) all += std::to_string(i) + "/" + std::to_string(line) + "\n";
                    all += "end\n";
                    ensure(client.send(all + "dropped\n"));
                    ensure(client.rest() == all);
                }
            });
        }
        clients.clear();
        CHECK(eventually([&] { return server->open() == 0; }));
        CHECK(eventually([&] { return closed == 80; }));
        for (std::jthread& worker : workers) worker.request_stop();
        workers.clear();
    }
    CHECK(opened == 80);
    CHECK(closed == 80);
}

TEST_CASE("An application stops reading from a connection, goes on, and closes it") {
    std::atomic<std::uint64_t> frames = 0;
    std::atomic<std::uint32_t> slot = 0;
    std::atomic<std::uint32_t> generation = 0;
    Served server{Framing::lines(100), [&](ringstep::Server& is, const ServerEvent& event) {
                      slot = event.connection.slot;
                      generation = event.connection.generation;
                      if (event.kind == ServerEvent::Kind::frame) {
                          frames++;
                          if (event.text() == "pause") is.pause(event.connection);
                      }
                      echo(is, event);
                  }};
    Client client{server.port()};
    CHECK(client.ask("a\npause\nb\n", 8) == "a|pause|");
    std::this_thread::sleep_for(50ms);
    CHECK(frames == 2);
    // The server takes a few buffers, and then no more.
    std::string lines;
    while (lines.size() < 100'000) lines += std::string(99, 'x') + '\n';
    std::size_t sent = 0;
    for (int idle = 0; idle < 100;) {
        const std::size_t now = client.try_send(std::string_view(lines).substr(sent % lines.size()));
        sent += now;
        idle = now == 0 ? idle + 1 : 0;
        if (now == 0) std::this_thread::sleep_for(1ms);
        REQUIRE(sent < (100U << 20));
    }
    CHECK(frames == 2);
    server->go_on({slot, generation});
    CHECK(client.receive(2) == "b|");
    bool all = true;
    for (std::size_t line = 0; line < sent / 100 && all; line++) all = client.receive(100) == std::string(99, 'x') + '|';
    CHECK(all);
    CHECK(frames == 3 + sent / 100);
    server->close({slot, generation});
    CHECK(client.rest().empty());
    CHECK(client.ended());
}

TEST_CASE("A frame that is too long, or whose length is nonsense, ends its connection") {
    const unsigned which = GENERATE(0U, 1U, 2U, 3U);
    const std::vector<Framing> framings{Framing::lines(10), Framing::length_prefix(10, 0, 4, true, 4),
                                        Framing::length_prefix(10, 0, 8, true, 8), Framing::length_prefix(100, 1, 2, true, 0)};
    const std::vector<std::string> bad{std::string(11, 'x') + "\n", std::string("\0\0\0\7", 4), std::string(8, '\xff'),
                                       std::string("x\0\2", 3)};
    Served server{framings[which], echo};
    const bool in_pieces = GENERATE(false, true);
    Client client{server.port()};
    if (in_pieces) {
        send_in_pieces(client, bad[which], 3, 2);
    } else {
        CHECK(client.send(bad[which]));
    }
    CHECK(client.rest().empty());
    CHECK(client.ended());
    client.finish();
    CHECK(eventually([&] { return server->open() == 0; }));
    server.stop();
    CHECK(server.counters().too_long == 1);
}

TEST_CASE("A frame whose connection is gone can still be answered") {
    std::mutex mutex;
    std::vector<ServerEvent> kept;
    Served server{Framing::lines(100), [&](ringstep::Server&, const ServerEvent& event) {
                      if (event.kind != ServerEvent::Kind::frame) return;
                      const std::lock_guard lock(mutex);
                      kept.push_back(event);
                  }};
    for (int i = 0; i < 20; i++) {
        Client client{server.port()};
        CHECK(client.send("hello\n"));
        REQUIRE(eventually([&] {
            const std::lock_guard lock(mutex);
            return kept.size() == static_cast<std::size_t>(i + 1);
        }));
        if (i % 2 == 0) client.reset();
    }
    CHECK(server->open() > 0);
    for (const ServerEvent& event : kept) {
        CHECK(event.text() == "hello");
        (void)server->reply(event.connection, "world");
        server->answer(event.connection);
    }
    CHECK(eventually([&] { return server->open() == 0; }));
    server.stop();
}

TEST_CASE("Framings that cannot be are refused") {
    ringstep::Ring ring;
    for (const Framing& framing : {Framing::lines(0), Framing::lines(4095), Framing::fixed(4097),
                                   Framing::length_prefix(10, 0, 9, true, 0), Framing::length_prefix(10, 0, 0, true, 0),
                                   Framing::length_prefix(10, 8, 4, true, 0), Framing::length_prefix(10, ~0U, 4, true, 0)})
        CHECK(error_of([&] { ringstep::Server server{ring, framing}; }).code().value() == EINVAL);
    CHECK_NOTHROW(ringstep::Server{ring, Framing::lines(4094)});
}

TEST_CASE("A closed connection ends for its peer although requests of others have been in flight for longer", "[main]") {
    Served server{Framing::lines(100),
                  [](ringstep::Server& it, const ServerEvent& event) {
                      if (event.kind == ServerEvent::Kind::frame && event.text() == "close") {
                          it.answer(event.connection, true);
                      } else {
                          echo(it, event);
                      }
                  },
                  {.linger = 0s}};
    for (const bool peer_first : {true, false}) {
        Client idle{server.port()};
        CHECK(idle.ask("x\n", 2) == "x|");
        Client client{server.port()};
        if (peer_first) {
            CHECK(client.ask("x\n", 2) == "x|");
            client.finish();
        } else {
            CHECK(client.send("close\n"));
        }
        CHECK(client.rest().empty());
        CHECK(client.ended());
    }
}
