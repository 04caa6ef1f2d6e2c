// SPDX-License-Identifier: MIT
// The load of ./dev bench servers: asks an HTTP server for a path, again and again, and says what that cost the server's
// process and how long answers took.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <ringstep/net/listener.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/statistics.hpp"
#include "network_clients.hpp"

namespace {

struct Options {
    std::uint16_t port = 0;
    std::string path = "/";
    pid_t process = 0;
    std::size_t connections = 1;
    std::size_t pipeline = 1;
    std::uint64_t requests = 65536;
    std::uint64_t rate = 0;
};

/// Returns the number behind a field's name, which is as servers write it.
std::size_t length_in(std::string_view head) {
    constexpr std::string_view field = "\r\nContent-Length: ";
    const std::size_t at = head.find(field);
    std::size_t length = 0;
    if (at != std::string_view::npos) std::from_chars(head.data() + at + field.size(), head.data() + head.size(), length);
    if (length == 0) throw std::runtime_error("the answer has no body, or no Content-Length");
    return length;
}

/// Asks once. All further answers must have the same length as this one.
std::string first_answer(const Options& options, const std::string& request) {
    const ringstep::SocketAddress address = ringstep::SocketAddress::ip("127.0.0.1", options.port);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || ::connect(fd, address.native(), address.length()) != 0 ||
        ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
        throw std::system_error(errno, std::generic_category(), "asking for the first answer");
    std::string answer;
    std::array<char, 65536> buffer{};
    for (std::size_t whole = 0; whole == 0 || answer.size() < whole;) {
        const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (count <= 0) throw std::runtime_error("the first answer is not complete");
        answer.append(buffer.data(), static_cast<std::size_t>(count));
        const std::size_t end = answer.find("\r\n\r\n");
        if (end != std::string::npos) whole = end + 4 + length_in(std::string_view(answer).substr(0, end));
    }
    ::close(fd);
    if (!answer.starts_with("HTTP/1.1 200 "))
        throw std::runtime_error("the first answer is " + answer.substr(0, answer.find('\r')));
    return answer;
}

/// Returns the processor time of all threads of a process in nanoseconds, also of those that have ended.
std::uint64_t time_of(clockid_t clock) {
    timespec time{};
    if (::clock_gettime(clock, &time) != 0) throw std::system_error(errno, std::generic_category(), "the time of the server");
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"Asks an HTTP server on 127.0.0.1 for a path, and prints what that cost it and how long answers took."};
    app.add_option("--port", options.port, "of the server")->required();
    app.add_option("--path", options.path, "what to ask for")->capture_default_str();
    app.add_option("--process", options.process, "whose processor time to measure")->required();
    app.add_option("--connections", options.connections, "all are open before the measurement begins")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    app.add_option("--pipeline", options.pipeline, "requests that a connection sends at once")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    app.add_option("--requests", options.requests, "of all connections, at least 2 rounds of each")->capture_default_str();
    app.add_option("--rate", options.rate,
                   "requests a second, at fixed times (default: each connection sends as soon as it has its answers)");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 16384);
    ::setrlimit(RLIMIT_NOFILE, &files);

    const std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", options.path, options.port);
    const std::string answer = first_answer(options, request);
    bench::network::Load load;
    load.pipeline = options.pipeline;
    for (std::size_t i = 0; i < options.pipeline; i++) {
        load.requests += request;
        load.answers += answer;
    }
    load.rounds = std::max<std::uint64_t>(options.requests / (options.connections * options.pipeline), 2);
    if (options.rate > 0) load.interval = std::max<std::uint64_t>(1'000'000'000 * options.pipeline / options.rate, 1);
    const std::uint64_t count = load.rounds * options.connections * options.pipeline;

    clockid_t clock{};
    if (const int error = ::clock_getcpuclockid(options.process, &clock); error != 0)
        throw std::system_error(error, std::generic_category(), "the clock of the server");
    bench::network::Clients clients(options.port, options.connections);
    for (int i = 0; i < 2; i++) clients.round(load, false);
    std::vector<double> latencies;
    latencies.reserve(count);
    const std::uint64_t timeouts = bench::network::tcp_timeouts();
    const std::uint64_t before = time_of(clock);
    const std::uint64_t start = bench::now();
    clients.follow(load, latencies);
    const std::uint64_t took = bench::now() - start;
    ::usleep(200);  // what the server does after the last answer
    const std::uint64_t used = time_of(clock) - before;
    const double p50 = bench::percentile(latencies, 0.5);
    const double p99 = bench::percentile(latencies, 0.99);
    program::print(R"({{"requests": {}, "took": {}, "used": {}, "p50": {:.0f}, "p99": {:.0f}, "p999": {:.0f}, "timeouts": {}}})"
                   "\n",
                   count, took, used, p50, p99, bench::percentile(latencies, 0.999), bench::network::tcp_timeouts() - timeouts);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-load", [&] { return run_all(argc, argv); });
}
