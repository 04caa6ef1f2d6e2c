// SPDX-License-Identifier: MIT
// How long tests at random and tests of endurance take: a short form that always runs, and one for ./dev test --thorough.
#pragma once

#include <cstdint>
#include <cstdlib>

/// Returns `thorough` if RINGSTEP_THOROUGH is set, as ./dev test --thorough does, and else `usual`.
inline std::uint64_t rounds(std::uint64_t usual, std::uint64_t thorough) {
    const char* const value = std::getenv("RINGSTEP_THOROUGH");  // NOLINT(concurrency-mt-unsafe)
    return value != nullptr && *value != '\0' ? thorough : usual;
}
