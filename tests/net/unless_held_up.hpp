// SPDX-License-Identifier: MIT
// Tests of time limits on a machine that may hold up a thread for seconds.
#pragma once

#include <algorithm>
#include <chrono>

/// Measures the longest time between two moments of a test.
class Gaps {
public:
    /// Begins, or goes on with, the measurement.
    void step() {
        const auto now = std::chrono::steady_clock::now();
        longest_ = std::max(longest_, now - last_);
        last_ = now;
    }
    [[nodiscard]] std::chrono::steady_clock::duration longest() const { return longest_; }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::duration longest_{};
};

/// Calls `attempt(gaps)`, which calls `gaps.step()` often and returns whether all went as it should. Tries again if it did not
/// and the test was held up for longer than `most` meanwhile, twenty times altogether. Returns what the last attempt has
/// returned.
template <class Attempt>
[[nodiscard]] bool unless_held_up(std::chrono::steady_clock::duration most, const Attempt& attempt) {
    for (int i = 1;; i++) {
        Gaps gaps;
        const bool good = attempt(gaps);
        gaps.step();
        if (good || gaps.longest() <= most || i == 20) return good;
    }
}
