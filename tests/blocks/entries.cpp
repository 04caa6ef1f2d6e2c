// SPDX-License-Identifier: MIT
// Tables of entries: found, made and forgotten, full and empty, and links in them that are wrong.
#include <ringstep/compiled/entries.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

using ringstep::Ring;

namespace {

class Entries {
public:
    Entries() {
        for (std::uint32_t i = 0; i < ENTRIES_GUARDS; i++) state().before[i] = state().after[i] = guard + i;
    }

    void find(std::uint64_t key) { state().script[state().steps++] = {.key = key, .forget = 0, .number = ~0U}; }
    void forget(std::uint32_t number) { state().script[state().steps++] = {.key = 0, .forget = 1, .number = number}; }

    /// Runs the script. Returns the number that each step has or got.
    std::vector<std::uint32_t> run() {
        const std::uint32_t steps = state().steps;
        state().done = 0;
        CHECK(program_.run().ok());
        CHECK(state().done == steps);
        state().steps = 0;
        for (std::uint32_t i = 0; i < ENTRIES_GUARDS; i++) {
            if (state().before[i] != guard + i || state().after[i] != guard + i) FAIL("written outside");
        }
        std::vector<std::uint32_t> numbers;
        for (std::uint32_t i = 0; i < steps; i++) numbers.push_back(state().script[i].number);
        return numbers;
    }

    entries& state() { return *program_.state(); }

private:
    static constexpr std::uint32_t guard = 0xfeed0000;

    Ring ring_;
    ringstep::LoopProgram<ringstep::loops::entries> program_{ring_};
};

}  // namespace

TEST_CASE("An entry is made once for each key, and found from then on") {
    Entries table;
    for (const std::uint64_t key : {7ULL, 0ULL, ~0ULL, 7ULL, 0ULL, 7ULL}) table.find(key);
    const auto numbers = table.run();
    CHECK(numbers == std::vector<std::uint32_t>{0, 1, 2, 0, 1, 0});
    CHECK(table.state().entries[0].finds == 3);
    CHECK(table.state().entries[2].key == ~0ULL);
}

TEST_CASE("The number of an entry that was forgotten is used again") {
    Entries table;
    for (std::uint64_t key = 0; key < 4; key++) table.find(key);
    table.forget(1);
    table.forget(2);
    table.find(100);
    table.find(101);
    table.find(102);
    table.find(1);
    CHECK(table.run() == std::vector<std::uint32_t>{0, 1, 2, 3, 1, 2, 2, 1, 4, 5});
}

TEST_CASE("A table holds as many keys as it has entries, again and again") {
    Entries table;
    for (std::uint64_t round = 0; round < 4; round++) {
        for (std::uint64_t key = 0; key < ENTRIES; key++) table.find(key * 0x1000 + round);
        const auto numbers = table.run();
        CHECK(std::set(numbers.begin(), numbers.end()).size() == ENTRIES);
        for (std::uint32_t number = 0; number < ENTRIES; number++) table.forget((number * 7 + 3) % ENTRIES);
        table.run();
        for (const std::uint32_t bucket : table.state().buckets) CHECK(bucket == 0);
    }
    CHECK(table.state().table.opened == ENTRIES);
    CHECK(table.state().table.used == 0);
}

TEST_CASE("A table is what a model of it is, whatever is done to it") {
    Entries table;
    std::minstd_rand random(3);
    std::map<std::uint64_t, std::uint32_t> model;
    for (int round = 0; round < 40; round++) {
        std::vector<std::uint64_t> keys;
        for (int i = 0; i < 30; i++) {
            const std::uint64_t key = random() % 200 * 0x9e3779b9ULL;
            if (model.size() + keys.size() >= ENTRIES && !model.contains(key)) continue;
            keys.push_back(key);
            table.find(key);
        }
        const auto numbers = table.run();
        for (std::size_t i = 0; i < keys.size(); i++) {
            const auto [at, made] = model.try_emplace(keys[i], numbers[i]);
            REQUIRE(at->second == numbers[i]);
        }
        std::set<std::uint32_t> different;
        for (const auto& [key, number] : model) different.insert(number);
        REQUIRE(different.size() == model.size());
        REQUIRE(table.state().table.used == model.size());
        for (auto at = model.begin(); at != model.end();) {
            if (random() % 3 == 0) {
                table.forget(at->second);
                at = model.erase(at);
            } else {
                ++at;
            }
        }
        table.run();
    }
}

TEST_CASE("Links that lead in a circle do not hold a step up") {
    Entries table;
    for (std::uint64_t key = 0; key < ENTRIES; key++) table.find(key);
    table.run();
    // Every entry of a bucket leads to itself, so that a key that is not there is looked for without an end.
    for (std::uint32_t i = 0; i < ENTRIES; i++) table.state().entries[i].next = i + 1;
    for (std::uint64_t key = 1000; key < 1000 + 100; key++) table.find(key);
    for (const std::uint32_t number : table.run()) CHECK(number < ENTRIES);
    CHECK(table.state().links <= 100 * ENTRIES);
    CHECK(table.state().links >= ENTRIES);
    for (std::uint32_t i = 0; i < ENTRIES; i++) table.state().entries[i].next = i + 1;
    for (std::uint32_t number = 0; number < ENTRIES; number++) table.forget(number);
    table.run();
    CHECK(table.state().links <= ENTRIES * ENTRIES);
}

TEST_CASE("Wrong numbers in a table lead to no place outside of it") {
    Entries table;
    std::mt19937_64 generator(4);
    const auto random = [&] { return static_cast<std::uint32_t>(generator()); };
    for (int round = 0; round < 200; round++) {
        table.state().table = {.used = random(), .opened = random(), .unused = random()};
        for (std::uint32_t& bucket : table.state().buckets) bucket = random();
        for (entries_entry& entry : table.state().entries) entry = {.key = generator(), .next = random(), .finds = 0};
        for (int i = 0; i < 50; i++) {
            if (random() % 2 == 0) {
                table.find(generator());
            } else {
                table.forget(random());
            }
        }
        table.run();
        CHECK(table.state().links <= 50 * ENTRIES);
    }
}
