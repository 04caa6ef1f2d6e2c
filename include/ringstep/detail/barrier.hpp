// SPDX-License-Identifier: MIT
// A memory barrier on the other side: cheap for the thread that is asked often, dear for the one that asks rarely.
#pragma once

#include <ringstep/version.hpp>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace ringstep::inline v0::detail {

inline bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0U, 0) == 0; }

/// Whether all threads of this process can be made to pass a memory barrier (Linux 4.14; a seccomp filter may forbid it).
[[nodiscard]] inline bool can_order_others() noexcept {
    // A static that is set up once would have a forked child wait for a thread that was setting it up.
    static std::atomic<int> registered{-1};
    int result = registered.load(std::memory_order_relaxed);
    if (result < 0) {
        result = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) ? 1 : 0;
        registered.store(result, std::memory_order_relaxed);
    }
    return result != 0;
}

/// What this thread has written is seen by those that run now, and it sees what they have written. False: it did not work.
inline bool order_others() noexcept {
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return true;
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

}  // namespace ringstep::inline v0::detail
