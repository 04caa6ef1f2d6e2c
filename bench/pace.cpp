// SPDX-License-Identifier: MIT
// Measures how close the loop pace comes to the requested rates, from the times that it stores itself.
#include <fmt/format.h>
#include <liburing.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <ringstep/format.hpp>
#include <ringstep/loops/pace.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/facts.hpp"
#include "common/json.hpp"
#include "common/statistics.hpp"
#include "common/table.hpp"

namespace {

struct Options {
    double seconds = 1;
    std::string json;
};

struct Case {
    std::string engine;
    std::string what;
    std::uint64_t asked;  // a second
    std::uint64_t burst;
    std::uint64_t each;   // tokens a request takes
    double achieved = 0;  // a second
    double late = 0;      // the median extra wait of requests that had to wait, in microseconds
    double lag = 0;       // the largest lag behind a perfect pace, in microseconds
    std::uint64_t requests = 0;
    std::uint64_t turns = 0;
    [[nodiscard]] double ratio() const { return achieved / static_cast<double>(asked); }
};

io_uring_sqe nop() {
    io_uring_sqe sqe{};
    io_uring_prep_nop(&sqe);
    return sqe;
}

/// Returns how late requests began, in microseconds after their tokens were in the bucket. Requests that did not wait are left
/// out.
std::vector<double> lateness(const Case& test, const std::vector<std::uint64_t>& times) {
    const auto rate = static_cast<double>(test.asked) / 1e9;  // tokens a nanosecond
    const auto each = static_cast<double>(test.each);
    const auto full = static_cast<double>(test.burst);
    std::vector<double> late;
    double level = full - each;
    for (std::size_t i = 1; i < times.size(); i++) {
        const auto passed = static_cast<double>(times[i] - times[i - 1]);
        const double missing = (std::min(each, full) - level) / rate;
        if (missing > 0) late.push_back((passed - missing) / 1000);
        level = std::min(full, level + passed * rate) - each;
    }
    return late;
}

void measure(Case& test, ringstep::Engine engine, double seconds) {
    ringstep::Ring ring;
    ringstep::Pace pace(ring, {.engine = engine});
    if (test.what == "bytes") {
        pace.set_rate(0, {.bytes = test.asked, .bytes_burst = test.burst});
    } else {
        pace.set_rate(0, {.operations = test.asked, .operations_burst = test.burst});
    }
    const auto total = static_cast<std::uint64_t>(
        (seconds * static_cast<double>(test.asked) + static_cast<double>(test.burst)) / static_cast<double>(test.each));
    pace.set_batch(512);
    std::vector<std::uint64_t> times;
    std::uint64_t pushed = 0;
    while (times.size() < total) {
        while (pushed < total && pace.try_push(nop(), 0, test.each)) pushed++;
        const ringstep::LoopExit exit = pace.run();
        if (exit.reason != ringstep::ExitReason::stopped) throw std::runtime_error(fmt::format("pace {}", exit));
        test.turns += exit.turns;
        for (const auto& completion : pace.completions()) times.push_back(completion.own.begun);
    }
    std::ranges::sort(times);
    // The tokens of the full bucket are used at once. Later tokens flow in at the rate.
    const double tokens = static_cast<double>(total * test.each) - static_cast<double>(test.burst);
    test.requests = total;
    test.achieved = tokens / (static_cast<double>(times.back() - times.front()) / 1e9);
    test.late = bench::summarize(lateness(test, times)).median;
    for (std::size_t i = 0; i < times.size(); i++) {
        const double due = (static_cast<double>((i + 1) * test.each) - static_cast<double>(test.burst)) /
                           static_cast<double>(test.asked) * 1e9;
        test.lag = std::max(test.lag, (static_cast<double>(times[i] - times.front()) - std::max(due, 0.0)) / 1000);
    }
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"Asked and achieved rates of the loop pace."};
    app.add_option("--seconds", options.seconds, "how long for each rate")->capture_default_str();
    app.add_option("--json", options.json, "write results to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);

    std::vector<Case> cases;
    for (const ringstep::Engine engine : {ringstep::Engine::kernel, ringstep::Engine::user}) {
        try {
            ringstep::Ring ring;
            const ringstep::Pace probe(ring, {.engine = engine});
        } catch (const ringstep::Error& error) {
            program::print_error("bench-pace: without the {} engine: {}\n", to_string(engine), error.tried());
            continue;
        }
        const auto add = [&](const char* what, std::uint64_t asked, std::uint64_t burst, std::uint64_t each) {
            cases.push_back(
                {.engine = std::string(to_string(engine)), .what = what, .asked = asked, .burst = burst, .each = each});
            measure(cases.back(), engine, options.seconds);
        };
        for (const std::uint64_t rate : {100ULL, 1000ULL, 10'000ULL, 100'000ULL}) {
            add("operations", rate, 1, 1);
            add("operations", rate, std::max<std::uint64_t>(rate / 200, 2), 1);  // 5 ms
            add("operations", rate, std::max<std::uint64_t>(rate / 20, 2), 1);   // 50 ms
        }
        add("bytes", 10 << 20, 64 << 10, 4096);
        add("bytes", 500 << 20, 4 << 20, 65536);
    }
    fmt::print("Rates over {} s each. {}.\n\n", options.seconds, bench::origin(1));
    bench::Table table({"engine", "tokens", "asked, a second", "burst", "achieved", "of asked", "late, us", "largest lag, us",
                        "requests", "turns"});
    std::vector<std::string> records;
    for (const Case& test : cases) {
        table.add({test.engine, test.what, bench::grouped(test.asked), bench::grouped(test.burst),
                   fmt::format("{:.1f}", test.achieved), fmt::format("{:.2f} %", 100 * test.ratio()),
                   fmt::format("{:.0f}", test.late), fmt::format("{:.0f}", test.lag), bench::grouped(test.requests),
                   bench::grouped(test.turns)});
        records.push_back(fmt::format(
            R"({{"engine": {}, "tokens": {}, "asked": {}, "burst": {}, "each": {}, "achieved": {:.3f}, "ratio": {:.6f}, "late_us": {:.1f}, "largest_lag_us": {:.1f}, "requests": {}, "turns": {}}})",
            bench::json_string(test.engine), bench::json_string(test.what), test.asked, test.burst, test.each, test.achieved,
            test.ratio(), test.late, test.lag, test.requests, test.turns));
    }
    table.print();
    if (!options.json.empty()) bench::write_json(options.json, "pace", bench::facts_json(), records);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-pace", [&] { return run(argc, argv); });
}
