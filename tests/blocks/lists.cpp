// SPDX-License-Identifier: MIT
// Queues of slots: their order, full and empty, several of the same slots, and numbers in them that are wrong.
#include <ringstep/compiled/lists.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

using ringstep::Ring;
using Order = std::deque<std::uint32_t>;

namespace {

class Lists {
public:
    Lists() {
        for (std::uint32_t i = 0; i < LISTS_GUARDS; i++) program_.state()->before[i] = program_.state()->after[i] = guard + i;
    }

    /// Adds an operation to the script.
    void add(lists_operation operation, std::uint32_t slot = 0, std::uint32_t where = 0) {
        program_.state()->script[program_.state()->steps++] = {
            .operation = operation, .slot = slot, .where = where, .list = list};
    }

    /// Runs the script. Returns the slots that were popped.
    Order run() {
        const std::uint32_t steps = program_.state()->steps;
        program_.state()->done = 0;
        CHECK(program_.run().ok());
        CHECK(program_.state()->done == steps);
        program_.state()->steps = 0;
        for (std::uint32_t i = 0; i < LISTS_GUARDS; i++) {
            if (program_.state()->before[i] != guard + i || program_.state()->after[i] != guard + i) FAIL("written outside");
        }
        Order popped;
        for (std::uint32_t i = 0; i < steps; i++) {
            if (program_.state()->script[i].operation == LISTS_POP_FRONT) popped.push_back(program_.state()->script[i].slot);
        }
        return popped;
    }

    /// The list, from its front. It must be the same from its back.
    Order order() {
        const lists& state = *program_.state();
        const ringstep_list& of = state.lists[list];
        const auto links = [&](std::uint32_t at) -> ringstep_list_link {
            const lists_slot& slot = state.slots[at - 1];
            if (list == 0) return {.next = slot.next, .previous = slot.previous};
            return list == 1 ? slot.green : slot.yellow;
        };
        Order forwards;
        Order backwards;
        for (std::uint32_t at = of.first; at != 0 && forwards.size() <= LISTS_SLOTS; at = links(at).next)
            forwards.push_back(at - 1);
        for (std::uint32_t at = of.last; at != 0 && backwards.size() <= LISTS_SLOTS; at = links(at).previous)
            backwards.push_front(at - 1);
        CHECK(forwards == backwards);
        CHECK(forwards.size() == of.count);
        return forwards;
    }

    std::uint32_t list = 0;  ///< which one the other functions are about

    lists& state() { return *program_.state(); }

private:
    static constexpr std::uint32_t guard = 0xfeed0000;

    Ring ring_;
    ringstep::LoopProgram<ringstep::loops::lists> program_{ring_};
};

}  // namespace

TEST_CASE("Slots leave a list from its front, in the order that it has") {
    Lists lists;
    for (const std::uint32_t slot : {3U, 1U, 2U}) lists.add(LISTS_PUSH_BACK, slot);
    CHECK(lists.run().empty());
    CHECK(lists.order() == Order{3, 1, 2});
    for (const std::uint32_t slot : {7U, 0U}) lists.add(LISTS_PUSH_FRONT, slot);
    lists.run();
    CHECK(lists.order() == Order{0, 7, 3, 1, 2});
    for (int i = 0; i < 5; i++) lists.add(LISTS_POP_FRONT);
    CHECK(lists.run() == Order{0, 7, 3, 1, 2});
    CHECK(lists.order().empty());
}

TEST_CASE("A slot is inserted at any place of a list") {
    Lists lists;
    lists.add(LISTS_INSERT, 5, 0);      // as the only one
    lists.add(LISTS_INSERT, 9, 0);      // at the end
    lists.add(LISTS_INSERT, 4, 5 + 1);  // at the front
    lists.add(LISTS_INSERT, 6, 9 + 1);  // in the middle
    lists.run();
    CHECK(lists.order() == Order{4, 5, 6, 9});
}

TEST_CASE("A slot is removed from any place of a list") {
    Lists lists;
    for (const std::uint32_t slot : {0U, 1U, 2U, 3U, 4U}) lists.add(LISTS_PUSH_BACK, slot);
    lists.add(LISTS_REMOVE, 2);
    lists.run();
    CHECK(lists.order() == Order{0, 1, 3, 4});
    lists.add(LISTS_REMOVE, 0);
    lists.run();
    CHECK(lists.order() == Order{1, 3, 4});
    lists.add(LISTS_REMOVE, 4);
    lists.run();
    CHECK(lists.order() == Order{1, 3});
    lists.add(LISTS_REMOVE, 3);
    lists.add(LISTS_REMOVE, 1);
    lists.run();
    CHECK(lists.order().empty());
    CHECK(lists.state().lists[0].first == 0);
    CHECK(lists.state().lists[0].last == 0);
}

TEST_CASE("A list holds every slot of its table, again and again") {
    Lists lists;
    for (int round = 0; round < 5; round++) {
        Order all;
        for (std::uint32_t i = 0; i < LISTS_SLOTS; i++) {
            all.push_back((i * 7 + static_cast<std::uint32_t>(round)) % LISTS_SLOTS);
            lists.add(LISTS_PUSH_BACK, all.back());
        }
        lists.run();
        CHECK(lists.order() == all);
        for (std::uint32_t i = 0; i < LISTS_SLOTS; i++) lists.add(LISTS_POP_FRONT);
        CHECK(lists.run() == all);
        CHECK(lists.order().empty());
    }
}

TEST_CASE("Three lists of the same slots are what a model of each is, whatever is done to them") {
    Lists lists;
    std::minstd_rand random(1);
    const auto below = [&](std::size_t most) { return static_cast<std::uint32_t>(random() % most); };
    std::array<Order, 3> models;
    for (int round = 0; round < 20; round++) {
        Order popped;
        for (int i = 0; i < LISTS_STEPS; i++) {
            lists.list = below(3);
            Order& model = models.at(lists.list);
            Order outside;
            for (std::uint32_t slot = 0; slot < LISTS_SLOTS; slot++) {
                if (std::ranges::find(model, slot) == model.end()) outside.push_back(slot);
            }
            if (!outside.empty() && (model.empty() || below(2) == 0)) {
                const std::uint32_t slot = outside[below(outside.size())];
                const std::uint32_t at = below(model.size() + 1);
                switch (below(3)) {
                    case 0:
                        lists.add(LISTS_PUSH_BACK, slot);
                        model.push_back(slot);
                        break;
                    case 1:
                        lists.add(LISTS_PUSH_FRONT, slot);
                        model.push_front(slot);
                        break;
                    default:
                        lists.add(LISTS_INSERT, slot, at == model.size() ? 0 : model[at] + 1);
                        model.insert(model.begin() + at, slot);
                        break;
                }
            } else if (below(2) == 0) {
                lists.add(LISTS_POP_FRONT);
                popped.push_back(model.front());
                model.pop_front();
            } else {
                const std::uint32_t at = below(model.size());
                lists.add(LISTS_REMOVE, model[at]);
                model.erase(model.begin() + at);
            }
        }
        REQUIRE(lists.run() == popped);
        for (lists.list = 0; lists.list < 3; lists.list++) REQUIRE(lists.order() == models.at(lists.list));
    }
}

TEST_CASE("Wrong numbers in a list lead to no place outside of its table") {
    Lists lists;
    std::mt19937 generator(2);
    const auto random = [&] { return static_cast<std::uint32_t>(generator()); };
    for (int round = 0; round < 200; round++) {
        for (ringstep_list& list : lists.state().lists) list = {.first = random(), .last = random(), .count = random()};
        for (lists_slot& slot : lists.state().slots) {
            slot = {.next = random(), .previous = random(), .green = {random(), random()}, .yellow = {random(), random()}};
        }
        lists.list = static_cast<std::uint32_t>(round) % 3;
        for (int i = 0; i < 50; i++) lists.add(static_cast<lists_operation>(random() % 5), random(), random());
        for (const std::uint32_t popped : lists.run()) CHECK(popped < LISTS_SLOTS);
    }
}
