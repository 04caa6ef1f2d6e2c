// SPDX-License-Identifier: MIT
// Requests in chains are cancelled.
#include <ringstep/loops/link.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cerrno>
#include <cstddef>

#include "ensure.hpp"
#include "loops/links.hpp"
#include "loops/requests.hpp"

using links::Chain;
using links::check_idle;
using links::hard;
using links::linked;
using links::Results;
using requests::nop;
using requests::Pipe;
using requests::read_of;
using requests::run_beside;
using requests::wait_until;
using ringstep::Link;
using ringstep::LoopExit;
using ringstep::RequestCompletion;
using ringstep::Ring;
using ringstep::Ticket;

TEST_CASE("Requests of a chain can be cancelled, wherever they are", "[main]") {
    std::array<char, 8> bytes{};
    Ring ring;
    Link link(ring);
    Pipe pipe;
    std::array<Ticket, 5> tickets{};
    const Chain chain = linked({nop(0), read_of(pipe.out(), bytes.data(), 1, 0), nop(0), hard(nop(0)), nop(0)});
    link.push(chain, {}, tickets);
    Results expected;
    std::size_t which = 0;
    bool write = true;
    SECTION("in flight") {
        which = 1;
        write = false;
        expected = {0, -ECANCELED, -ECANCELED, -ECANCELED, -ECANCELED};
    }
    SECTION("not started") {
        which = 2;
        expected = {0, 1, -ECANCELED, -ECANCELED, -ECANCELED};
    }
    SECTION("not started, hard link") {
        which = 3;
        expected = {0, 1, 0, -ECANCELED, 0};
    }
    SECTION("the last one") {
        which = 4;
        expected = {0, 1, 0, 0, -ECANCELED};
    }
    const LoopExit exit = run_beside(link, [&] {
        wait_until([&] { return link.ready() == 1 && link.in_flight() == 1; });
        ensure(!link.cancel({.slot = tickets[which].slot, .generation = 77}));
        ensure(link.cancel(tickets[which]));
        ensure(!link.cancel(tickets[which]));
        if (write) {
            // The message has come when a later one has.
            link.push(nop(0), {.group = 1});
            wait_until([&] { return link.ready() == 2; });
            pipe.write();
        }
        wait_until([&] { return link.outstanding() == link.ready(); });
    });
    CHECK(exit.ok());
    Results results(5, 1 << 30);
    for (const auto& completion : link.completions()) {
        if (completion.own.group == 0) results.at(completion.user_data) = completion.result;
    }
    CHECK(results == expected);
    check_idle(link, ring);
}
