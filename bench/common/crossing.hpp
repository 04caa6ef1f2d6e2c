// SPDX-License-Identifier: MIT
// What a crossing into the kernel and back costs, and a nop without it: in nanoseconds on this machine, or in instructions
// under -icount.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../nop_ways.hpp"
#include "clock.hpp"

namespace bench {

/// Clock units.
struct Crossing {
    double crossing = 0;  ///< a call of io_uring_enter(2), without what it does for each request
    double nop = 0;       ///< a nop, submitted, completed and taken, without the call

    /// From what a nop takes if each has a call of its own, and if `batch` share one.
    [[nodiscard]] static Crossing from(double alone, double batched, double batch) {
        const double crossing = (alone - batched) / (1 - 1 / batch);
        return {.crossing = crossing, .nop = alone - crossing};
    }
};

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
/// price depends on where a ring's memory happens to lie.
[[nodiscard]] inline std::vector<Crossing> measure_crossings(std::uint64_t nops, std::size_t runs, std::size_t rings) {
    std::vector<Crossing> all;
    for (std::size_t i = 0; i < rings; i++) all.push_back(measure_crossing(nops, runs));
    std::ranges::sort(all, {}, &Crossing::crossing);
    return all;
}

/// Returns CROSSING,NOP as two numbers of nanoseconds. Throws if they are none, or not more than 0.
[[nodiscard]] inline Crossing parse_crossing(std::string_view text) {
    Crossing crossing;
    const char* const last = text.data() + text.size();
    const auto [middle, error] = std::from_chars(text.data(), last, crossing.crossing);
    bool good = error == std::errc{} && middle != last && *middle == ',';
    if (good) {
        const auto [end, other] = std::from_chars(middle + 1, last, crossing.nop);
        good = other == std::errc{} && end == last && crossing.crossing > 0 && crossing.nop > 0;
    }
    if (!good)
        throw std::runtime_error(
            fmt::format("RINGSTEP_BENCH_CROSSING is '{}': it must be two numbers of nanoseconds, such as 280,62", text));
    return crossing;
}

/**
 * A model of the time that counted instructions and system calls take together on a machine whose crossings were measured.
 * Counts of instructions alone make a system call look cheaper than it is. Nobody has measured the times that come out.
 *
 * There is a model if the clock counts instructions and RINGSTEP_BENCH_CROSSING=CROSSING,NOP has the nanoseconds of that
 * machine, which `./dev bench` sees to. Otherwise, tables have no column for it.
 */
class Model {
public:
    Model() {
        const char* const text = std::getenv("RINGSTEP_BENCH_CROSSING");
        if (text == nullptr || *text == '\0' || !clock_counts_instructions()) return;
        time_ = parse_crossing(text);
        counted_ = measure_crossing(2048, 3);
        there_ = true;
    }

    /// Returns nanoseconds for something that takes `instructions`, those of `calls` system calls included.
    [[nodiscard]] double nanoseconds(double instructions, double calls) const {
        return (instructions - calls * counted_.crossing) * time_.nop / counted_.nop + calls * time_.crossing;
    }

    /// Returns the head of a table, with a column for the model if there is one.
    [[nodiscard]] std::vector<std::string> head(std::vector<std::string> columns) const {
        if (there_) columns.emplace_back("model, ns");
        return columns;
    }
    /// Returns a row of a table, with a cell for the model if there is one.
    [[nodiscard]] std::vector<std::string> row(std::vector<std::string> cells, double instructions, double calls) const {
        if (there_) cells.push_back(fmt::format("{:.0f}", nanoseconds(instructions, calls)));
        return cells;
    }
    /// Returns the model's result for a file, or null.
    [[nodiscard]] std::string json(double instructions, double calls) const {
        return there_ ? fmt::format("{:.2f}", nanoseconds(instructions, calls)) : "null";
    }
    /// Prints below a table what the column means.
    void explain() const {
        if (!there_) return;
        fmt::print(
            "\nmodel, ns: what instructions and system calls come to together where a crossing into the kernel takes {:.0f} ns "
            "and a "
            "nop\nwithout it {:.0f} ns, which was measured natively. Here they take {:.0f} and {:.0f} instructions. It is a "
            "model: these "
            "times were not measured.\n",
            time_.crossing, time_.nop, counted_.crossing, counted_.nop);
    }

private:
    bool there_ = false;
    Crossing time_;
    Crossing counted_;
};

}  // namespace bench
