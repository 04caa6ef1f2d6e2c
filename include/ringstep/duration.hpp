// SPDX-License-Identifier: MIT
// Durations that limit waits, requests and chains.
#pragma once

#include <ringstep/version.hpp>

#include <time.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

namespace ringstep::inline v0 {

/// The duration that means "no limit".
inline constexpr std::chrono::nanoseconds for_ever = std::chrono::nanoseconds::max();

/**
 * A duration that limits something, for example a wait, a request or a chain. Every function of the library that takes a
 * Duration follows these rules:
 *
 * - `for_ever` means no limit. Every other value is a limit.
 * - Zero or less ends at once, like a deadline that has passed. So `deadline - now` can be passed directly.
 * - Any std::chrono::duration converts to a Duration. A value that does not fit into nanoseconds becomes the largest (or the
 *   most negative) value that does. So `std::chrono::hours::max()` means no limit.
 */
class Duration {
public:
    /// Takes a number of nanoseconds unchanged.
    constexpr Duration(std::chrono::nanoseconds time) noexcept : time_(time) {}  // NOLINT(*-explicit-*)
    /// Converts any duration to nanoseconds, limited to the values that fit. NaN becomes zero.
    template <class Rep, class Period>
    constexpr Duration(std::chrono::duration<Rep, Period> time) noexcept  // NOLINT(*-explicit-*)
        : time_(saturated(time)) {}

    /// Converts to nanoseconds.
    constexpr operator std::chrono::nanoseconds() const noexcept { return time_; }  // NOLINT(*-explicit-*)
    /// Returns the number of nanoseconds.
    [[nodiscard]] constexpr std::int64_t count() const noexcept { return time_.count(); }
    /// Returns true if the duration is `for_ever`.
    [[nodiscard]] constexpr bool unlimited() const noexcept { return time_ == for_ever; }
    /// Returns true if the duration is zero or less.
    [[nodiscard]] constexpr bool over() const noexcept { return time_.count() <= 0; }

    /// Returns true if both durations have equally many nanoseconds.
    friend constexpr bool operator==(const Duration&, const Duration&) = default;

private:
    template <class Rep, class Period>
    static constexpr std::chrono::nanoseconds saturated(std::chrono::duration<Rep, Period> time) noexcept {
        using Ratio = std::ratio_divide<Period, std::nano>;
        constexpr auto most = static_cast<long double>(std::numeric_limits<std::int64_t>::max());
        const long double exact = static_cast<long double>(time.count()) * static_cast<long double>(Ratio::num) /
                                  static_cast<long double>(Ratio::den);
        if (exact != exact) return std::chrono::nanoseconds::zero();
        if (exact >= most) return std::chrono::nanoseconds::max();
        if (exact <= -most) return std::chrono::nanoseconds::min();
        if constexpr (std::numeric_limits<Rep>::is_integer && Ratio::den == 1)
            return std::chrono::nanoseconds(static_cast<std::int64_t>(time.count()) * Ratio::num);
        return std::chrono::nanoseconds(static_cast<std::int64_t>(exact));
    }

    std::chrono::nanoseconds time_;
};

namespace detail {

// Returns the deadline in nanoseconds of CLOCK_MONOTONIC after which `time` has passed. Returns the current time if `time` is
// zero or less. Returns RINGSTEP_NO_DEADLINE if there is no limit or if the clock cannot reach the deadline.
[[nodiscard]] inline std::uint64_t deadline_after(Duration time) noexcept {
    constexpr std::uint64_t none = ~std::uint64_t{0};
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (time.unlimited()) return none;
    timespec clock{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &clock);
    const auto now = static_cast<std::uint64_t>(clock.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(clock.tv_nsec);
    if (time.over()) return now;
    return static_cast<std::uint64_t>(time.count()) > most - now ? none : now + static_cast<std::uint64_t>(time.count());
}

}  // namespace detail

}  // namespace ringstep::inline v0
