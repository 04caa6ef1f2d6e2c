// SPDX-License-Identifier: MIT
// Waiting for what another thread, another process or the kernel does in its own time.
#pragma once

#include <chrono>
#include <thread>

/// Waits until `condition()` holds, for half a minute at most, and returns whether it does.
template <class Condition>
[[nodiscard]] bool eventually(const Condition& condition) {
    for (int i = 0; i < 30'000; i++) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return condition();
}
