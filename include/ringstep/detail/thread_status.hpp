// SPDX-License-Identifier: MIT
// What the kernel says about the calling thread in /proc: its filters of system calls and its capabilities.
#pragma once

#include <ringstep/version.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringstep::inline v0::detail {

// Returns the value of a field of /proc/thread-self/status, or an empty text if there is none. The function reads a file,
// because prctl(2) and capget(2) are themselves calls that a filter may forbid, and a filter may end the process for it.
[[nodiscard]] inline std::string thread_status(std::string_view field) {
    const int file = ::open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0) return {};
    std::string text = "\n";
    char part[4096];
    for (ssize_t size = 0; (size = ::read(file, part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(size));
    ::close(file);
    const std::size_t at = text.find("\n" + std::string(field) + ":\t");
    if (at == std::string::npos) return {};
    const std::size_t begin = at + field.size() + 3;
    return text.substr(begin, text.find('\n', begin) - begin);
}

// Returns true if the calling thread has a capability (CAP_…) in its user namespace.
[[nodiscard]] inline bool has_capability(unsigned number) {
    const std::string text = thread_status("CapEff");
    std::uint64_t capabilities = 0;
    std::from_chars(text.data(), text.data() + text.size(), capabilities, 16);
    return (capabilities >> number & 1) != 0;
}

}  // namespace ringstep::inline v0::detail
