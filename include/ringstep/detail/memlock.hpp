// SPDX-License-Identifier: MIT
// What to say when the kernel may not pin more memory for this user.
#pragma once

#include <ringstep/version.hpp>

#include <sys/resource.h>

#include <cstdint>
#include <string>

namespace ringstep::inline v0::detail {

// Returns advice for memory of `bytes` bytes that the kernel refused to pin (ENOMEM): how much was needed, what the limit is,
// and how to raise it.
[[nodiscard]] inline std::string locked_memory_advice(std::uint64_t bytes) {
    const auto kib = [](std::uint64_t count) { return std::to_string(count / 1024 + (count % 1024 != 0 ? 1 : 0)) + " KiB"; };
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return "The kernel pins this memory, " + kib(bytes) + ", and is out of memory.";
    return "The kernel pins this memory, " + kib(bytes) + ", and the limit on locked memory (RLIMIT_MEMLOCK) is " +
           kib(limit.rlim_cur) +
           ". The memory regions and registered buffers of all of this user's rings count together. Raise the limit with "
           "`ulimit -l`, or with LimitMEMLOCK= in a systemd unit. Or give the process CAP_IPC_LOCK before it opens the ring, "
           "and then nothing counts.";
}

}  // namespace ringstep::inline v0::detail
