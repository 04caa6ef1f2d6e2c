// SPDX-License-Identifier: MIT
// What the benchmarks say that instructions and system calls come to together.
#include "../../bench/common/model.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using bench::Crossing;
using bench::Model;
using Catch::Matchers::WithinAbs;

TEST_CASE("A crossing and a nop follow from nops one at a time and in batches", "[bench]") {
    const Crossing crossing = Crossing::from(342, 70.75, 32);
    CHECK_THAT(crossing.crossing, WithinAbs(280, 1e-9));
    CHECK_THAT(crossing.nop, WithinAbs(62, 1e-9));
}

TEST_CASE("The model gives each system call the time that it was measured to take", "[bench]") {
    const Model model({.crossing = 280, .nop = 62}, {.crossing = 700, .nop = 335});
    CHECK_THAT(model.nanoseconds(335, 0), WithinAbs(62, 1e-9));
    CHECK_THAT(model.nanoseconds(335 + 700, 1), WithinAbs(62 + 280, 1e-9));
    CHECK_THAT(model.nanoseconds(335 + 700 / 32.0, 1 / 32.0), WithinAbs(62 + 280 / 32.0, 1e-9));
    CHECK_THAT(model.nanoseconds(670, 0), WithinAbs(124, 1e-9));
}

TEST_CASE("Tables have a column for the model only if there is one", "[bench]") {
    const Model model({.crossing = 280, .nop = 62}, {.crossing = 700, .nop = 335});
    CHECK(model.head({"way"}) == std::vector<std::string>{"way", "model, ns"});
    CHECK(model.row({"a nop"}, 335, 0) == std::vector<std::string>{"a nop", "62"});
    CHECK(model.json(335, 0) == "62.00");
    const Model none;
    CHECK(none.head({"way"}) == std::vector<std::string>{"way"});
    CHECK(none.row({"a nop"}, 335, 0) == std::vector<std::string>{"a nop"});
    CHECK(none.json(335, 0) == "null");
}

TEST_CASE("Measured crossings that are no numbers above zero are refused", "[bench]") {
    const Crossing crossing = bench::parse_crossing("280.5,62");
    CHECK_THAT(crossing.crossing, WithinAbs(280.5, 1e-9));
    CHECK_THAT(crossing.nop, WithinAbs(62, 1e-9));
    for (const char* const text : {"280", "280,", ",62", "280;62", "280,62 ", "0,62", "280,-1", "nan,62", "much,more"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(bench::parse_crossing(text), std::runtime_error);
    }
}

}  // namespace
