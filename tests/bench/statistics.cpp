// SPDX-License-Identifier: MIT
// What the benchmarks say of their samples.
#include "../../bench/common/statistics.hpp"

#include <catch2/catch_test_macros.hpp>
#include <numeric>
#include <vector>

namespace {

TEST_CASE("A percentile is the least sample that so many do not exceed", "[bench]") {
    std::vector<double> samples(1000);
    std::iota(samples.rbegin(), samples.rend(), 1.0);  // 1000 to 1
    CHECK(bench::percentile(samples, 0.5) == 500);
    CHECK(bench::percentile(samples, 0.99) == 990);
    CHECK(bench::percentile(samples, 0.999) == 999);
    CHECK(bench::percentile(samples, 1) == 1000);
    CHECK(bench::percentile(samples, 0) == 1);
}

TEST_CASE("A percentile of few samples is one of them", "[bench]") {
    std::vector<double> one{7};
    CHECK(bench::percentile(one, 0.5) == 7);
    CHECK(bench::percentile(one, 0.999) == 7);
    std::vector<double> three{3, 1, 2};
    CHECK(bench::percentile(three, 0.5) == 2);
    CHECK(bench::percentile(three, 0.999) == 3);
    std::vector<double> none;
    CHECK(bench::percentile(none, 0.5) == 0);
}

TEST_CASE("A paired ratio is the median of the ratios of pairs", "[bench]") {
    CHECK(bench::paired_ratio({2, 20, 3}, {1, 10, 3}) == 2);
    CHECK(bench::paired_ratio({1}, {}) == 0);
}

}  // namespace
