// SPDX-License-Identifier: MIT
// Measures sequences of dependent requests: with the loop chain, with one enter for each step, and with IOSQE_IO_LINK.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
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
#include "chain_ways.hpp"
#include "nop_ways.hpp"

namespace {

struct Options {
    std::uint64_t nops = 0;
    std::size_t runs = 0;
    std::vector<std::uint64_t> depths{1, 2, 8, 32};
    unsigned steps = 30;  // of each sequence
    std::string json;
};

/// One way at one depth.
struct Case {
    bench::NopWay* way;
    std::uint64_t depth;
    std::vector<double> samples;  // clock units for each step
    bench::SystemCalls calls;
};

double sample(const Case& test, std::uint64_t nops) {
    const std::uint64_t start = bench::now();
    test.way->run(nops, test.depth);
    return static_cast<double>(bench::now() - start) / static_cast<double>(nops);
}

const Case& base_of(const std::vector<Case>& cases, const Case& test) {
    return *std::ranges::find_if(
        cases, [&](const Case& other) { return other.depth == test.depth && other.way->name() == "ringstep"; });
}

void run(const Options& options) {
    std::vector<std::unique_ptr<bench::NopWay>> ways;
    ways.push_back(std::make_unique<bench::EnterWay>());
    ways.push_back(std::make_unique<bench::LinkedWay>(options.steps));
    ways.push_back(std::make_unique<bench::ChainWay>(options.steps));
    if (options.steps == nops_compiled::steps) ways.push_back(std::make_unique<bench::CompiledChainWay>(options.steps));
    std::vector<Case> cases;
    for (const std::uint64_t depth : options.depths)
        for (const auto& way : ways)
            if (way->can(depth)) cases.push_back({.way = way.get(), .depth = depth, .samples = {}, .calls = {}});

    for (const Case& test : cases) (void)sample(test, options.steps * test.depth);
    for (std::size_t number = 0; number < options.runs; number++) {
        for (std::size_t i = 0; i < cases.size(); i++) {
            Case& test = cases[(i + number) % cases.size()];
            test.samples.push_back(sample(test, options.nops));
        }
    }
    bench::SystemCallCounter counter;
    for (Case& test : cases) test.calls = counter.count([&] { test.way->run(options.nops, test.depth); });

    fmt::print("Sequences of {} dependent nops: {} for each step. {}, {} steps a run.\n\n", options.steps, bench::clock_unit(),
               bench::origin(options.runs), bench::grouped(options.nops));
    const bench::Model model = bench::model_from_environment();
    bench::Table table(
        model.head({"way", "sequences", bench::clock_unit(), "least", "most", "x ringstep", "system calls", "io_uring_enter"}));
    std::vector<std::string> records;
    for (const Case& test : cases) {
        const bench::Summary summary = bench::summarize(test.samples);
        const double ratio = bench::paired_ratio(test.samples, base_of(cases, test).samples);
        const double calls = static_cast<double>(test.calls.all) / static_cast<double>(options.nops);
        table.add(model.row({test.way->title(), std::to_string(test.depth), fmt::format("{:.1f}", summary.median),
                             fmt::format("{:.1f}", summary.least), fmt::format("{:.1f}", summary.most),
                             fmt::format("{:.3f}", ratio), bench::grouped(test.calls.all), bench::grouped(test.calls.enter)},
                            summary.median, calls));
        records.push_back(fmt::format(
            R"({{"way": {}, "title": {}, "depth": {}, "nops": {}, "median": {:.2f}, "least": {:.2f}, "most": {:.2f}, )"
            R"("ratio_to_ringstep": {:.4f}, "system_calls": {}, "io_uring_enter": {}, "model_ns": {}, "samples": {}}})",
            bench::json_string(test.way->name()), bench::json_string(test.way->title()), test.depth, options.nops,
            summary.median, summary.least, summary.most, ratio, test.calls.all, test.calls.enter,
            model.json(summary.median, calls), bench::json_numbers(test.samples)));
    }
    table.print();
    model.explain();
    if (!options.json.empty()) bench::write_json(options.json, "chain", bench::facts_json(), records);
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"Sequences of dependent requests, by the loop chain and by other ways."};
    app.add_option("--nops", options.nops, "steps in each run (default: 20160 under -icount, otherwise 200640)");
    app.add_option("--runs", options.runs, "runs (default: 5 under -icount, otherwise 15)");
    app.add_option("--depths", options.depths, "how many sequences at a time")->delimiter(',')->capture_default_str();
    app.add_option("--steps", options.steps, "requests of a sequence: one graph holds 31")
        ->check(CLI::Range(1, RINGSTEP_CHAIN_NODES))
        ->capture_default_str();
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    if (options.nops == 0) options.nops = bench::clock_counts_instructions() ? 20'160 : 200'640;
    if (options.runs == 0) options.runs = bench::clock_counts_instructions() ? 5 : 15;
    const std::uint64_t whole = std::uint64_t{options.steps} * 32;  // sequences at each depth
    options.nops = (options.nops + whole - 1) / whole * whole;
    bench::settle();
    run(options);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-chain", [&] { return run_all(argc, argv); });
}
