// SPDX-License-Identifier: MIT
// Measures what a crossing into the kernel and back costs, and a nop without it: in nanoseconds on this machine, or in
// instructions under -icount.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "../nop_ways.hpp"
#include "clock.hpp"
#include "model.hpp"

namespace bench {

/// Measures a crossing on a new ring: nops one at a time, and 32 at a time. The least of `runs` counts, because other work only
/// adds to it.
[[nodiscard]] inline Crossing measure_crossing(std::uint64_t nops, std::size_t runs) {
    constexpr std::uint64_t batch = 32;
    EnterWay way;
    const auto sample = [&](std::uint64_t depth) {
        const std::uint64_t start = now();
        way.run(nops, depth);
        return static_cast<double>(now() - start) / static_cast<double>(nops);
    };
    (void)sample(1);
    double alone = sample(1);
    double batched = sample(batch);
    for (std::size_t i = 1; i < runs; i++) {
        alone = std::min(alone, sample(1));
        batched = std::min(batched, sample(batch));
    }
    return Crossing::from(alone, batched, static_cast<double>(batch));
}

/// Measures a crossing on several rings, one after the other, and returns all, the cheapest first. On real processors, the
/// price differs from ring to ring, and from one time to the next. The cheapest is what repeats.
[[nodiscard]] inline std::vector<Crossing> measure_crossings(std::uint64_t nops, std::size_t runs, std::size_t rings) {
    std::vector<Crossing> all;
    for (std::size_t i = 0; i < rings; i++) all.push_back(measure_crossing(nops, runs));
    std::ranges::sort(all, {}, &Crossing::crossing);
    return all;
}

/// Returns the model for RINGSTEP_BENCH_CROSSING=CROSSING,NOP, which has the nanoseconds of the machine that the model is of.
/// `./dev bench` sets it. Returns no model if it is not set, and where the clock does not count instructions.
[[nodiscard]] inline Model model_from_environment() {
    const char* const text = std::getenv("RINGSTEP_BENCH_CROSSING");
    if (text == nullptr || *text == '\0' || !clock_counts_instructions()) return {};
    const Crossing time = parse_crossing(text);
    return {time, measure_crossing(2048, 3)};
}

}  // namespace bench
