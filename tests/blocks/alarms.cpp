// SPDX-License-Identifier: MIT
// A timer wheel, beside a model of it: times at random, jumps of the clock, limits of the work, and memory that is garbled.
#include <ringstep/compiled/alarms.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <map>
#include <random>
#include <set>
#include <vector>

using ringstep::Ring;

namespace {

constexpr std::uint64_t tick = std::uint64_t{1} << RINGSTEP_WHEEL_TICK_SHIFT;
constexpr std::uint64_t no_deadline = ~std::uint64_t{0};
constexpr std::uint64_t last_deadline = 0x7fffffffffffffff;

class Alarms {
public:
    explicit Alarms(ringstep::LoopOptions options = {}) : program_(ring_, options) { guard(); }

    void add(alarms_operation operation, std::uint32_t number, std::uint64_t time = 0) {
        if (state().steps == ALARMS_STEPS) run();
        state().script[state().steps++] = {.operation = operation, .number = number, .time = time, .result = 0};
    }

    /// Runs the script. Returns the result of its last step.
    std::uint64_t run() {
        const std::uint32_t steps = state().steps;
        state().done = 0;
        REQUIRE(program_.run().ok());
        REQUIRE(state().done == steps);
        state().steps = 0;
        for (std::uint64_t i = 0; i < ALARMS_GUARDS; i++) {
            if (state().before[i] != i || state().between[i] != i || state().after[i] != i) FAIL("written outside");
        }
        return steps == 0 ? 0 : state().script[steps - 1].result;
    }

    std::uint64_t run(alarms_operation operation, std::uint32_t number, std::uint64_t time = 0) {
        add(operation, number, time);
        return run();
    }

    /// Lets timers expire, within a limit of work. Returns their numbers.
    std::vector<std::uint32_t> expire(std::uint64_t time, std::uint32_t limit = 1 << 20) {
        run();
        state().expired = 0;
        const std::uint64_t count = run(ALARMS_EXPIRE, limit, time);
        REQUIRE(count == state().expired);
        REQUIRE(count <= ALARMS_EXPIRED);
        return {state().order, state().order + count};
    }

    void guard() {
        for (std::uint64_t i = 0; i < ALARMS_GUARDS; i++) state().before[i] = state().between[i] = state().after[i] = i;
    }

    alarms& state() { return *program_.state(); }
    ringstep::LoopProgram<ringstep::loops::alarms>& program() { return program_; }

private:
    Ring ring_;
    ringstep::LoopProgram<ringstep::loops::alarms> program_;
};

/// A model of the wheel: the timers that are set, and their deadlines.
class Model {
public:
    void set(std::uint32_t number, std::uint64_t deadline) {
        cancel(number);
        if (deadline > last_deadline) return;
        deadlines_[number] = deadline;
        order_.insert({deadline, number});
    }
    void cancel(std::uint32_t number) {
        const auto at = deadlines_.find(number);
        if (at == deadlines_.end()) return;
        order_.erase({at->second, number});
        deadlines_.erase(at);
    }
    /// Returns the timers that expire at that time, which are those whose tick has begun by then.
    [[nodiscard]] std::set<std::uint32_t> due(std::uint64_t time) const {
        std::set<std::uint32_t> numbers;
        for (const auto& [deadline, number] : order_) {
            if (deadline > time / tick * tick) break;
            numbers.insert(number);
        }
        return numbers;
    }
    [[nodiscard]] std::uint64_t first() const { return order_.empty() ? no_deadline : order_.begin()->first; }
    [[nodiscard]] std::size_t size() const { return deadlines_.size(); }
    [[nodiscard]] bool is_set(std::uint32_t number) const { return deadlines_.contains(number); }

private:
    std::map<std::uint32_t, std::uint64_t> deadlines_;
    std::set<std::pair<std::uint64_t, std::uint32_t>> order_;
};

}  // namespace

TEST_CASE("A timer expires once, in the tick behind its deadline and not before") {
    Alarms alarms;
    const std::uint64_t start = 1'000 * tick;
    for (const std::uint64_t later : {tick, 3 * tick, 63 * tick, 64 * tick, 65 * tick, 4095 * tick, 4096 * tick + 1, tick << 12,
                                      tick << 20, tick << 30, tick << 40}) {
        CAPTURE(later);
        alarms.expire(start);
        alarms.state().wheel = {};
        alarms.expire(start);
        const std::uint64_t deadline = start + later;
        alarms.add(ALARMS_SET, 5, deadline);
        CHECK(alarms.run(ALARMS_IS_SET, 5) == 1);
        CHECK(alarms.expire(deadline - 1).empty());
        CHECK(alarms.expire((deadline + tick - 1) / tick * tick) == std::vector<std::uint32_t>{5});
        CHECK(alarms.run(ALARMS_IS_SET, 5) == 0);
        CHECK(alarms.run(ALARMS_DEADLINE, 0) == no_deadline);
        CHECK(alarms.expire(last_deadline).empty());
    }
}

TEST_CASE("A timer is moved earlier, later and away") {
    Alarms alarms;
    const std::uint64_t start = 77 * tick;
    alarms.expire(start);
    alarms.add(ALARMS_SET, 1, start + 100 * tick);
    alarms.add(ALARMS_SET, 1, start + 10 * tick);
    CHECK(alarms.run(ALARMS_DEADLINE, 0) == start + 10 * tick);
    alarms.add(ALARMS_SET, 1, start + 1000 * tick);
    CHECK(alarms.expire(start + 999 * tick).empty());
    CHECK(alarms.expire(start + 1000 * tick).size() == 1);
    alarms.add(ALARMS_SET, 2, start);  // has passed
    CHECK(alarms.run(ALARMS_DEADLINE, 0) <= start + 1000 * tick);
    CHECK(alarms.expire(start + 1000 * tick).size() == 1);
    alarms.add(ALARMS_SET, 3, start + 2000 * tick);
    alarms.add(ALARMS_SET, 4, start + 2000 * tick);
    alarms.add(ALARMS_SET, 3, no_deadline);
    alarms.add(ALARMS_CANCEL, 4);
    alarms.add(ALARMS_CANCEL, 4);
    CHECK(alarms.run(ALARMS_DEADLINE, 0) == no_deadline);
    CHECK(alarms.state().wheel.set == 0);
    CHECK(alarms.expire(last_deadline).empty());
}

TEST_CASE("A wheel is what a model of it is, whatever is done to it and however the clock jumps") {
    Alarms alarms;
    std::mt19937_64 random(11);
    const auto below = [&](std::uint64_t most) { return random() % most; };
    for (int world = 0; world < 12; world++) {
        Model model;
        std::memset(&alarms.state().wheel, 0, sizeof alarms.state().wheel);
        std::memset(alarms.state().timers, 0, sizeof alarms.state().timers);
        // The clock begins anywhere, most often right before buckets of several levels end.
        std::uint64_t now = world == 0 ? 0 : (std::uint64_t{1} << (20 + 6 * below(8))) * (1 + below(60));
        now -= std::min(now, below(200) * tick / 7);
        REQUIRE(alarms.expire(now).empty());
        for (int round = 0; round < 60; round++) {
            for (int i = 0; i < 60; i++) {
                const auto number = static_cast<std::uint32_t>(below(world % 3 == 0 ? 50 : ALARMS));
                if (below(8) == 0) {
                    alarms.add(ALARMS_CANCEL, number);
                    model.cancel(number);
                    continue;
                }
                std::uint64_t deadline = now + below((tick / 4) << below(42));
                if (below(20) == 0) deadline = now - std::min(now, below(1000 * tick));
                if (below(50) == 0) deadline = last_deadline - below(3);
                if (below(50) == 0) deadline = no_deadline - below(3);
                alarms.add(ALARMS_SET, number, deadline);
                // A deadline that has passed is due in the current tick.
                model.set(number, deadline < now / tick * tick ? now / tick * tick : deadline);
            }
            const std::uint64_t wanted = alarms.run(ALARMS_DEADLINE, 0);
            if (model.size() == 0) {
                REQUIRE(wanted == no_deadline);
            } else if (wanted != no_deadline) {
                REQUIRE(wanted < model.first() + tick);
            } else {
                REQUIRE(model.first() > last_deadline / tick * tick);
            }
            // The clock moves by a bit, as far as the wheel wants to wait, to the next deadline, far ahead, or back.
            std::uint64_t then = now;
            switch (below(6)) {
                case 0: then += below(3 * tick); break;
                case 1: then += below(5000 * tick); break;
                case 2: then = wanted == no_deadline ? now : std::max(now, wanted); break;
                case 3: then = model.first() == no_deadline ? now : std::max(now, model.first() + below(tick)); break;
                case 4: then += below(tick << below(42)); break;
                default: then -= std::min(now, below(5000 * tick)); break;
            }
            then = std::min(then, last_deadline);
            now = std::max(now, then);
            const std::set<std::uint32_t> expected = model.due(now);
            // All timers expire at once, or a few at a time.
            std::set<std::uint32_t> expired;
            const auto limit = static_cast<std::uint32_t>(below(2) == 0 ? 1 << 20 : 1 + below(40));
            for (int turns = 0; turns < 100'000; turns++) {
                const std::vector<std::uint32_t> some = alarms.expire(then, limit);
                REQUIRE(some.size() <= limit);
                for (const std::uint32_t number : some) REQUIRE(expired.insert(number).second);
                if (alarms.run(ALARMS_DEADLINE, 0) > now) break;
            }
            CAPTURE(world, round, now, then, wanted, limit);
            REQUIRE(expired == expected);
            REQUIRE(alarms.expire(now).empty());  // the wheel has seen this time
            for (const std::uint32_t number : expired) model.cancel(number);
            REQUIRE(alarms.state().wheel.set == model.size());
        }
        for (int i = 0; i < 100; i++) {
            const auto number = static_cast<std::uint32_t>(below(ALARMS));
            REQUIRE((alarms.run(ALARMS_IS_SET, number) == 1) == model.is_set(number));
        }
    }
}

TEST_CASE("A timer that is moved later with every message is a store each time") {
    Alarms alarms;
    alarms.expire(100 * tick);
    for (std::uint64_t i = 0; i < 1000; i++) alarms.add(ALARMS_SET, 9, (200 + i) * tick);
    alarms.run();
    const std::uint64_t deadline = alarms.run(ALARMS_DEADLINE, 0);
    CHECK(deadline <= 200 * tick);  // of the bucket that it was put into at first
    // The timer moves exactly once each time that its bucket is emptied.
    std::uint64_t now = deadline;
    int waits = 0;
    for (; alarms.expire(now).empty(); waits++) now = alarms.run(ALARMS_DEADLINE, 0);
    CHECK(now == 1199 * tick);
    CHECK(waits <= 8);
}

TEST_CASE("Garbled memory of a wheel leads to no place outside of it, and no step is longer than its limit") {
    Alarms alarms;
    std::mt19937_64 random(12);
    for (int round = 0; round < 30; round++) {
        auto& state = alarms.state();
        for (ringstep_wheel_timer& timer : state.timers)
            timer = {random() >> random() % 64, static_cast<__u32>(random()), static_cast<__u32>(random()),
                     static_cast<__u32>(random() % 3 == 0 ? 0 : random()), 0};
        state.wheel.tick = random() >> random() % 64;
        for (__u64& filled : state.wheel.filled) filled = random() & random();
        for (__u32& first : state.wheel.first) first = static_cast<__u32>(random());
        state.wheel.emptied = static_cast<__u32>(random());
        for (int i = 0; i < 200; i++) {
            const auto operation = static_cast<alarms_operation>(random() % 5);
            const auto number = static_cast<std::uint32_t>(operation == ALARMS_EXPIRE ? random() % 100 : random());
            alarms.add(operation, number, random() >> random() % 64);
        }
        const std::uint64_t before = state.expired;
        alarms.run();
        CHECK(state.expired - before <= 200 * 100);
    }
}

TEST_CASE("Thousands of timers expire in time, by one deadline for each wait") {
    Alarms alarms;
    auto& state = alarms.state();
    std::mt19937_64 random(13);
    const auto clock = [] {
        timespec time{};
        clock_gettime(CLOCK_MONOTONIC, &time);
        return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
    };
    const std::uint64_t start = clock() + 50'000'000;
    alarms.expire(clock());
    state.expired = 0;
    for (std::uint32_t number = 0; number < ALARMS; number++) {
        state.deadlines[number] = start + random() % 300'000'000;
        alarms.add(ALARMS_SET, number, state.deadlines[number]);
    }
    alarms.run();
    state.real = 1;
    state.per_turn = 64;
    REQUIRE(alarms.program().run().ok());
    CHECK(state.expired == ALARMS);
    CHECK(state.early == 0);
    CHECK(state.latest < 60'000'000'000);  // machines of tests may be slow
    const std::set<std::uint32_t> different(state.order, state.order + ALARMS);
    CHECK(different.size() == ALARMS);
    state.real = 0;
}
