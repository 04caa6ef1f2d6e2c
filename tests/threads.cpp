// SPDX-License-Identifier: MIT
// Other threads that read, write, wake, stop and detach while a loop runs. ThreadSanitizer is what judges most of it.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <stop_token>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;
using Scripted = LoopProgram<scripted_loop>;

namespace {

/// Threads that do one thing again and again until they are told to end, each with random numbers of its own.
class Others {
public:
    using Random = std::minstd_rand;
    void add(std::function<void(Random&)> action) {
        const auto seed = static_cast<std::minstd_rand::result_type>(threads_.size() + 1);
        threads_.emplace_back([action = std::move(action), seed](const std::stop_token& ended) {
            Random random(seed);
            while (!ended.stop_requested()) action(random);
        });
    }
    void end() { threads_.clear(); }

private:
    std::vector<std::jthread> threads_;
};

void pause(Others::Random& random, unsigned most_us) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % most_us));
}

/// Never less than it was.
struct Rising {
    std::uint64_t last = 0;
    std::atomic<bool> fell{false};
    void see(std::uint64_t value) {
        if (value < last) fell = true;
        last = value;
    }
};

}  // namespace

TEST_CASE("Threads watch the counts of a loop rise") {
    constexpr std::uint64_t total = 30000;
    Ring ring{{.sq_entries = 16}};
    Nops program(ring);
    const auto state = program.state();
    state->total = total;
    state->depth = 7;
    Others others;
    Rising submitted;
    Rising completed;
    std::atomic<bool> in_order{true};
    others.add([&](Others::Random& random) {
        submitted.see(state.load(&ringstep_nop_chain::submitted));
        pause(random, 100);
    });
    others.add([&](Others::Random&) {
        // What has completed was submitted before: the one is stored first.
        const std::uint64_t seen = state.load(&ringstep_nop_chain::completed);
        if (state.load(&ringstep_nop_chain::submitted) < seen) in_order = false;
        completed.see(seen);
        std::this_thread::yield();
    });
    const LoopExit exit = program.run();
    others.end();
    CHECK(exit.ok());
    CHECK(state->failed == 0);
    CHECK(state->completed == total);
    CHECK(in_order);
    CHECK_FALSE(submitted.fell);
    CHECK_FALSE(completed.fell);
}

TEST_CASE("Records are whole when their count says that they are there") {
    Ring ring{{.sq_entries = 16, .cq_entries = 64}};
    Scripted program(ring);
    const auto state = program.state();
    add_nops(state, SCRIPTED_SQES);
    state->sqes_per_turn = 5;
    state->wait = 1;
    state->stop_at = SCRIPTED_SQES;
    std::atomic<bool> whole{true};
    Others others;
    others.add([&, next = 0U](Others::Random&) mutable {
        const std::uint32_t there = state.load(&scripted::recorded);
        for (; next < there; next++) {
            const scripted_record& record = state->records[next];
            if (record.user_data != next || record.result != 0) whole = false;
        }
        std::this_thread::yield();
    });
    others.add([&](Others::Random& random) {
        (void)state.load(&scripted::turns);
        (void)state.load(&scripted::idle_turns);
        pause(random, 50);
    });
    const LoopExit exit = program.run();
    others.end();
    CHECK(exit.ok());
    CHECK(whole);
}

TEST_CASE("What a thread stores before it wakes the loop, the loop finds") {
    // On a ring without DEFER_TASKRUN, wake-ups come into the CQ at any moment, also while the step walks over it.
    const bool plain = GENERATE(false, true);
    Ring ring = plain ? descriptors::foreign_ring() : Ring{{.sq_entries = 8}};
    Scripted program(ring, {.engine = plain ? ringstep::Engine::user : ringstep::Engine::automatic});
    const auto state = program.state();
    state->wait = 1;
    state->sqes_per_turn = 3;
    constexpr std::uint32_t rounds = 200;
    // A request is written down, then announced, then the loop is woken up.
    std::thread writer([&] {
        for (std::uint32_t i = 0; i < rounds; i++) {
            auto* sqe = reinterpret_cast<io_uring_sqe*>(state->templates[i]);
            io_uring_prep_nop(sqe);
            sqe->user_data = i * 7;
            state.store(&scripted::sqe_count, i + 1);
            if (i + 1 == rounds) state.store(&scripted::stop_at, rounds);
            program.wake();
            if (i % 16 == 0) {
                while (state.load(&scripted::recorded) != i + 1) std::this_thread::yield();
            }
        }
    });
    const LoopExit exit = program.run();
    writer.join();
    CHECK(exit.ok());
    REQUIRE(state->recorded == rounds);
    for (std::uint32_t i = 0; i < rounds; i++) CHECK(state->records[i].user_data == i * 7);
    CHECK(ring.cq().ready() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Several threads stop and wake a loop at random moments, and nothing is lost") {
    constexpr std::uint64_t total = 60000;
    const std::uint64_t depth = GENERATE(1U, 9U, 40U);
    Ring ring{{.sq_entries = 16, .cq_entries = 32}};
    Nops program(ring);
    program.state()->total = total;
    program.state()->depth = depth;
    Others others;
    others.add([&](Others::Random& random) {
        pause(random, 2000);
        program.request_stop();
    });
    others.add([&](Others::Random& random) {
        pause(random, 500);
        program.wake();
    });
    others.add([&](Others::Random& random) {
        pause(random, 3000);
        if (random() % 2 == 0) {
            program.wake();
        } else {
            program.request_stop();
        }
    });
    std::uint64_t submitted = 0;
    std::uint64_t completions = 0;
    LoopExit exit;
    do {
        exit = program.run();
        submitted += exit.submitted;
        completions += exit.completions;
    } while (exit.resumable());
    others.end();
    CHECK(exit.ok());
    CHECK(submitted == total);
    CHECK(completions == total);
    CHECK(program.state()->failed == 0);
    CHECK(ring.cq().ready() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A loop that is stopped with a full CQ ends at once, though wake-ups found no place there") {
    // Waiting for them would take half a second, each time. A busy machine may hold up some of the runs.
    auto fastest = std::chrono::steady_clock::duration::max();
    for (int attempt = 0; attempt < 20 && fastest >= 400ms; attempt++) {
        Ring ring{{.sq_entries = 8, .cq_entries = 8}};
        Scripted program(ring);
        const auto state = program.state();
        add_nops(state, 8);
        state->ignore_turns = ~0U;
        state->spin = 1;
        std::thread other([&] {
            while (ring.cq().ready() != 8) std::this_thread::yield();
            for (int i = 0; i < 3; i++) program.wake();
            program.request_stop();
        });
        const auto before = std::chrono::steady_clock::now();
        const LoopExit exit = program.run();
        fastest = std::min(fastest, std::chrono::steady_clock::now() - before);
        other.join();
        CHECK(exit.resumable());
        program.detach();
        std::uint64_t next = 0;
        for (const auto& completion : ring.cq()) CHECK(completion.user_data == next++);
        CHECK(next == 8);
        (void)ring.submit();  // has the kernel find room for what overflowed
        ringstep::Completion completion;
        CHECK_FALSE(ring.cq().pop(completion));
        CHECK(ring.in_flight() == 0);
    }
    CHECK(fastest < 400ms);
}

TEST_CASE("Detaching at a random moment, while others stop and wake") {
    std::array<int, 2> pipe{};
    REQUIRE(::pipe(pipe.data()) == 0);
    std::minstd_rand random(3);
    int rounds = 60;
    int runs = 0;
    int slow = 0;
    while (rounds-- > 0) {
        char byte = 0;
        Ring ring;
        Scripted program(ring);
        if (program.engine() == ringstep::Engine::kernel && rounds > 12) rounds = 12;  // loading takes its time
        io_uring_prep_read(add_request(program.state()), pipe[0], &byte, 1, 0);
        program.state()->wait = 1 + static_cast<std::uint32_t>(random() % 3);
        program.state()->spin = static_cast<std::uint32_t>(random() % 4 == 0);
        const auto delay = std::chrono::microseconds(random() % 400);
        Others others;
        others.add([&](Others::Random& own) {
            pause(own, 100);
            program.wake();
        });
        others.add([&](Others::Random& own) {
            pause(own, 300);
            program.request_stop();
        });
        std::vector<std::thread> removers;
        for (int i = 0; i < 2; i++) {
            removers.emplace_back([&] {
                std::this_thread::sleep_for(delay);
                program.detach();
            });
        }
        LoopExit exit;
        do exit = program.run();
        while (exit.resumable());
        for (std::thread& remover : removers) remover.join();
        others.end();
        CHECK(exit.reason == ExitReason::detached);
        CHECK_FALSE(program.attached());
        CHECK_FALSE(ring.has_loop());
        // The ring takes plain submits again, and no wake-up comes up as a completion.
        if (ring.in_flight() != 0) {
            REQUIRE(::write(pipe[1], "x", 1) == 1);
            REQUIRE(ring.submit_and_wait(1));
            ringstep::Completion completion;
            REQUIRE(ring.cq().pop(completion));
            CHECK(completion.result == 1);
            CHECK_FALSE(ring.cq().pop(completion));
        }
        CHECK(ring.in_flight() == 0);
        // Nor does another loop on the ring wait for wake-ups that were the first one's.
        Nops next(ring);
        next.state()->total = next.state()->depth = 3;
        const auto before = std::chrono::steady_clock::now();
        CHECK(next.run().ok());
        if (std::chrono::steady_clock::now() - before >= 400ms) slow++;
        runs++;
    }
    CHECK(slow <= runs / 3);  // that much is the machine's
    for (const int fd : pipe) ::close(fd);
}
