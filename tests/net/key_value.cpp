// SPDX-License-Identifier: MIT
// The key-value server of the examples, and hard clients.
#include <ringstep/compiled/kv.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstddef>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "net/client.hpp"
#include "net/leaks.hpp"
#include "net/running_server.hpp"
#include "net/unless_held_up.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;

namespace {

using Server = RunningServer<ringstep::loops::kv>;

std::string many(std::string_view text, std::size_t times) {
    std::string all;
    all.reserve(text.size() * times);
    for (std::size_t i = 0; i < times; i++) all += text;
    return all;
}

}  // namespace

TEST_CASE("A server answers commands", "[main]") {
    Server server;
    Client client{server.port()};
    REQUIRE(client.connected());
    CHECK(client.ask("PING\r\n", 7) == "+PONG\r\n");
    CHECK(client.ask("GET a\n", 7) == "-NONE\r\n");
    CHECK(client.ask("SET a hello world\r\n", 5) == "+OK\r\n");
    CHECK(client.ask("GET a\r\n", 14) == "=hello world\r\n");
    CHECK(client.ask("DEL a\r\nGET a\r\n", 12) == "+OK\r\n-NONE\r\n");
    CHECK(client.ask("nonsense\r\n", 12) == "-ERR what?\r\n");
    CHECK(client.ask("\r\n", 12) == "-ERR what?\r\n");
    CHECK(client.send("QUIT\r\nPING\r\n"));
    CHECK(client.rest() == "+BYE\r\n");
    CHECK(client.ended());
    client.finish();
    CHECK(server.stop().ok());
    CHECK(server.counters().frames == 9);
    CHECK(server.available() == Server::Server::buffers);
}

TEST_CASE("Frames arrive in pieces and in heaps", "[main]") {
    Server server;
    Client client{server.port()};
    // Byte by byte.
    for (const char byte : std::string_view("SET key value\r")) {
        REQUIRE(client.send(std::string_view(&byte, 1)));
        std::this_thread::sleep_for(1ms);
    }
    CHECK(client.ask("\n", 5) == "+OK\r\n");
    CHECK(client.ask("GET key\r\n", 8) == "=value\r\n");
    // A pipeline that ends in the middle of a frame, again and again.
    const std::uint64_t pairs = rounds(1000, 20000);
    const std::string commands = many("GET key\r\nPING\n", pairs);
    std::mt19937 random{7};
    std::thread sender([&] {
        for (std::size_t at = 0; at < commands.size();) {
            const std::size_t size = std::min<std::size_t>(1 + random() % 5000, commands.size() - at);
            if (!client.send(std::string_view(commands).substr(at, size))) return;
            at += size;
        }
    });
    const std::string answers = many("=value\r\n+PONG\r\n", pairs);
    CHECK(client.receive(answers.size()) == answers);
    sender.join();
    CHECK(server.stop().ok());
    CHECK(server.counters().frames == 2 * pairs + 2);
}

TEST_CASE("A line that is too long is answered and ends the connection") {
    Server server;
    const bool at_once = GENERATE(true, false);
    Client client{server.port()};
    CHECK(client.ask("PING " + std::string(507, 'x') + "\r\n", 12) == "-ERR what?\r\n");
    if (at_once) {
        CHECK(client.send("PING\r\n" + std::string(513, 'x') + "\r\nPING\r\n"));
    } else {
        CHECK(client.ask("PING\r\n" + std::string(300, 'x'), 7) == "+PONG\r\n");
        CHECK(client.send(std::string(300, 'x')));
    }
    CHECK(client.rest() == std::string(at_once ? "+PONG\r\n" : "") + "-ERR the line is too long\r\n");
    CHECK(client.ended());
    CHECK(eventually([&] { return server.counters().too_long == 1; }));
}

TEST_CASE("A peer that does not read is not read from, and goes on when it reads", "[main]") {
    Server server;
    Client client{server.port(), 32768};
    Client other{server.port()};
    REQUIRE(client.ask("SET k " + std::string(250, 'v') + "\r\n", 5) == "+OK\r\n");
    const std::string command = "GET k\r\n";
    const std::string answer = "=" + std::string(250, 'v') + "\r\n";
    const std::string commands = many(command, 1000);
    std::size_t sent = 0;
    std::size_t idle = 0;
    while (idle < 100) {  // until the server has taken nothing for 100 ms
        const std::size_t at = sent % commands.size();
        const std::size_t now = client.try_send(std::string_view(commands).substr(at));
        sent += now;
        if (now != 0) idle = 0;
        if (now == 0) {
            idle++;
            std::this_thread::sleep_for(1ms);
        }
        REQUIRE(sent < (200U << 20));
    }
    CHECK(eventually([&] { return server.counters().blocked > 0; }));
    CHECK(other.ask("PING\r\n", 7) == "+PONG\r\n");
    const std::size_t whole = sent / command.size();
    const std::size_t cut = sent % command.size();
    bool right = true;
    std::size_t answers = 0;
    while (answers < whole && right) {
        const std::size_t some = std::min<std::size_t>(whole - answers, 200);
        right = client.receive(some * answer.size()) == many(answer, some);
        if (right) answers += some;
    }
    INFO(server.said() << answers << " of " << whole << " answers came; error of the connection "
                       << server->state()->connections[0].link.error);
    CHECK(right);
    if (cut != 0) CHECK(client.ask(std::string_view(command).substr(cut), answer.size()) == answer);
    CHECK(client.ask("PING\r\n", 7) == "+PONG\r\n");
    CHECK(server.stop().ok());
    CHECK(server.available() == Server::Server::buffers);
}

TEST_CASE("A peer that has closed its sending side gets all answers, and then the end", "[main]") {
    Server server;
    for (const unsigned count : {0U, 1U, 100U, 5000U}) {
        Client client{server.port(), 8192};
        std::thread sender([&] {
            ensure(client.send(many("PING\r\n", count)));
            if (count == 1) ensure(client.send("PIN"));  // never completed
            client.finish();
        });
        CHECK(client.rest() == many("+PONG\r\n", count));
        CHECK(client.ended());
        sender.join();
    }
    CHECK(eventually([&] { return server->open() == 0; }));
    CHECK(server.counters().cut == 1);
    CHECK(server.counters().failed == 0);
}

TEST_CASE("What a peer sends after the end of a connection does not become a reset that destroys the last answer") {
    Server server{{.linger = 10s}};
    Client client{server.port()};
    REQUIRE(client.send("QUIT\r\n"));
    REQUIRE(eventually([&] { return server.counters().sent == 6; }));
    for (int i = 0; i < 3; i++) {
        std::this_thread::sleep_for(20ms);
        CHECK(client.send(many("PING\r\n", 10000)));  // fails after a reset
    }
    CHECK(client.rest() == "+BYE\r\n");
    CHECK(client.ended());
    client.close();
    CHECK(eventually([&] { return server->open() == 0; }));
    CHECK(server.counters().failed == 0);
    CHECK(server.counters().frames == 1);
}

TEST_CASE("A server changes its listening socket") {
    Server server;
    const ringstep::Listener other{"127.0.0.1", 0};
    Client first{server.port()};
    CHECK(first.ask("PING\r\n", 7) == "+PONG\r\n");
    server->listen(-1);
    REQUIRE(eventually([&] { return std::atomic_ref(server->state()->server.accepting).load() == 0; }));
    Client waiting{server.port()};
    CHECK(waiting.send("PING\r\n"));
    std::this_thread::sleep_for(50ms);
    CHECK(server.counters().accepted == 1);
    server->listen(other.fd());
    Client second{other.port()};
    CHECK(second.ask("PING\r\n", 7) == "+PONG\r\n");
    CHECK(first.ask("PING\r\n", 7) == "+PONG\r\n");
    CHECK(server.counters().accepted == 2);
    CHECK(server.stop().ok());
}

TEST_CASE("A listening socket that is none ends the run with its error") {
    ringstep::Ring ring;
    ringstep::ServerLoop<ringstep::loops::kv> server{ring};
    const int none = ::dup(0);
    server.listen(none);
    const ringstep::LoopExit exit = ringstep::serve(server);
    ::close(none);
    CHECK(exit.reason == ringstep::ExitReason::stopped);
    CHECK(!exit.ok());
    CHECK((exit.code == -ENOTSOCK || exit.code == -EINVAL || exit.code == -EOPNOTSUPP));
}

TEST_CASE("A reset at any moment ends only its own connection") {
    Server server;
    Client other{server.port()};
    std::mt19937 random{11};
    for (std::uint64_t i = rounds(50, 1000); i > 0; i--) {
        Client client{server.port(), 4096};
        REQUIRE(client.connected());
        const std::string commands = many("SET reset " + std::string(200, 'r') + "\r\nGET reset\r\n", random() % 200);
        (void)client.try_send(commands);
        if (random() % 2 == 0) (void)client.receive(random() % 100 + 1 < commands.size() ? 1 : 0);
        client.reset();
    }
    CHECK(other.ask("PING\r\n", 7) == "+PONG\r\n");
    CHECK(eventually([&] { return server->open() == 1; }));
    CHECK(server.stop().ok());
    CHECK(server.available() == Server::Server::buffers);
    CHECK(server.in_flight() == 0);
}

TEST_CASE("Hundreds of connections leave nothing behind", "[main]") {
    const std::uint64_t count = rounds(10, 2000);
    {
        const Server first;
    }  // its program stays loaded, and the waker's descriptor open
    const std::size_t before = descriptors_open();
    {
        Server server;
        (void)Client{server.port()}.ask("PING\r\n", 7);
        REQUIRE(eventually([&] { return server->open() == 0; }));
        const std::size_t running = descriptors_open();
        for (std::uint64_t round = 0; round < count; round++) {
            std::vector<Client> clients;
            for (unsigned i = 0; i < 50; i++) clients.emplace_back(server.port());
            for (const Client& client : clients) CHECK(client.send("PING\r\n"));
            for (const Client& client : clients) CHECK(client.receive(7) == "+PONG\r\n");
            for (unsigned i = 0; i < 50; i++) {
                if (i % 3 == 0) CHECK(clients[i].ask("QUIT\r\n", 6) == "+BYE\r\n");
                if (i % 7 == 0) clients[i].reset();
            }
        }
        REQUIRE(eventually([&] { return server->open() == 0; }));
        CHECK(server.counters().accepted == 50 * count + 1);
        CHECK(server.counters().closed == 50 * count + 1);
        CHECK(server->state()->buffers.ring.available == Server::Server::buffers);
        CHECK(descriptors_open() == running);
        CHECK(server.stop().ok());
        CHECK(server.in_flight() == 0);
        CHECK(server.counters().foreign == 0);
    }
    CHECK(eventually([&] { return descriptors_open() <= before; }));
}

TEST_CASE("Beyond its limit, a server closes a connection at once and lets others wait") {
    rlimit files{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
    const rlimit before = files;
    if (files.rlim_cur < 2048) files.rlim_cur = std::min<rlim_t>(2048, files.rlim_max);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
    Server server;
    std::vector<Client> clients;
    for (unsigned i = 0; i < Server::Server::capacity; i++) {
        clients.emplace_back(server.port());
        REQUIRE(clients.back().ask("PING\r\n", 7) == "+PONG\r\n");
    }
    Client refused{server.port()};
    CHECK(refused.rest().empty());
    CHECK(eventually([&] { return server.counters().refused == 1; }));
    Client waiting{server.port()};
    REQUIRE(waiting.connected());
    CHECK(waiting.send("PING\r\n"));
    std::this_thread::sleep_for(50ms);
    char byte = 0;
    CHECK(::recv(waiting.fd(), &byte, 1, MSG_DONTWAIT) == -1);
    clients.pop_back();
    CHECK(waiting.receive(7) == "+PONG\r\n");
    clients.clear();
    CHECK(server.stop().ok());
    CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("An accept that fails for a reason that passes is tried again after a while") {
    ringstep::Ring ring{{.sq_entries = 256}};
    using Loop = ringstep::ServerLoop<ringstep::loops::kv>;
    ring.register_files_sparse(Loop::capacity);
    Loop server{ring};
    // Somebody else takes the slots, so each accept fails with ENFILE although the server has no connection.
    for (unsigned slot = 0; slot < Loop::capacity; slot++) ring.update_file(slot, 0);
    const ringstep::Listener listener{"127.0.0.1", 0};
    server.listen(listener.fd());
    std::vector<Client> clients;
    for (int i = 0; i < 20; i++) clients.emplace_back(listener.port());
    const double before = processor_time();
    const auto begin = std::chrono::steady_clock::now();
    {
        const std::jthread other([&] {
            const auto is_closed = [&](std::size_t i) {
                char byte = 0;
                return ::recv(clients[i].fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
            };
            ensure(eventually([&] { return is_closed(1); }));
            std::this_thread::sleep_for(250ms);
            server.request_stop();
        });
        CHECK(server.run().reason == ringstep::ExitReason::stop_requested);
    }
    const auto pauses = (std::chrono::steady_clock::now() - begin) / 100ms;
    // It does not try again and again without a pause.
    CHECK(processor_time() - before < 0.2 * (loading_is_cheap() ? 1 : 20));
    CHECK(server.counters().accepted == 0);
    CHECK(server.counters().refused == 0);
    std::size_t closed = 0;
    while (closed < clients.size() && clients[closed].try_receive(1) == 0) {
        char byte = 0;
        if (::recv(clients[closed].fd(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) break;
        closed++;
    }
    INFO(closed << " clients were closed");
    CHECK(closed >= 2);
    CHECK(closed <= static_cast<std::size_t>(pauses) + 2);
    for (unsigned slot = 0; slot < Loop::capacity; slot++) ring.update_file(slot, -1);
    std::size_t answered = 0;
    {
        const std::jthread other([&] {
            for (std::size_t i = closed; i < clients.size(); i++)
                if (clients[i].ask("PING\r\n", 7) == "+PONG\r\n") answered++;
            server.request_stop();
        });
        CHECK(server.run().reason == ringstep::ExitReason::stop_requested);
    }
    CHECK(answered == clients.size() - closed);
}

TEST_CASE("Limits of time end connections") {
    SECTION("without a byte") {
        CHECK(unless_held_up(250ms, [](Steps& steps) {
            Server server{{.idle = 500ms}};
            steps.begin();
            Client client{server.port()};
            const bool answered = client.ask("PING\r\n", 7) == "+PONG\r\n";
            steps.next();
            return answered && client.rest().empty() && server.counters().timed_out == 1;
        }));
    }
    SECTION("in the middle of a frame") {
        CHECK(unless_held_up(250ms, [](Steps& steps) {
            Server server{{.read = 500ms}};
            steps.begin();
            Client client{server.port()};
            const bool answered = client.ask("PING\r\nPI", 7) == "+PONG\r\n";
            const bool sent = client.send("N");
            steps.next();
            return answered && sent && client.rest().empty() && server.counters().timed_out == 1;
        }));
    }
    SECTION("without a peer that reads") {
        Server server{{.write = 100ms}};
        Client client{server.port(), 4096};
        CHECK(client.ask("SET k " + std::string(250, 'v') + "\r\n", 5) == "+OK\r\n");
        const std::string commands = many("GET k\r\n", 10000);
        CHECK(eventually([&] {
            (void)client.try_send(commands);
            return server->open() == 0;
        }));
        CHECK(server.counters().timed_out == 1);
    }
    SECTION("of many peers that do not read") {
        Server server{{.write = 700ms}};
        std::vector<Client> clients;
        REQUIRE(Client{server.port()}.ask("SET k " + std::string(250, 'v') + "\r\n", 5) == "+OK\r\n");
        for (int i = 0; i < 100; i++) clients.emplace_back(server.port(), 4096);
        CHECK(eventually([&] { return server.counters().accepted == 101; }));
        const std::string commands = many("GET k\r\n", 10000);
        CHECK(eventually([&] {
            for (const Client& client : clients) (void)client.try_send(commands);
            return server->open() == 0;
        }));
        CHECK(server.counters().timed_out + server.counters().evicted == clients.size());
    }
    SECTION("after its end, without one of the peer's") {
        Server server{{.linger = 50ms}};
        Client client{server.port()};
        CHECK(client.ask("QUIT\r\n", 6) == "+BYE\r\n");
        CHECK(client.rest().empty());
        CHECK(eventually([&] { return server->open() == 0; }));
        CHECK(server.counters().timed_out == 0);
    }
    SECTION("and a connection that is used stays") {
        CHECK(unless_held_up(450ms, [](Steps& steps) {
            Server server{{.idle = 900ms, .read = 900ms, .write = 900ms}};
            steps.begin();
            Client client{server.port()};
            bool answered = true;
            for (int i = 0; i < 10 && answered; i++) {
                answered = client.ask("PING\r\n", 7) == "+PONG\r\n";
                steps.next();
                std::this_thread::sleep_for(100ms);
            }
            return answered && server.counters().timed_out == 0;
        }));
    }
    SECTION("and each send has its own") {
        CHECK(unless_held_up(700ms, [](Steps& steps) {
            Server server{{.write = 1400ms}};
            steps.begin();
            Client client{server.port(), 4096};
            bool good = client.ask("SET k " + std::string(250, 'v') + "\r\n", 5) == "+OK\r\n";
            // The three sends together take longer than the limit, and each of them takes less.
            for (int i = 0; i < 3 && good; i++) {
                const std::uint64_t before = server.counters().blocked;
                std::jthread sender([&] { (void)client.send(many("GET k\r\n", 20'000)); });
                good = eventually([&] { return server.counters().blocked > before || server->open() == 0; });
                std::uint64_t sent = 0;
                steps.next();
                good = good && eventually([&] {  // until nothing has gone out for 100 ms
                           std::this_thread::sleep_for(100ms);
                           steps.next();
                           const std::uint64_t before_that = std::exchange(sent, server.counters().sent);
                           return before_that == sent;
                       });
                std::size_t received = 0;
                for (std::size_t piece = 1; received < 20'000 * 253 && piece != 0; received += piece) {
                    piece = client.receive(std::min<std::size_t>(20'000 * 253 - received, 65'536)).size();
                    steps.next();
                }
                good = good && received == 20'000 * 253;
                if (!good) client.finish();  // so that its sender ends
                sender.join();
                std::this_thread::sleep_for(600ms);
                steps.next();
            }
            return good && server.counters().timed_out == 0;
        }));
    }
}

TEST_CASE("When peers that do not read hold all buffers, others are served after a while") {
    Server server{{.starve = 200ms}};
    std::vector<Client> slow;
    const std::string commands = many("GET k\r\n", 20000);
    {
        Client client{server.port()};
        REQUIRE(client.ask("SET k " + std::string(250, 'v') + "\r\n", 5) == "+OK\r\n");
    }
    for (int i = 0; i < 300; i++) slow.emplace_back(server.port(), 4096);
    for (int round = 0; round < 20; round++) {
        for (const Client& client : slow) (void)client.try_send(commands);
        std::this_thread::sleep_for(5ms);
    }
    for (int i = 0; i < 20; i++) {
        Client client{server.port()};
        CHECK(client.ask("PING\r\n", 7) == "+PONG\r\n");
    }
    slow.clear();
    REQUIRE(eventually([&] { return server->open() == 0; }));
    // The server counts each connection that it has closed to get its buffers once.
    CHECK(server.counters().evicted > 0);
    CHECK(server.counters().evicted <= 300);
    CHECK(server->state()->buffers.ring.available == Server::Server::buffers);
    CHECK(server.stop().ok());
}

TEST_CASE("A drain answers what has come, closes connections, and ends the run", "[main]") {
    Server server;
    Client idle{server.port()};
    REQUIRE(idle.ask("PING\r\n", 7) == "+PONG\r\n");
    Client busy{server.port(), 4096};
    REQUIRE(busy.ask("SET k " + std::string(250, 'v') + "\r\n", 5) == "+OK\r\n");
    const std::string answer = "=" + std::string(250, 'v') + "\r\n";
    REQUIRE(busy.send(many("GET k\r\n", 200)));
    REQUIRE(eventually([&] { return server.counters().received >= 6 + 258 + 200 * 7; }));
    server->drain(20s);
    CHECK(idle.rest().empty());
    CHECK(idle.ended());
    CHECK(busy.rest() == many(answer, 200));
    CHECK(busy.ended());
    const ringstep::LoopExit exit = server.stop();
    CHECK(exit.ok());
    CHECK(exit.code == RINGSTEP_SERVER_DRAINED);
    CHECK(server.in_flight() == 0);
}

TEST_CASE("A drain that takes too long closes what is left") {
    Server::drain_limit = 100ms;
    Server server;
    Client stuck{server.port(), 4096};
    REQUIRE(stuck.ask("PING\r\nPI", 7) == "+PONG\r\n");
    const ringstep::LoopExit exit = server.stop();
    Server::drain_limit = 5000ms;
    CHECK(exit.ok());
    CHECK(stuck.rest().empty());
}

TEST_CASE("A server that is destroyed in the middle of everything closes its connections") {
    ringstep::Ring ring{{.sq_entries = 256}};
    for (int round = 0; round < 3; round++) {
        const std::size_t before = descriptors_open();
        const ringstep::Listener listener{"127.0.0.1", 0};
        std::vector<Client> clients;
        {
            ringstep::ServerLoop<ringstep::loops::kv> server{ring};
            server.listen(listener.fd());
            std::thread other([&] {
                for (int i = 0; i < 10; i++) {
                    clients.emplace_back(listener.port());
                    ensure(clients.back().ask("PING\r\nGET", 7) == "+PONG\r\n");
                }
                server.request_stop();
            });
            CHECK(server.run().reason == ringstep::ExitReason::stop_requested);
            other.join();
            CHECK(ring.in_flight() > 10);
        }
        CHECK(ring.in_flight() == 0);
        for (Client& client : clients) CHECK(client.rest().empty());
        clients.clear();
        // The listening socket is still open. In the first round, the waker may have opened its descriptor, which stays.
        if (round != 0) CHECK(descriptors_open() == before + 1);
    }
}
