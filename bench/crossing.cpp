// SPDX-License-Identifier: MIT
// Measures how long a crossing into the kernel takes on the machine where this program runs. `./dev bench` uses the result to
// weigh system calls against instructions.
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/crossing.hpp"
#include "common/facts.hpp"
#include "common/json.hpp"

namespace {

struct Options {
    std::uint64_t nops = 10'000;
    std::size_t runs = 5;
    std::size_t rings = 25;
    std::string json;
};

/// Returns clock units for the least that a system call can do: the least of all runs.
double plain_call(const Options& options) {
    double least = 0;
    for (std::size_t run = 0; run < options.runs; run++) {
        const std::uint64_t start = bench::now();
        for (std::uint64_t i = 0; i < options.nops; i++) (void)::syscall(SYS_getppid);
        const double time = static_cast<double>(bench::now() - start) / static_cast<double>(options.nops);
        least = run == 0 ? time : std::min(least, time);
    }
    return least;
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"The price of a crossing into the kernel, on this machine."};
    app.add_option("--nops", options.nops, "nops in each run")->capture_default_str()->check(CLI::Range(32, 10'000'000));
    app.add_option("--rings", options.rings, "rings, of which the cheapest counts")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    app.add_option("--runs", options.runs, "runs on each ring, of which the least counts")
        ->capture_default_str()
        ->check(CLI::Range(1, 10'000));
    app.add_option("--json", options.json, "write results to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    options.nops = (options.nops + 31) / 32 * 32;
    const std::vector<bench::Crossing> all = bench::measure_crossings(options.nops, options.runs, options.rings);
    const bench::Crossing& crossing = all.front();
    const double call = plain_call(options);
    fmt::print(
        "A crossing (io_uring_enter) takes {0:.0f} {1} on the cheapest of {2} rings ({3:.0f} on the dearest), a nop without it "
        "{4:.0f}, getppid {5:.0f}.\n{6} on each ring, of which the least counts.\n",
        crossing.crossing, bench::clock_unit(), options.rings, all.back().crossing, crossing.nop, call,
        bench::origin(options.runs));
    if (!options.json.empty()) {
        bench::write_json(options.json, "crossing", bench::facts_json(),
                          {fmt::format(R"({{"crossing": {:.2f}, "dearest": {:.2f}, "nop": {:.2f}, "getppid": {:.2f}}})",
                                       crossing.crossing, all.back().crossing, crossing.nop, call)});
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-crossing", [&] { return run(argc, argv); });
}
