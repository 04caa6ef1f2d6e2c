// SPDX-License-Identifier: MIT
// What counted instructions and system calls come to together, by a model.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace bench {

/// Clock units.
struct Crossing {
    double crossing = 0;  ///< a call of io_uring_enter(2), without what it does for each request
    double nop = 0;       ///< a nop, submitted, completed and taken, without the call

    /// Computes both prices from what a nop takes in a call of its own, and what it takes in a call with `batch` nops.
    [[nodiscard]] static Crossing from(double alone, double batched, double batch) {
        const double crossing = (alone - batched) / (1 - 1 / batch);
        return {.crossing = crossing, .nop = alone - crossing};
    }
};

/// Reads two numbers of nanoseconds, the price of a crossing and of a nop, from a text such as "280,62". Throws if there are
/// no two numbers, or one of them is not more than 0.
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
 */
class Model {
public:
    /// Makes no model: tables have no column for it.
    Model() = default;
    /// Makes a model of a crossing's nanoseconds, and of its instructions where others are counted.
    Model(const Crossing& time, const Crossing& counted) : there_(true), time_(time), counted_(counted) {}

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
    /// Prints a note that explains the column "model, ns". Call this after the table.
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
