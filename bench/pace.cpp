// SPDX-License-Identifier: MIT
// Measures how close the loop pace comes to the requested rates, from the times that it stores itself, and what a request costs
// that does not wait.
#include <fmt/format.h>
#include <liburing.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <ringstep/format.hpp>
#include <ringstep/loops/pace.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/crossing.hpp"
#include "common/facts.hpp"
#include "common/json.hpp"
#include "common/settle.hpp"
#include "common/statistics.hpp"
#include "common/system_calls.hpp"
#include "common/table.hpp"
#include "gate_ways.hpp"
#include "pace_way.hpp"

namespace {

struct Options {
    double seconds = 1;
    std::uint64_t requests = 4096;
    std::size_t runs = 0;
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

std::vector<ringstep::Engine> engines() {
    std::vector<ringstep::Engine> all;
    for (const ringstep::Engine engine : {ringstep::Engine::kernel, ringstep::Engine::user}) {
        try {
            ringstep::Ring ring;
            const ringstep::Pace probe(ring, {.engine = engine});
            all.push_back(engine);
        } catch (const ringstep::Error& error) {
            program::print_error("bench-pace: without the {} engine: {}\n", to_string(engine), error.tried());
        }
    }
    return all;
}

// --- Rates -------------------------------------------------------------------------------------------------------------------

std::vector<Case> measure_rates(const Options& options) {
    std::vector<Case> cases;
    for (const ringstep::Engine engine : engines()) {
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
    return cases;
}

void print_rates(const std::vector<Case>& cases, const Options& options, std::vector<std::string>& records) {
    fmt::print("Rates over {} s each. {}.\n\n", options.seconds, bench::origin(1));
    bench::Table table({"engine", "tokens", "asked, a second", "burst", "achieved", "of asked", "late, us", "largest lag, us",
                        "requests", "turns"});
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
}

// --- What a request costs ----------------------------------------------------------------------------------------------------

/// A way to run nops that no rate holds back.
struct CostCase {
    std::string name;
    std::string title;
    std::function<void()> run;
    std::vector<double> samples;  // clock units for each request
    bench::SystemCalls calls{};
};

std::vector<CostCase> measure_costs(const Options& options) {
    constexpr unsigned depth = 32;
    std::vector<io_uring_sqe> requests;
    for (std::uint64_t i = 0; i < options.requests; i++) {
        requests.push_back(nop());
        requests.back().user_data = i;
    }
    const auto work = std::make_shared<bench::gate::Work>("nop", std::move(requests), 0);
    const auto hand = std::make_shared<bench::gate::HandWay>();
    std::vector<CostCase> cases;
    cases.push_back({.name = "hand",
                     .title = "liburing, hand-written, without rates, 32 in flight",
                     .run =
                         [=] {
                             work->begin();
                             hand->run(*work, depth);
                             work->end();
                         },
                     .samples = {}});
    for (const ringstep::Engine engine : engines()) {
        const bool kernel = engine == ringstep::Engine::kernel;
        const auto way = std::make_shared<bench::PaceWay>(engine);
        cases.push_back({.name = kernel ? "ringstep" : "user",
                         .title = kernel ? "pace, in the kernel" : "pace, in user space",
                         .run = [=, count = options.requests] { way->run(count); },
                         .samples = {}});
    }
    for (CostCase& test : cases) test.run();
    // The ways run in turn, and each round begins with another way.
    for (std::size_t run = 0; run < options.runs; run++) {
        for (std::size_t i = 0; i < cases.size(); i++) {
            CostCase& test = cases[(i + run) % cases.size()];
            const std::uint64_t start = bench::now();
            test.run();
            test.samples.push_back(static_cast<double>(bench::now() - start) / static_cast<double>(options.requests));
        }
    }
    const bench::SystemCallCounter counter;
    for (CostCase& test : cases) test.calls = counter.count(test.run);
    return cases;
}

void print_costs(const std::vector<CostCase>& cases, const Options& options, std::vector<std::string>& records) {
    const bench::Model model = bench::model_from_environment();
    fmt::print("{} nops at a rate so high that none waits: {} for each. {}.\n\n", options.requests, bench::clock_unit(),
               bench::origin(options.runs));
    bench::Table table(model.head(
        {"way", bench::clock_unit(), "least", "most", "spread", "x hand-written", "system calls", "io_uring_enter"}));
    for (const CostCase& test : cases) {
        const bench::Summary summary = bench::summarize(test.samples);
        const double ratio = bench::paired_ratio(test.samples, cases.front().samples);
        const double calls = static_cast<double>(test.calls.all) / static_cast<double>(options.requests);
        table.add(model.row({test.title, fmt::format("{:.0f}", summary.median), fmt::format("{:.0f}", summary.least),
                             fmt::format("{:.0f}", summary.most), fmt::format("{:.1f} %", 100 * summary.spread()),
                             fmt::format("{:.3f}", ratio), bench::grouped(test.calls.all), bench::grouped(test.calls.enter)},
                            summary.median, calls));
        records.push_back(fmt::format(
            R"({{"way": {}, "title": {}, "label": "a nop that does not wait", "median": {:.2f}, "least": {:.2f}, "most": {:.2f}, )"
            R"("ratio_to_hand": {:.4f}, "system_calls": {}, "io_uring_enter": {}, "model_ns": {}, "samples": {}}})",
            bench::json_string(test.name), bench::json_string(test.title), summary.median, summary.least, summary.most, ratio,
            test.calls.all, test.calls.enter, model.json(summary.median, calls), bench::json_numbers(test.samples)));
    }
    table.print();
    model.explain();
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"Asked and achieved rates of the loop pace, and what a request costs that does not wait."};
    app.add_option("--seconds", options.seconds, "how long for each rate; rates are not measured under -icount")
        ->capture_default_str();
    app.add_option("--requests", options.requests, "requests in each run for their cost")
        ->check(CLI::Range(1, RINGSTEP_PACE_CAPACITY))
        ->capture_default_str();
    app.add_option("--runs", options.runs, "runs for the cost (default: 3 under -icount, otherwise 9)");
    app.add_option("--json", options.json, "write results to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    const bool icount = bench::clock_counts_instructions();
    if (options.runs == 0) options.runs = icount ? 3 : 9;
    bench::settle();
    std::vector<std::string> records;
    if (!icount) {
        print_rates(measure_rates(options), options, records);
        fmt::print("\n");
    }
    print_costs(measure_costs(options), options, records);
    if (!options.json.empty()) bench::write_json(options.json, "pace", bench::facts_json(), records);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-pace", [&] { return run(argc, argv); });
}
