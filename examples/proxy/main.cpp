// SPDX-License-Identifier: MIT
// A proxy for TCP and Unix sockets. The loop accepts clients, connects each of them to one of the upstreams, and passes the
// bytes on:
//
//   ringstep-proxy --port 8080 127.0.0.1:8081 127.0.0.1:8082 /run/app.sock
#include <ringstep/format.hpp>
#include <ringstep/net/listener.hpp>
#include <ringstep/net/proxy.hpp>
#include <ringstep/ringstep.hpp>
#include <ringstep/signals.hpp>

#include <CLI/CLI.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../common/program.hpp"

namespace {

struct Options {
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;
    ringstep::ProxyOptions proxy;
    unsigned limit = 0;
    std::vector<std::string> upstreams;
};

/// Parses the address of an upstream. It may be ADDRESS:PORT, a port of this machine, the path of a Unix socket, or @ with the
/// name of an abstract Unix socket.
ringstep::SocketAddress parse(const std::string& text) {
    if (text.starts_with('/') || text.starts_with('@')) return ringstep::SocketAddress::local(text);
    const std::size_t colon = text.rfind(':');
    const std::string_view number = colon == std::string::npos ? text : std::string_view(text).substr(colon + 1);
    std::string address = colon == std::string::npos ? "127.0.0.1" : text.substr(0, colon);
    if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port);
    if (error != std::errc{} || end != number.data() + number.size() || port == 0)
        throw CLI::ValidationError("UPSTREAM", "'" + text + "' is neither ADDRESS:PORT nor the path of a socket");
    return ringstep::SocketAddress::ip(address, port);
}

int serve(const Options& options, const std::vector<ringstep::SocketAddress>& upstreams) {
    ringstep::Ring ring{{.sq_entries = 256}};
    ringstep::Proxy proxy{ring, options.proxy};
    for (const ringstep::SocketAddress& upstream : upstreams) proxy.add_upstream(upstream, options.limit);
    const ringstep::Listener listener{options.address, options.port};
    proxy.listen(listener.fd());
    program::print("listening on {}, port {}\n", options.address, listener.port());
    (void)std::fflush(stdout);

    const ringstep::StopOnSignals signals{proxy};
    const ringstep::LoopExit exit = ringstep::serve(proxy);
    for (unsigned i = 0; i < upstreams.size(); i++) {
        const ringstep_proxy_upstream_counters counters = proxy.upstream(i);
        program::print("{}: {} connections, {} failures, {} bytes there, {} bytes back\n", upstreams[i].text(),
                       counters.connections, counters.failures, counters.sent, counters.received);
    }
    if (exit.ok()) return 0;
    program::print_error("{}\n", exit);
    return program::exit_failed;
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app{
        "Passes connections on to other servers. SIGTERM and SIGINT end it when its connections have ended, or after 10 s."};
    app.add_option("upstreams", options.upstreams,
                   "ADDRESS:PORT, PORT, or the path of a Unix socket; @NAME for an abstract one")
        ->required()
        ->expected(1, static_cast<int>(ringstep::Proxy::most_upstreams));
    app.add_option("--listen", options.address, "the address of this machine to listen on")->capture_default_str();
    app.add_option("--port", options.port, "the port to listen on; 0 lets the kernel choose one")->capture_default_str();
    const std::map<std::string, ringstep::Balance> balances{{"round-robin", ringstep::Balance::round_robin},
                                                            {"least-connections", ringstep::Balance::least_connections},
                                                            {"client-address", ringstep::Balance::client_address}};
    app.add_option("--balance", options.proxy.balance, "how an upstream is chosen")
        ->transform(CLI::CheckedTransformer(balances))
        ->default_str("round-robin");
    unsigned connect = 5;
    unsigned idle = 600;
    app.add_option("--connect", connect, "seconds in which an upstream must accept")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--idle", idle, "close connections after so many seconds without a byte")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--limit", options.limit, "connections of each upstream at most; 0: no limit")->capture_default_str();
    app.add_flag("--proxy-header", options.proxy.proxy_header,
                 "tell upstreams the client's address, by the PROXY protocol, version 2");
    app.footer(std::string(program::status_help));
    std::vector<ringstep::SocketAddress> upstreams;
    try {
        app.parse(argc, argv);
        for (const std::string& text : options.upstreams) upstreams.push_back(parse(text));
    } catch (const CLI::ParseError& error) {
        return app.exit(error);
    }
    options.proxy.connect = std::chrono::seconds(connect);
    options.proxy.idle = std::chrono::seconds(idle);
    return serve(options, upstreams);
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("ringstep-proxy", [&] { return run(argc, argv); });
}
