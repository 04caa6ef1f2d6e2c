// SPDX-License-Identifier: MIT
// Whether a filter of system calls may be the reason for an error.
#pragma once

#include <ringstep/detail/thread_status.hpp>
#include <ringstep/version.hpp>

#include <cerrno>
#include <string_view>

namespace ringstep::inline v0::detail {

// Returns true for the errnos that a filter of system calls (seccomp) usually gives to a call that it forbids.
[[nodiscard]] constexpr bool may_come_from_call_filter(int error_number) noexcept {
    return error_number == EPERM || error_number == ENOSYS;
}

// Returns true if the calling thread has a filter of system calls. The kernel does not tell which calls a filter forbids.
[[nodiscard]] inline bool has_call_filter() { return thread_status("Seccomp") == "2"; }

// Returns what to say about an errno of a system call if a filter may have caused it, or an empty text.
[[nodiscard]] inline std::string_view call_filter_advice(int error_number) {
    if (!may_come_from_call_filter(error_number) || !has_call_filter()) return {};
    return "A filter of system calls (seccomp) is installed in this thread, and may forbid the call.";
}

}  // namespace ringstep::inline v0::detail
