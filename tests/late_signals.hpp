// SPDX-License-Identifier: MIT
// What ThreadSanitizer changes about signals. It calls the handler of a signal only when the thread next calls one of its
// functions or uses an atomic. If a signal comes between the last of those and io_uring_enter(2), the call waits, and nothing
// has told it to stop. In all other builds, the handler runs first. A further signal ends such a wait.
#pragma once

#include "ensure.hpp"

#include <signal.h>

#include <chrono>

#if defined(__SANITIZE_THREAD__)
inline constexpr bool signals_are_late = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool signals_are_late = true;
#else
inline constexpr bool signals_are_late = false;
#endif
#else
inline constexpr bool signals_are_late = false;
#endif

/// Under ThreadSanitizer, sends a signal that does nothing to a thread, after each 100 ms in which it is asked to. Elsewhere,
/// does nothing.
class Nudges {
public:
    explicit Nudges(pthread_t target) : target_(target) {
        if (signals_are_late) before_ = ::signal(SIGUSR2, [](int) {});
    }
    Nudges(const Nudges&) = delete;
    Nudges& operator=(const Nudges&) = delete;
    ~Nudges() {
        if (signals_are_late) ::signal(SIGUSR2, before_);
    }

    void operator()() {
        const auto now = std::chrono::steady_clock::now();
        if (!signals_are_late || now - last_ < std::chrono::milliseconds(100)) return;
        if (last_ != std::chrono::steady_clock::time_point{}) ensure(::pthread_kill(target_, SIGUSR2) == 0);
        last_ = now;
    }
    /// Call this when what you waited for has happened. The next 100 ms begin with the next call of operator().
    void restart() { last_ = {}; }

private:
    pthread_t target_;
    void (*before_)(int) = nullptr;
    std::chrono::steady_clock::time_point last_{};
};
