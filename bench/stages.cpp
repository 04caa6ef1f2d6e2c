// SPDX-License-Identifier: MIT
// Compares waiting in stages with the kernel's own min-timeout waiting and with a plain wait for one completion. Also measures
// what the loop enter costs in place of io_uring_enter(2).
#include <fmt/format.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
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
#include "wait_ways.hpp"

namespace {

using namespace std::chrono_literals;

struct Options {
    std::uint64_t messages = 0;
    std::uint64_t nops = 0;
    std::size_t runs = 0;
    std::string json;
};

/// How messages arrive: one after the other, their rate, and their number in a run.
struct Arrivals {
    std::string title;
    std::chrono::nanoseconds period;
    unsigned parts;  // of Options::messages
};

const std::vector<Arrivals>& arrivals() {
    static const std::vector<Arrivals> all = {
        {.title = "every 50 us", .period = 50us, .parts = 1},
        {.title = "every 500 us", .period = 500us, .parts = 4},
        {.title = "every 10 ms", .period = 10ms, .parts = 32},
    };
    return all;
}

/// The cost of one run of a way, for each message.
struct Cost {
    double cpu = 0;      // clock units of the thread that waits
    double latency = 0;  // ns from the write of a message until it was taken, on average
    double late = 0;     // the 99th percentile of that time
    double wakeups = 0;  // how often the thread went to sleep
    bench::SystemCalls calls{};
};

struct Case {
    bench::WaitWay* way;
    std::string of;  // the arrivals, or the other work that is measured
    std::vector<double> cpu;
    std::vector<double> latency;
    std::vector<double> late;
    std::vector<double> wakeups;
    bench::SystemCalls calls{};
    std::uint64_t count = 0;
};

std::uint64_t thread_time() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t sleeps() {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return static_cast<std::uint64_t>(usage.ru_nvcsw);
}

/// A pipe for each read in flight, so that a write wakes only one read.
class Messages {
public:
    static constexpr std::uint64_t depth = 64;

    Messages() {
        for (auto& ends : pipes_) {
            if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
        }
    }
    Messages(const Messages&) = delete;
    Messages& operator=(const Messages&) = delete;
    ~Messages() {
        for (const auto& ends : pipes_) {
            for (const int end : ends) ::close(end);
        }
    }
    [[nodiscard]] int reader(std::uint64_t slot) const { return pipes_[slot][0]; }

    /// Writes messages on a thread of its own. Each message contains the time of its write.
    void write(std::uint64_t count, const Arrivals& pattern) const {
        std::uint64_t due = bench::now();
        for (std::uint64_t i = 0; i < count; i++) {
            due += static_cast<std::uint64_t>(pattern.period.count());
            const timespec until{.tv_sec = static_cast<time_t>(due / 1'000'000'000),
                                 .tv_nsec = static_cast<long>(due % 1'000'000'000)};
            while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
            }
            const std::uint64_t message = bench::now();
            if (::write(pipes_[i % depth][1], &message, sizeof message) != sizeof message) std::terminate();
        }
    }

private:
    std::array<std::array<int, 2>, depth> pipes_{};
};

/// Receives a number of messages, with a read in flight for each pipe.
Cost receive(bench::WaitWay& way, std::uint64_t count, const Arrivals& pattern, bench::SystemCallCounter* counter) {
    const Messages messages;
    std::array<std::uint64_t, Messages::depth> buffers{};
    std::vector<double> latencies;
    latencies.reserve(count);
    const auto read = [&](std::uint64_t slot) {
        io_uring_sqe* sqe = way.sqe();
        if (sqe == nullptr) throw std::runtime_error("the SQ is full");
        io_uring_prep_read(sqe, messages.reader(slot), &buffers[slot], sizeof buffers[slot], 0);
        sqe->user_data = slot;
    };
    // Submits another read on a slot only if another message will arrive there.
    std::array<std::uint64_t, Messages::depth> left{};
    for (std::uint64_t i = 0; i < count; i++) left[i % Messages::depth]++;
    const auto take = [&](std::uint64_t slot, int result) {
        if (result != static_cast<int>(sizeof(std::uint64_t))) throw std::runtime_error("a read came back wrong");
        latencies.push_back(static_cast<double>(bench::now() - buffers[slot]));
        if (--left[slot] != 0) read(slot);
    };
    for (std::uint64_t slot = 0; slot < Messages::depth; slot++) {
        if (left[slot] != 0) read(slot);
    }
    Cost cost;
    std::uint64_t cpu = 0;
    std::uint64_t slept = 0;
    const auto work = [&] {
        while (latencies.size() < count) way.wait(take);
    };
    std::thread writer([&] { messages.write(count, pattern); });
    if (counter != nullptr) {
        cost.calls = counter->count(work);
    } else {
        cpu = thread_time();
        slept = sleeps();
        work();
        cpu = thread_time() - cpu;
        slept = sleeps() - slept;
    }
    writer.join();
    std::sort(latencies.begin(), latencies.end());
    double sum = 0;
    for (const double latency : latencies) sum += latency;
    cost.cpu = static_cast<double>(cpu) / static_cast<double>(count);
    cost.wakeups = static_cast<double>(slept) / static_cast<double>(count);
    cost.latency = sum / static_cast<double>(count);
    cost.late = latencies[latencies.size() * 99 / 100];
    return cost;
}

/// Runs a number of nops, each with a submit and a wait of its own.
void run_nops(bench::WaitWay& way, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; i++) {
        io_uring_prep_nop(way.sqe());
        bool came = false;
        way.wait([&](std::uint64_t, int result) { came = result == 0; });
        if (!came) throw std::runtime_error("a nop came back wrong");
    }
}

using Ways = std::vector<std::unique_ptr<bench::WaitWay>>;
using ringstep::Engine;
using ringstep::Enter;
using ringstep::Stage;
using ringstep::Stages;

/// The waits: 32 completions, or one after 2 ms, which the kernel's min-timeout waiting also has, and a wait that needs stages.
Ways waiting_ways() {
    Ways ways;
    ways.push_back(std::make_unique<bench::PlainWait>("one", "liburing, wait for 1",
                                                      [](io_uring* ring) { return io_uring_submit_and_wait(ring, 1); }));
    ways.push_back(
        std::make_unique<bench::PlainWait>("min-timeout", "liburing, min-timeout: 32, or 1 after 2 ms", [](io_uring* ring) {
            __kernel_timespec time{.tv_sec = 10, .tv_nsec = 0};
            io_uring_cqe* cqe = nullptr;
            return io_uring_submit_and_wait_min_timeout(ring, &cqe, 32, &time, 2000, nullptr);
        }));
    const auto stages = [](Stages& face) { return face.submit_and_wait(); };
    const auto add = [&](const std::string& name, const std::string& title, std::vector<Stage> steps, Engine engine) {
        ways.push_back(std::make_unique<bench::LoopWait<Stages>>(name, title, stages, std::span<const Stage>(steps),
                                                                 ringstep::LoopOptions{.engine = engine}));
    };
    add("stages-2", "stages in the kernel: 32, 2 ms; 1", {{32, 2ms}, {1}}, Engine::kernel);
    add("stages-3", "stages in the kernel: 32, 2 ms; 8, 20 ms; 1", {{32, 2ms}, {8, 20ms}, {1}}, Engine::kernel);
    add("stages-2-user", "stages in user space: 32, 2 ms; 1", {{32, 2ms}, {1}}, Engine::user);
    return ways;
}

Ways entering_ways() {
    Ways ways;
    ways.push_back(std::make_unique<bench::PlainWait>("enter", "io_uring_enter",
                                                      [](io_uring* ring) { return io_uring_submit_and_wait(ring, 1); }));
    ways.push_back(std::make_unique<bench::PlainWait>("enter-timeout", "io_uring_enter with a time-out", [](io_uring* ring) {
        __kernel_timespec time{.tv_sec = 1, .tv_nsec = 0};
        io_uring_cqe* cqe = nullptr;
        return io_uring_submit_and_wait_timeout(ring, &cqe, 1, &time, nullptr);
    }));
    const auto plain = [](Enter& face) { return face.submit_and_wait(1); };
    const auto timed = [](Enter& face) { return face.submit_and_wait(1, 1s); };
    for (const Engine engine : {Engine::kernel, Engine::user}) {
        const std::string where = engine == Engine::kernel ? "in the kernel" : "in user space";
        const std::string suffix = engine == Engine::kernel ? "" : "-user";
        const ringstep::LoopOptions options{.engine = engine};
        ways.push_back(std::make_unique<bench::LoopWait<Enter>>("loop" + suffix, "loop enter " + where, plain, options));
        ways.push_back(std::make_unique<bench::LoopWait<Enter>>("loop-timeout" + suffix,
                                                                "loop enter " + where + " with a time-out", timed, options));
    }
    return ways;
}

std::vector<Case> measure_waiting(const Ways& ways, const Options& options) {
    std::vector<Case> cases;
    bench::SystemCallCounter counter;
    for (const Arrivals& pattern : arrivals()) {
        const std::size_t first = cases.size();
        // The fewer messages there are, the longer the time between them.
        const std::uint64_t count = std::max<std::uint64_t>(64, options.messages / pattern.parts);
        for (const auto& way : ways) {
            cases.push_back(
                {.way = way.get(), .of = pattern.title, .cpu = {}, .latency = {}, .late = {}, .wakeups = {}, .count = count});
            (void)receive(*way, 64, arrivals().front(), nullptr);
        }
        for (std::size_t run = 0; run < options.runs; run++) {
            for (std::size_t i = 0; i < ways.size(); i++) {
                Case& test = cases[first + (i + run) % ways.size()];
                const Cost cost = receive(*test.way, count, pattern, nullptr);
                test.cpu.push_back(cost.cpu);
                test.latency.push_back(cost.latency);
                test.late.push_back(cost.late);
                test.wakeups.push_back(cost.wakeups);
            }
        }
        for (std::size_t i = 0; i < ways.size(); i++)
            cases[first + i].calls = receive(*cases[first + i].way, count, pattern, &counter).calls;
    }
    return cases;
}

std::vector<Case> measure_entering(const Ways& ways, const Options& options) {
    std::vector<Case> cases;
    bench::SystemCallCounter counter;
    for (const auto& way : ways) {
        cases.push_back(
            {.way = way.get(), .of = "a nop", .cpu = {}, .latency = {}, .late = {}, .wakeups = {}, .count = options.nops});
        run_nops(*way, options.nops / 10 + 1);
    }
    for (std::size_t run = 0; run < options.runs; run++) {
        for (std::size_t i = 0; i < cases.size(); i++) {
            Case& test = cases[(i + run) % cases.size()];
            const std::uint64_t start = bench::now();
            run_nops(*test.way, options.nops);
            test.cpu.push_back(static_cast<double>(bench::now() - start) / static_cast<double>(options.nops));
        }
    }
    for (Case& test : cases) test.calls = counter.count([&] { run_nops(*test.way, options.nops); });
    return cases;
}

const Case& base_of(const std::vector<Case>& cases, const Case& test) {
    for (const Case& other : cases) {
        if (other.of == test.of) return other;
    }
    return test;
}

double each(std::uint64_t calls, const Case& test) { return static_cast<double>(calls) / static_cast<double>(test.count); }

void print(const std::vector<Case>& waiting, const std::vector<Case>& entering, const Options& options) {
    fmt::print(
        "Messages through pipes, 64 reads in flight. For each message: {} of the thread that waits, how long it lay there, how "
        "often the thread slept. {}.\n\n",
        bench::clock_unit(), bench::origin(options.runs));
    bench::Table table({"way", "messages", bench::clock_unit(), "least", "most", "x wait for 1", "latency, us", "99 %, us",
                        "sleeps", "system calls"});
    for (const Case& test : waiting) {
        const bench::Summary cpu = bench::summarize(test.cpu);
        table.add(
            {test.way->title(), test.of, fmt::format("{:.0f}", cpu.median), fmt::format("{:.0f}", cpu.least),
             fmt::format("{:.0f}", cpu.most), fmt::format("{:.3f}", bench::paired_ratio(test.cpu, base_of(waiting, test).cpu)),
             fmt::format("{:.1f}", bench::summarize(test.latency).median / 1000),
             fmt::format("{:.1f}", bench::summarize(test.late).median / 1000),
             fmt::format("{:.3f}", bench::summarize(test.wakeups).median), fmt::format("{:.3f}", each(test.calls.all, test))});
    }
    table.print();
    fmt::print("\nNops, each submitted and waited for by itself: {} for each.\n\n", bench::clock_unit());
    const bench::Model model = bench::model_from_environment();
    bench::Table nops(model.head({"way", bench::clock_unit(), "least", "most", "x io_uring_enter", "system calls"}));
    for (const Case& test : entering) {
        const bench::Summary summary = bench::summarize(test.cpu);
        nops.add(model.row({test.way->title(), fmt::format("{:.0f}", summary.median), fmt::format("{:.0f}", summary.least),
                            fmt::format("{:.0f}", summary.most),
                            fmt::format("{:.3f}", bench::paired_ratio(test.cpu, base_of(entering, test).cpu)),
                            fmt::format("{:.3f}", each(test.calls.all, test))},
                           summary.median, each(test.calls.all, test)));
    }
    nops.print();
    model.explain();
}

void save(const std::vector<Case>& waiting, const std::vector<Case>& entering, const Options& options) {
    std::vector<std::string> records;
    for (const std::vector<Case>* cases : {&waiting, &entering}) {
        for (const Case& test : *cases) {
            const bench::Summary cpu = bench::summarize(test.cpu);
            records.push_back(fmt::format(
                R"({{"way": {}, "title": {}, "case": {}, "count": {}, "median": {:.2f}, "least": {:.2f}, "most": {:.2f}, )"
                R"("ratio_to_first": {:.4f}, "latency": {:.1f}, "latency_99": {:.1f}, "sleeps": {:.4f}, "system_calls": {}, )"
                R"("io_uring_enter": {}, "samples": {}, "latency_samples": {}}})",
                bench::json_string(test.way->name()), bench::json_string(test.way->title()), bench::json_string(test.of),
                test.count, cpu.median, cpu.least, cpu.most, bench::paired_ratio(test.cpu, base_of(*cases, test).cpu),
                bench::summarize(test.latency).median, bench::summarize(test.late).median,
                bench::summarize(test.wakeups).median, test.calls.all, test.calls.enter, bench::json_numbers(test.cpu),
                bench::json_numbers(test.latency)));
        }
    }
    bench::write_json(options.json, "stages", bench::facts_json(), records);
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"Waiting for requests, in stages and otherwise; and a loop in the place of io_uring_enter()."};
    app.add_option("--messages", options.messages,
                   "messages in each run, where they come fast (default: 3200; 1600 under -icount)");
    app.add_option("--nops", options.nops, "nops in each run (default: 50000; 5000 under -icount)");
    app.add_option("--runs", options.runs, "runs (default: 9; 3 under -icount)");
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    const bool icount = bench::clock_counts_instructions();
    if (options.messages == 0) options.messages = icount ? 1600 : 3200;
    if (options.nops == 0) options.nops = icount ? 5'000 : 50'000;
    if (options.runs == 0) options.runs = icount ? 3 : 9;
    bench::settle();
    const Ways waits = waiting_ways();
    const Ways enters = entering_ways();
    const std::vector<Case> waiting = measure_waiting(waits, options);
    const std::vector<Case> entering = measure_entering(enters, options);
    print(waiting, entering, options);
    if (!options.json.empty()) save(waiting, entering, options);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-stages", [&] { return run(argc, argv); });
}
