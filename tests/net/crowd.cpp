// SPDX-License-Identifier: MIT
// Ten thousand connections that do nothing, in front of two rings that share a port.
#include <ringstep/compiled/crowd.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/net/server.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "net/client.hpp"
#include "net/leaks.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;

namespace {

using Server = ringstep::ServerLoop<ringstep::loops::crowd>;

/// One ring on a thread of its own, with a listening socket that shares its port.
class Part {
public:
    Part(std::uint16_t port, const ringstep::ServerOptions& options)
        : listener_("127.0.0.1", port, {.backlog = 4096, .reuse_port = true}) {
        std::promise<Server*> made;
        auto there = made.get_future();
        thread_ = std::jthread([this, options, &made](const std::stop_token& token) {
            try {
                ringstep::Ring ring{{.sq_entries = 256}};
                Server server{ring, options};
                server.listen(listener_.fd());
                made.set_value(&server);
                exit_ = ringstep::serve(server, token, 5s);
                counters_ = server.counters();
                asked_ = server.state()->own.asked;
                available_ = server.state()->buffers.ring.available;
                in_flight_ = ring.in_flight();
            } catch (...) {
                made.set_exception(std::current_exception());
            }
        });
        server_ = there.get();
    }
    Server* operator->() const { return server_; }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    /// Drains the server, destroys it, checks that nothing is left, and returns what it has counted.
    const ringstep_server_counters& stop() {
        thread_.request_stop();
        thread_.join();
        CHECK(exit_.ok());
        CHECK(counters_.accepted == counters_.closed);
        CHECK(counters_.foreign == 0);
        CHECK(available_ == Server::buffers);
        CHECK(in_flight_ == 0);
        return counters_;
    }
    [[nodiscard]] std::uint64_t asked() const { return asked_; }

private:
    ringstep::Listener listener_;
    Server* server_ = nullptr;
    ringstep::LoopExit exit_;
    ringstep_server_counters counters_{};
    std::uint64_t asked_ = 0;
    std::uint64_t in_flight_ = 0;
    std::uint32_t available_ = 0;
    std::jthread thread_;
};

/// Raises the limit on open files as far as it goes, and puts it back.
class ManyFiles {
public:
    ManyFiles() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        rlimit files{.rlim_cur = 20'000, .rlim_max = std::max<rlim_t>(20'000, before_.rlim_max)};
        if (::setrlimit(RLIMIT_NOFILE, &files) != 0) {  // the hard limit stays
            files = {.rlim_cur = std::min<rlim_t>(20'000, before_.rlim_max), .rlim_max = before_.rlim_max};
            REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
        }
        most_ = files.rlim_cur;
    }
    ManyFiles(const ManyFiles&) = delete;
    ManyFiles& operator=(const ManyFiles&) = delete;
    ~ManyFiles() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }
    [[nodiscard]] std::size_t most() const { return most_; }

private:
    rlimit before_{};
    std::size_t most_ = 0;
};

}  // namespace

TEST_CASE("Ten thousand idle connections in front of two rings do not disturb those that ask, and their time ends") {
    if (!loading_is_cheap() && rounds(0, 1) == 0) SKIP("with --thorough only");
    constexpr std::size_t crowd = 10'000;
    const ManyFiles files;
    if (files.most() < crowd + 500) SKIP("the hard limit on open files is " << files.most());
    std::size_t before = 0;
    for (const bool by_time : {false, true}) {
        // The first time, what stays open is opened.
        if (by_time) before = descriptors_open();
        const std::chrono::nanoseconds time = loading_is_cheap() ? 10s : 30s;
        const ringstep::ServerOptions options{.idle = by_time ? time : ringstep::for_ever};
        std::array<std::unique_ptr<Part>, 2> parts;
        parts[0] = std::make_unique<Part>(std::uint16_t{0}, options);
        const std::uint16_t port = parts[0]->port();
        parts[1] = std::make_unique<Part>(port, options);
        const auto open = [&] { return (*parts[0])->open() + (*parts[1])->open(); };
        const std::size_t count = by_time ? crowd / 10 : crowd;
        std::vector<Client> idle;
        idle.reserve(count);
        for (std::size_t i = 0; i < count; i++) idle.emplace_back(port);
        REQUIRE(eventually([&] { return open() == count; }));
        // The kernel shares them out.
        for (const auto& part : parts) CHECK((*part)->open() > count / 4);
        CHECK(sockets_in_slots() == count);
        std::uint64_t asked = 0;
        for (int i = 0; i < 20; i++, asked += 2) {
            const Client client{port};
            CHECK(client.ask("who?\n", 2) == "1\n");
            CHECK(client.ask("who?\n", 2) == "2\n");
        }
        if (by_time) {
            CHECK(eventually([&] { return open() == 0; }));
            bool all = true;
            for (Client& client : idle) all = all && client.rest().empty() && client.ended();
            CHECK(all);
        } else {
            // Those that were idle have not been forgotten.
            for (std::size_t i = 0; i < count; i += 100, asked++) CHECK(idle[i].ask("who?\n", 2) == "1\n");
            for (std::size_t i = 0; i < count; i += 2) idle[i].reset();
        }
        idle.clear();
        CHECK(eventually([&] { return open() == 0; }));
        CHECK(eventually([] { return sockets_in_slots() == 0; }));
        std::uint64_t accepted = 0;
        std::uint64_t timed_out = 0;
        for (const auto& part : parts) {
            const ringstep_server_counters& counters = part->stop();
            accepted += counters.accepted;
            timed_out += counters.timed_out;
            CHECK(counters.refused == 0);
        }
        CHECK(accepted == count + 20);
        CHECK(timed_out == (by_time ? count : 0));
        CHECK(parts[0]->asked() + parts[1]->asked() == asked);
    }
    CHECK(eventually([&] { return descriptors_open() <= before; }));
}
