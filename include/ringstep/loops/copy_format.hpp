// SPDX-License-Identifier: MIT
// fmt formatters for copies.
#pragma once

#include <ringstep/format.hpp>
#include <ringstep/loops/copy_file.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <string_view>

template <>
struct fmt::formatter<ringstep::CopyOperation> : fmt::formatter<std::string_view> {
    auto format(ringstep::CopyOperation operation, fmt::format_context& context) const {
        return fmt::formatter<std::string_view>::format(to_string(operation), context);
    }
};

/// "copied 1048576 bytes in 24 turns, 6 system calls" or "writing at offset 4096 failed: No space left on device (errno 28)"
template <>
struct fmt::formatter<ringstep::CopyResult> {
    constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
    auto format(const ringstep::CopyResult& result, fmt::format_context& context) const {
        auto out = context.out();
        if (result.complete) {
            out = fmt::format_to(out, "copied {} bytes", result.bytes);
            if (result.holes != 0)
                out = fmt::format_to(out, ", skipped {} in {} hole{}", result.hole_bytes, result.holes,
                                     result.holes == 1 ? "" : "s");
            return fmt::format_to(out, ", in {} turns and {} system calls", result.exit.turns, result.system_calls);
        }
        if (result.error == 0 || result.resumable())
            return fmt::format_to(out, "{} after {} bytes", result.exit.reason, result.bytes);
        if (result.error == ECANCELED && result.operation == ringstep::CopyOperation::none)
            return fmt::format_to(out, "cancelled after {} bytes", result.bytes);
        switch (result.operation) {
            case ringstep::CopyOperation::none:
            case ringstep::CopyOperation::set_up: out = fmt::format_to(out, "{}", result.operation); break;
            default: out = fmt::format_to(out, "{} at offset {}", result.operation, result.offset); break;
        }
        return fmt::format_to(out, " failed: {}", ringstep::detail::describe_errno(result.error));
    }
};
