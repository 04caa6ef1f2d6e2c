// SPDX-License-Identifier: MIT
// The mailbox between application and loop: order, wrap, who wakes whom, and counters that are wrong.
#include <ringstep/blocks/mailbox.hpp>
#include <ringstep/compiled/letters.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "ensure.hpp"
#include "thorough.hpp"

using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::Mailbox;
using ringstep::Ring;
using Numbers = std::vector<std::uint32_t>;

namespace {

struct Letters {
    Letters() {
        for (std::uint64_t i = 0; i < LETTERS_GUARDS; i++) state().before[i] = state().after[i] = guard + i;
    }
    Letters(const Letters&) = delete;
    Letters& operator=(const Letters&) = delete;
    ~Letters() {
        for (std::uint64_t i = 0; i < LETTERS_GUARDS; i++)
            ensure(state().before[i] == guard + i && state().after[i] == guard + i);
    }

    letters& state() { return *program.state(); }

    void run() {
        state().stopped = 0;
        LoopExit exit;
        do {
            exit = program.run();
        } while (exit.reason == ExitReason::interrupted);
        CHECK(exit.ok());
    }
    /// Sends a message, and wakes the loop up if it is asleep. Returns whether it was. For any thread.
    bool send(std::uint32_t message) {
        const bool asleep = mailbox.send(message);
        if (asleep) program.wake();
        return asleep;
    }
    Numbers collect() const {
        Numbers all;
        std::uint32_t slot = 0;
        while (mailbox.collect(slot)) all.push_back(slot);
        return all;
    }
    /// Waits until the loop sleeps, or is about to. For other threads than the loop's.
    void wait_until_asleep() {
        while (std::atomic_ref(state().mailbox.asleep).load() == 0) std::this_thread::yield();
    }

    static constexpr std::uint64_t guard = 0xfeedfacecafe0000;

    Ring ring;
    ringstep::LoopProgram<ringstep::loops::letters> program{ring};
    Mailbox mailbox{program.state()->mailbox, program.state()->inbox, program.state()->outbox};
};

Numbers numbers(std::uint32_t from, std::uint32_t count) {
    Numbers all;
    for (std::uint32_t i = 0; i < count; i++) all.push_back(from + i);
    return all;
}

}  // namespace

TEST_CASE("Messages arrive in their order, alone or several at once", "[main]") {
    Letters letters;
    CHECK(letters.collect().empty());
    for (std::uint32_t i = 0; i < 5; i++) CHECK_FALSE(letters.mailbox.send(100 + i));  // nobody is asleep
    CHECK_FALSE(letters.mailbox.send(3, [](std::uint32_t i) { return 105 + i; }));
    CHECK_FALSE(letters.mailbox.send(LETTERS_STOP));
    CHECK(letters.mailbox.delivered() == 0);
    letters.run();
    CHECK(letters.mailbox.delivered() == 8);
    CHECK(letters.state().uncollected == 8);
    CHECK(letters.collect() == numbers(100, 8));
    CHECK(letters.mailbox.delivered() == 0);
    CHECK(letters.collect().empty());
}

TEST_CASE("A mailbox has room for every slot and a message more about each", "[main]") {
    Letters letters;
    for (std::uint32_t round = 0; round < 5; round++) {
        for (std::uint32_t i = 0; i < LETTERS_SLOTS; i++) CHECK_FALSE(letters.mailbox.send(i));
        CHECK_FALSE(letters.mailbox.send(LETTERS_STOP));
        letters.state().turns = 0;
        letters.run();
        CHECK(letters.state().turns > LETTERS_SLOTS / LETTERS_BATCH);  // what was left for later is not slept on
        CHECK(letters.mailbox.delivered() == LETTERS_SLOTS);
        CHECK(letters.collect() == numbers(0, LETTERS_SLOTS));
    }
}

TEST_CASE("The counters of a mailbox wrap") {
    Letters letters;
    const std::uint32_t start = 0U - 37;
    ringstep_mailbox& mailbox = letters.state().mailbox;
    mailbox.sent = mailbox.received = mailbox.delivered = mailbox.collected = start;
    // What earlier messages have left.
    for (std::uint32_t i = 0; i < 2 * LETTERS_SLOTS; i++) {
        const std::uint32_t ticket = start - 2 * LETTERS_SLOTS + i;
        letters.state().inbox[ticket % (2 * LETTERS_SLOTS)] = ticket + 1;
    }
    for (int round = 0; round < 3; round++) {
        for (std::uint32_t i = 0; i < LETTERS_SLOTS / 2; i++) CHECK_FALSE(letters.mailbox.send(i));
        CHECK_FALSE(letters.mailbox.send(LETTERS_STOP));
        letters.run();
        CHECK(letters.mailbox.delivered() == LETTERS_SLOTS / 2);
        CHECK(letters.collect() == numbers(0, LETTERS_SLOTS / 2));
    }
    CHECK(mailbox.sent < start);
}

TEST_CASE("The first who sends to a loop that is asleep wakes it up, and nobody else does", "[main]") {
    Letters letters;
    std::jthread sender([&] {
        for (std::uint32_t i = 0; i < 20; i++) {
            letters.wait_until_asleep();
            ensure(letters.mailbox.send(2 * i));
            ensure(!letters.mailbox.send(2 * i + 1));  // somebody is about to wake it up
            letters.program.wake();
            while (letters.mailbox.delivered() != 2 * i + 2) std::this_thread::yield();
        }
        letters.wait_until_asleep();
        ensure(letters.send(LETTERS_STOP));
    });
    letters.run();
    sender.join();
    CHECK(letters.collect() == numbers(0, 40));
}

TEST_CASE("A message that comes as the loop goes to sleep is not slept on") {
    Letters letters;
    // In an emulated kernel, two threads that wait for each other take long.
    const auto total = static_cast<std::uint32_t>(rounds(loading_is_cheap() ? 20'000 : 4'000, 500'000));
    std::jthread sender([&] {
        for (std::uint32_t i = 0; i < total; i++) {
            letters.send(i);
            std::uint32_t answer = 0;
            while (!letters.mailbox.collect(answer)) std::this_thread::yield();
            ensure(answer == i);
        }
        letters.send(LETTERS_STOP);
    });
    letters.run();
}

TEST_CASE("Several threads send: each message arrives once, and those of each thread in order") {
    Letters letters;
    constexpr std::uint32_t senders = 4;
    const auto each = static_cast<std::uint32_t>(rounds(5'000, 100'000));
    std::atomic<std::uint32_t> outstanding{0};
    std::vector<std::jthread> threads;
    for (std::uint32_t sender = 0; sender < senders; sender++) {
        threads.emplace_back([&, sender] {
            for (std::uint32_t i = 0; i < each; i++) {
                // The application sends no more messages than it has slots.
                while (outstanding.fetch_add(1) >= LETTERS_SLOTS) {
                    outstanding--;
                    std::this_thread::yield();
                }
                letters.send(sender << 24 | i);
            }
        });
    }
    std::jthread collector([&] {
        Numbers next(senders);
        for (std::uint32_t taken = 0; taken < senders * each;) {
            std::uint32_t message = 0;
            if (!letters.mailbox.collect(message)) {
                std::this_thread::yield();
                continue;
            }
            ensure(message >> 24 < senders && (message & 0xffffff) == next[message >> 24]++);
            taken++;
            outstanding--;
        }
        letters.send(LETTERS_STOP);
    });
    letters.run();
}

TEST_CASE("Wrong counters of a mailbox lead to no place outside of its arrays") {
    Letters letters;
    std::mt19937 generator(1);
    const auto random = [&] { return static_cast<std::uint32_t>(generator()); };
    for (int round = 0; round < 100; round++) {
        letters.state().mailbox = {};
        letters.state().mailbox.sent = random();
        letters.state().mailbox.received = random();
        letters.state().mailbox.delivered = random();
        letters.state().mailbox.collected = letters.state().mailbox.delivered - random() % 1000;
        // Every entry seems to be a message for some number of messages received.
        for (std::uint32_t i = 0; i < 2 * LETTERS_SLOTS; i++) {
            const std::uint32_t at = letters.state().mailbox.received + i;
            letters.state().inbox[at % (2 * LETTERS_SLOTS)] = std::uint64_t{random()} << 32 | (at + 1);
        }
        letters.state().turns = 0;
        letters.state().most_turns = 5;
        letters.run();
        (void)letters.collect();
    }
}
