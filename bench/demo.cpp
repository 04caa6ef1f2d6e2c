// SPDX-License-Identifier: MIT
// Shows what ringstep does, in one table, to people who have never seen it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/facts.hpp"
#include "common/files.hpp"
#include "common/system_calls.hpp"
#include "common/table.hpp"
#include "copy_ways.hpp"
#include "nop_ways.hpp"

namespace {

constexpr std::uint64_t million = 1'000'000;
constexpr unsigned copy_depth = 32;
constexpr std::size_t copy_block = 128 << 10;

struct Options {
    std::string file;
    std::uint64_t mebibytes = 256;
};

/// One line of the table.
struct Row {
    std::string what;
    std::string operations;
    bench::SystemCalls calls;
    double seconds = 0;
    double each = 0;  // seconds for one operation
    double base = 0;  // seconds for one operation with ringstep
};

double seconds_since(std::uint64_t start) { return static_cast<double>(bench::now() - start) / 1e9; }

std::string duration(double seconds) {
    return seconds < 10e-6 ? fmt::format("{:.0f} ns", seconds * 1e9)
           : seconds < 1   ? fmt::format("{:.0f} ms", seconds * 1e3)
                           : fmt::format("{:.2f} s", seconds);
}

class Demo {
public:
    explicit Demo(Options options) : options_(std::move(options)) {}

    /// Returns false if any result is wrong.
    bool run() {
        fmt::print(
            "A program that uses io_uring enters the kernel again and again: to submit requests, and to learn what has come of "
            "them.\n"
            "With ringstep the program's event loop runs inside the kernel, and one system call is enough for all of it.\n\n");
        nops();
        copies();
        print();
        for (const std::string& fault : faults_) fmt::print("FAIL: {}\n", fault);
        if (faults_.empty())
            fmt::print("PASS: every operation was checked, the copies are identical, and each loop took one io_uring_enter.\n");
        return faults_.empty();
    }

private:
    void expect(bool good, std::string fault) {
        if (!good) faults_.push_back(std::move(fault));
    }

    // --- One million small requests, each waiting for the one before it
    // -----------------------------------------------------------

    /// Measures the time first. Then runs again and counts the system calls, because counting takes time.
    Row nop_row(bench::NopWay& way, const std::string& what, std::uint64_t nops) {
        const std::uint64_t start = bench::now();
        way.run(nops, 1);
        const double seconds = seconds_since(start);
        Row row;
        row.what = what;
        row.operations = bench::grouped(nops) + " nops";
        row.seconds = seconds;
        row.each = seconds / static_cast<double>(nops);
        row.calls = counter_.count([&] { way.run(nops, 1); });
        return row;
    }

    /// Returns how many nops this machine runs in a few seconds with a system call for each, at most a million.
    static std::uint64_t affordable(bench::NopWay& way) {
        constexpr std::uint64_t trial = 20'000;
        way.run(trial, 1);
        const std::uint64_t start = bench::now();
        way.run(trial, 1);
        const double each = seconds_since(start) / static_cast<double>(trial);
        const auto nops = static_cast<std::uint64_t>(4.0 / each) / 100'000 * 100'000;
        return std::clamp<std::uint64_t>(nops, 100'000, million);
    }

    void nops() {
        say("requests that do nothing (nops), one after the other …");
        bench::EnterWay enter;
        bench::LinkWay link;
        bench::LoopWay loop;
        const std::uint64_t nops = affordable(enter);
        link.run(10'000, 1);
        loop.run(10'000, 1);
        const std::size_t first = rows_.size();
        rows_.push_back(nop_row(enter, "io_uring, one call for each", nops));
        rows_.push_back(nop_row(link, "io_uring, one call for a linked pair", nops));
        rows_.push_back(nop_row(loop, "ringstep", million));
        for (std::size_t i = first; i < rows_.size(); i++) rows_[i].base = rows_.back().each;
        expect(rows_.back().calls.all == 1 && rows_.back().calls.enter == 1,
               fmt::format("a million nops took {} system calls, not one", rows_.back().calls.all));
    }

    // --- A large file
    // -------------------------------------------------------------------------------------------------------------

    /// Copies the file, and stores the time if it is the best so far. Counting the calls hardly takes time, because there are
    /// few.
    bench::File copy(bench::CopyWay& way, const bench::File& source, Row& row) {
        bench::File output = folder_.create("copy");
        row.calls = counter_.count([&] {
            const std::uint64_t start = bench::now();
            way.run(source.fd(), output.fd());
            const double seconds = seconds_since(start);
            row.seconds = row.seconds > 0 ? std::min(row.seconds, seconds) : seconds;
        });
        row.each = row.seconds;
        return output;
    }

    void check_copy(const bench::CopyWay& way, const bench::File& output, const bench::Contents& original,
                    std::uint32_t checksum) {
        const bench::Contents contents(output);
        const std::uint32_t copied_checksum = contents.checksum();
        const bool same = contents == original;
        notes_.push_back(fmt::format("CRC-32 of the copy by {}: {:08x}, {}", way.name(), copied_checksum,
                                     same ? "identical to the original, byte for byte" : "NOT the original"));
        expect(same && copied_checksum == checksum, "the copy by " + way.name() + " is not the original");
    }

    void copies() {
        say(fmt::format("reading {} MiB of {} into memory …", options_.mebibytes, options_.file));
        const bench::File file(options_.file, O_RDONLY);
        const std::uint64_t wanted = std::min(file.size(), options_.mebibytes << 20);
        if (folder_.free_bytes() < 2 * wanted + (32ULL << 20)) {
            throw std::runtime_error(
                fmt::format("{} MiB in memory and a copy of it do not fit into /dev/shm: {} MiB are free there. "
                            "Run with more memory, or with a smaller --size.",
                            wanted >> 20, folder_.free_bytes() >> 20));
        }
        const bench::File source = folder_.create("source");
        const std::uint64_t staged = bench::stage(file.fd(), source.fd(), wanted);
        if (staged != wanted) throw std::runtime_error(options_.file + " became shorter while it was read");
        const bench::Contents original(source);
        const std::uint32_t checksum = original.checksum();
        notes_.push_back(fmt::format("CRC-32 of the original, {} {} bytes of {}: {:08x}",
                                     staged == file.size() ? "all" : "the first", bench::grouped(staged), options_.file,
                                     checksum));

        say(fmt::format("copying it, {} blocks of {} KiB at a time …", copy_depth, copy_block >> 10));
        bench::UringCopy plain(copy_depth, copy_block);
        bench::LoopCopy loop(copy_depth, copy_block);
        Row by_plain;
        Row by_loop;
        by_plain.what = "io_uring, one call for each batch";
        by_loop.what = "ringstep";
        by_plain.operations = by_loop.operations = fmt::format("copy of {} MiB", staged >> 20);
        // Each way runs twice, in turn, because the first copy is slower regardless of the way.
        check_copy(plain, copy(plain, source, by_plain), original, checksum);
        check_copy(loop, copy(loop, source, by_loop), original, checksum);
        (void)copy(loop, source, by_loop);
        (void)copy(plain, source, by_plain);
        by_plain.base = by_loop.base = by_loop.each;
        expect(by_loop.calls.enter == 1, fmt::format("copying took {} io_uring_enter, not one", by_loop.calls.enter));
        rows_.push_back(by_plain);
        rows_.push_back(by_loop);
    }

    // ------------------------------------------------------------------------------------------------------------------------------

    static void say(const std::string& what) { program::print_error("ringstep-demo: {}\n", what); }

    void print() const {
        bench::Table table(
            {"way", "operations", "system calls", "of them io_uring_enter", "time", "time for one", "time, ringstep = 1"});
        for (const Row& row : rows_) {
            table.add({row.what, row.operations, bench::grouped(row.calls.all), bench::grouped(row.calls.enter),
                       duration(row.seconds), duration(row.each), fmt::format("{:.2f}", row.each / row.base)});
        }
        table.print();
        fmt::print(
            "\n{}; of the copies, the better of 2. System calls counted by the kernel's tracepoints.\n"
            "Loading the loops, once for each, is not in the times. A copy spends its time on moving bytes: there a loop saves "
            "calls, and\n"
            "time only as far as calls are dear.\n",
            bench::origin(1));
        for (const std::string& note : notes_) fmt::print("{}.\n", note);
        fmt::print("\n");
    }

    Options options_;
    bench::SystemCallCounter counter_;
    bench::MemoryFolder folder_;
    std::vector<Row> rows_;
    std::vector<std::string> notes_;
    std::vector<std::string> faults_;
};

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"Event loops in the kernel: one system call for a million requests, or for the copy of a file."};
    app.add_option("--file", options.file, "a large file to copy; its start is read into memory first")
        ->required()
        ->check(CLI::ExistingFile);
    app.add_option("--size", options.mebibytes, "MiB of it to copy, at most")->capture_default_str();
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    return Demo(options).run() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("ringstep-demo", [&] { return run(argc, argv); });
}
