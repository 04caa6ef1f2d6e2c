// SPDX-License-Identifier: MIT
// Compares copying a file with ringstep's loop and with a liburing copier. Both have an equal number of blocks in flight.
#include <fmt/format.h>

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
#include "copy_ways.hpp"

namespace {

struct Options {
    std::uint64_t mebibytes = 0;
    std::size_t runs = 0;
    std::vector<unsigned> depths{1, 8, 32};
    std::vector<std::size_t> blocks{4, 16, 64, 256};  // KiB
    std::string json;
};

/// One way with one depth and one block size.
struct Case {
    std::string way;
    std::string title;
    unsigned depth;
    std::size_t block;
    std::vector<double> samples;  // clock units for each block
    bench::SystemCalls calls;
};

class Comparison {
public:
    explicit Comparison(const Options& options)
        : options_(options), bytes_(options.mebibytes << 20), source_(folder_.create("source")) {
        bench::fill(source_.fd(), bytes_);
    }

    void run() {
        for (const std::size_t block : options_.blocks) {
            for (const unsigned depth : options_.depths) compare(depth, block << 10);
        }
    }

    [[nodiscard]] const std::vector<Case>& cases() const { return cases_; }

private:
    using Ways = std::vector<std::unique_ptr<bench::CopyWay>>;

    void compare(unsigned depth, std::size_t block) {
        Ways ways;
        if (depth == 1) ways.push_back(std::make_unique<bench::PlainCopy>(block));
        ways.push_back(std::make_unique<bench::UringCopy>(depth, block));
        ways.push_back(std::make_unique<bench::LoopCopy>(depth, block));
        const std::size_t first = cases_.size();
        for (const auto& way : ways) {
            cases_.push_back(
                {.way = way->name(), .title = way->title(), .depth = depth, .block = block, .samples = {}, .calls = {}});
            check_copy(*way);
        }
        // The ways run in turn, and each round begins with another way.
        for (std::size_t run = 0; run < options_.runs; run++) {
            for (std::size_t i = 0; i < ways.size(); i++) {
                const std::size_t at = (i + run) % ways.size();
                cases_[first + at].samples.push_back(sample(*ways[at], block));
            }
        }
        for (std::size_t i = 0; i < ways.size(); i++) cases_[first + i].calls = count(*ways[i]);
    }

    void check_copy(bench::CopyWay& way) {
        const bench::File output = folder_.create("copy");
        way.run(source_.fd(), output.fd());
        if (!(bench::Contents(source_) == bench::Contents(output)))
            throw std::runtime_error("the copy by " + way.name() + " is not the source");
    }

    double sample(bench::CopyWay& way, std::size_t block) {
        const bench::File output = folder_.create("copy");
        const std::uint64_t start = bench::now();
        way.run(source_.fd(), output.fd());
        return static_cast<double>(bench::now() - start) / (static_cast<double>(bytes_) / static_cast<double>(block));
    }

    bench::SystemCalls count(bench::CopyWay& way) {
        const bench::File output = folder_.create("copy");
        return counter_.count([&] { way.run(source_.fd(), output.fd()); });
    }

    Options options_;
    std::uint64_t bytes_;
    bench::MemoryFolder folder_;
    bench::File source_;
    bench::SystemCallCounter counter_;
    std::vector<Case> cases_;
};

const Case& base_of(const std::vector<Case>& cases, const Case& test) {
    for (const Case& other : cases) {
        if (other.way == "ringstep" && other.depth == test.depth && other.block == test.block) return other;
    }
    throw std::logic_error("nothing to compare with");
}

double calls_each(const Case& test, const Options& options) {
    const double blocks = static_cast<double>(options.mebibytes << 20) / static_cast<double>(test.block);
    return static_cast<double>(test.calls.all) / blocks;
}

void print(const std::vector<Case>& cases, const Options& options, const bench::Model& model) {
    fmt::print("Copy of {} MiB from tmpfs to tmpfs: {} for each block. {}.\n\n", options.mebibytes, bench::clock_unit(),
               bench::origin(options.runs));
    bench::Table table(model.head({"way", "block", "depth", bench::clock_unit(), "least", "most", "spread", "x ringstep",
                                   "system calls", "io_uring_enter"}));
    for (const Case& test : cases) {
        const bench::Summary summary = bench::summarize(test.samples);
        table.add(model.row({test.title, fmt::format("{} KiB", test.block >> 10), std::to_string(test.depth),
                             fmt::format("{:.0f}", summary.median), fmt::format("{:.0f}", summary.least),
                             fmt::format("{:.0f}", summary.most), fmt::format("{:.1f} %", 100 * summary.spread()),
                             fmt::format("{:.3f}", bench::paired_ratio(test.samples, base_of(cases, test).samples)),
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
            R"({{"way": {}, "title": {}, "depth": {}, "block": {}, "bytes": {}, "median": {:.2f}, "least": {:.2f}, "most": {:.2f}, )"
            R"("ratio_to_ringstep": {:.4f}, "system_calls": {}, "io_uring_enter": {}, "model_ns": {}, "samples": {}}})",
            bench::json_string(test.way), bench::json_string(test.title), test.depth, test.block, options.mebibytes << 20,
            summary.median, summary.least, summary.most, bench::paired_ratio(test.samples, base_of(cases, test).samples),
            test.calls.all, test.calls.enter, model.json(summary.median, calls_each(test, options)),
            bench::json_numbers(test.samples)));
    }
    bench::write_json(options.json, "copy", bench::facts_json(), records);
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"A file in memory, copied by a ringstep loop and by other ways."};
    app.add_option("--size", options.mebibytes, "MiB to copy (default: 16 under -icount, otherwise 32)");
    app.add_option("--runs", options.runs, "runs (default: 5 under -icount, otherwise 9)");
    app.add_option("--depths", options.depths, "blocks under way at a time")->delimiter(',')->capture_default_str();
    app.add_option("--blocks", options.blocks, "sizes of blocks, in KiB")->delimiter(',')->capture_default_str();
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    if (options.mebibytes == 0) options.mebibytes = bench::clock_counts_instructions() ? 16 : 32;
    if (options.runs == 0) options.runs = bench::clock_counts_instructions() ? 5 : 9;
    bench::settle();
    Comparison comparison(options);
    comparison.run();
    const bench::Model model = bench::model_from_environment();
    print(comparison.cases(), options, model);
    if (!options.json.empty()) save(comparison.cases(), options, model);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-copy", [&] { return run_all(argc, argv); });
}
