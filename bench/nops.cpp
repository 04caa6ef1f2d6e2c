// SPDX-License-Identifier: MIT
// Measures nops that wait for each other: ringstep's loop, a hand-written loop, linked pairs, and one enter for each.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/bpf_programs.hpp"
#include "common/clock.hpp"
#include "common/crossing.hpp"
#include "common/facts.hpp"
#include "common/json.hpp"
#include "common/settle.hpp"
#include "common/statistics.hpp"
#include "common/system_calls.hpp"
#include "common/table.hpp"
#include "nop_turn.hpp"
#include "nop_ways.hpp"

namespace {

struct Options {
    std::uint64_t nops = 0;
    std::size_t runs = 0;
    std::vector<std::uint64_t> depths{1, 2, 8, 32};
    std::string json;
};

/// One way at one depth.
struct Case {
    bench::NopWay* way;
    std::uint64_t depth;
    std::vector<double> samples;  // clock units for each nop
    bench::SystemCalls calls;
    double turn_time = 0;          // clock units for each turn, kfuncs included; loops only
    double turn_instructions = 0;  // BPF instructions for each turn; loops only
};

double sample(const Case& test, std::uint64_t nops) {
    const std::uint64_t start = bench::now();
    test.way->run(nops, test.depth);
    return static_cast<double>(bench::now() - start) / static_cast<double>(nops);
}

/// Runs the ways in turn. Each run begins with another way.
void measure(std::vector<Case>& cases, const Options& options) {
    for (const Case& test : cases) (void)sample(test, options.nops / 10 + 2 * test.depth);
    for (std::size_t run = 0; run < options.runs; run++) {
        for (std::size_t i = 0; i < cases.size(); i++) {
            Case& test = cases[(i + run) % cases.size()];
            test.samples.push_back(sample(test, options.nops));
        }
    }
}

void count_calls(std::vector<Case>& cases, const Options& options) {
    bench::SystemCallCounter counter;
    for (Case& test : cases) test.calls = counter.count([&] { test.way->run(options.nops, test.depth); });
}

/// Returns the memory region of a loop, as at the start of a run, for this program.
std::vector<std::uint8_t> fresh_memory(const std::string& program, std::uint64_t depth) {
    std::vector<std::uint8_t> memory(4096);
    if (program == "nop_chain_loop_step") {
        ringstep_nop_chain state{};
        state.total = 1000 * depth;
        state.depth = depth;
        std::memcpy(memory.data() + sizeof(ringstep_control), &state, sizeof state);
    } else {
        nops_state state{};
        state.total = 1000 * depth;
        state.depth = depth;
        std::memcpy(memory.data(), &state, sizeof state);
    }
    return memory;
}

/// Measures the cost of what leads to one submit alone: its BPF instructions, and the time around the program.
void look_at_turns(std::vector<Case>& cases, const ringstep::Geometry& geometry, const Options& options) {
    const bench::Descriptor statistics(bpf_enable_stats(BPF_STATS_RUN_TIME), "statistics of BPF programs");
    for (Case& test : cases) {
        const std::string program = test.way->program();
        if (program.empty()) continue;
        test.turn_instructions = bench::bpf_instructions_a_submit(program, geometry, fresh_memory(program, test.depth));
        const bench::ProgramFacts before = bench::program_facts(program);
        test.way->run(options.nops, test.depth);
        const bench::ProgramFacts after = bench::program_facts(program);
        test.turn_time = static_cast<double>(after.run_time - before.run_time) /
                         static_cast<double>((options.nops + test.depth - 1) / test.depth);
    }
}

const Case* find(const std::vector<Case>& cases, std::string_view way, std::uint64_t depth) {
    for (const Case& test : cases) {
        if (test.depth == depth && test.way->name() == way) return &test;
    }
    return nullptr;
}

double calls_each(const Case& test, const Options& options) {
    return static_cast<double>(test.calls.all) / static_cast<double>(options.nops);
}

void print_ways(const std::vector<Case>& cases, const Options& options, const bench::Model& model) {
    fmt::print("Sequential nops: {} for each nop. {}, {} nops a run.\n", bench::clock_unit(), bench::origin(options.runs),
               bench::grouped(options.nops));
    fmt::print("At a depth of more than 1, so many independent nops (or linked pairs) are under way at a time.\n\n");
    bench::Table table(model.head(
        {"way", "depth", bench::clock_unit(), "least", "most", "spread", "x ringstep", "system calls", "io_uring_enter"}));
    for (const Case& test : cases) {
        const bench::Summary summary = bench::summarize(test.samples);
        const Case* base = find(cases, "ringstep", test.depth);
        table.add(model.row({test.way->title(), std::to_string(test.depth), fmt::format("{:.1f}", summary.median),
                             fmt::format("{:.1f}", summary.least), fmt::format("{:.1f}", summary.most),
                             fmt::format("{:.1f} %", 100 * summary.spread()),
                             fmt::format("{:.3f}", bench::paired_ratio(test.samples, base->samples)),
                             bench::grouped(test.calls.all), bench::grouped(test.calls.enter)},
                            summary.median, calls_each(test, options)));
    }
    table.print();
    model.explain();
    fmt::print("\n");
}

void print_turns(const std::vector<Case>& cases) {
    fmt::print(
        "Each submit of a loop. BPF instructions: counted by running the verified program step by step, kfuncs left out.\n");
    fmt::print("With kfuncs: the kernel's own statistics of the program, {} a submit.\n\n", bench::clock_unit());
    bench::Table table({"loop", "depth", "BPF instructions", "with kfuncs"});
    for (const Case& test : cases) {
        if (test.way->program().empty()) continue;
        table.add({test.way->title(), std::to_string(test.depth), fmt::format("{:.0f}", test.turn_instructions),
                   fmt::format("{:.0f}", test.turn_time)});
    }
    table.print();
    fmt::print("\n");
}

std::vector<std::string> print_programs(const std::vector<std::unique_ptr<bench::NopWay>>& ways) {
    std::vector<std::string> records;
    bench::Table table({"BPF program", "BPF instructions", "x86 bytes", "verifier's instructions"});
    for (const auto& way : ways) {
        if (way->program().empty()) continue;
        const bench::ProgramFacts facts = bench::program_facts(way->program());
        table.add({way->program(), std::to_string(facts.xlated_bytes / 8), std::to_string(facts.jited_bytes),
                   std::to_string(facts.verified_instructions)});
        records.push_back(
            fmt::format(R"({{"program": {}, "way": {}, "xlated_bytes": {}, "jited_bytes": {}, "verified_instructions": {}}})",
                        bench::json_string(way->program()), bench::json_string(way->name()), facts.xlated_bytes,
                        facts.jited_bytes, facts.verified_instructions));
    }
    table.print();
    return records;
}

std::vector<std::string> records_of(const std::vector<Case>& cases, const Options& options, const bench::Model& model) {
    std::vector<std::string> records;
    for (const Case& test : cases) {
        const bench::Summary summary = bench::summarize(test.samples);
        const Case* base = find(cases, "ringstep", test.depth);
        records.push_back(fmt::format(
            R"({{"way": {}, "title": {}, "depth": {}, "nops": {}, "median": {:.2f}, "least": {:.2f}, "most": {:.2f}, )"
            R"("ratio_to_ringstep": {:.4f}, "system_calls": {}, "io_uring_enter": {}, "turn_bpf_instructions": {}, )"
            R"("turn_with_kfuncs": {:.1f}, "model_ns": {}, "samples": {}}})",
            bench::json_string(test.way->name()), bench::json_string(test.way->title()), test.depth, options.nops,
            summary.median, summary.least, summary.most, bench::paired_ratio(test.samples, base->samples), test.calls.all,
            test.calls.enter, test.turn_instructions, test.turn_time, model.json(summary.median, calls_each(test, options)),
            bench::json_numbers(test.samples)));
    }
    return records;
}

void run(const Options& options) {
    std::vector<std::unique_ptr<bench::NopWay>> ways;
    auto loop = std::make_unique<bench::LoopWay>();
    const ringstep::Geometry geometry = loop->geometry();
    ways.push_back(std::make_unique<bench::EnterWay>());
    ways.push_back(std::make_unique<bench::LinkWay>());
    ways.push_back(std::make_unique<bench::HandWay>(NOPS_NAIVE));
    ways.push_back(std::make_unique<bench::HandWay>(NOPS_LEAN));
    ways.push_back(std::make_unique<bench::HandWay>(NOPS_FULL));
    ways.push_back(std::move(loop));

    std::vector<Case> cases;
    for (const std::uint64_t depth : options.depths) {
        for (const auto& way : ways) {
            if (way->can(depth)) cases.push_back({.way = way.get(), .depth = depth, .samples = {}, .calls = {}});
        }
    }
    measure(cases, options);
    count_calls(cases, options);
    look_at_turns(cases, geometry, options);

    const bench::Model model = bench::model_from_environment();
    print_ways(cases, options, model);
    print_turns(cases);
    std::vector<std::string> records = records_of(cases, options, model);
    for (std::string& record : print_programs(ways)) records.push_back(std::move(record));
    if (!options.json.empty()) bench::write_json(options.json, "nops", bench::facts_json(), records);
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"Nops that wait for each other, by a ringstep loop and by other ways."};
    app.add_option("--nops", options.nops, "nops in each run (default: 20000 under -icount, otherwise 200000)");
    app.add_option("--runs", options.runs, "runs (default: 5 under -icount, otherwise 15)");
    app.add_option("--depths", options.depths, "how many nops (or pairs) at a time")->delimiter(',')->capture_default_str();
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    if (options.nops == 0) options.nops = bench::clock_counts_instructions() ? 20'000 : 200'000;
    if (options.runs == 0) options.runs = bench::clock_counts_instructions() ? 5 : 15;
    options.nops = (options.nops + 63) / 64 * 64;  // whole batches at each depth
    bench::settle();
    run(options);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-nops", [&] { return run_all(argc, argv); });
}
