// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace ringstep::inline v0 {

/// How a thing is found to be.
enum class FindingState : std::uint8_t {
    ok,       ///< as it should be
    missing,  ///< not as it has to be
    warning,  ///< nothing that keeps loops from running, but worth knowing
    unknown,  ///< not visible from here; alone it decides nothing
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

/// What cannot be had while the thing is missing.
enum class NeededFor : std::uint8_t {
    nothing,  ///< it explains others, or is of use to some loops only
    loops,    ///< loops in the kernel: the kernel engine
    ring,     ///< any ring that ringstep opens, so both engines
};

/// Returns a word for it, as in "loops".
[[nodiscard]] constexpr std::string_view to_string(NeededFor needed_for) noexcept {
    switch (needed_for) {
        case NeededFor::nothing: return "nothing";
        case NeededFor::loops: return "loops";
        case NeededFor::ring: return "ring";
    }
    return "nothing";
}

/// One thing that was looked at.
struct Finding {
    std::string_view id;                         ///< for programs, as in "process.capabilities"; the same in every release
    std::string_view title;                      ///< for people
    FindingState state = FindingState::unknown;  ///< whether it is as it should be
    NeededFor needed_for = NeededFor::nothing;   ///< what is not to be had without it
    std::string value;                           ///< what was found, in a few words
    std::string_view explanation;                ///< what it is, and what it has to do with loops
    std::string advice;                          ///< what to do; empty if there is nothing to do

    /// It keeps loops from running in the kernel. They may run in user space.
    [[nodiscard]] bool prevents_loops() const noexcept {
        return state == FindingState::missing && needed_for != NeededFor::nothing;
    }
    /// It keeps rings from being opened, and so loops from running at all.
    [[nodiscard]] bool prevents_rings() const noexcept {
        return state == FindingState::missing && needed_for == NeededFor::ring;
    }
};

}  // namespace ringstep::inline v0
