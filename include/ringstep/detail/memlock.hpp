// SPDX-License-Identifier: MIT
// What to say when the kernel does not pin memory.
#pragma once

#include <ringstep/version.hpp>

#include <sys/resource.h>

#include <cerrno>
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

// What to say about memory that the kernel cannot pin, whatever the limits: EFAULT or EOPNOTSUPP.
inline constexpr const char* unpinnable_memory_advice =
    "The kernel cannot pin all of this memory. It has to be there and writable, and must be neither secret "
    "(memfd_secret(2)) nor a shared mapping of a file on a disk.";

// Returns advice for memory of `bytes` bytes that the kernel refused to pin with this errno, or an empty text.
[[nodiscard]] inline std::string pinning_advice(int error_number, std::uint64_t bytes) {
    if (error_number == ENOMEM) return locked_memory_advice(bytes);
    return error_number == EFAULT || error_number == EOPNOTSUPP ? unpinnable_memory_advice : "";
}

}  // namespace ringstep::inline v0::detail
