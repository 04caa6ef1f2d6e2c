// SPDX-License-Identifier: MIT
// Runs a server until it is told to stop, and ends it gracefully.
#pragma once

#include <ringstep/duration.hpp>
#include <ringstep/exit.hpp>

#include <linux/types.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <utility>

namespace ringstep::inline v0 {

namespace detail {

// Returns a limit of time as loops have it in their states: in nanoseconds, and 0 for none.
[[nodiscard]] inline std::uint64_t limit_in_nanoseconds(Duration time) noexcept {
    if (time.unlimited()) return 0;
    return time.over() ? 1 : static_cast<std::uint64_t>(time.count());
}

// Reads counters, each of 64 bits, while a loop may add to them. Each is right for itself.
template <class Counters>
[[nodiscard]] Counters read_counters(Counters& from) noexcept {
    std::array<__u64, sizeof(Counters) / sizeof(__u64)> numbers{};
    static_assert(sizeof numbers == sizeof(Counters));
    auto* const source = reinterpret_cast<__u64*>(&from);
    for (std::size_t i = 0; i < numbers.size(); i++) numbers[i] = std::atomic_ref(source[i]).load(std::memory_order_relaxed);
    return std::bit_cast<Counters>(numbers);
}

}  // namespace detail

/// A server, for serve().
template <class Server>
concept Servable = requires(Server& server, std::stop_token token, Duration limit) {
    { server.run() } -> std::same_as<LoopExit>;
    { server.run(std::move(token)) } -> std::same_as<LoopExit>;
    server.drain(limit);
};

/**
 * Runs a server until somebody wants it to stop: by `token`, by its request_stop(), or by a signal for which StopOnSignals
 * calls that. The server then accepts no more connections, answers what it has received, and closes its connections; after
 * `drain_limit`, it closes those that are left. A second request to stop ends the run at once.
 *
 * Returns how the last run has ended. It continues after signals that are handled otherwise. Must be called on the ring's
 * owning thread.
 *
 * **Example**:
 *
 *     ringstep::StopOnSignals signals{server};
 *     ringstep::LoopExit exit = ringstep::serve(server, {}, 10s);
 *     if (!exit.ok()) fmt::print(stderr, "{}\n", exit);
 */
template <Servable Server>
LoopExit serve(Server& server, const std::stop_token& token = {}, Duration drain_limit = std::chrono::seconds(10)) noexcept {
    LoopExit exit;
    do exit = server.run(token);
    while (exit.reason == ExitReason::interrupted);
    if (exit.reason != ExitReason::stop_requested) return exit;
    server.drain(drain_limit);
    do exit = server.run();
    while (exit.reason == ExitReason::interrupted);
    return exit;
}

}  // namespace ringstep::inline v0
