// SPDX-License-Identifier: MIT
// An asymmetric memory barrier: cheap for the thread that is observed often, expensive for the thread that observes rarely.
#pragma once

#include <ringstep/version.hpp>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace ringstep::inline v0::detail {

inline bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0U, 0) == 0; }

/// Returns true if this thread can make all threads of the process pass a memory barrier (Linux 4.14). A seccomp filter may
/// forbid it.
[[nodiscard]] inline bool can_order_others() noexcept {
    // A static with an initialiser could make a forked child wait forever, for a parent's thread that was initialising it.
    static std::atomic<int> registered{-1};
    int result = registered.load(std::memory_order_relaxed);
    if (result < 0) {
        result = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) ? 1 : 0;
        registered.store(result, std::memory_order_relaxed);
    }
    return result != 0;
}

/// Makes all threads that run now pass a memory barrier. They see everything that this thread has written, and this thread sees
/// everything that they have written. Returns false if that failed.
inline bool order_others() noexcept {
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return true;
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

}  // namespace ringstep::inline v0::detail
