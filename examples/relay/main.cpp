// SPDX-License-Identifier: MIT
// A relay: it sends every byte that arrives on one socket to another, until the sender ends. One graph describes the work for a
// connection, and a chain runs for each connection. On the kernel engine, a single system call moves all the data.
#include <ringstep/format.hpp>
#include <ringstep/chain/chains.hpp>

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

#include "../common/program.hpp"

namespace {

constexpr std::size_t connections = 8;
constexpr std::uint64_t bytes_each = 300'000;
constexpr std::size_t buffer_size = 16'384;

/// Both ends of a connection.
struct Pair {
    Pair() {
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
            throw std::system_error(errno, std::generic_category(), "socketpair");
    }
    Pair(const Pair&) = delete;
    Pair& operator=(const Pair&) = delete;
    ~Pair() {
        for (const int end : ends) ::close(end);
    }
    std::array<int, 2> ends{};
};

/// Returns the byte at this position of this connection.
std::byte content(std::size_t connection, std::uint64_t offset) {
    return static_cast<std::byte>((offset * 7 + connection) % 251);
}

void produce(int socket, std::size_t connection) {
    std::vector<std::byte> bytes(1 + 997 * (connection + 1));
    for (std::uint64_t at = 0; at < bytes_each;) {
        const std::size_t size = std::min<std::uint64_t>(bytes.size(), bytes_each - at);
        for (std::size_t i = 0; i < size; i++) bytes[i] = content(connection, at + i);
        const ssize_t sent = ::send(socket, bytes.data(), size, MSG_NOSIGNAL);
        if (sent < 0) break;
        at += static_cast<std::uint64_t>(sent);
    }
    ::shutdown(socket, SHUT_WR);
}

/// Returns how many bytes arrived before the end, or 0 if one of them is not as expected.
std::uint64_t consume(int socket, std::size_t connection) {
    std::vector<std::byte> bytes(10'000);
    for (std::uint64_t at = 0;;) {
        const ssize_t size = ::recv(socket, bytes.data(), bytes.size(), 0);
        if (size <= 0) return at;
        for (std::size_t i = 0; i < static_cast<std::size_t>(size); i++)
            if (bytes[i] != content(connection, at++)) return 0;
    }
}

int run() {
    ringstep::chain::Graph graph;
    const auto from = graph.parameter<ringstep::chain::Fd>();
    const auto to = graph.parameter<ringstep::chain::Fd>();
    const auto buffer = graph.parameter<ringstep::chain::Address>();
    const auto total = graph.variable<ringstep::chain::Length>();
    const auto receive = graph.recv(from, buffer, buffer_size).repeat(50'000);
    const auto send = graph.send(to, buffer, receive.result(), MSG_NOSIGNAL).repeat(50'000);
    const auto count = graph.set(total, total + receive.result()).repeat(50'000);
    io_uring_sqe prepared{};
    io_uring_prep_shutdown(&prepared, -1, SHUT_WR);
    const auto shut = graph.request(prepared).fd(to);
    receive.then(send).then(count).then(receive);
    receive.on_end(shut);
    graph.begin(receive);

    std::array<Pair, connections> inputs;
    std::array<Pair, connections> outputs;
    std::vector<std::byte> buffers(connections * buffer_size);
    ringstep::Ring ring;
    ringstep::chain::Chains chains(ring);
    const ringstep::chain::GraphId relay = chains.add(graph);
    for (std::size_t i = 0; i < connections; i++)
        chains.start(relay, {from(inputs[i].ends[1]), to(outputs[i].ends[0]), buffer(&buffers[i * buffer_size])},
                     {.user_data = i});

    std::atomic<std::uint64_t> right{0};
    ringstep::LoopExit exit;
    {
        std::vector<std::jthread> peers;
        for (std::size_t i = 0; i < connections; i++) {
            peers.emplace_back([&, i] { produce(inputs[i].ends[0], i); });
            peers.emplace_back([&, i] { right += consume(outputs[i].ends[1], i); });
        }
        do {
            exit = chains.run();
        } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
    }

    std::uint64_t relayed = 0;
    for (const ringstep::chain::ChainResult& connection : chains.results()) {
        relayed += static_cast<std::uint64_t>(connection.value(total));
        if (!connection.ok())
            fmt::print("connection {}: {} failed: {}\n", connection.user_data(), graph.name(connection.failed_node()),
                       std::generic_category().message(connection.error()));
    }
    fmt::print("{} connections, {} bytes relayed, {} of them arrived in order. The loop {}\n", connections, relayed,
               right.load(), exit);
    return exit.ok() && right == connections * bytes_each ? 0 : 1;
}

}  // namespace

int main() { return program::run("relay", run); }
