// SPDX-License-Identifier: MIT
// Measures servers: what a request costs the server's thread, by epoll, by liburing, and by a loop with each engine.
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
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
#include "network_ways.hpp"

namespace {

struct Options {
    std::uint64_t requests = 0;
    std::size_t runs = 0;
    std::vector<std::size_t> connections;
    std::vector<std::size_t> sizes{64, 16384};
    std::vector<std::size_t> pipelines{1, 16};
    std::vector<std::string> jobs{"GET", "ECHO"};
    std::vector<std::string> ways;
    std::string json;
};

/// Keeps this thread on one processor, if there is more than one.
void pin(unsigned number) {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || number-- != 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)::sched_setaffinity(0, sizeof one, &one);
        return;
    }
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
                pin(0);
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
    bool ready_ = false;
    std::jthread thread_;
};

/// Connections to a server. The same for all ways.
class Clients {
public:
    Clients(std::uint16_t port, std::size_t count) {
        const ringstep::SocketAddress address = ringstep::SocketAddress::ip("127.0.0.1", port);
        for (std::size_t i = 0; i < count; i++) {
            fds_.push_back(bench::check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
            // All answers to a pipeline fit, so the server never has to wait for the client.
            const int room = 1 << 20;
            if (::setsockopt(fds_.back(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)  // needs root
                ::setsockopt(fds_.back(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
            const int yes = 1;
            ::setsockopt(fds_.back(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            const timeval patience{.tv_sec = 30, .tv_usec = 0};
            ::setsockopt(fds_.back(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            if (::connect(fds_.back(), address.native(), address.length()) != 0)
                throw std::system_error(errno, std::generic_category(), "connect");
        }
    }
    Clients(const Clients&) = delete;
    Clients& operator=(const Clients&) = delete;
    ~Clients() {
        for (const int fd : fds_) ::close(fd);
    }

    /// On each connection, sends the requests, and then receives the answers.
    void round(const std::string& requests, const std::string& answers, bool compares) {
        for (const int fd : fds_) {
            for (std::size_t sent = 0; sent < requests.size();) {
                const ssize_t count = ::send(fd, requests.data() + sent, requests.size() - sent, MSG_NOSIGNAL);
                if (count < 0) throw std::system_error(errno, std::generic_category(), "send");
                sent += static_cast<std::size_t>(count);
            }
        }
        buffer_.resize(answers.size());
        for (const int fd : fds_) {
            for (std::size_t got = 0; got < answers.size();) {
                const ssize_t count = ::recv(fd, buffer_.data() + got, answers.size() - got, MSG_WAITALL);
                if (count < 0 && errno == EINTR) continue;
                if (count <= 0) throw std::system_error(count < 0 ? errno : ECONNRESET, std::generic_category(), "recv");
                got += static_cast<std::size_t>(count);
            }
            if (compares && buffer_ != answers) throw std::runtime_error("a server's answers are wrong");
        }
    }

private:
    std::vector<int> fds_;
    std::string buffer_;
};

struct Job {
    std::string name;
    std::size_t size;
    std::size_t connections;
    std::size_t pipeline;
    std::string requests;  // of a connection
    std::string answers;
    std::uint64_t rounds;
    [[nodiscard]] std::uint64_t count() const { return rounds * connections * pipeline; }
};

struct Case {
    const Job* job;
    const Served* server;
    std::vector<double> samples;              // processor time of the server for each request
    std::vector<double> whole;                // time for each request
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

void run(const Job& job, Clients& clients) {
    for (std::uint64_t i = 0; i < job.rounds; i++) clients.round(job.requests, job.answers, false);
    ::usleep(200);  // what the server does after the last answer
}

void sample(Case& test, Clients& clients) {
    const std::uint64_t before = test.server->time();
    const std::uint64_t start = bench::now();
    run(*test.job, clients);
    const double count = static_cast<double>(test.job->count());
    test.whole.push_back(static_cast<double>(bench::now() - start) / count);
    test.samples.push_back(static_cast<double>(test.server->time() - before) / count);
}

Job make_job(const Options& options, const std::string& name, std::size_t size, std::size_t connections, std::size_t pipeline) {
    Job job{.name = name,
            .size = size,
            .connections = connections,
            .pipeline = pipeline,
            .requests = {},
            .answers = {},
            .rounds = 0};
    for (std::size_t i = 0; i < pipeline; i++) {
        const std::string key = bench::network::key_of(i % (NETWORK_ENTRIES / 4));
        const std::string value = key + std::string(size - key.size(), 'v');
        job.requests += name == "GET" ? "GET " + key + "\r\n" : "ECHO " + value + "\r\n";
        job.answers += value + "\r\n";
    }
    const std::uint64_t requests = size > 64 ? options.requests / 8 : options.requests;
    job.rounds = std::max<std::uint64_t>(requests / (connections * pipeline), 2);
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
            cases.push_back({.job = &job, .server = server.get(), .samples = {}, .whole = {}, .calls = {}});
            clients.push_back(std::make_unique<Clients>(server->port(), job.connections));
            for (int i = 0; i < 3; i++) clients.back()->round(job.requests, job.answers, true);
        }
        for (std::size_t number = 0; number < options.runs; number++) {
            for (std::size_t i = 0; i < servers.size(); i++) {
                const std::size_t which = (i + number) % servers.size();
                sample(cases[first + which], *clients[which]);
            }
        }
        for (std::size_t i = 0; i < servers.size(); i++) {
            cases[first + i].calls = count_calls(*servers[i], [&] { run(job, *clients[i]); });
        }
    }

    fmt::print("Servers, values of {} bytes: {} of the server's thread for each request. {}.\n\n", size, bench::clock_unit(),
               bench::origin(options.runs));
    bench::Table table(model.head({"way", "job", "connections", "pipeline", bench::clock_unit(), "least", "most", "x epoll",
                                   "x liburing", "both sides", "system calls", "io_uring_enter"}));
    for (const Case& test : cases) {
        const auto ratio_to = [&](std::string_view name, std::vector<double> Case::* what) {
            const auto base = std::ranges::find_if(
                cases, [&](const Case& other) { return other.job == test.job && other.server->name() == name; });
            return base == cases.end() ? 0.0 : bench::paired_ratio(test.*what, (*base).*what);
        };
        const Job& job = *test.job;
        const bench::Summary summary = bench::summarize(test.samples);
        const bench::Summary whole = bench::summarize(test.whole);
        const double to_epoll = ratio_to("epoll", &Case::samples);
        const double to_liburing = ratio_to("liburing", &Case::samples);
        const double calls = test.each(&bench::SystemCalls::all);
        table.add(model.row(
            {test.server->title(), job.name, std::to_string(job.connections), std::to_string(job.pipeline),
             fmt::format("{:.0f}", summary.median), fmt::format("{:.0f}", summary.least), fmt::format("{:.0f}", summary.most),
             fmt::format("{:.3f}", to_epoll), fmt::format("{:.3f}", to_liburing), fmt::format("{:.0f}", whole.median),
             test.cell(&bench::SystemCalls::all), test.cell(&bench::SystemCalls::enter)},
            summary.median, calls));
        records.push_back(fmt::format(
            R"({{"way": {}, "title": {}, "case": {}, "job": {}, "size": {}, "connections": {}, "pipeline": {}, "requests": {}, )"
            R"("median": {:.2f}, "least": {:.2f}, "most": {:.2f}, "ratio_to_epoll": {:.4f}, "ratio_to_liburing": {:.4f}, )"
            R"("whole": {:.2f}, "whole_to_epoll": {:.4f}, "whole_to_liburing": {:.4f}, "system_calls": {:.4f}, )"
            R"("io_uring_enter": {:.4f}, "model_ns": {}, "samples": {}}})",
            bench::json_string(test.server->name()), bench::json_string(test.server->title()),
            bench::json_string(fmt::format("{} {}, {}c{}", job.name, size > 64 ? "16K" : "64", job.connections,
                                           job.pipeline > 1 ? fmt::format(" x{}", job.pipeline) : "")),
            bench::json_string(job.name), size, job.connections, job.pipeline, job.count(), summary.median, summary.least,
            summary.most, to_epoll, to_liburing, whole.median, ratio_to("epoll", &Case::whole),
            ratio_to("liburing", &Case::whole), calls, test.each(&bench::SystemCalls::enter), model.json(summary.median, calls),
            bench::json_numbers(test.samples)));
    }
    table.print();
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
    pin(1);
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
