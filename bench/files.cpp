// SPDX-License-Identifier: MIT
// Measures how whole small files are read into memory: by chains, by liburing, and by plain system calls.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <ringstep/options.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/facts.hpp"
#include "common/json.hpp"
#include "common/settle.hpp"
#include "common/statistics.hpp"
#include "common/system_calls.hpp"
#include "common/table.hpp"
#include "file_ways.hpp"

namespace {

constexpr const char* empty_disk = "/dev/nvme0n1";  // in ./dev vm --disk

struct Options {
    std::uint64_t files = 2000;
    std::size_t runs = 0;
    std::uint64_t times = 1;  // that each run reads all files
    std::vector<std::uint64_t> depths{1, 32};
    std::vector<std::string> systems;
    std::vector<std::string> ways;
    std::string folder;
    std::string json;
};

/// One way at one depth.
struct Case {
    bench::FileWay* way;
    std::uint64_t depth;
    std::vector<double> samples;  // clock units for each file
    bench::SystemCalls calls;
};

void read_all(const Case& test, bench::Job& job) {
    job.begin();
    test.way->run(job, test.depth);
    job.end();
}

double sample(const Case& test, bench::Job& job, std::uint64_t times) {
    const std::uint64_t start = bench::now();
    for (std::uint64_t i = 0; i < times; i++) read_all(test, job);
    return static_cast<double>(bench::now() - start) / static_cast<double>(times * job.files.count());
}

std::vector<std::unique_ptr<bench::FileWay>> make_ways(const Options& options) {
    std::vector<std::unique_ptr<bench::FileWay>> ways;
    const auto add = [&](std::unique_ptr<bench::FileWay> way) {
        if (options.ways.empty() || std::ranges::find(options.ways, way->name()) != options.ways.end())
            ways.push_back(std::move(way));
    };
    add(std::make_unique<bench::PlainWay>());
    for (const bench::FileSteps& steps : {bench::with_read_only, bench::with_slot, bench::with_statx}) {
        add(std::make_unique<bench::HandFileWay>(steps));
        for (const ringstep::Engine engine : {ringstep::Engine::kernel, ringstep::Engine::user})
            add(std::make_unique<bench::StepsWay>(engine, steps));
    }
    for (const ringstep::Engine engine : {ringstep::Engine::kernel, ringstep::Engine::user}) {
        add(std::make_unique<bench::CompiledFileWay>(engine));
        add(std::make_unique<bench::ExampleWay>(engine));
    }
    return ways;
}

/// Measures all ways on one file system, and returns a record for each.
std::vector<std::string> run(const Options& options, const std::string& system, bench::Job& job) {
    const std::vector<std::unique_ptr<bench::FileWay>> ways = make_ways(options);
    std::vector<Case> cases;
    for (const auto& way : ways)
        for (const std::uint64_t depth : options.depths)
            if (way->can(depth)) cases.push_back({.way = way.get(), .depth = depth, .samples = {}, .calls = {}});

    for (const Case& test : cases) read_all(test, job);
    for (std::size_t number = 0; number < options.runs; number++) {
        for (std::size_t i = 0; i < cases.size(); i++) {
            Case& test = cases[(i + number) % cases.size()];
            test.samples.push_back(sample(test, job, options.times));
        }
    }
    bench::SystemCallCounter counter;
    for (Case& test : cases) test.calls = counter.count([&] { read_all(test, job); });

    fmt::print("{} files of {} bytes together, cached, on {}: {} for each file. {}.\n\n", bench::grouped(job.files.count()),
               bench::grouped(job.files.bytes()), system, bench::clock_unit(), bench::origin(options.runs));
    bench::Table table({"way", "files at a time", bench::clock_unit(), "least", "most", "x plain", "x liburing", "system calls",
                        "io_uring_enter"});
    std::vector<std::string> records;
    for (const Case& test : cases) {
        const auto ratio_to = [&](std::string_view name, std::uint64_t depth) {
            const auto base = std::ranges::find_if(
                cases, [&](const Case& other) { return other.depth == depth && other.way->name() == name; });
            return base == cases.end() ? 0.0 : bench::paired_ratio(test.samples, base->samples);
        };
        const bench::Summary summary = bench::summarize(test.samples);
        const double to_plain = ratio_to("plain", 1);
        const double to_hand = ratio_to("hand-open", test.depth);
        table.add({test.way->title(), std::to_string(test.depth), fmt::format("{:.0f}", summary.median),
                   fmt::format("{:.0f}", summary.least), fmt::format("{:.0f}", summary.most), fmt::format("{:.3f}", to_plain),
                   fmt::format("{:.3f}", to_hand), bench::grouped(test.calls.all), bench::grouped(test.calls.enter)});
        records.push_back(fmt::format(
            R"({{"way": {}, "title": {}, "case": {}, "file_system": {}, "depth": {}, "files": {}, "median": {:.2f}, )"
            R"("least": {:.2f}, "most": {:.2f}, "ratio_to_plain": {:.4f}, "ratio_to_hand": {:.4f}, "system_calls": {}, )"
            R"("io_uring_enter": {}, "samples": {}}})",
            bench::json_string(test.way->name()), bench::json_string(test.way->title()),
            bench::json_string(fmt::format("{}, {} at a time", system, test.depth)), bench::json_string(system), test.depth,
            job.files.count(), summary.median, summary.least, summary.most, to_plain, to_hand, test.calls.all, test.calls.enter,
            bench::json_numbers(test.samples)));
    }
    table.print();
    fmt::print("\n");
    return records;
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"Whole small files, read into memory: by the loop chain and by other ways."};
    app.add_option("--files", options.files, "how many files")->check(CLI::Range(1, 9999))->capture_default_str();
    app.add_option("--runs", options.runs, "runs (default: 5 under -icount, otherwise 15)");
    app.add_option("--times", options.times, "how often each run reads all files")->capture_default_str();
    app.add_option("--depths", options.depths, "how many files at a time, at most 64")
        ->delimiter(',')
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    app.add_option("--systems", options.systems,
                   fmt::format("file systems: ext4, which needs an empty disk at {}, and tmpfs", empty_disk))
        ->delimiter(',')
        ->check(CLI::IsMember({"ext4", "tmpfs"}));
    app.add_option("--folder", options.folder, "measure in this folder instead");
    app.add_option("--ways", options.ways, "measure only these ways, such as plain, hand-open, kernel-open, user-example")
        ->delimiter(',');
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    if (options.runs == 0) options.runs = bench::clock_counts_instructions() ? 5 : 15;
    const bool disk = std::getenv("RINGSTEP_VM_KERNEL") != nullptr && ::access(empty_disk, W_OK) == 0;
    if (options.systems.empty()) {
        if (disk) options.systems.emplace_back("ext4");
        options.systems.emplace_back("tmpfs");
    }
    if (!options.folder.empty()) options.systems = {options.folder};
    if (!disk && std::ranges::find(options.systems, "ext4") != options.systems.end()) {
        program::print_error(
            "bench-files: no empty disk at {} for an ext4: run it in ./dev vm --disk 512, or name a --folder\n", empty_disk);
        return 2;
    }
    bench::settle();
    std::vector<std::string> records;
    for (const std::string& system : options.systems) {
        const bench::Folder folder(options.folder.empty() ? "/dev/shm" : options.folder, system == "ext4" ? empty_disk : "");
        bench::Job job(folder.path(), options.files);
        for (std::string& record : run(options, system, job)) records.push_back(std::move(record));
    }
    if (!options.json.empty()) bench::write_json(options.json, "files", bench::facts_json(), records);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-files", [&] { return run_all(argc, argv); });
}
