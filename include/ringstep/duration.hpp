// SPDX-License-Identifier: MIT
// How long something may last.
#pragma once

#include <ringstep/version.hpp>

#include <time.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

namespace ringstep::inline v0 {

/// No limit.
inline constexpr std::chrono::nanoseconds for_ever = std::chrono::nanoseconds::max();

/**
 * A duration that limits something: a wait, a request, a chain. Every function of the library that takes one follows one rule:
 *
 * - `for_ever` is no limit. No other value is.
 * - Zero or less is over at once, as a deadline is that has passed. So `deadline - now` may be given as it is.
 * - Any std::chrono::duration converts to it. What nanoseconds cannot hold is taken for the longest (or the most negative) that
 *   they can hold: `std::chrono::hours::max()` is no limit.
 */
class Duration {
public:
    /// Nanoseconds, as they are.
    constexpr Duration(std::chrono::nanoseconds time) noexcept : time_(time) {}  // NOLINT(*-explicit-*)
    /// Any duration, saturated. Not a number: zero.
    template <class Rep, class Period>
    constexpr Duration(std::chrono::duration<Rep, Period> time) noexcept  // NOLINT(*-explicit-*)
        : time_(saturated(time)) {}

    /// As nanoseconds.
    constexpr operator std::chrono::nanoseconds() const noexcept { return time_; }  // NOLINT(*-explicit-*)
    /// The number of nanoseconds.
    [[nodiscard]] constexpr std::int64_t count() const noexcept { return time_.count(); }
    /// It is `for_ever`.
    [[nodiscard]] constexpr bool unlimited() const noexcept { return time_ == for_ever; }
    /// It is over at once.
    [[nodiscard]] constexpr bool over() const noexcept { return time_.count() <= 0; }

    /// The same number of nanoseconds.
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

// What CLOCK_MONOTONIC will show after that time: now, if it is over; and RINGSTEP_NO_DEADLINE if there is no limit, or the
// clock will never show it.
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
