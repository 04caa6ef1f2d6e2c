// SPDX-License-Identifier: MIT
// Measures servers: what a request costs the server's thread, and how long its answer takes, by epoll, by liburing, and by a
// loop with each engine.
#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <ringstep/format.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
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
#include "network_clients.hpp"
#include "network_ways.hpp"

namespace {

using bench::network::Clients;
using bench::network::Load;

struct Options {
    std::uint64_t requests = 0;
    std::size_t runs = 0;
    std::vector<std::size_t> connections;
    std::vector<std::size_t> sizes{64, 16384};
    std::vector<std::size_t> pipelines{1, 16};
    std::vector<std::string> jobs{"GET", "ECHO"};
    std::uint64_t rate = 0;
    std::vector<std::string> ways;
    std::string json;
};

/// Returns the processors that this process may use. The first call asks the kernel, and must come before pin() restricts any
/// thread: a new thread has the restriction of the thread that creates it.
const cpu_set_t& allowed_processors() {
    static const cpu_set_t allowed = [] {
        cpu_set_t set;
        CPU_ZERO(&set);
        (void)::sched_getaffinity(0, sizeof set, &set);
        return set;
    }();
    return allowed;
}

/// Keeps this thread on one processor, if there is more than one. Returns its number.
int pin(unsigned number) {
    const cpu_set_t& allowed = allowed_processors();
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&allowed) > 1; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || number-- != 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (::sched_setaffinity(0, sizeof one, &one) != 0)
            throw std::system_error(errno, std::generic_category(), "sched_setaffinity");
        break;
    }
    return ::sched_getcpu();
}

/// Runs a server on a thread of its own, and measures the processor time of that thread.
class Served {
public:
    Served(std::string name, std::string title, std::unique_ptr<bench::network::ServerWay> way)
        : name_(std::move(name)), title_(std::move(title)), way_(std::move(way)) {
        std::promise<void> ready;
        thread_ = std::jthread([this, &ready] {
            bool is_ready = false;
            try {
                processor_ = pin(0);
                number_ = ::gettid();
                way_->serve(listener_.fd(), [&] {
                    is_ready = true;
                    ready.set_value();
                });
            } catch (const std::exception& error) {
                if (!is_ready) return ready.set_exception(std::current_exception());
                program::print_error("bench-network: {}: {}\n", name_, error.what());
                std::_Exit(program::exit_failed);
            }
        });
        ready.get_future().get();
        ready_ = true;
        if (::pthread_getcpuclockid(thread_.native_handle(), &clock_) != 0) throw std::runtime_error("pthread_getcpuclockid");
    }
    Served(const Served&) = delete;
    Served& operator=(const Served&) = delete;
    ~Served() {
        if (ready_) way_->request_stop();
    }

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::string& title() const { return title_; }
    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }
    [[nodiscard]] pid_t thread() const { return number_; }
    /// Returns the processor that the thread is kept on.
    [[nodiscard]] int processor() const { return processor_; }
    /// Returns the processor time that the server has used, in clock units.
    [[nodiscard]] std::uint64_t time() const {
        timespec time{};
        ::clock_gettime(clock_, &time);
        return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
    }

private:
    std::string name_;
    std::string title_;
    std::unique_ptr<bench::network::ServerWay> way_;
    ringstep::Listener listener_{"127.0.0.1", 0};
    clockid_t clock_{};
    pid_t number_ = 0;
    int processor_ = 0;
    bool ready_ = false;
    std::jthread thread_;
};

struct Job {
    std::string name;
    std::size_t size;
    std::size_t connections;
    Load load;
    [[nodiscard]] std::uint64_t count() const { return load.rounds * connections * load.pipeline; }
};

/// What the latencies of a run say, in nanoseconds.
struct Percentile {
    const char* name;
    double part;
};
constexpr std::array<Percentile, 3> percentiles{{{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}}};

struct Case {
    const Job* job;
    const Served* server;
    std::vector<double> samples;  // processor time of the server for each request
    std::vector<double> whole;    // time for each request
    std::uint64_t timeouts;       // of TCP
    std::array<std::vector<double>, percentiles.size()> latencies;
    std::optional<bench::SystemCalls> calls;  // of the server in a run
    [[nodiscard]] double each(std::uint64_t bench::SystemCalls::* which) const {
        return calls ? static_cast<double>((*calls).*which) / static_cast<double>(job->count()) : 0;
    }
    [[nodiscard]] std::string cell(std::uint64_t bench::SystemCalls::* which) const {
        return calls ? fmt::format("{:.3f}", each(which)) : "-";
    }
};

/// Counts the system calls that a server makes during `work`. Returns nullopt where that needs more rights: root, and a mounted
/// tracefs.
std::optional<bench::SystemCalls> count_calls(const Served& server, const std::function<void()>& work) {
    static bool can = true;
    if (!can) return std::nullopt;
    try {
        return bench::SystemCallCounter(server.thread()).count(work);
    } catch (const std::system_error& error) {
        can = false;
        program::print_error("bench-network: without system calls: {}\n", error.what());
        return std::nullopt;
    }
}

/// Where instructions are counted, there is one processor, and latencies mean nothing: all connections send, and then receive.
void run(const Job& job, Clients& clients, std::vector<double>& latencies) {
    if (bench::clock_counts_instructions()) {
        for (std::uint64_t i = 0; i < job.load.rounds; i++) clients.round(job.load, false);
    } else {
        clients.follow(job.load, latencies);
    }
    ::usleep(200);  // what the server does after the last answer
}

void sample(Case& test, Clients& clients) {
    const std::uint64_t before = test.server->time();
    const std::uint64_t start = bench::now();
    std::vector<double> latencies;
    latencies.reserve(test.job->count());
    const std::uint64_t timeouts = bench::network::tcp_timeouts();
    run(*test.job, clients, latencies);
    const double count = static_cast<double>(test.job->count());
    test.whole.push_back(static_cast<double>(bench::now() - start) / count);
    test.samples.push_back(static_cast<double>(test.server->time() - before) / count);
    test.timeouts += bench::network::tcp_timeouts() - timeouts;
    for (std::size_t i = 0; i < percentiles.size(); i++)
        if (!latencies.empty()) test.latencies[i].push_back(bench::percentile(latencies, percentiles[i].part));
}

Job make_job(const Options& options, const std::string& name, std::size_t size, std::size_t connections, std::size_t pipeline) {
    Job job{.name = name, .size = size, .connections = connections, .load = {}};
    job.load.pipeline = pipeline;
    for (std::size_t i = 0; i < pipeline; i++) {
        const std::string key = bench::network::key_of(i % (NETWORK_ENTRIES / 4));
        const std::string value = key + std::string(size - key.size(), 'v');
        job.load.requests += name == "GET" ? "GET " + key + "\r\n" : "ECHO " + value + "\r\n";
        job.load.answers += value + "\r\n";
    }
    const std::uint64_t requests = size > 64 ? options.requests / 8 : options.requests;
    job.load.rounds = std::max<std::uint64_t>(requests / (connections * pipeline), 2);
    if (options.rate > 0) job.load.interval = std::max<std::uint64_t>(1'000'000'000 * pipeline / options.rate, 1);
    return job;
}

template <class Size>
std::vector<std::unique_ptr<Served>> make_servers(const Options& options, std::size_t size) {
    using namespace bench::network;
    std::vector<std::unique_ptr<Served>> servers;
    const auto add = [&](const char* name, const char* title, auto make) {
        const bool asked = std::ranges::find(options.ways, name) != options.ways.end();
        if (!options.ways.empty() && !asked) return;
        try {
            servers.push_back(std::make_unique<Served>(name, title, make()));
        } catch (const ringstep::Error& error) {
            if (asked || std::string_view(name) != "kernel") throw;
            program::print_error("bench-network: without the kernel engine: {}\n", error.what());
        }
    };
    add("epoll", "epoll", [&] { return std::make_unique<EpollServer<Size>>(size); });
    add("liburing", "liburing", [&] { return std::make_unique<UringServer<Size>>(size); });
    add("user", "ringstep, user engine", [&] { return std::make_unique<LoopServer<Size>>(ringstep::Engine::user, size); });
    add("kernel", "ringstep, kernel engine",
        [&] { return std::make_unique<LoopServer<Size>>(ringstep::Engine::kernel, size); });
    return servers;
}

/// Measures all jobs with values of one size, and adds a record for each way.
template <class Size>
void measure(const Options& options, std::size_t size, const bench::Model& model, std::vector<std::string>& records) {
    const std::vector<std::unique_ptr<Served>> servers = make_servers<Size>(options, size);
    for (const auto& server : servers)
        if (CPU_COUNT(&allowed_processors()) > 1 && server->processor() == ::sched_getcpu())
            throw std::logic_error("a server and its load are on the same processor");
    std::vector<Job> jobs;
    for (const std::size_t connections : options.connections)
        for (const std::string& name : options.jobs)
            for (const std::size_t pipeline : options.pipelines)
                jobs.push_back(make_job(options, name, size, connections, pipeline));
    std::vector<Case> cases;
    for (const Job& job : jobs) {
        const std::size_t first = cases.size();
        std::vector<std::unique_ptr<Clients>> clients;
        for (const auto& server : servers) {
            cases.push_back(
                {.job = &job, .server = server.get(), .samples = {}, .whole = {}, .timeouts = 0, .latencies = {}, .calls = {}});
            clients.push_back(std::make_unique<Clients>(server->port(), job.connections));
            for (int i = 0; i < 3; i++) clients.back()->round(job.load, true);
        }
        for (std::size_t number = 0; number < options.runs; number++) {
            for (std::size_t i = 0; i < servers.size(); i++) {
                const std::size_t which = (i + number) % servers.size();
                sample(cases[first + which], *clients[which]);
            }
        }
        for (std::size_t i = 0; i < servers.size(); i++) {
            std::vector<double> latencies;
            latencies.reserve(job.count());
            cases[first + i].calls = count_calls(*servers[i], [&] { run(job, *clients[i], latencies); });
        }
    }

    fmt::print("Servers, values of {} bytes: {} of the server's thread for each request. {}.\n\n", size, bench::clock_unit(),
               bench::origin(options.runs));
    bench::Table table(model.head({"way", "job", "connections", "pipeline", bench::clock_unit(), "least", "most", "x epoll",
                                   "x liburing", "both sides", "system calls", "io_uring_enter"}));
    bench::Table latencies({"way", "job", "connections", "pipeline", "requests", "p50", "p99", "p99.9", "p50 x epoll",
                            "x liburing", "p99 x epoll", "x liburing", "p99.9 x epoll", "x liburing", "TCP timeouts"});
    for (const Case& test : cases) {
        const auto base = [&](std::string_view name) -> const Case* {
            const auto found = std::ranges::find_if(
                cases, [&](const Case& other) { return other.job == test.job && other.server->name() == name; });
            return found == cases.end() ? nullptr : &*found;
        };
        const Case* const epoll = base("epoll");
        const Case* const liburing = base("liburing");
        const auto ratio = [&](const Case* other, std::vector<double> Case::* what) {
            return other == nullptr ? 0.0 : bench::paired_ratio(test.*what, other->*what);
        };
        const Job& job = *test.job;
        const bench::Summary summary = bench::summarize(test.samples);
        const bench::Summary whole = bench::summarize(test.whole);
        const double to_epoll = ratio(epoll, &Case::samples);
        const double to_liburing = ratio(liburing, &Case::samples);
        const double calls = test.each(&bench::SystemCalls::all);
        table.add(model.row(
            {test.server->title(), job.name, std::to_string(job.connections), std::to_string(job.load.pipeline),
             fmt::format("{:.0f}", summary.median), fmt::format("{:.0f}", summary.least), fmt::format("{:.0f}", summary.most),
             fmt::format("{:.3f}", to_epoll), fmt::format("{:.3f}", to_liburing), fmt::format("{:.0f}", whole.median),
             test.cell(&bench::SystemCalls::all), test.cell(&bench::SystemCalls::enter)},
            summary.median, calls));
        std::vector<std::string> row{test.server->title(), job.name, std::to_string(job.connections),
                                     std::to_string(job.load.pipeline), std::to_string(job.count())};
        std::vector<std::string> ratios;
        std::string json;
        for (std::size_t i = 0; i < percentiles.size(); i++) {
            const std::vector<double>& samples = test.latencies[i];
            if (samples.empty()) continue;
            const auto to = [&](const Case* other) {
                return other == nullptr ? 0.0 : bench::paired_ratio(samples, other->latencies[i]);
            };
            const double median = bench::summarize(samples).median;
            row.push_back(fmt::format("{:.1f}", median / 1000));
            ratios.push_back(fmt::format("{:.3f}", to(epoll)));
            ratios.push_back(fmt::format("{:.3f}", to(liburing)));
            json += fmt::format(
                R"("{}": {{"median": {:.0f}, "ratio_to_epoll": {:.4f}, "ratio_to_liburing": {:.4f}, "samples": {}}}, )",
                percentiles[i].name, median, to(epoll), to(liburing), bench::json_numbers(samples));
        }
        row.insert(row.end(), ratios.begin(), ratios.end());
        row.push_back(std::to_string(test.timeouts));
        if (!json.empty()) latencies.add(std::move(row));
        records.push_back(fmt::format(
            R"({{"way": {}, "title": {}, "case": {}, "job": {}, "size": {}, "connections": {}, "pipeline": {}, "requests": {}, )"
            R"("median": {:.2f}, "least": {:.2f}, "most": {:.2f}, "ratio_to_epoll": {:.4f}, "ratio_to_liburing": {:.4f}, )"
            R"("whole": {:.2f}, "whole_to_epoll": {:.4f}, "whole_to_liburing": {:.4f}, "system_calls": {:.4f}, )"
            R"("io_uring_enter": {:.4f}, "model_ns": {}, "timeouts": {}, {}"samples": {}}})",
            bench::json_string(test.server->name()), bench::json_string(test.server->title()),
            bench::json_string(fmt::format("{} {}, {}c{}", job.name, size > 64 ? "16K" : "64", job.connections,
                                           job.load.pipeline > 1 ? fmt::format(" x{}", job.load.pipeline) : "")),
            bench::json_string(job.name), size, job.connections, job.load.pipeline, job.count(), summary.median, summary.least,
            summary.most, to_epoll, to_liburing, whole.median, ratio(epoll, &Case::whole), ratio(liburing, &Case::whole), calls,
            test.each(&bench::SystemCalls::enter), model.json(summary.median, calls), test.timeouts, json,
            bench::json_numbers(test.samples)));
    }
    table.print();
    if (!bench::clock_counts_instructions()) {
        fmt::print(
            "\nLatencies of these runs in microseconds, {}. Medians of {} runs; the ratios are medians of paired runs. {}\n\n",
            options.rate > 0 ? fmt::format("at {} requests a second, from the time when a request was due", options.rate)
                             : "where each connection sends as soon as it has its answers",
            options.runs,
            "Of fewer than 1,000 requests, p99.9 is the longest. A timeout of TCP delays an answer by 200 ms or more.");
        latencies.print();
    }
    fmt::print("\n");
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"Servers that answer lines over TCP on 127.0.0.1: by epoll, by liburing, and by a loop."};
    app.add_option(
        "--requests", options.requests,
        "requests of 64 bytes in each run (default: 1024 under -icount, otherwise 65536). Of larger ones, an eighth");
    app.add_option("--runs", options.runs, "runs (default: 3 under -icount, otherwise 11)");
    app.add_option("--connections", options.connections, "default: 1,8,64, and 512 where the clock does not count instructions")
        ->delimiter(',')
        ->check(CLI::Range(std::size_t{1}, bench::network::most_connections));
    app.add_option("--sizes", options.sizes, "bytes of a value, 16384 at most")
        ->delimiter(',')
        ->check(CLI::Range(8, 16384))
        ->capture_default_str();
    app.add_option("--pipelines", options.pipelines, "requests that a connection sends at once, 16 at most")
        ->delimiter(',')
        ->check(CLI::Range(1, 16))
        ->capture_default_str();
    app.add_option("--jobs", options.jobs, "GET and ECHO")->delimiter(',')->check(CLI::IsMember({"GET", "ECHO"}));
    app.add_option(
        "--rate", options.rate,
        "requests a second, of all connections, at fixed times, where the clock does not count instructions. Latencies "
        "count from there (default: each connection sends as soon as it has its answers)");
    app.add_option("--ways", options.ways, "measure only these ways: epoll, liburing, user, kernel")->delimiter(',');
    app.add_option("--json", options.json, "write results and all samples to this file");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    const bool counts = bench::clock_counts_instructions();
    if (options.requests == 0) options.requests = counts ? 1024 : 65536;
    if (options.runs == 0) options.runs = counts ? 3 : 11;
    if (options.connections.empty())
        options.connections = counts ? std::vector<std::size_t>{1, 8, 64} : std::vector<std::size_t>{1, 8, 64, 512};
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 16384);
    ::setrlimit(RLIMIT_NOFILE, &files);
    bench::settle();
    const bench::Model model = bench::model_from_environment();
    const int client = pin(1);
    fmt::print("{} The load runs on processor {}.\n\n", bench::machine(), client);
    std::vector<std::string> records;
    for (const std::size_t size : options.sizes) {
        if (size <= 64)
            measure<bench::network::Small>(options, size, model, records);
        else
            measure<bench::network::Large>(options, size, model, records);
    }
    model.explain();
    if (!options.json.empty()) bench::write_json(options.json, "network", bench::facts_json(), records);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-network", [&] { return run_all(argc, argv); });
}
