// SPDX-License-Identifier: MIT
// Shared by the benchmarks of order between requests. They run nops with the kernel's own features and with loops.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
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

namespace bench {

// All rings have this size.
inline constexpr unsigned order_sq_entries = 64;
inline constexpr unsigned order_cq_entries = 256;

/// A way to run nops in a certain order.
class OrderWay {
public:
    virtual ~OrderWay() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    /// Returns a title of a few words, for people.
    [[nodiscard]] virtual std::string title() const = 0;
    /// Runs `total` nops, `length` in a chain or from one barrier to the next. Throws unless each has completed in a valid
    /// order.
    virtual void run(std::uint64_t total, std::uint64_t length) = 0;
    /// Returns the times of the last run's parts in clock units: pushing, running, taking completions. All are 0 if not known.
    [[nodiscard]] virtual std::array<std::uint64_t, 3> parts() const { return {}; }

protected:
    /// Adds the time since the last call to `part`.
    static void pass(std::uint64_t& since, std::uint64_t& part) {
        const std::uint64_t time = now();
        part += time - since;
        since = time;
    }
    static void expect(bool good, const char* what) {
        if (!good) throw std::runtime_error(what);
    }
};

/// Runs the nops with a loop of the library, a fixed number in each run.
template <class Face>
class OrderLoopWay : public OrderWay {
public:
    OrderLoopWay(std::string loop, ringstep::Engine engine, std::uint64_t batch)
        : loop_(std::move(loop)), batch_(batch), face_(ring_, {.engine = engine}) {
        engine_ = face_.program().engine() == ringstep::Engine::kernel ? "kernel" : "user";
    }
    [[nodiscard]] std::string name() const override { return fmt::format("{}-{}", engine_, batch_); }
    [[nodiscard]] std::string title() const override {
        return fmt::format("loop {}, {}, {} nops in each run", loop_, engine_, batch_);
    }
    [[nodiscard]] std::array<std::uint64_t, 3> parts() const override { return parts_; }

protected:
    /// Runs `total` nops. `push(face, number)` must push some nops, the first with number `number`, and return how many.
    void run_all(std::uint64_t total, auto& checker, const auto& push) {
        parts_ = {};
        std::uint64_t since = now();
        for (std::uint64_t number = 0; number < total;) {
            for (const std::uint64_t end = number + batch_; number < end;) number += push(face_, number);
            pass(since, parts_[0]);
            expect(face_.run().ok(), "the loop ended otherwise than it should");
            pass(since, parts_[1]);
            for (const auto& completion : face_.completions()) checker.came(completion.user_data, completion.result);
            pass(since, parts_[2]);
        }
        expect(checker.good(total), "nops came back wrong");
    }

private:
    std::string loop_;
    std::string_view engine_;
    std::uint64_t batch_;
    std::array<std::uint64_t, 3> parts_{};
    ringstep::Ring ring_{{.sq_entries = order_sq_entries, .cq_entries = order_cq_entries}};
    Face face_;
};

/// A benchmark of several ways. All are compared with the last one.
class OrderBench {
public:
    OrderBench(std::string name, std::string heading, std::string length_name)
        : name_(std::move(name)), heading_(std::move(heading)), length_name_(std::move(length_name)) {}

    void add(std::unique_ptr<OrderWay> way) { ways_.push_back(std::move(way)); }

    /// Calls `add_ways`, which calls add(), after it has read the options. So --help works even if the kernel lacks a feature
    /// that a way needs.
    template <typename AddWays>
    int main(int argc, char** argv, std::vector<std::uint64_t> lengths, AddWays&& add_ways) {
        CLI::App app{heading_};
        app.add_option("--nops", nops_, "nops in each run (default: 16384 under -icount, otherwise 131072)");
        app.add_option("--runs", runs_, "runs (default: 5 under -icount, otherwise 15)");
        app.add_option("--lengths", lengths, length_name_)->delimiter(',')->capture_default_str();
        app.add_option("--json", json_, "write results and all samples to this file");
        app.footer(std::string(program::status_help));
        CLI11_PARSE(app, argc, argv);
        if (nops_ == 0) nops_ = clock_counts_instructions() ? 16'384 : 131'072;
        if (runs_ == 0) runs_ = clock_counts_instructions() ? 5 : 15;
        nops_ = (nops_ + 2047) / 2048 * 2048;  // whole batches of each way
        std::forward<AddWays>(add_ways)();
        settle();
        for (const std::uint64_t length : lengths) {
            for (const auto& way : ways_)
                cases_.push_back({.way = way.get(), .length = length, .samples = {}, .calls = {}, .parts = {}});
        }
        measure();
        SystemCallCounter counter;
        for (Case& test : cases_) {
            test.calls = counter.count([&] { test.way->run(nops_, test.length); });
            test.way->run(nops_, test.length);
            test.parts = test.way->parts();
        }
        report();
        return 0;
    }

private:
    struct Case {
        OrderWay* way;
        std::uint64_t length;
        std::vector<double> samples;  // clock units for each nop
        SystemCalls calls;
        std::array<std::uint64_t, 3> parts{};

        [[nodiscard]] double part(std::size_t which, std::uint64_t nops) const {
            return static_cast<double>(parts.at(which)) / static_cast<double>(nops);
        }
    };

    /// Runs the ways in turn. Each run begins with another way.
    void measure() {
        for (const Case& test : cases_) test.way->run(2048, test.length);
        for (std::size_t run = 0; run < runs_; run++) {
            for (std::size_t i = 0; i < cases_.size(); i++) {
                Case& test = cases_[(i + run) % cases_.size()];
                const std::uint64_t start = now();
                test.way->run(nops_, test.length);
                test.samples.push_back(static_cast<double>(now() - start) / static_cast<double>(nops_));
            }
        }
    }

    const Case& base_of(const Case& test) const {
        const Case* base = &test;
        for (const Case& other : cases_) {
            if (other.length == test.length) base = &other;
        }
        return *base;
    }

    [[nodiscard]] std::string part_text(const Case& test, std::size_t which) const {
        return test.parts[1] == 0 ? "" : fmt::format("{:.1f}", test.part(which, nops_));
    }

    void report() const {
        fmt::print("{}: {} for each nop. {}, {} nops a run.\n\n", heading_, clock_unit(), origin(runs_), grouped(nops_));
        const Model model = model_from_environment();
        Table table(model.head({"way", length_name_, clock_unit(), "least", "most", "spread", "x the last", "system calls",
                                "io_uring_enter", "pushing", "running", "taking"}));
        std::vector<std::string> records;
        for (const Case& test : cases_) {
            const Summary summary = summarize(test.samples);
            const double ratio = paired_ratio(test.samples, base_of(test).samples);
            const double calls = static_cast<double>(test.calls.all) / static_cast<double>(nops_);
            table.add(model.row({test.way->title(), test.length == 0 ? "none" : std::to_string(test.length),
                                 fmt::format("{:.1f}", summary.median), fmt::format("{:.1f}", summary.least),
                                 fmt::format("{:.1f}", summary.most), fmt::format("{:.1f} %", 100 * summary.spread()),
                                 fmt::format("{:.3f}", ratio), grouped(test.calls.all), grouped(test.calls.enter),
                                 part_text(test, 0), part_text(test, 1), part_text(test, 2)},
                                summary.median, calls));
            records.push_back(fmt::format(
                R"({{"way": {}, "title": {}, "depth": {}, "label": {}, "nops": {}, "median": {:.2f}, "least": {:.2f}, )"
                R"("most": {:.2f}, "ratio": {:.4f}, "system_calls": {}, "io_uring_enter": {}, )"
                R"("pushing": {:.1f}, "running": {:.1f}, "taking": {:.1f}, "model_ns": {}, "samples": {}}})",
                json_string(test.way->name()), json_string(test.way->title()), test.length,
                json_string(fmt::format("{} {}", length_name_, test.length == 0 ? "none" : std::to_string(test.length))), nops_,
                summary.median, summary.least, summary.most, ratio, test.calls.all, test.calls.enter, test.part(0, nops_),
                test.part(1, nops_), test.part(2, nops_), model.json(summary.median, calls), json_numbers(test.samples)));
        }
        table.print();
        model.explain();
        fmt::print("\n");
        if (!json_.empty()) write_json(json_, name_, facts_json(), records);
    }

    std::string name_, heading_, length_name_, json_;
    std::vector<std::unique_ptr<OrderWay>> ways_;
    std::vector<Case> cases_;
    std::uint64_t nops_ = 0;
    std::size_t runs_ = 0;
};

}  // namespace bench
