// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace ringstep::inline v0 {

/// The state of a finding.
enum class FindingState : std::uint8_t {
    ok,       ///< as it should be
    missing,  ///< a requirement is not met
    warning,  ///< loops can run, but the finding is worth knowing
    unknown,  ///< not visible to this process; it decides nothing by itself
};

/// Returns a word for the state, as in "missing".
[[nodiscard]] constexpr std::string_view to_string(FindingState state) noexcept {
    switch (state) {
        case FindingState::ok: return "ok";
        case FindingState::missing: return "missing";
        case FindingState::warning: return "warning";
        case FindingState::unknown: return "unknown";
    }
    return "unknown";
}

/// What a requirement is needed for.
enum class NeededFor : std::uint8_t {
    nothing,  ///< the finding explains others, or matters to some loops only
    loops,    ///< loops in the kernel: the kernel engine
    ring,     ///< any ring that ringstep opens, so both engines
};

/// Returns a word for the need, such as "loops".
[[nodiscard]] constexpr std::string_view to_string(NeededFor needed_for) noexcept {
    switch (needed_for) {
        case NeededFor::nothing: return "nothing";
        case NeededFor::loops: return "loops";
        case NeededFor::ring: return "ring";
    }
    return "nothing";
}

/// One result of the examination.
struct Finding {
    std::string_view id;     ///< for programs, such as "process.capabilities"; never changes between releases
    std::string_view title;  ///< for people
    FindingState state = FindingState::unknown;  ///< whether the requirement is met
    NeededFor needed_for = NeededFor::nothing;   ///< what is impossible without it
    std::string value;                           ///< what was found, in a few words
    std::string_view explanation;                ///< what was examined, and why it matters to loops
    std::string advice;                          ///< what to do; empty if there is nothing to do

    /// Returns whether the finding prevents loops in the kernel. They may still run in user space.
    [[nodiscard]] bool prevents_loops() const noexcept {
        return state == FindingState::missing && needed_for != NeededFor::nothing;
    }
    /// Returns whether the finding prevents opening rings, and therefore loops with both engines.
    [[nodiscard]] bool prevents_rings() const noexcept {
        return state == FindingState::missing && needed_for == NeededFor::ring;
    }
};

}  // namespace ringstep::inline v0
