// SPDX-License-Identifier: MIT
// Chains of linked requests at random, against a model, and by several threads.
#include <ringstep/loops/link.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "loops/links.hpp"
#include "loops/requests.hpp"
#include "thorough.hpp"

using links::Chain;
using links::check_idle;
using links::linked;
using links::open_ended;
using links::Results;
using requests::nop;
using ringstep::ExitReason;
using ringstep::Link;
using ringstep::LinkOptions;
using ringstep::Ring;
using ringstep::Ticket;

namespace {

// What becomes of a chain of nops: the results in their order.
Results model_of(const Chain& chain) {
    Results results;
    bool severed = false;
    for (const io_uring_sqe& sqe : chain) {
        const int result = severed ? -ECANCELED : static_cast<int>(sqe.len);
        if (result < 0 && (sqe.flags & IOSQE_IO_HARDLINK) == 0) severed = true;
        results.push_back(result);
    }
    return results;
}

Chain random_chain(std::minstd_rand& random) {
    Chain chain(1 + random() % (random() % 50 == 0 ? 200 : 12));
    for (io_uring_sqe& sqe : chain) {
        sqe = nop(0, random() % 12 == 0 ? -static_cast<int>(1 + random() % 90) : static_cast<int>(random() % 3));
        sqe.nop_flags = 1;
        if (random() % 4 == 0) sqe.flags |= IOSQE_IO_HARDLINK;
        if (random() % 16 == 0) sqe.flags |= IOSQE_ASYNC;
    }
    return linked(std::move(chain));
}

}  // namespace

TEST_CASE("Requests in chains at random, against a simple model") {
    nops::need_results();
    const std::uint64_t total = rounds(20'000, 100'000);
    Ring ring{{.sq_entries = 32, .cq_entries = 128}};
    Link link(ring);
    std::minstd_rand random(5);
    struct Running {
        Results expected;
        std::size_t next = 0;
        std::optional<Ticket> end;
    };
    std::map<std::uint64_t, Running> running;
    std::uint64_t pushed = 0;
    std::uint64_t completed = 0;
    std::uint64_t number = 0;
    while (completed < total || completed < pushed) {
        for (auto i = random() % 40; i > 0 && pushed < total; i--) {
            Chain chain = random_chain(random);
            Running one;
            one.expected = model_of(chain);
            if (random() % 8 == 0) {
                // Cut somewhere: the rest comes with a later round.
                const std::size_t cut = 1 + random() % chain.size();
                if ((chain[cut - 1].flags & IOSQE_IO_HARDLINK) == 0) chain[cut - 1].flags |= IOSQE_IO_LINK;
                if (cut == chain.size()) {
                    chain.push_back(nop(cut));
                    chain.back().nop_flags = 1;
                    one.expected = model_of(chain);
                }
                const Chain first(chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(cut));
                const Chain rest(chain.begin() + static_cast<std::ptrdiff_t>(cut), chain.end());
                const std::optional<Ticket> end = link.try_push_open(first, {.group = number});
                if (!end) break;
                // The loop is anywhere by then.
                if (random() % 2 == 0) {
                    link.set_batch(1);
                    REQUIRE(link.run().reason == ExitReason::stopped);
                }
                link.extend(*end, rest, {.group = number});
            } else if (!link.try_push(chain, {.group = number})) {
                break;
            }
            pushed += one.expected.size();
            running.emplace(number++, std::move(one));
        }
        link.set_batch(random() % 3 == 0 ? 1 + static_cast<std::uint32_t>(random() % 40) : 0);
        REQUIRE(link.run().reason == ExitReason::stopped);
        for (const auto& completion : link.completions()) {
            Running& one = running.at(completion.own.group);
            REQUIRE(completion.user_data == one.next);
            REQUIRE(completion.result == one.expected.at(one.next));
            if (++one.next == one.expected.size()) running.erase(completion.own.group);
            completed++;
        }
    }
    CHECK(completed == pushed);
    CHECK(running.empty());
    check_idle(link, ring);
}

TEST_CASE("Chains pushed by several threads while the loop runs") {
    nops::need_results();
    constexpr unsigned threads = 3;
    constexpr std::uint64_t each = 1500;
    Ring ring{{.sq_entries = 32}};
    Link link(ring);
    link.set_stay(true);
    std::vector<std::jthread> others;
    std::atomic<std::uint64_t> pushed{0};
    std::atomic<unsigned> ended{0};
    for (std::uint64_t thread = 0; thread < threads; thread++) {
        others.emplace_back([&, thread] {
            std::minstd_rand random(static_cast<unsigned>(thread) + 1);
            for (std::uint64_t i = 0; i < each; i++) {
                const Chain chain = random_chain(random);
                std::vector<Ticket> tickets(chain.size());
                const LinkOptions options{.group = thread << 32 | i};
                const bool open = random() % 4 == 0;
                if (open) {
                    const Chain opened = open_ended(chain);
                    std::optional<Ticket> end;
                    while (!(end = link.try_push_open(opened, options, tickets))) std::this_thread::yield();
                    Chain rest = linked({nop(0), nop(0)});
                    for (io_uring_sqe& sqe : rest) sqe.user_data += chain.size();
                    for (;;) {
                        try {
                            link.extend(*end, rest, options);
                            break;
                        } catch (const ringstep::Error& error) {
                            if (error.error_number() != ENOSPC) throw;
                            std::this_thread::yield();
                        }
                    }
                    pushed += chain.size() + 2;
                } else {
                    while (!link.try_push(chain, options, tickets)) std::this_thread::yield();
                    pushed += chain.size();
                }
                if (random() % 8 == 0) link.cancel(tickets[random() % tickets.size()]);
            }
            ended++;
        });
    }
    std::jthread taker([&] {
        std::map<std::uint64_t, std::uint64_t> next;
        std::uint64_t taken = 0;
        ringstep::Link::completion_type completion;
        while (ended != threads || taken < pushed) {
            if (!link.pop(completion)) {
                std::this_thread::yield();
                continue;
            }
            taken++;
            ensure(completion.user_data == next[completion.own.group]++);
        }
        ensure(taken == pushed);
        link.set_stay(false);
    });
    CHECK(link.run().ok());
    taker.join();
    check_idle(link, ring);
}
