// SPDX-License-Identifier: MIT
// The example dns: a loop that answers datagrams.
#include <ringstep/net/address.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../examples/dns/responder.hpp"
#include "ensure.hpp"

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

/// A UDP socket on a loopback address. Waits end after 10 seconds.
class Socket {
public:
    explicit Socket(int family = AF_INET) : family_(family), fd_(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        const ringstep::SocketAddress address = at(0);
        ensure(fd_ >= 0 && ::bind(fd_, address.native(), address.length()) == 0);
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        ensure(::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
        // The usual buffer holds some 220 short packets, and in Linux 6.12 a quarter less: it counts packets that have been
        // received as if they were still there, until they are many. These tests send up to 250 before the first is received.
        // Linux doubles this number.
        const int buffer = 200'000;
        ensure(::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) == 0);
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket() { ::close(fd_); }

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] std::uint16_t port() const {
        sockaddr_in6 name{};
        socklen_t length = sizeof name;
        ensure(::getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &length) == 0);
        return ntohs(name.sin6_port);  // at the same place for IPv4
    }
    void connect(std::uint16_t port) const {
        const ringstep::SocketAddress address = at(port);
        ensure(::connect(fd_, address.native(), address.length()) == 0);
    }
    void send(std::string_view bytes) const {
        ensure(::send(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    }
    [[nodiscard]] std::optional<std::string> receive(int flags = 0) const {
        std::string bytes(2048, '\0');
        ssize_t got = 0;
        do got = ::recv(fd_, bytes.data(), bytes.size(), flags);
        while (got < 0 && errno == EINTR);
        if (got < 0) return std::nullopt;
        bytes.resize(static_cast<std::size_t>(got));
        return bytes;
    }

private:
    [[nodiscard]] ringstep::SocketAddress at(std::uint16_t port) const {
        return ringstep::SocketAddress::ip(family_ == AF_INET ? "127.0.0.1" : "::1", port);
    }
    int family_;
    int fd_;
};

std::string number16(unsigned number) { return {static_cast<char>(number >> 8), static_cast<char>(number & 255)}; }

constexpr unsigned type_a = 1, type_aaaa = 28, type_mx = 15, type_any = 255;

std::string question(std::string_view name, unsigned type, unsigned of_class = 1) {
    return *Responder::encode(name) + number16(type) + number16(of_class);
}
std::string header(unsigned id, unsigned flags, unsigned questions, unsigned answers, unsigned additional) {
    return number16(id) + number16(flags) + number16(questions) + number16(answers) + number16(0) + number16(additional);
}
std::string query(unsigned id, std::string_view name, unsigned type) {
    return header(id, 0x0100, 1, 0, 0) + question(name, type);
}
std::string opt(unsigned version = 0, const std::string& options = "") {
    return "\0\0\x29\x04\xd0\0"s + static_cast<char>(version) + "\0\0"s + number16(static_cast<unsigned>(options.size())) +
           options;
}
std::string own_opt(unsigned code = 0) { return "\0\0\x29"s + number16(980) + static_cast<char>(code) + "\0\0\0\0\0"s; }
std::string record(unsigned type, const std::string& address) {
    return "\xc0\x0c"s + number16(type) + number16(1) + number16(0) + number16(300) +
           number16(static_cast<unsigned>(address.size())) + address;
}
std::string answer(unsigned id, std::string_view name, unsigned type, const std::string& records) {
    return header(id, 0x8500, 1, records.empty() ? 0 : 1, 0) + question(name, type) + records;
}

const std::string ipv4 = record(type_a, "\xc0\0\x02\x01"s);
const std::string ipv6 = record(type_aaaa, "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x07"s);

/// A responder on a thread of its own, which begins when go_on() is called, and may be drained and go on again.
class Running {
public:
    explicit Running(const Socket& socket, std::uint32_t buffers = DNS_BUFFERS) {
        std::promise<Responder*> made;
        auto there = made.get_future();
        thread_ = std::jthread([&made, &socket, buffers, this](const std::stop_token& end) {
            try {
                ringstep::Ring ring{{.sq_entries = 64}};
                Responder responder{ring, socket.fd(), buffers};
                ensure(responder.add("one.test", "192.0.2.1") && responder.add("one.test", "2001:db8::7"));
                ensure(responder.add("two.test", "192.0.2.1"));
                ensure(responder.add(longest(), "192.0.2.1"));
                for (int i = 0; i < 500; i++) ensure(responder.add("host" + std::to_string(i) + ".test", "192.0.2.1"));
                made.set_value(&responder);
                for (;;) {
                    phase_.wait(0);
                    if (end.stop_requested()) return;
                    const ringstep::LoopExit exit = ringstep::serve(responder);
                    ensure(exit.ok() && ring.in_flight() == 0);
                    ensure(responder.state()->buffers.ring.available == buffers);
                    phase_.store(0);
                    phase_.notify_all();
                }
            } catch (const std::exception& error) {
                std::fprintf(stderr, "%s\n", error.what());
                ensure(false);
            }
        });
        responder_ = there.get();
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() {
        stop();
        thread_.request_stop();
        go_on();
    }

    void go_on() {
        phase_.store(1);
        phase_.notify_all();
    }
    /// Drains the responder, and waits until it has ended.
    void stop() {
        if (phase_.load() == 0) return;
        responder_->request_stop();
        phase_.wait(1);
    }
    [[nodiscard]] std::uint64_t count(__u64 dns_counters::* counter) const {
        return std::atomic_ref(responder_->state()->counters.*counter).load(std::memory_order_relaxed);
    }
    [[nodiscard]] dns* state() const { return &*responder_->state(); }

    /// A name of 255 bytes in 127 labels.
    [[nodiscard]] static std::string longest() {
        std::string name = "a";
        for (int i = 1; i < 127; i++) name += ".b";
        return name;
    }

private:
    std::atomic<int> phase_{0};  // 1: the responder should run
    Responder* responder_ = nullptr;
    std::jthread thread_;
};

}  // namespace

TEST_CASE("Questions for addresses are answered, whatever the case of their letters", "[main]") {
    const int family = GENERATE(AF_INET, AF_INET6);
    const Socket server{family};
    const Socket client{family};
    client.connect(server.port());
    Running running{server};
    running.go_on();
    const auto ask = [&](const std::string& bytes) {
        client.send(bytes);
        return client.receive();
    };
    CHECK(ask(query(1, "one.test", type_a)) == answer(1, "one.test", type_a, ipv4));
    CHECK(ask(query(2, "oNe.TEST", type_a)) == answer(2, "oNe.TEST", type_a, ipv4));
    CHECK(ask(query(3, "one.test", type_aaaa)) == answer(3, "one.test", type_aaaa, ipv6));
    CHECK(ask(query(4, "one.test", type_any)) == answer(4, "one.test", type_any, ipv4));
    CHECK(ask(query(5, "one.test", type_mx)) == answer(5, "one.test", type_mx, ""));
    CHECK(ask(query(6, "two.test", type_aaaa)) == answer(6, "two.test", type_aaaa, ""));
    CHECK(ask(query(7, "host499.test", type_a)) == answer(7, "host499.test", type_a, ipv4));
    CHECK(ask(query(8, Running::longest(), type_a)) == answer(8, Running::longest(), type_a, ipv4));
    // With EDNS, and options in it
    const std::string with = header(9, 0x0000, 1, 0, 1) + question("one.test", type_a);
    const std::string plain = header(9, 0x8400, 1, 1, 1) + question("one.test", type_a) + ipv4 + own_opt();
    CHECK(ask(with + opt()) == plain);
    CHECK(ask(with + opt(0,
                         "\0\x0a\0\x08"
                         "cookies!"s)) == plain);
    // Not ours: no such name, a part of one, another class
    for (const std::string name : {"three.test", "test", "", "hone.test", "ane.test", "_one.test"}) {
        CAPTURE(name);
        CHECK(ask(query(10, name, type_a)) == header(10, 0x8105, 1, 0, 0) + question(name, type_a));
    }
    CHECK(ask(header(11, 0, 1, 0, 0) + question("one.test", type_a, 3)) ==
          header(11, 0x8005, 1, 0, 0) + question("one.test", type_a, 3));
    running.stop();
    CHECK(running.count(&dns_counters::unsent) == 0);
    CHECK(running.state()->buffers.ring.foreign == 0);
}

TEST_CASE("What is malformed gets a header or nothing, and answers get no answer", "[main]") {
    const Socket server;
    const Socket client;
    client.connect(server.port());
    Running running{server};
    running.go_on();
    const auto ask = [&](const std::string& bytes) {
        client.send(bytes);
        return client.receive();
    };
    const std::string good = question("one.test", type_a);
    const std::string name = good.substr(0, good.size() - 4);
    std::string label_too_long = "\x40"s + std::string(64, 'x') + "\0\0\x01\0\x01"s;
    std::string too_long;  // 256 bytes
    for (int i = 0; i < 127; i++) too_long += "\x01x";
    too_long += "\x01x\0\0\x01\0\x01"s;
    const std::string malformed[] = {
        header(7, 0, 0, 0, 0),                                         // no question
        header(7, 0, 2, 0, 0) + good + good,                           // two
        header(7, 0, 1, 1, 0) + good,                                  // an answer in a question
        header(7, 0, 1, 0, 2) + good + opt() + opt(),                  // two OPT records
        header(7, 0, 1, 0, 1) + good,                                  // none, where one is said to be
        header(7, 0, 1, 0, 0) + good + opt(),                          // one that is not said to be
        header(7, 0, 1, 0, 1) + good + opt().substr(0, 10),            // a part of one
        header(7, 0, 1, 0, 1) + good + opt() + "x",                    // something behind it
        header(7, 0, 1, 0, 1) + good + "\0\0\x01"s + opt().substr(3),  // another record
        header(7, 0, 1, 0, 1) + good + "\x01x"s + opt(),               // one with a name
        header(7, 0, 1, 0, 0) + name,                                  // no type
        header(7, 0, 1, 0, 0) + name + "\0\x01\0"s,                    // half a class
        header(7, 0, 1, 0, 0) + "\x03one\x04test"s,                    // a name without an end
        header(7, 0, 1, 0, 0) + "\x03one\x3ftest"s,                    // a label that goes on behind the end
        header(7, 0, 1, 0, 0) + "\xc0\x0c\0\x01\0\x01"s,               // a pointer, to itself
        header(7, 0, 1, 0, 0) + "\x80"s,                               //
        header(7, 0, 1, 0, 0) + label_too_long,
        header(7, 0, 1, 0, 0) + too_long,
        header(7, 0, 1, 0, 0) + std::string(900, '\x01'),  // labels without an end
        header(7, 0, 1, 0, 0) + std::string(968, '\x3f'),  // as many bytes as fit
    };
    std::uint64_t count = 0;
    for (const std::string& bytes : malformed) {
        CAPTURE(count);
        CHECK(ask(bytes) == header(7, 0x8001, 0, 0, 0));
        count++;
        CHECK(running.count(&dns_counters::malformed) == count);
    }
    CHECK(ask(header(7, 0x2800, 1, 0, 0) + good) == header(7, 0xa804, 0, 0, 0));  // an update
    CHECK(ask(header(7, 0, 1, 0, 1) + good + opt(1)) == header(7, 0x8000, 1, 0, 1) + good + own_opt(1));

    // No answer. Behind them comes a question, so that nobody waits for what does not come.
    const std::uint64_t before = running.count(&dns_counters::received);
    std::vector<std::string> silent = {"", "x", header(7, 0, 1, 0, 0).substr(0, 11), header(7, 0x8000, 1, 0, 0) + good,
                                       header(7, 0x8001, 0, 0, 0)};
    for (const std::string& bytes : silent) client.send(bytes);
    const std::string long_one = header(7, 0, 1, 0, 1) + good + opt(0, std::string(3000, 'x'));
    for (const std::size_t size : {std::size_t{981}, std::size_t{1024}, std::size_t{2000}, long_one.size()})
        client.send(long_one.substr(0, size));
    CHECK(ask(query(8, "one.test", type_a)) == answer(8, "one.test", type_a, ipv4));
    CHECK(running.count(&dns_counters::ignored) == silent.size());
    CHECK(running.count(&dns_counters::truncated) == 4);
    CHECK(running.count(&dns_counters::received) == before + silent.size() + 5);

    // Anything: the loop answers no datagram by more than a record beyond its own length, and goes on.
    std::mt19937 random{5};
    for (int i = 0; i < 1000; i++) {
        std::string bytes = header(9, 0, 1, 0, static_cast<unsigned>(i & 1)) + good + (i % 2 != 0 ? opt() : "");
        for (unsigned changes = random() % 4; changes != 0; changes--)
            bytes[random() % bytes.size()] = static_cast<char>(random());
        if (random() % 4 == 0) bytes.resize(random() % bytes.size());
        const std::uint64_t received = running.count(&dns_counters::received);
        client.send(bytes);
        client.send(query(0x7777, "two.test", type_a));
        for (;;) {
            const auto came = client.receive();
            REQUIRE(came);
            if (came->starts_with("\x77\x77")) break;
            REQUIRE((came->size() == 12 || came->size() <= bytes.size() + 28));
            REQUIRE(((*came)[2] & 0x80) != 0);
        }
        REQUIRE(running.count(&dns_counters::received) == received + 2);
    }
    running.stop();
    CHECK(running.state()->buffers.ring.foreign == 0);
}

TEST_CASE("Bursts that need more buffers than there are wait in the socket, and all are answered", "[main]") {
    constexpr int burst = 250;
    const Socket server;
    const Socket client;
    client.connect(server.port());
    Running running{server, 8};
    const auto ask_all = [&] {
        for (unsigned i = 0; i < burst; i++) client.send(query(i, "host" + std::to_string(i % 500) + ".test", type_a));
    };
    const auto check_all = [&] {
        std::vector<int> times(burst);
        for (int i = 0; i < burst; i++) {
            const auto came = client.receive();
            REQUIRE(came);
            const unsigned id =
                static_cast<unsigned>(static_cast<unsigned char>((*came)[0]) << 8 | static_cast<unsigned char>((*came)[1]));
            REQUIRE(id < burst);
            times[id]++;
            REQUIRE(came == answer(id, "host" + std::to_string(id % 500) + ".test", type_a, ipv4));
        }
        CHECK(times == std::vector<int>(burst, 1));
    };
    // What came before the loop runs, and while it is stopped
    for (int round = 0; round < 3; round++) {
        ask_all();
        running.go_on();
        check_all();
        running.stop();
    }
    CHECK(running.count(&dns_counters::starved) > 0);
    CHECK(running.count(&dns_counters::answered) == 3 * burst);
    CHECK(running.count(&dns_counters::unsent) == 0);
    CHECK_FALSE(client.receive(MSG_DONTWAIT));
}

TEST_CASE("Many clients get their own answers, while the loop is stopped and goes on") {
    constexpr int clients = 64;
    constexpr unsigned rounds = 40;
    const Socket server;
    Running running{server};
    running.go_on();
    std::atomic<int> asking{4};
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; number++) {
        threads.emplace_back([&server, &asking, number] {
            std::vector<std::unique_ptr<Socket>> sockets;
            for (int i = 0; i < clients / 4; i++) {
                sockets.push_back(std::make_unique<Socket>(AF_INET));
                sockets.back()->connect(server.port());
            }
            for (unsigned round = 0; round < rounds; round++) {
                const auto name = [&](std::size_t i) {
                    return "host" + std::to_string((round * 16 + i * 4 + static_cast<unsigned>(number)) % 500) + ".test";
                };
                for (std::size_t i = 0; i < sockets.size(); i++)
                    for (unsigned each = 0; each < 3; each++) sockets[i]->send(query(round * 4 + each, name(i), type_a));
                for (std::size_t i = 0; i < sockets.size(); i++)
                    for (unsigned each = 0; each < 3; each++)
                        ensure(sockets[i]->receive() == answer(round * 4 + each, name(i), type_a, ipv4));
            }
            asking--;
        });
    }
    int stops = 0;
    while (asking.load() != 0 && stops < 50) {
        running.stop();
        running.go_on();
        stops++;
        std::this_thread::sleep_for(2ms);
    }
    for (std::thread& thread : threads) thread.join();
    running.stop();
    CHECK(running.count(&dns_counters::answered) == clients * rounds * 3);
    CHECK(running.count(&dns_counters::received) == clients * rounds * 3);
}

TEST_CASE("A socket that cannot be received from ends the run with the error") {
    ringstep::Ring ring;
    Responder responder{ring, 9999};
    const ringstep::LoopExit exit = responder.run();
    CHECK(exit.reason == ringstep::ExitReason::stopped);
    CHECK(exit.code == -EBADF);
    CHECK(responder.add("name", "nothing") == false);
    CHECK(responder.add("name..test", "192.0.2.1") == false);
    CHECK(responder.add(std::string(64, 'x'), "192.0.2.1") == false);
    CHECK(responder.add(Running::longest() + ".c", "192.0.2.1") == false);
}
