// SPDX-License-Identifier: MIT
// Reads what the kernel says of itself in text. Pure functions: text in, facts out.
#pragma once

#include <check/facts.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace ringstep::inline v0::support {

namespace detail {

// A whole number at the front of `text`, which loses it.
template <class Number>
[[nodiscard]] inline std::optional<Number> take_number(std::string_view& text, int base = 10) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

[[nodiscard]] inline std::string_view trim(std::string_view text) noexcept {
    constexpr std::string_view white = " \t\r\n";
    const auto first = text.find_first_not_of(white);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(white) - first + 1);
}

// The next line of `text`, which loses it.
[[nodiscard]] inline std::string_view take_line(std::string_view& text) noexcept {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return line;
}

}  // namespace detail

/// "7.3.4+deb13-cloud-amd64" is 7.3.4, "7.2-rc3" is 7.2.0.
[[nodiscard]] inline std::optional<KernelVersion> parse_version(std::string_view text) {
    const auto major = detail::take_number<unsigned>(text);
    if (!major || !text.starts_with('.')) return std::nullopt;
    text.remove_prefix(1);
    const auto minor = detail::take_number<unsigned>(text);
    if (!minor) return std::nullopt;
    KernelVersion version{.major = *major, .minor = *minor};
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        version.patch = detail::take_number<unsigned>(text).value_or(0);
    }
    return version;
}

/**
 * The version of the upstream kernel. Some distributions keep the release at "7.1.0-5-amd64" while they follow 7.1.y, and tell
 * the point release elsewhere: Debian in uname's version, Ubuntu in /proc/version_signature. `hints` is that text.
 */
[[nodiscard]] inline KernelVersion upstream_version(std::string_view release, std::string_view hints) {
    KernelVersion version = parse_version(release).value_or(KernelVersion{});
    while (!(hints = detail::trim(hints)).empty()) {
        const std::string_view word = hints.substr(0, hints.find_first_of(" \t\n"));
        hints.remove_prefix(word.size());
        const auto hint = parse_version(word);
        if (hint && hint->major == version.major && hint->minor == version.minor && hint->patch > version.patch)
            version = *hint;
    }
    return version;
}

/// What a sysctl's file holds.
[[nodiscard]] inline std::optional<long> parse_number(std::string_view text) {
    text = detail::trim(text);
    const auto number = detail::take_number<long>(text);
    return text.empty() ? number : std::nullopt;
}

/// A field of /proc/PID/status. Empty if it is not there.
[[nodiscard]] inline std::string_view status_field(std::string_view status, std::string_view name) noexcept {
    while (!status.empty()) {
        const std::string_view line = detail::take_line(status);
        if (line.starts_with(name) && line.substr(name.size()).starts_with(':'))
            return detail::trim(line.substr(name.size() + 1));
    }
    return {};
}

/// The capabilities in /proc/PID/status.
[[nodiscard]] inline std::optional<Capabilities> parse_capabilities(std::string_view status) {
    std::string_view effective = status_field(status, "CapEff");
    std::string_view permitted = status_field(status, "CapPrm");
    const auto effective_bits = detail::take_number<std::uint64_t>(effective, 16);
    if (!effective_bits) return std::nullopt;
    Capabilities capabilities;
    capabilities.effective = *effective_bits;
    capabilities.permitted = detail::take_number<std::uint64_t>(permitted, 16).value_or(*effective_bits);
    return capabilities;
}

/// What a BPF token, as /proc/PID/fdinfo/FD describes it, does not allow of what libbpf does to load a loop, in the form of
/// mount options. Empty: it allows all of that.
[[nodiscard]] inline std::string missing_in_token(std::string_view fdinfo) {
    struct Needed {
        std::string_view field, option;
        unsigned bit;  // of enum bpf_cmd, bpf_map_type, bpf_prog_type or bpf_attach_type
    };
    constexpr std::array<Needed, 8> needed = {{
        {"allowed_cmds", "delegate_cmds=prog_load", 5},
        {"allowed_cmds", "delegate_cmds=map_create", 0},
        {"allowed_cmds", "delegate_cmds=btf_load", 18},
        {"allowed_maps", "delegate_maps=array", 2},
        {"allowed_maps", "delegate_maps=struct_ops", 26},
        // libbpf tries out what the kernel can do with a program of this type.
        {"allowed_progs", "delegate_progs=socket_filter", 1},
        {"allowed_progs", "delegate_progs=struct_ops", 27},
        // For struct_ops, the kernel takes the number of the member: loop_step has this attach type's.
        {"allowed_attachs", "delegate_attachs=cgroup_inet_ingress", 0},
    }};
    std::string missing;
    for (const Needed& one : needed) {
        std::string_view value = status_field(fdinfo, one.field);
        if (value.empty() || value == "any") continue;
        if (value.starts_with("0x")) value.remove_prefix(2);
        const auto bits = detail::take_number<std::uint64_t>(value, 16);
        if (!bits || ((*bits >> one.bit) & 1U) != 0) continue;
        missing.append(missing.empty() ? "" : ", ").append(one.option);
    }
    return missing;
}

/// The mode in "none [integrity] confidentiality", as in /sys/kernel/security/lockdown.
[[nodiscard]] inline std::optional<std::string> parse_lockdown(std::string_view text) {
    const auto open = text.find('[');
    const auto close = text.find(']');
    if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
    return std::string(text.substr(open + 1, close - open - 1));
}

/// A kernel's .config. `path` is where it came from.
[[nodiscard]] inline KernelConfig parse_config(std::string_view text, std::string path) {
    KernelConfig config;
    config.path = std::move(path);
    while (!text.empty()) {
        const std::string_view line = detail::trim(detail::take_line(text));
        const auto equals = line.find('=');
        if (equals == std::string_view::npos) continue;
        for (std::size_t i = 0; i < config_options.size(); i++) {
            if (line.substr(0, equals) == config_options[i]) config.values[i] = line.substr(equals + 1);
        }
    }
    return config;
}

}  // namespace ringstep::inline v0::support
