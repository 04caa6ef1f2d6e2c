// SPDX-License-Identifier: MIT
// fmt formatters for findings and verdicts.
#pragma once

#include <check/support.hpp>

#include <fmt/format.h>

#include <string_view>

template <>
struct fmt::formatter<ringstep::FindingState> : fmt::formatter<std::string_view> {
    auto format(ringstep::FindingState state, fmt::format_context& context) const {
        return fmt::formatter<std::string_view>::format(to_string(state), context);
    }
};

/// "missing: capabilities: neither CAP_BPF nor CAP_PERFMON. Run as root, or …"
template <>
struct fmt::formatter<ringstep::Finding> {
    constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
    auto format(const ringstep::Finding& finding, fmt::format_context& context) const {
        auto out = fmt::format_to(context.out(), "{}: {}: {}", finding.state, finding.title, finding.value);
        return finding.advice.empty() ? out : fmt::format_to(out, ". {}", finding.advice);
    }
};

/// Formats Support::summary().
template <>
struct fmt::formatter<ringstep::Support> : fmt::formatter<std::string_view> {
    auto format(const ringstep::Support& support, fmt::format_context& context) const {
        return fmt::formatter<std::string_view>::format(support.summary(), context);
    }
};
