// SPDX-License-Identifier: MIT
// A proxy between clients and upstreams of this process.
#include <ringstep/net/listener.hpp>
#include <ringstep/net/proxy.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <future>
#include <iterator>
#include <optional>
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
#include "net/leaks.hpp"
#include "net/running_proxy.hpp"
#include "net/unless_held_up.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;
using ringstep::Balance;
using ringstep::SocketAddress;

TEST_CASE("A proxy passes bytes on in both directions, and each end of a stream by itself", "[main]") {
    const Upstream upstream;
    RunningProxy proxy{{upstream.address()}};
    for (const bool client_first : {true, false}) {
        Client client{proxy.port()};
        ensure(client.connected());
        Client server = upstream.accept();
        Client& first = client_first ? client : server;
        Client& second = client_first ? server : client;
        CHECK(first.send("hello"));
        CHECK(second.receive(5) == "hello");
        CHECK(second.send("world"));
        CHECK(first.receive(5) == "world");
        first.finish();
        CHECK(second.rest().empty());
        CHECK(second.ended());
        CHECK(second.send("still here"));
        CHECK(first.receive(10) == "still here");
        CHECK(proxy->open() == 1);
        CHECK(eventually([&] { return proxy->upstream(0).open == 1; }));
        second.finish();
        CHECK(first.rest().empty());
        CHECK(first.ended());
        CHECK(eventually([&] { return proxy->open() == 0; }));
    }
    {  // a client that ends its stream before the upstream has accepted
        Client client{proxy.port()};
        CHECK(client.send("early"));
        client.finish();
        Client server = upstream.accept();
        CHECK(server.rest() == "early");
        CHECK(server.ended());
        server.close();
        CHECK(client.rest().empty());
        CHECK(client.ended());
    }
    proxy.stop();
    CHECK(proxy.code() == RINGSTEP_PROXY_DRAINED);
    CHECK(proxy.counters().accepted == 3);
    CHECK(proxy.counters().failed == 0);
    CHECK(proxy.upstream(0).connections == 3);
    CHECK(proxy.upstream(0).sent == 25);
    CHECK(proxy.upstream(0).received == 20);
}

TEST_CASE("A proxy passes on whatever both sides send at the same time, over TCP and Unix sockets", "[main]") {
    const Upstream tcp;
    const LocalUpstream local{"proxy-upstream"};
    for (const unsigned sq_entries : {256U, 2U}) {
        RunningProxy proxy{{tcp.address(), local.address()}, {}, -1, sq_entries};
        Client first{proxy.port()};
        Client first_server = tcp.accept();
        Client second{proxy.port()};
        Client second_server = local.accept();
        exchange(first, first_server, 1 << 20, 1);
        exchange(second, second_server, 1 << 20, 2);
        first.close();
        second.close();
        proxy.stop();
        CHECK(proxy.counters().failed == 0);
        for (const unsigned upstream : {0U, 1U}) {
            CHECK(proxy.upstream(upstream).sent == 1 << 20);
            CHECK(proxy.upstream(upstream).received == (1 << 20) + (1 << 20) / 3);
        }
    }
}

TEST_CASE("A proxy of Unix sockets", "[main]") {
    const LocalUpstream listener{"proxy-listener"};
    const LocalUpstream upstream{"proxy-behind"};
    RunningProxy proxy{{upstream.address()}, {.balance = Balance::client_address, .proxy_header = true}, listener.fd()};
    Client client{listener.address().native(), listener.address().length()};
    ensure(client.connected());
    Client server = upstream.accept();
    // Nothing is known of the client.
    CHECK(server.receive(16) == std::string("\r\n\r\n\0\r\nQUIT\n\x21\0\0\0", 16));
    exchange(client, server, 100'000, 3);
}

TEST_CASE("A side that does not read makes the other one wait, in either direction", "[main]") {
    const Upstream upstream;
    RunningProxy proxy{{upstream.address()}};
    for (const bool client_sends : {true, false}) {
        Client client{proxy.port(), 8192};
        Client server = upstream.accept();
        Client& sender = client_sends ? client : server;
        Client& reader = client_sends ? server : client;
        const std::string bytes = random_bytes(1 << 16, 4);
        std::string all;
        // Until nothing has been taken for 100 ms.
        for (int idle = 0; idle < 20; idle++) {
            while (const std::size_t sent = sender.try_send(bytes)) {
                all.append(bytes, 0, sent);
                idle = 0;
                ensure(all.size() < 200 << 20);
            }
            std::this_thread::sleep_for(5ms);
        }
        // The other direction does not wait.
        CHECK(reader.send("so?"));
        CHECK(sender.receive(3) == "so?");
        CHECK((reader.receive(all.size()) == all));
        CHECK(sender.send("and more"));
        CHECK(reader.receive(8) == "and more");
        client.close();
        CHECK(server.rest().empty());
    }
}

TEST_CASE("Upstreams take turns, or the one with the fewest connections is next, or the client's address decides", "[main]") {
    std::vector<Upstream> upstreams(3);
    std::vector<SocketAddress> addresses;
    for (const Upstream& upstream : upstreams) addresses.push_back(upstream.address());
    const auto served_by = [&](RunningProxy& proxy, unsigned number) {
        return eventually([&] { return proxy->upstream(number).connections != 0; });
    };
    SECTION("round robin") {
        RunningProxy proxy{addresses};
        std::vector<Client> clients;
        for (int i = 0; i < 9; i++) {
            clients.emplace_back(proxy.port());
            clients.push_back(upstreams[static_cast<std::size_t>(i % 3)].accept());
            ensure(clients.back().connected());
        }
        for (unsigned i = 0; i < 3; i++) CHECK(eventually([&] { return proxy->upstream(i).connections == 3; }));
        // One that is taken out keeps its connections and gets no more of them.
        proxy->enable(1, false);
        for (int i = 0; i < 4; i++) {
            clients.emplace_back(proxy.port());
            clients.push_back(upstreams[i % 2 == 0 ? 0 : 2].accept());
            ensure(clients.back().connected());
        }
        CHECK(eventually([&] { return proxy->upstream(1).connections == 3; }));
        CHECK(eventually([&] { return proxy->upstream(1).open == 3; }));
        proxy->enable(1, true);
        clients.emplace_back(proxy.port());
        CHECK(served_by(proxy, 1));
    }
    SECTION("least connections") {
        RunningProxy proxy{addresses, {.balance = Balance::least_connections}};
        std::vector<std::pair<Client, Client>> pairs;
        for (std::size_t i = 0; i < 6; i++) {
            Client client{proxy.port()};
            pairs.emplace_back(std::move(client), upstreams[i % 3].accept());
        }
        for (const std::size_t gone : {1U, 4U}) {  // both of upstream 1
            pairs[gone].first.close();
            CHECK(pairs[gone].second.rest().empty());
            pairs[gone].second.close();
        }
        CHECK(eventually([&] { return proxy->upstream(1).open == 0; }));
        for (int i = 0; i < 2; i++) {
            Client client{proxy.port()};
            pairs.emplace_back(std::move(client), upstreams[1].accept());
            CHECK(pairs.back().second.connected());
        }
    }
    SECTION("the client's address") {
        RunningProxy proxy{addresses, {.balance = Balance::client_address, .failures = 1, .leave_out = 60s}};
        const auto ask = [&](unsigned host) {
            const Client client{proxy.port(), 0, 0x100 + host};
            ensure(client.connected());
            pollfd waits[3];
            for (std::size_t i = 0; i < 3; i++) waits[i] = {.fd = upstreams[i].fd(), .events = POLLIN, .revents = 0};
            int ready = 0;
            do ready = ::poll(waits, 3, 30'000);
            while (ready < 0 && errno == EINTR);
            for (unsigned i = 0; i < 3; i++) {
                if (waits[i].revents == 0) continue;
                (void)upstreams[i].accept();
                return i;
            }
            return 3U;
        };
        std::array<unsigned, 3> shares{};
        std::vector<unsigned> chosen;
        for (unsigned host = 1; host <= 24; host++) {
            chosen.push_back(ask(host));
            ensure(chosen.back() < 3);
            shares[chosen.back()]++;
        }
        for (const unsigned share : shares) CHECK(share >= 3);
        for (unsigned host = 1; host <= 24; host++) CHECK(ask(host) == chosen[host - 1]);
        // The clients of an upstream that is out go elsewhere, and the others stay where they are.
        proxy->enable(2, false);
        for (unsigned host = 1; host <= 24; host++) {
            if (chosen[host - 1] == 2)
                CHECK(ask(host) < 2);
            else
                CHECK(ask(host) == chosen[host - 1]);
        }
    }
}

TEST_CASE("A client for which there is no upstream is reset", "[main]") {
    const FullUpstream hangs;
    RunningProxy proxy{{nobody(), hangs.address(), nobody(), nobody()}, {.connect = 50ms, .attempts = 3}};
    Client client{proxy.port()};
    // The reset may come before this is sent.
    if (client.send("anybody?"))
        CHECK(is_reset(client));
    else
        CHECK((errno == ECONNRESET || errno == EPIPE));
    CHECK(eventually([&] { return proxy->open() == 0; }));
    CHECK(eventually([&] { return proxy->counters().unserved == 1; }));
    CHECK(eventually([&] { return proxy->counters().retried == 2; }));
    CHECK(eventually([&] { return proxy->upstream(3).failures == 0; }));  // as three attempts are allowed
    for (unsigned i = 0; i < 4; i++) proxy->enable(i, false);
    Client other{proxy.port()};
    CHECK((!other.connected() || is_reset(other)));  // the reset may come before connect() has returned
}

TEST_CASE("A stream that was cut ends with a reset on the other side, and not like one that is complete", "[main]") {
    const Upstream upstream;
    RunningProxy proxy{{upstream.address()}};
    SECTION("the upstream dies") {
        Client client{proxy.port()};
        Client server = upstream.accept();
        CHECK(server.send("half of an ans"));
        CHECK(client.receive(14) == "half of an ans");
        server.reset();
        CHECK(is_reset(client));
    }
    SECTION("the client dies") {
        Client client{proxy.port()};
        Client server = upstream.accept();
        CHECK(client.send("half of a que"));
        CHECK(server.receive(13) == "half of a que");
        client.reset();
        CHECK(is_reset(server));
    }
    SECTION("the upstream has answered, and reads no more") {
        Client client{proxy.port()};
        Client server = upstream.accept();
        CHECK(client.send("request"));
        CHECK(server.receive(7) == "request");
        CHECK(server.send("no, thanks"));
        server.close();
        CHECK(client.receive(10) == "no, thanks");
        while (client.send(std::string(1000, 'x'))) std::this_thread::sleep_for(1ms);
        CHECK(eventually([&] { return proxy->counters().accepted == 1; }));
    }
    CHECK(eventually([&] { return proxy->open() == 0; }));
    CHECK(eventually([&] { return proxy->counters().failed == 1; }));
    CHECK(eventually([&] { return proxy->upstream(0).broken == 1; }));
    CHECK(eventually([&] { return proxy->upstream(0).failures == 0; }));
}

TEST_CASE("A reset of either side behind any byte of a talk becomes a reset of the other side") {
    const Upstream upstream;
    RunningProxy proxy{{upstream.address()}};
    const std::string request = "a question of some bytes";
    const std::string answer = "and an answer, which has some more bytes";
    std::uint64_t count = 0;
    const std::size_t step = rounds(loading_is_cheap() ? 1 : 7, 1);
    /// Lets a pair talk up to these numbers of bytes.
    const auto talk = [&](std::size_t asked, std::size_t answered) {
        Client client{proxy.port()};
        ensure(client.send(std::string_view(request).substr(0, asked)));
        Client server = upstream.accept();
        ensure(server.connected());
        CHECK(server.receive(asked) == request.substr(0, asked));
        CHECK(server.send(std::string_view(answer).substr(0, answered)));
        count++;
        // A client that is reset before the loop knows that its upstream is there has not failed.
        ensure(eventually([&] { return proxy->upstream(0).connections == count; }));
        return std::pair(std::move(client), std::move(server));
    };
    for (std::size_t asked = 0; asked <= request.size(); asked += step) {
        {
            auto [client, server] = talk(asked, 0);
            client.reset();
            CHECK(is_reset(server));
        }
        auto [client, server] = talk(asked, 0);
        server.reset();
        CHECK(is_reset(client));
    }
    for (std::size_t answered = 1; answered <= answer.size(); answered += step) {
        {
            auto [client, server] = talk(request.size(), answered);
            CHECK(client.receive(answered) == answer.substr(0, answered));
            client.reset();
            CHECK(is_reset(server));
        }
        auto [client, server] = talk(request.size(), answered);
        server.reset();  // which may overtake the bytes
        const std::string got = client.rest();
        CHECK(answer.starts_with(got));
        CHECK(client.error() == ECONNRESET);
    }
    CHECK(eventually([&] { return proxy->open() == 0; }));
    CHECK(proxy->counters().failed == count);
    // Clients that are gone before anybody has seen them. An upstream may get a connection, and never a clean end of it.
    for (std::size_t asked = 0; asked <= request.size(); asked += step) {
        Client client{proxy.port()};
        ensure(client.send(std::string_view(request).substr(0, asked)));
        client.reset();
        count++;
    }
    CHECK(eventually([&] { return proxy->counters().accepted == count && proxy->open() == 0; }));
    for (pollfd waits{.fd = upstream.fd(), .events = POLLIN, .revents = 0}; ::poll(&waits, 1, 0) == 1;) {
        Client server = upstream.accept();
        CHECK(request.starts_with(server.rest()));
        CHECK(server.error() == ECONNRESET);
    }
    proxy.stop();
    CHECK(proxy.counters().closed == count);
}

TEST_CASE("Whatever an upstream does, its client gets what was sent, and an end only if the upstream has ended") {
    const Upstream upstream;
    RunningProxy proxy{{upstream.address()}};
    // Only what is about silence meets a limit of time, as any other exchange may last longer on a busy machine.
    RunningProxy impatient{{upstream.address()}, {.idle = 3s}};
    const std::string garbage = random_bytes(400'000, 7);
    /// Connects a client and its upstream.
    const auto connect = [&](RunningProxy& through) {
        Client client{through.port()};
        Client server = upstream.accept();
        return std::pair(std::move(client), std::move(server));
    };
    {  // It speaks before it was asked, and ends.
        auto [client, server] = connect(proxy);
        std::jthread sender([&from = server, &garbage] {
            ensure(from.send(garbage));
            from.finish();
        });
        const bool same = client.rest() == garbage;
        CHECK(same);
        CHECK(client.ended());
        client.finish();
        CHECK(server.rest().empty());
    }
    {  // It is reset in the middle.
        auto [client, server] = connect(proxy);
        std::jthread sender([&from = server, &garbage] {
            (void)from.send(garbage);
            from.reset();
        });
        const std::string got = client.rest();
        CHECK(garbage.starts_with(got));
        CHECK(client.error() == ECONNRESET);
    }
    {  // It closes at once, and reads nothing.
        auto [client, server] = connect(proxy);
        server.close();
        CHECK(client.rest().empty());
        CHECK(client.ended());
    }
    {  // It is reset at once.
        auto [client, server] = connect(proxy);
        server.reset();
        CHECK(is_reset(client));
    }
    {  // It sends nothing, until the client's patience or the proxy's is over.
        auto [client, server] = connect(impatient);
        CHECK(client.send("are you there?"));
        CHECK(is_reset(client));
        CHECK(server.rest() == "are you there?");
        CHECK(server.error() == ECONNRESET);
        CHECK(impatient->counters().timed_out == 1);
    }
    {  // It sends a byte at a time, and so it is not idle.
        CHECK(unless_held_up(2s, [&](Steps& steps) {
            auto [client, server] = connect(impatient);
            bool good = true;
            for (int i = 0; i < 8 && good; i++) {
                std::this_thread::sleep_for(450ms);
                good = server.send(".") && client.receive(1) == ".";
                steps.next();
            }
            server.close();
            return good && client.rest().empty() && client.ended();
        }));
    }
    CHECK(eventually([&] { return proxy->open() == 0 && impatient->open() == 0; }));
    CHECK(eventually([&] { return sockets_in_slots() == 0; }));
}

TEST_CASE("Clients beyond the limit wait, or are closed at once", "[main]") {
    const Upstream upstream;
    for (const bool refuse : {false, true}) {
        RunningProxy proxy{{upstream.address()}, {.connections = 2, .refuse = refuse}};
        std::vector<std::pair<Client, Client>> pairs;
        for (int i = 0; i < 2; i++) {
            Client client{proxy.port()};
            pairs.emplace_back(std::move(client), upstream.accept());
        }
        Client third{proxy.port()};
        if (refuse) {
            CHECK(third.rest().empty());
            CHECK(eventually([&] { return proxy->counters().refused == 1; }));
        } else {
            CHECK(third.send("later"));
        }
        pairs[0].first.close();
        CHECK(pairs[0].second.rest().empty());
        pairs[0].second.close();
        CHECK(eventually([&] { return proxy->counters().closed == 1; }));
        if (refuse) third = Client{proxy.port()};
        CHECK((!refuse || third.send("later")));
        Client server = upstream.accept();
        CHECK(server.receive(5) == "later");
    }
}

TEST_CASE("An upstream has as many connections as it may have", "[main]") {
    const Upstream small;
    const Upstream large;
    RunningProxy proxy{{}};
    CHECK(proxy->add_upstream(small.address(), 1) == 0);
    CHECK(proxy->add_upstream(large.address()) == 1);
    std::vector<Client> clients;
    for (int i = 0; i < 4; i++) clients.emplace_back(proxy.port());
    CHECK(eventually([&] { return proxy->upstream(1).connections == 3; }));
    CHECK(eventually([&] { return proxy->upstream(0).connections == 1; }));
    for (unsigned i = 2; i < ringstep::Proxy::most_upstreams; i++) CHECK(proxy->add_upstream(large.address()) == i);
    CHECK(error_of([&] { proxy->add_upstream(large.address()); }).error_number() == ENOSPC);
}

TEST_CASE("Upstreams are told the client's address by the PROXY protocol", "[main]") {
    const Upstream upstream;
    {
        RunningProxy proxy{{nobody(), upstream.address()}, {.proxy_header = true}};
        const Client client{proxy.port(), 0, 0x203};
        CHECK(client.send("GET"));
        const Client server = upstream.accept();
        sockaddr_in own{};
        socklen_t length = sizeof own;
        ensure(::getsockname(client.fd(), reinterpret_cast<sockaddr*>(&own), &length) == 0);
        const std::string header = server.receive(28);
        const std::uint16_t port = ntohs(own.sin_port);
        std::string expected("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\x02\x03\x7f\0\0\x01", 24);
        expected += static_cast<char>(port >> 8);
        expected += static_cast<char>(port & 0xff);
        expected += static_cast<char>(proxy.port() >> 8);
        expected += static_cast<char>(proxy.port() & 0xff);
        CHECK(header == expected);
        CHECK(server.receive(3) == "GET");
    }
    std::optional<ringstep::Listener> listener;
    try {
        listener.emplace("::1", 0);
    } catch (const ringstep::Error&) {
        return;  // there is no IPv6 here
    }
    RunningProxy proxy{{upstream.address()}, {.proxy_header = true}, listener->fd()};
    const SocketAddress to = SocketAddress::ip("::1", listener->port());
    const Client client{to.native(), to.length()};
    ensure(client.connected());
    const Client server = upstream.accept();
    const std::string header = server.receive(52);
    CHECK(header.substr(0, 16) == std::string("\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24", 16));
    CHECK(header.substr(16, 16) == std::string(15, '\0') + "\1");
    CHECK(header.substr(32, 16) == std::string(15, '\0') + "\1");
    CHECK(static_cast<std::uint8_t>(header.at(50)) == listener->port() >> 8);
    CHECK(static_cast<std::uint8_t>(header.at(51)) == (listener->port() & 0xff));
}

TEST_CASE("A proxy that is destroyed closes its connections, and the ring can have another one", "[main]") {
    const Upstream upstream;
    ringstep::Ring ring{{.sq_entries = 256}};
    std::ptrdiff_t before = 0;
    for (int i = 0; i < 2; i++) {
        if (i == 1) before = open_descriptors();  // the process keeps the program of the first one
        const ringstep::Listener listener{"127.0.0.1", 0};
        std::optional<ringstep::Proxy> proxy;
        proxy.emplace(ring);
        proxy->add_upstream(upstream.address());
        proxy->listen(listener.fd());
        std::optional<Client> client;
        std::optional<Client> server;
        std::jthread other([&] {
            client.emplace(listener.port());
            server = upstream.accept();
            (void)client->send("?");
            (void)server->receive(1);
            proxy->request_stop();
        });
        CHECK(proxy->run().reason == ringstep::ExitReason::stop_requested);
        other.join();
        CHECK(proxy->open() == 1);
        proxy.reset();
        CHECK(client->rest().empty());
        CHECK(server->rest().empty());
        CHECK(ring.in_flight() == 0);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("Nothing is left of connections that end in any way at any moment", "[main]") {
    std::vector<Upstream> upstreams(2);
    const FullUpstream hangs;
    RunningProxy proxy{{upstreams[0].address(), nobody(), upstreams[1].address(), hangs.address()},
                       {.connect = 20ms, .leave_out = 50ms, .proxy_header = true}};
    std::atomic<bool> over{false};
    const auto act = [](Client& client, std::mt19937& random) {
        for (int step = 0; step < 4; step++) {
            switch (random() % 8) {
                case 0: return client.reset();
                case 1: return client.close();
                case 2: client.finish(); break;
                case 3: (void)client.try_send(std::string(200'000, 'x')); break;
                case 4: (void)client.try_send("some"); break;
                case 5: std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000)); break;
                default: (void)client.try_receive(100'000);
            }
        }
    };
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 2; i++) {
        threads.emplace_back([&, i] {
            std::mt19937 random{i};
            std::vector<Client> open;
            while (!over) {
                pollfd waits{.fd = upstreams[i].fd(), .events = POLLIN, .revents = 0};
                if (::poll(&waits, 1, 1) > 0) open.push_back(upstreams[i].accept());
                if (open.empty()) continue;
                Client& one = open[random() % open.size()];
                act(one, random);
                if (one.fd() < 0 || open.size() > 8) {
                    std::swap(one, open.back());
                    open.pop_back();
                }
            }
        });
    }
    const std::uint64_t count = rounds(60, 3000);
    {
        std::vector<std::jthread> clients;
        for (unsigned i = 0; i < 2; i++) {
            clients.emplace_back([&, i] {
                std::mt19937 random{100 + i};
                for (std::uint64_t round = 0; round < count; round++) {
                    Client client{proxy.port()};
                    for (int k = 0; k < 3 && client.fd() >= 0; k++) act(client, random);
                }
            });
        }
    }
    over = true;
    threads.clear();
    upstreams.clear();  // which ends the connections that nobody has accepted
    const bool all_ended = eventually([&] { return proxy->open() == 0; });
    for (const ringstep_proxy_pair& pair : proxy->state()->pairs) {
        if (pair.identity != 0)
            UNSCOPED_INFO("in flight " << pair.in_flight << ", flags " << pair.flags << ", error " << pair.error);
    }
    CHECK(all_ended);
    proxy.stop();
    CHECK(proxy.counters().accepted >= count);
}

TEST_CASE("Options and addresses that make no sense are refused") {
    ringstep::Ring ring{{.sq_entries = 256}};
    for (const unsigned connections : {0U, ringstep::Proxy::capacity + 1})
        CHECK(error_of([&] { ringstep::Proxy(ring, {.connections = connections}); }).error_number() == EINVAL);
    CHECK(error_of([] { (void)SocketAddress::ip("localhost", 80); }).error_number() == EINVAL);
    CHECK(error_of([] { (void)SocketAddress::local(""); }).error_number() == EINVAL);
    CHECK(error_of([] { (void)SocketAddress::local(std::string(108, 'x')); }).error_number() == EINVAL);
    CHECK(SocketAddress::local(std::string(107, 'x')).length() == 110);
    const ringstep::Proxy proxy{ring};
    CHECK(proxy.upstream(99).connections == 0);
}

TEST_CASE("A listening socket that is none ends the run", "[main]") {
    ringstep::Ring ring{{.sq_entries = 256}};
    ringstep::Proxy proxy{ring};
    const ringstep::detail::OwnedFd no_listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    proxy.listen(no_listener.get());
    const ringstep::LoopExit exit = ringstep::serve(proxy);
    CHECK(exit.reason == ringstep::ExitReason::stopped);
    CHECK(exit.code == -EINVAL);
}
