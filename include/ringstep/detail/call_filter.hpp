// SPDX-License-Identifier: MIT
// Whether a filter of system calls may be the reason for an error.
#pragma once

#include <ringstep/version.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace ringstep::inline v0::detail {

// Returns true if the calling thread has a filter of system calls (seccomp). The kernel does not tell which calls the filter
// forbids. This function reads a file, because a filter that does not know prctl(2) may end the process for that call.
[[nodiscard]] inline bool has_call_filter() noexcept {
    const int file = ::open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    char text[4096];
    const ssize_t size = ::read(file, text, sizeof text);
    ::close(file);
    return size > 0 && std::string_view(text, static_cast<std::size_t>(size)).find("\nSeccomp:\t2") != std::string_view::npos;
}

// Returns what to say about an errno of a system call if a filter may have caused it, or an empty text.
[[nodiscard]] inline std::string_view call_filter_advice(int error_number) noexcept {
    if (error_number != EPERM && error_number != EACCES && error_number != ENOSYS) return {};
    if (!has_call_filter()) return {};
    return "A filter of system calls (seccomp) is installed in this thread, and may forbid the call.";
}

}  // namespace ringstep::inline v0::detail
