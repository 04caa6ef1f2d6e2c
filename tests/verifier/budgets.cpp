// SPDX-License-Identifier: MIT
// What the verifier spends on each loop, in the running kernel, beside what it may spend.
//
// Usage: verifier-budgets measure LOOPS KERNEL               writes lines for the table: what was measured, and the margin
//        verifier-budgets check LOOPS TABLE KERNEL [RING]    fails where a loop has no budget, or has outgrown it
//        verifier-budgets accept OBJECT…                     fails where the verifier refuses an object
// KERNEL is the name of the running kernel in the table: its series, or `next` for the newest one with our patches.
// The file LOOPS has a line NAME=OBJECT for each loop. A line NAME@RING=OBJECT limits the loop to that kind of ring.
// TABLE is bpf/budgets.csv, which ./dev budgets writes. With RING, `check` looks at that kind of ring only, unless
// RINGSTEP_THOROUGH is set.
//
// Why not veristat: it loads an object as it is, and a loop is a program only once its geometry is filled in. With that all
// zeroes the verifier refuses it at the first look into the state, and Debian 13's veristat, 0.4, can set no global variables.
// Here the geometry is that of a ring which this kernel has opened.
//
// A budget is the figure measured and a quarter. A newer clang or another build of the same kernel moves figures by up to a
// sixth; what the budgets are there to catch, a loop that the verifier no longer finds to repeat itself, multiplies them.
#include "thorough.hpp"
#include "verifier/load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace {

constexpr std::string_view header = "kernel,loop,ring,instructions,stack";

struct Loop {
    std::string name, object;
    std::string ring;  // empty: it has budgets on all kinds of rings
};

struct Kind {
    std::string_view name;
    ringstep::RingOptions options;
};

struct Cost {
    unsigned long instructions = 0, stack = 0;
};

using Key = std::tuple<std::string, std::string, std::string>;  // kernel, loop, ring
using Table = std::map<Key, Cost>;

// The verifier sees another program for each: sizes and shifts are constants to it, and what they exclude is dead code. The
// number of entries changes nothing ("Large rings verify" in tests/program.cpp loads loops for the largest).
const std::array<Kind, 3> kinds{{
    {"usual", {.sq_entries = 64, .cq_entries = 256}},
    {"no-rewind", {.sq_entries = 64, .cq_entries = 256, .sq_rewind = false}},
    {"long-entries", {.sq_entries = 64, .cq_entries = 256, .cqe32 = true, .sqe128 = true}},
}};

// Returns the two numbers of a series. A kernel that has a name instead is newer than all series.
std::pair<unsigned, unsigned> series_of(const std::string& kernel) {
    std::pair<unsigned, unsigned> series{~0U, 0};
    (void)std::sscanf(kernel.c_str(), "%u.%u", &series.first, &series.second);
    return series;
}

std::vector<Loop> read_loops(const std::string& path) {
    std::vector<Loop> loops;
    std::ifstream stream(path);
    for (std::string line; std::getline(stream, line);) {
        const std::size_t equals = line.find('=');
        if (equals == std::string::npos) continue;
        const std::size_t at = std::min(line.find('@'), equals);
        loops.push_back(
            {line.substr(0, at), line.substr(equals + 1), at == equals ? "" : line.substr(at + 1, equals - at - 1)});
    }
    if (loops.empty()) throw std::runtime_error("no loops in " + path);
    return loops;
}

Table read_table(const std::string& path) {
    Table table;
    std::ifstream stream(path);
    std::string line;
    if (!std::getline(stream, line) || line != header)
        throw std::runtime_error(fmt::format("{} does not begin with the line {}", path, header));
    while (std::getline(stream, line)) {
        std::array<char, 64> kernel{}, loop{}, ring{};
        Cost cost;
        if (std::sscanf(line.c_str(), "%63[^,],%63[^,],%63[^,],%lu,%lu", kernel.data(), loop.data(), ring.data(),
                        &cost.instructions, &cost.stack) != 5)
            throw std::runtime_error(fmt::format("{}: not a budget: {}", path, line));
        table[{kernel.data(), loop.data(), ring.data()}] = cost;
    }
    return table;
}

// A loop that is too large for the kernel's verifier costs nothing: it runs by the user engine there.
Cost measure(const Loop& loop, const Kind& kind) {
    const ringstep::Ring ring(kind.options);
    const verifier::Verdict verdict = verifier::load(verifier::read_file(loop.object), ring);
    if (verdict.error == E2BIG) return {};
    if (verdict.error != 0 || verdict.instructions == 0 || verdict.stack == 0)
        throw std::runtime_error(
            fmt::format("{} on the {} ring: errno {}\n{}", loop.name, kind.name, verdict.error, verdict.log));
    return {verdict.instructions, verdict.stack};
}

// Rounded up, so that the table does not look more exact than it is.
unsigned long with_margin(unsigned long measured, unsigned long step) {
    const unsigned long margin = (measured + 3) / 4;
    return (measured + margin + step - 1) / step * step;
}

void print_budgets(const std::vector<Loop>& loops, const std::string& kernel) {
    for (const Loop& loop : loops) {
        for (const Kind& kind : kinds) {
            if (!loop.ring.empty() && loop.ring != kind.name) continue;
            const Cost cost = measure(loop, kind);
            fmt::print("{},{},{},{},{}\n", kernel, loop.name, kind.name, with_margin(cost.instructions, 10),
                       with_margin(cost.stack, 8));
        }
    }
}

// Returns the kernel whose budgets hold: the running one, or for one that the table does not know yet the newest before it.
std::string budgeted(const Table& table, const std::string& running) {
    std::string best;
    for (const auto& [key, cost] : table) {
        const std::string& kernel = std::get<0>(key);
        if (kernel == running) return kernel;
        if (series_of(kernel) <= series_of(running) && (best.empty() || series_of(best) < series_of(kernel))) best = kernel;
    }
    if (best.empty()) throw std::runtime_error("the table has no budgets for this kernel, nor for an older one");
    return best;
}

bool check(const std::vector<Loop>& loops, const std::string& path, const std::string& running, std::string_view ring) {
    const Table table = read_table(path);
    const std::string kernel = budgeted(table, running);
    std::vector<std::string> faults;
    std::set<std::string> names;

    if (kernel != running) fmt::print("{} has no budgets of its own: held to those of {}\n", running, kernel);
    fmt::print("{:12} {:14} {:>12} {:>8} {:>6} {:>8}\n", "loop", "ring", "instructions", "budget", "stack", "budget");
    for (const Loop& loop : loops) {
        names.insert(loop.name);
        for (const Kind& kind : kinds) {
            if ((!loop.ring.empty() && loop.ring != kind.name) || (!ring.empty() && ring != kind.name)) continue;
            const Cost cost = measure(loop, kind);
            const auto budget = table.find({kernel, loop.name, std::string(kind.name)});
            if (budget == table.end()) {
                faults.push_back(fmt::format("{} on the {} ring has no budget: {} instructions, {} bytes of stack", loop.name,
                                             kind.name, cost.instructions, cost.stack));
                continue;
            }
            const Cost& allowed = budget->second;
            fmt::print("{:12} {:14} {:12} {:8} {:6} {:8}\n", loop.name, kind.name, cost.instructions, allowed.instructions,
                       cost.stack, allowed.stack);
            if (cost.instructions == 0 && allowed.instructions != 0)
                faults.push_back(fmt::format("{} on the {} ring: too large for the verifier", loop.name, kind.name));
            if (cost.instructions > allowed.instructions && allowed.instructions != 0)
                faults.push_back(fmt::format("{} on the {} ring: {} instructions, its budget is {}", loop.name, kind.name,
                                             cost.instructions, allowed.instructions));
            if (cost.stack > allowed.stack && allowed.stack != 0)
                faults.push_back(fmt::format("{} on the {} ring: {} bytes of stack, its budget is {}", loop.name, kind.name,
                                             cost.stack, allowed.stack));
        }
    }
    for (const auto& [key, cost] : table) {
        if (names.insert(std::get<1>(key)).second) faults.push_back(std::get<1>(key) + " has a budget and is no loop");
    }
    for (const std::string& fault : faults) fmt::print("FAILED: {}\n", fault);
    if (!faults.empty()) fmt::print("If that is as it should be: ./dev budgets, and look at what it changes in {}\n", path);
    return faults.empty();
}

}  // namespace

int main(int argc, char** argv) try {
    const std::vector<std::string_view> arguments(argv + 1, argv + argc);
    if (arguments.size() == 3 && arguments[0] == "measure") {
        print_budgets(read_loops(argv[2]), argv[3]);
        return 0;
    }
    if ((arguments.size() == 4 || arguments.size() == 5) && arguments[0] == "check") {
        const std::string_view ring = arguments.size() == 5 && rounds(0, 1) == 0 ? arguments[4] : std::string_view{};
        return check(read_loops(argv[2]), argv[3], argv[4], ring) ? 0 : 1;
    }
    if (arguments.size() > 1 && arguments[0] == "accept") {
        for (const std::string_view object : arguments | std::views::drop(1)) {
            const ringstep::Ring ring(kinds[0].options);
            const verifier::Verdict verdict = verifier::load(verifier::read_file(std::string(object)), ring);
            if (verdict.error != 0)
                throw std::runtime_error(fmt::format("{} is refused: errno {}\n{}", object, verdict.error, verdict.log));
        }
        fmt::print("{} objects are accepted\n", arguments.size() - 1);
        return 0;
    }
    fmt::print(stderr, "usage: verifier-budgets measure LOOPS | check LOOPS TABLE [RING] | accept OBJECT…\n");
    return 2;
} catch (const std::exception& error) {
    fmt::print(stderr, "verifier-budgets: {}\n", error.what());
    return 1;
}
