// SPDX-License-Identifier: MIT
// Chains of linked requests run in their order, however long they are and whatever comes in between.
#include <ringstep/loops/link.hpp>

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/links.hpp"
#include "loops/requests.hpp"

using links::Chain;
using links::check_idle;
using links::linked;
using links::open_ended;
using links::Results;
using links::results_of;
using requests::nop;
using requests::Pipe;
using requests::read_of;
using requests::run_beside;
using requests::wait_until;
using ringstep::ExitReason;
using ringstep::Link;
using ringstep::LoopExit;
using ringstep::RequestCompletion;
using ringstep::Ring;
using ringstep::Ticket;

TEST_CASE("A chain runs in its order, and chains beside each other", "[main]") {
    Ring ring{{.sq_entries = 8}};
    Link link(ring);
    for (std::uint64_t chain = 0; chain < 64; chain++) {
        Chain requests(Link::capacity / 64);
        for (std::size_t i = 0; i < requests.size(); i++) requests[i] = nop(0);
        requests = linked(std::move(requests));
        link.push(requests, {.group = chain});
    }
    CHECK_FALSE(link.try_push(linked({nop(0)})));
    CHECK_FALSE(link.try_push_open(open_ended({nop(0)})));
    CHECK(error_of([&] { link.push(nop(0)); }).error_number() == ENOSPC);
    CHECK(link.run().ok());
    std::map<std::uint64_t, std::uint64_t> next;
    for (const auto& completion : link.completions()) {
        CHECK(completion.ok());
        CHECK(completion.user_data == next[completion.own.group]++);
    }
    for (const auto& [chain, count] : next) CHECK(count == Link::capacity / 64);
    check_idle(link, ring);
}

TEST_CASE("A chain longer than both queues, and as long as there are slots") {
    Ring ring{{.sq_entries = 4, .cq_entries = 8}};
    Link link(ring);
    for (unsigned round = 0; round < 2; round++) {
        Chain chain(Link::capacity, nop(0));
        if (round == 1) chain[1000] = nop(0, -5);
        chain = linked(std::move(chain));
        std::vector<Ticket> tickets(chain.size());
        CHECK(link.push(chain, {}, tickets) == tickets.front());
        CHECK(link.run().ok());
        const Results results = results_of(link, chain.size());
        for (std::size_t i = 0; i < results.size(); i++) {
            const int expected = round == 0 || i < 1000 ? 0 : i == 1000 ? -5 : -ECANCELED;
            REQUIRE(results[i] == expected);
        }
        check_idle(link, ring);
    }
}

TEST_CASE("Too few slots: a chain is taken whole or not at all") {
    Ring ring;
    Link link(ring);
    link.push(linked(Chain(Link::capacity - 3, nop(0))));
    CHECK_FALSE(link.try_push(linked(Chain(4, nop(0)))));
    CHECK_FALSE(link.try_push_open(open_ended(Chain(3, nop(0)))));
    CHECK(link.outstanding() == Link::capacity - 3);
    CHECK(link.try_push(linked(Chain(3, nop(0)))));
    CHECK(link.outstanding() == Link::capacity);
    CHECK(link.run().ok());
    CHECK(results_of(link, Link::capacity).front() == 0);
    check_idle(link, ring);
}

TEST_CASE("A stop under way loses nothing, and the chain goes on in the next run", "[main]") {
    Pipe pipe;
    std::array<char, 4> bytes{};
    Ring ring;
    Link link(ring);
    link.push(linked({nop(0), read_of(pipe.out(), bytes.data(), 1, 0), nop(0)}));
    {
        std::jthread other([&] {
            wait_until([&] { return link.in_flight() == 1 && link.waiting() == 1; });
            link.program().request_stop();
        });
        CHECK(link.run().reason == ExitReason::stop_requested);
    }
    CHECK(link.outstanding() == 3);
    pipe.write();
    CHECK(link.run().ok());
    CHECK(results_of(link, 3) == Results{0, 1, 0});
    check_idle(link, ring);
}

TEST_CASE("More completions than the CQ holds: no chain is lost") {
    Ring ring{{.sq_entries = 64, .cq_entries = 64}};
    Link link(ring);
    Pipe pipe;
    std::vector<char> bytes(600);
    for (std::uint64_t i = 0; i < bytes.size(); i++)
        link.push(linked({read_of(pipe.out(), &bytes[i], 1, 0), nop(0)}), {.group = i});
    const LoopExit exit = run_beside(link, [&] {
        wait_until([&] { return link.in_flight() == 600; });
        const std::string all(600, 'x');
        ensure(::write(pipe.in(), all.data(), all.size()) == 600);
        wait_until([&] { return link.ready() == 1200; });
    });
    CHECK(exit.ok());
    std::map<std::uint64_t, std::uint64_t> next;
    for (const auto& completion : link.completions()) {
        CHECK(completion.result == (completion.user_data == 0 ? 1 : 0));
        REQUIRE(completion.user_data == next[completion.own.group]++);
    }
    CHECK(next.size() == 600);
    check_idle(link, ring);
}
