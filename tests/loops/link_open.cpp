// SPDX-License-Identifier: MIT
// Chains of linked requests whose end is open.
#include <ringstep/loops/link.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <thread>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/links.hpp"
#include "loops/requests.hpp"

using links::Chain;
using links::check_idle;
using links::hard;
using links::linked;
using links::open_ended;
using links::Results;
using links::results_of;
using requests::nop;
using requests::Pipe;
using requests::read_of;
using requests::wait_until;
using ringstep::Link;
using ringstep::Ring;
using ringstep::Ticket;

TEST_CASE("A chain goes on in later pushes") {
    std::array<char, 8> bytes{};
    Ring ring;
    Link link(ring);
    const auto numbered = [](Chain chain, std::uint64_t from) {
        for (io_uring_sqe& sqe : chain) sqe.user_data = from++;
        return chain;
    };
    SECTION("before it gets there, and after it has") {
        Pipe pipe;
        Ticket end = link.push_open(open_ended({nop(0), read_of(pipe.out(), bytes.data(), 1, 0)}));
        std::array<Ticket, 2> tickets{};
        end = link.extend_open(end, numbered(open_ended({nop(0), nop(0)}), 2), {}, tickets);
        pipe.write();
        CHECK(link.run().ok());
        CHECK(results_of(link, 4) == Results{0, 1, 0, 0});
        CHECK(link.run().ok());  // nothing to do: the open end is no request
        CHECK(link.outstanding() == 1);
        link.extend(end, linked({nop(0), nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 2) == Results{0, 0});
    }
    SECTION("what follows a failure is cancelled, whenever it comes") {
        Ticket end = link.push_open(open_ended({nop(0), nop(0, -5)}));
        end = link.extend_open(end, numbered(open_ended({nop(0)}), 2));
        CHECK(link.run().ok());
        CHECK(results_of(link, 3) == Results{0, -5, -ECANCELED});
        end = link.extend_open(end, open_ended({nop(0), nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 2) == Results{-ECANCELED, -ECANCELED});
        link.extend(end, linked({nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{-ECANCELED});
    }
    SECTION("a hard link into it holds") {
        Chain chain = open_ended({nop(0, -5)});
        chain[0].flags = IOSQE_IO_HARDLINK;
        const Ticket end = link.push_open(chain);
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{-5});
        link.extend(end, linked({nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{0});
    }
    SECTION("an open end is given up") {
        const Ticket reached = link.push_open(open_ended({nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{0});
        CHECK(link.cancel(reached));
        CHECK(error_of([&] { link.extend(reached, linked({nop(0)})); }).error_number() == EINVAL);
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{-ECANCELED});
        CHECK(error_of([&] { link.extend(reached, linked({nop(0)})); }).error_number() == EINVAL);
        const Ticket early = link.push_open(open_ended({nop(0, 3)}));
        CHECK(link.cancel(early));
        CHECK(link.run().ok());
        Results results;
        for (const auto& completion : link.completions()) results.push_back(completion.result);
        CHECK(results == Results{3, -ECANCELED});
    }
    check_idle(link, ring);
}

TEST_CASE("An open end is extended once") {
    Ring ring;
    Link link(ring);
    const Ticket end = link.push_open(open_ended({nop(0)}));
    const auto again = [&] { return error_of([&] { link.extend(end, linked({nop(0), nop(0)})); }).error_number(); };
    link.extend(end, linked({nop(0)}));
    CHECK(again() == EINVAL);
    CHECK(link.outstanding() == 2);
    CHECK(link.run().ok());
    CHECK(again() == EINVAL);
    CHECK(results_of(link, 1) == Results{0});
    CHECK(again() == EINVAL);
    // A request that is no open end, too.
    const Ticket request = link.push(nop(0));
    CHECK(error_of([&] { link.extend(request, linked({nop(0)})); }).error_number() == EINVAL);
    CHECK(link.run().ok());
    CHECK(results_of(link, 1) == Results{0});
    check_idle(link, ring);
}

TEST_CASE("An open end that is extended and cancelled at once: one of them comes first") {
    constexpr std::uint64_t rounds = 300;
    Ring ring;
    Link link(ring);
    std::array<Ticket, 2> ends{};
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> cancelled{0};
    std::uint64_t extended = 0;
    link.set_stay(true);
    std::jthread canceller([&] {
        for (std::uint64_t round = 0; round < rounds; round++) {
            wait_until([&] { return begun > round; });
            if (round % 3 == 0) std::this_thread::yield();
            link.cancel(ends.at(round % 2));
            cancelled++;
        }
    });
    std::jthread extender([&] {
        std::map<std::uint64_t, unsigned> taken;
        std::uint64_t unexpected = 0;
        for (std::uint64_t round = 0; round < rounds; round++) {
            const Ticket end = link.push_open(open_ended({nop(0)}), {.group = round});
            ends.at(round % 2) = end;
            begun++;
            bool mine = true;
            try {
                link.extend(end, linked({nop(0), nop(0)}), {.group = round});
                extended++;
            } catch (const ringstep::Error& error) {
                if (error.error_number() != EINVAL) unexpected++;
                mine = false;
            }
            // The first of the chain, and then what it is extended by, or its end.
            const unsigned expected = mine ? 3 : 2;
            wait_until([&] { return cancelled > round; });
            wait_until([&] {
                ringstep::Link::completion_type completion;
                while (link.pop(completion)) {
                    if (completion.own.group != round || (completion.result != 0 && completion.result != -ECANCELED))
                        unexpected++;
                    taken[round]++;
                }
                return taken[round] == expected;
            });
        }
        ensure(unexpected == 0);
        link.set_stay(false);
    });
    CHECK(link.run().ok());
    extender.join();
    canceller.join();
    CHECK(link.outstanding() == 0);
    INFO(extended << " of " << rounds << " were extended");
    check_idle(link, ring);
}
