// SPDX-License-Identifier: MIT
// fmt formatters, so that for example fmt::print("{}\n", exit) says what happened.
#pragma once

#include <ringstep/error.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/queues.hpp>

#include <fmt/format.h>

#include <string_view>
#include <system_error>

namespace ringstep::inline v0::detail {

// Returns for example "No such file or directory (errno 2)". libc cannot return the symbol ENOENT without GNU extensions, so
// the text has the number.
inline std::string describe_errno(int error) {
    return fmt::format("{} (errno {})", std::generic_category().message(error), error);
}

}  // namespace ringstep::inline v0::detail

template <>
struct fmt::formatter<ringstep::ExitReason> : fmt::formatter<std::string_view> {
    auto format(ringstep::ExitReason reason, fmt::format_context& context) const {
        return fmt::formatter<std::string_view>::format(to_string(reason), context);
    }
};

/// Formats a LoopExit, for example as "stopped with code 0 after 1000001 turns: 1000000 submitted, 1000000 completed". What to
/// do follows, if there is anything to do.
template <>
struct fmt::formatter<ringstep::LoopExit> {
    constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
    auto format(const ringstep::LoopExit& exit, fmt::format_context& context) const {
        auto out = fmt::format_to(context.out(), "{}", to_string(exit.reason));
        if (exit.reason == ringstep::ExitReason::stopped) out = fmt::format_to(out, " with code {}", exit.code);
        if (exit.reason == ringstep::ExitReason::bad_return) out = fmt::format_to(out, " {}", exit.code);
        if (exit.error != 0) out = fmt::format_to(out, " [{}]", ringstep::detail::describe_errno(exit.error));
        out = fmt::format_to(out, " after {} turn{}: {} submitted, {} completed", exit.turns, exit.turns == 1 ? "" : "s",
                             exit.submitted, exit.completions);
        if (const auto advice = ringstep::advice(exit.reason); !advice.empty()) out = fmt::format_to(out, ". {}", advice);
        return out;
    }
};

/// Formats a Completion, for example as "completion of 0x2a: 4096" or "completion of 0x2a: Input/output error (errno 5)". The
/// flags that are set follow.
template <>
struct fmt::formatter<ringstep::Completion> {
    constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
    auto format(const ringstep::Completion& completion, fmt::format_context& context) const {
        auto out = fmt::format_to(context.out(), "completion of {:#x}: ", completion.user_data);
        if (completion.ok()) {
            out = fmt::format_to(out, "{}", completion.result);
        } else {
            out = fmt::format_to(out, "{}", ringstep::detail::describe_errno(completion.error()));
        }
        if (completion.has_buffer()) out = fmt::format_to(out, ", buffer {}", completion.buffer_id());
        if (completion.more()) out = fmt::format_to(out, ", more to come");
        if ((completion.flags & IORING_CQE_F_NOTIF) != 0) out = fmt::format_to(out, ", notification");
        return out;
    }
};

/// Formats a Geometry, for example as "SQ 64 x 64 bytes, CQ 256 x 16 bytes, flags 0x113008, rewinding".
template <>
struct fmt::formatter<ringstep::Geometry> {
    constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
    auto format(const ringstep::Geometry& geometry, fmt::format_context& context) const {
        return fmt::format_to(context.out(), "SQ {} x {} bytes, CQ {} x {} bytes, flags {:#x}{}", geometry.sq_entries,
                              geometry.sqe_size, geometry.cq_entries, geometry.cqe_size, geometry.setup_flags,
                              geometry.rewinds() ? ", rewinding" : "");
    }
};

template <>
struct fmt::formatter<ringstep::Error> : fmt::formatter<std::string_view> {
    auto format(const ringstep::Error& error, fmt::format_context& context) const {
        return fmt::formatter<std::string_view>::format(error.what(), context);
    }
};
