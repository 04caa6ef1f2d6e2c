// SPDX-License-Identifier: MIT
// Sends a whole buffer without ever waiting for room. After EAGAIN, the graph pauses and tries again. After a short send, it
// continues behind the bytes that were sent. The graph spells this out with edges, to show how edges work. (If the request may
// wait for room, graph.send() alone is enough: it continues short sends by itself, and retry() repeats after EAGAIN.)
#include <ringstep/format.hpp>
#include <ringstep/chain/chains.hpp>

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

#include "../common/program.hpp"

using namespace std::chrono_literals;

namespace {

int run() {
    constexpr std::size_t size = 1'000'000;
    constexpr std::uint16_t often = 60'000;  // each node of a cycle needs a limit on its runs
    std::array<int, 2> sockets{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0)
        throw std::system_error(errno, std::generic_category(), "socketpair");
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<std::byte>(i % 251);

    ringstep::chain::Graph graph;
    const auto data = graph.parameter<ringstep::chain::Address>();
    const auto total = graph.parameter<ringstep::chain::Length>();
    const auto at = graph.variable<ringstep::chain::Address>();
    const auto left = graph.variable<ringstep::chain::Length>();
    const auto pauses = graph.variable<ringstep::chain::Number>();

    const auto begin = graph.set(at, data);
    const auto all = graph.set(left, total);
    const auto send = graph.send(sockets[1], at, left, MSG_DONTWAIT | MSG_NOSIGNAL).once().repeat(often);
    const auto forward = graph.set(at, at + send.result()).repeat(often);
    const auto less = graph.set(left, left - send.result()).repeat(often);
    const auto again = graph.branch(send.result() == -EAGAIN).repeat(often);
    const auto pause = graph.pause(200us).repeat(often);
    const auto count = graph.set(pauses, pauses + 1).repeat(often);
    const auto failed = graph.finish(send.result().as<ringstep::chain::Number>());
    begin.then(all).then(send);
    send.on_short(forward);
    forward.then(less).then(send);
    send.on_failure(again);
    again.then(pause).then(count).then(send);
    again.on_failure(failed);

    ringstep::Ring ring;
    ringstep::chain::Chains chains(ring);
    chains.start(chains.add(graph), {data(bytes.data()), total(size)});
    std::size_t right = 0;
    ringstep::LoopExit exit;
    {
        // The other end is slow.
        const std::jthread reader([&] {
            std::vector<std::byte> got(30'000);
            for (std::size_t place = 0; place < size;) {
                const ssize_t count_read = ::recv(sockets[0], got.data(), got.size(), 0);
                if (count_read <= 0) break;
                for (std::size_t i = 0; i < static_cast<std::size_t>(count_read); i++)
                    right += got[i] == bytes[place++] ? 1U : 0U;
                std::this_thread::sleep_for(100us);
            }
        });
        do {
            exit = chains.run();
        } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
        ::close(sockets[1]);
    }
    ::close(sockets[0]);
    const auto result = chains.pop();
    const bool good = exit.ok() && result && result->ok() && result->code() == 0 && right == size;
    if (good) {
        fmt::print("{} bytes sent, {} of them arrived as they were; {}. The loop {}\n", size, right,
                   result->value(pauses) > 0 && result->runs(send) > 2 ? "pauses and short sends on the way" : "all at once",
                   exit);
    } else {
        fmt::print("{} of {} bytes arrived", right, size);
        if (result && !result->ok())
            fmt::print(", {} failed: {}", graph.name(result->failed_node()), std::generic_category().message(result->error()));
        fmt::print(". The loop {}\n", exit);
    }
    return good ? 0 : 1;
}

}  // namespace

int main() { return program::run("send-all", run); }
