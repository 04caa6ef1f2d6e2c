// SPDX-License-Identifier: MIT
// Whether a filter of system calls may be the reason for an error.
#pragma once

#include <ringstep/version.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

namespace ringstep::inline v0::detail {

// Returns true for the errnos that a filter of system calls (seccomp) usually gives to a call that it forbids.
[[nodiscard]] constexpr bool may_come_from_call_filter(int error_number) noexcept {
    return error_number == EPERM || error_number == ENOSYS;
}

// Returns true if the calling thread has a filter of system calls. The kernel does not tell which calls a filter forbids. The
// function reads a file, because prctl(2) is itself a call that a filter may forbid, and a filter may end the process for it.
[[nodiscard]] inline bool has_call_filter() {
    const int file = ::open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    std::string text;
    char part[4096];
    for (ssize_t size = 0; (size = ::read(file, part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(size));
    ::close(file);
    return text.find("\nSeccomp:\t2") != std::string::npos;
}

// Returns what to say about an errno of a system call if a filter may have caused it, or an empty text.
[[nodiscard]] inline std::string_view call_filter_advice(int error_number) {
    if (!may_come_from_call_filter(error_number) || !has_call_filter()) return {};
    return "A filter of system calls (seccomp) is installed in this thread, and may forbid the call.";
}

}  // namespace ringstep::inline v0::detail
