// SPDX-License-Identifier: MIT
// Links in the state of a loop that lead in a circle: each step still ends, so that a request to stop is seen.
#include <ringstep/loops/drain.hpp>
#include <ringstep/loops/gate.hpp>
#include <ringstep/loops/link.hpp>

#include "loops/requests.hpp"

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <cstdint>
#include <thread>

using namespace std::chrono_literals;
using requests::nop;
using ringstep::Ring;

namespace {

/// Runs the loop, and asks it to stop from another thread. The loop would not stop if a step
/// did not end.
template <class Face>
void stops_soon(Face& face) {
    std::chrono::steady_clock::time_point asked;
    {
        std::jthread other([&] {
            std::this_thread::sleep_for(20ms);
            asked = std::chrono::steady_clock::now();
            face.request_stop();
        });
        face.set_stay(true);
        CHECK(face.run().reason == ringstep::ExitReason::stop_requested);
    }
    CHECK(std::chrono::steady_clock::now() - asked < 30s);
}

/// Makes all keys lead to an entry that leads to itself.
void close_chains(auto& state, auto& entries) {
    for (auto& bucket : state.buckets) bucket = 1;
    entries[0].key = ~0ULL;
    entries[0].next = 1;
}

}  // namespace

TEST_CASE("Files of the gate that lead in a circle") {
    Ring ring{{.sq_entries = 64}};
    ringstep::Gate gate{ring, {.depth = 8, .file_limit = 2}};
    close_chains(*gate.state(), gate.state()->files);
    for (int i = 0; i < 1000; i++) gate.push(nop(1), 0);
    stops_soon(gate);
}

TEST_CASE("Groups of the drain that lead in a circle") {
    Ring ring{{.sq_entries = 64}};
    ringstep::Drain drain{ring};
    close_chains(*drain.state(), drain.state()->groups);
    for (std::uint64_t i = 0; i < 1000; i++) drain.push(nop(i), i);
    stops_soon(drain);
}

TEST_CASE("Due groups of the drain that lead in a circle") {
    Ring ring{{.sq_entries = 64}};
    ringstep::Drain drain{ring};
    drain.state()->due = 1;
    drain.state()->groups[0].next_due = 1;
    drain.state()->groups[0].in_flight = 1;
    stops_soon(drain);
}

TEST_CASE("Lists of the loop link that never become empty") {
    Ring ring{{.sq_entries = 64}};
    ringstep::Link link{ring};
    link.state()->severed = {.first = 1, .last = 1, .count = ~0U};
    link.state()->slots[0].next = 1;
    link.state()->slots[0].own.options = 1;  // its chain goes on with itself
    stops_soon(link);
}
