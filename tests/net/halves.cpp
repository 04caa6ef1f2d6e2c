// SPDX-License-Identifier: MIT
// Two things that end in two steps: a server closes its sending side before it closes the connection, and a stop ends a drain
// too early.
#include <ringstep/compiled/halves.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "ensure.hpp"
#include "net/client.hpp"
#include "net/running_server.hpp"

using namespace std::chrono_literals;

TEST_CASE("A connection of which the server has closed its side before is closed, too, when its peer does not close",
          "[main]") {
    RunningServer<ringstep::loops::halves> server{{.linger = 200ms}};
    Client client{server.port()};
    CHECK(client.ask("FIN\n", 5) == "half\n");
    CHECK(client.rest().empty());
    CHECK(client.ended());
    // Much later than the limit, the server still takes what comes.
    std::this_thread::sleep_for(400ms);
    CHECK(server->open() == 1);
    CHECK(client.send("BYE\n"));
    CHECK(eventually([&] { return server->open() == 0; }));
    CHECK(server.counters().frames == 2);
}

TEST_CASE("A server that was stopped in the middle of a drain accepts again when it is told to", "[main]") {
    ringstep::Ring ring;
    const ringstep::Listener listener{"127.0.0.1", 0};
    ringstep::ServerLoop<ringstep::loops::halves> server{ring};
    server.listen(listener.fd());
    std::jthread first([&] {
        Client client{listener.port()};
        ensure(client.ask("one\n", 3) == "ok\n");
        ensure(client.send("par"));  // of a frame, for which the drain waits
        ensure(eventually([&] { return server.counters().received == 7; }));
        server.drain();
        ensure(eventually([&] { return std::atomic_ref(server.state()->server.draining).load() == 1; }));
        server.request_stop();
    });
    CHECK(server.run().reason == ringstep::ExitReason::stop_requested);
    first.join();
    server.resume();
    std::atomic<bool> answered{false};
    std::jthread second([&] {
        Client client{listener.port()};
        answered = client.ask("two\n", 3) == "ok\n";
        server.drain(5s);
    });
    const ringstep::LoopExit exit = server.run();
    CHECK(exit.ok());
    CHECK(exit.code == RINGSTEP_SERVER_DRAINED);
    CHECK(answered);
}
