// SPDX-License-Identifier: MIT
// Measures many requests with a limit on those in flight: with the loop gate, and with a hand-written liburing loop of equal
// depth over a queue of its own.
#include <fmt/format.h>
#include <liburing.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/crossing.hpp"
#include "common/facts.hpp"
#include "common/files.hpp"
#include "common/json.hpp"
#include "common/settle.hpp"
#include "common/statistics.hpp"
#include "common/system_calls.hpp"
#include "common/table.hpp"
#include "gate_ways.hpp"

namespace {

using bench::gate::GateWay;
using bench::gate::HandWay;
using bench::gate::sq_entries;
using bench::gate::Way;
using bench::gate::Work;

constexpr std::size_t block_size = 4096;

struct Options {
    std::uint32_t requests = 0;
    std::size_t runs = 0;
    std::vector<unsigned> depths{1, 8, 32};
    std::string json;
};

struct Case {
    std::string way;
    std::string title;
    std::string work;
    unsigned depth;
    std::vector<double> samples;  // clock units for each request
    bench::SystemCalls calls;
};

std::vector<Case> measure(Work& work, const Options& options, bench::SystemCallCounter& counter) {
    std::vector<Case> all;
    for (const unsigned depth : options.depths) {
        std::vector<std::unique_ptr<Way>> ways;
        ways.push_back(std::make_unique<HandWay>());
        ways.push_back(std::make_unique<GateWay>(ringstep::Engine::kernel));
        ways.push_back(std::make_unique<GateWay>(ringstep::Engine::user));
        std::vector<Case> cases;
        const auto once = [&](Way& way) {
            work.begin();
            way.run(work, depth);
            work.end();
        };
        for (const auto& way : ways) {
            cases.push_back(
                {.way = way->name(), .title = way->title(), .work = work.name(), .depth = depth, .samples = {}, .calls = {}});
            once(*way);
        }
        // The ways run in turn, and each round begins with another way.
        for (std::size_t run = 0; run < options.runs; run++) {
            for (std::size_t i = 0; i < ways.size(); i++) {
                const std::size_t at = (i + run) % ways.size();
                const std::uint64_t start = bench::now();
                once(*ways[at]);
                cases[at].samples.push_back(static_cast<double>(bench::now() - start) /
                                            static_cast<double>(work.requests().size()));
            }
        }
        for (std::size_t i = 0; i < ways.size(); i++) cases[i].calls = counter.count([&] { once(*ways[i]); });
        all.insert(all.end(), cases.begin(), cases.end());
    }
    return all;
}

double ratio_of(const std::vector<Case>& cases, const Case& test) {
    for (const Case& base : cases) {
        if (base.way == "hand" && base.depth == test.depth && base.work == test.work)
            return bench::paired_ratio(test.samples, base.samples);
    }
    throw std::logic_error("nothing to compare with");
}

double calls_each(const Case& test, const Options& options) {
    return static_cast<double>(test.calls.all) / static_cast<double>(options.requests);
}

void print(const std::vector<Case>& cases, const Options& options, const bench::Model& model) {
    fmt::print("{} requests, pushed, run and collected: {} for each. {}.\n\n", options.requests, bench::clock_unit(),
               bench::origin(options.runs));
    bench::Table table(model.head({"way", "request", "depth", bench::clock_unit(), "least", "most", "spread", "x hand-written",
                                   "system calls", "io_uring_enter"}));
    for (const Case& test : cases) {
        const bench::Summary summary = bench::summarize(test.samples);
        table.add(model.row({test.title, test.work, std::to_string(test.depth), fmt::format("{:.0f}", summary.median),
                             fmt::format("{:.0f}", summary.least), fmt::format("{:.0f}", summary.most),
                             fmt::format("{:.1f} %", 100 * summary.spread()), fmt::format("{:.3f}", ratio_of(cases, test)),
                             bench::grouped(test.calls.all), bench::grouped(test.calls.enter)},
                            summary.median, calls_each(test, options)));
    }
    table.print();
    model.explain();
}

void save(const std::vector<Case>& cases, const Options& options, const bench::Model& model) {
    std::vector<std::string> records;
    for (const Case& test : cases) {
        const bench::Summary summary = bench::summarize(test.samples);
        records.push_back(fmt::format(
            R"({{"way": {}, "title": {}, "work": {}, "depth": {}, "median": {:.2f}, "least": {:.2f}, "most": {:.2f}, )"
            R"("ratio_to_hand": {:.4f}, "system_calls": {}, "io_uring_enter": {}, "model_ns": {}, "samples": {}}})",
            bench::json_string(test.way), bench::json_string(test.title), bench::json_string(test.work), test.depth,
            summary.median, summary.least, summary.most, ratio_of(cases, test), test.calls.all, test.calls.enter,
            model.json(summary.median, calls_each(test, options)), bench::json_numbers(test.samples)));
    }
    bench::write_json(options.json, "gate", bench::facts_json(), records);
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"Many requests, so many in flight: by the loop gate, and by a hand-written liburing loop."};
    app.add_option("--requests", options.requests, "requests in each run (default: 4000 under -icount, otherwise 16000)")
        ->check(CLI::Range(1U, ringstep::LargeGate::capacity));
    app.add_option("--runs", options.runs, "runs (default: 5 under -icount, otherwise 9)");
    app.add_option("--depths", options.depths, "requests in flight")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::Range(1U, sq_entries));
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    if (options.requests == 0) options.requests = bench::clock_counts_instructions() ? 4000 : 16000;
    if (options.runs == 0) options.runs = bench::clock_counts_instructions() ? 5 : 9;

    // The reads must complete at once. Reads of a file in memory would go to worker threads, which would hide the cost of the
    // ways.
    const bench::File zeroes("/dev/zero", O_RDONLY);
    std::vector<char> buffer(64 * block_size);
    std::vector<io_uring_sqe> nops(options.requests);
    std::vector<io_uring_sqe> reads(options.requests);
    for (std::size_t i = 0; i < options.requests; i++) {
        io_uring_prep_nop(&nops[i]);
        nops[i].user_data = i;
        const std::size_t block = i % 64;
        io_uring_prep_read(&reads[i], zeroes.fd(), &buffer[block * block_size], block_size, 0);
        reads[i].user_data = i;
    }
    bench::settle();
    bench::SystemCallCounter counter;
    Work nop_work("nop", std::move(nops), 0);
    Work read_work("4 KiB of zeroes", std::move(reads), block_size);
    std::vector<Case> cases = measure(nop_work, options, counter);
    const std::vector<Case> more = measure(read_work, options, counter);
    cases.insert(cases.end(), more.begin(), more.end());
    const bench::Model model = bench::model_from_environment();
    print(cases, options, model);
    if (!options.json.empty()) save(cases, options, model);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-gate", [&] { return run_all(argc, argv); });
}
