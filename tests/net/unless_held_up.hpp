// SPDX-License-Identifier: MIT
// Tests of time limits on a machine that may hold up a thread for seconds.
#pragma once

#include <algorithm>
#include <chrono>

/// Measures how long the steps of a test take. A step that takes too long shows that the machine was busy with something else.
class Steps {
public:
    /// The first step begins now. Call it when the server is there, because making one takes long.
    void begin() {
        last_ = std::chrono::steady_clock::now();
        longest_ = {};
    }
    /// A step has ended, and the next one begins.
    void next() {
        const auto now = std::chrono::steady_clock::now();
        longest_ = std::max(longest_, now - last_);
        last_ = now;
    }
    /// How long the longest step has taken.
    [[nodiscard]] std::chrono::steady_clock::duration longest() const { return longest_; }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::duration longest_{};
};

/// Calls `attempt(steps)`, which marks its steps and returns whether all went as it should. An attempt that did not, and that
/// had a step of more than `most`, is repeated, up to twenty times. Returns the result of the last attempt.
template <class Attempt>
[[nodiscard]] bool unless_held_up(std::chrono::steady_clock::duration most, const Attempt& attempt) {
    for (int i = 1;; i++) {
        Steps steps;
        const bool good = attempt(steps);
        if (good || steps.longest() <= most || i == 20) return good;
    }
}
