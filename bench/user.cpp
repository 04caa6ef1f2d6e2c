// SPDX-License-Identifier: MIT
// Compares the user engine with hand-written liburing loops for the same jobs: the time, and the calls of io_uring_enter(2).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/facts.hpp"
#include "common/files.hpp"
#include "common/json.hpp"
#include "common/statistics.hpp"
#include "common/table.hpp"
#include "copy_ways.hpp"
#include "nop_ways.hpp"

namespace {

struct Options {
    std::uint64_t nops = 200'000;
    std::uint64_t mebibytes = 64;
    std::size_t runs = 31;
    double most_ratio = 0;
    std::string json;
};

/// A job, done by a hand-written loop and by the user engine.
struct Pair {
    std::string job;
    std::uint64_t units;  // nops or blocks
    std::function<void()> hand;
    std::function<void()> user;
    std::function<std::uint64_t()> hand_enters;
    std::function<std::uint64_t()> user_enters;
};

struct Result {
    std::string job;
    std::vector<double> hand;  // clock units for each nop or block
    std::vector<double> user;
    std::vector<double> hand_enters;  // in each run
    std::vector<double> user_enters;
    [[nodiscard]] std::uint64_t typical(const std::vector<double>& enters) const {
        return static_cast<std::uint64_t>(bench::summarize(enters).median);
    }
    [[nodiscard]] double ratio() const { return bench::paired_ratio(user, hand); }
};

double timed(const std::function<void()>& work, std::uint64_t units) {
    const std::uint64_t start = bench::now();
    work();
    return static_cast<double>(bench::now() - start) / static_cast<double>(units);
}

Result measure(const Pair& pair, std::size_t runs) {
    Result result{.job = pair.job, .hand = {}, .user = {}, .hand_enters = {}, .user_enters = {}};
    pair.hand();
    pair.user();
    // The two run in turn, and each begins every other round.
    for (std::size_t run = 0; run < runs; run++) {
        if (run % 2 == 0) result.hand.push_back(timed(pair.hand, pair.units));
        result.user.push_back(timed(pair.user, pair.units));
        if (run % 2 != 0) result.hand.push_back(timed(pair.hand, pair.units));
        // If other kernel threads do the writes, the number of completions that a turn finds is random.
        result.hand_enters.push_back(static_cast<double>(pair.hand_enters()));
        result.user_enters.push_back(static_cast<double>(pair.user_enters()));
    }
    return result;
}

Result nops(const Options& options, std::uint64_t depth) {
    bench::EnterWay hand;
    bench::LoopWay user(ringstep::Engine::user);
    const std::uint64_t total = options.nops * (depth > 1 ? 4 : 1);
    return measure({.job = fmt::format("nops, {} in flight", depth),
                    .units = total,
                    .hand = [&] { hand.run(total, depth); },
                    .user = [&] { user.run(total, depth); },
                    .hand_enters = [&] { return hand.enters(); },
                    .user_enters = [&] { return user.enters(); }},
                   options.runs);
}

Result copy(const Options& options, unsigned depth, std::size_t block) {
    bench::MemoryFolder folder;
    const bench::File source = folder.create("source");
    bench::fill(source.fd(), options.mebibytes << 20);
    const bench::File output = folder.create("copy");
    bench::UringCopy hand(depth, block);
    bench::BareCopy user(depth, block);
    // Both always copy into the same pages, because the loops are compared, and not the allocation of memory.
    Result result = measure({.job = fmt::format("copy, {} KiB blocks, {} in flight", block >> 10, depth),
                             .units = (options.mebibytes << 20) / block,
                             .hand = [&] { hand.run(source.fd(), output.fd()); },
                             .user = [&] { user.run(source.fd(), output.fd()); },
                             .hand_enters = [&] { return hand.enters(); },
                             .user_enters = [&] { return user.enters(); }},
                            options.runs);
    if (!(bench::Contents(source) == bench::Contents(output))) throw std::runtime_error("the copy is not the source");
    return result;
}

void print(const std::vector<Result>& results, const Options& options) {
    fmt::print("The user engine against hand-written liburing loops. {}.\n\n", bench::origin(options.runs));
    bench::Table table({"job", "liburing " + std::string(bench::clock_unit()), "ringstep", "ratio", "enters", "ringstep's"});
    for (const Result& result : results) {
        table.add({result.job, fmt::format("{:.1f}", bench::summarize(result.hand).median),
                   fmt::format("{:.1f}", bench::summarize(result.user).median), fmt::format("{:.3f}", result.ratio()),
                   bench::grouped(result.typical(result.hand_enters)), bench::grouped(result.typical(result.user_enters))});
    }
    table.print();
}

void save(const std::vector<Result>& results, const Options& options) {
    std::vector<std::string> records;
    for (const Result& result : results) {
        records.push_back(fmt::format(
            R"({{"job": {}, "ratio": {:.4f}, "liburing_enters": {}, "ringstep_enters": {}, "liburing": {}, "ringstep": {}}})",
            bench::json_string(result.job), result.ratio(), result.typical(result.hand_enters),
            result.typical(result.user_enters), bench::json_numbers(result.hand), bench::json_numbers(result.user)));
    }
    bench::write_json(options.json, "user", bench::facts_json(), records);
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"The user engine against hand-written liburing loops, on this machine."};
    app.add_option("--nops", options.nops, "nops in a run at depth 1; four times as many at more")->capture_default_str();
    app.add_option("--size", options.mebibytes, "MiB to copy")->capture_default_str();
    app.add_option("--runs", options.runs, "runs of each")->capture_default_str();
    app.add_option("--most", options.most_ratio, "fail where the ratio is more than that, or more system calls are made");
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    const std::vector<Result> results{nops(options, 1), nops(options, 32), copy(options, 32, 4096), copy(options, 32, 65536)};
    print(results, options);
    if (!options.json.empty()) save(results, options);
    if (options.most_ratio > 0) {
        for (const Result& result : results) {
            if (result.ratio() > options.most_ratio ||
                result.typical(result.user_enters) > result.typical(result.hand_enters)) {
                return 1;
            }
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-user", [&] { return run_all(argc, argv); });
}
