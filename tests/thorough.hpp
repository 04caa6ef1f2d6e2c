// SPDX-License-Identifier: MIT
// How long tests at random and tests of endurance take: a short form that always runs, and one for ./dev test --thorough.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <vector>

/// Returns `thorough` if RINGSTEP_THOROUGH is set, as ./dev test --thorough does, and else `usual`.
inline std::uint64_t rounds(std::uint64_t usual, std::uint64_t thorough) {
    const char* const value = std::getenv("RINGSTEP_THOROUGH");  // NOLINT(concurrency-mt-unsafe)
    return value != nullptr && *value != '\0' ? thorough : usual;
}

/// Whether loops run by the user engine here, as the test was started. Loading a loop takes no time then. A kernel's verifier
/// takes up to a second for it in a virtual machine.
inline bool loading_is_cheap() {
    const char* const engine = std::getenv("RINGSTEP_ENGINE");  // NOLINT(concurrency-mt-unsafe)
    return engine != nullptr && std::string_view(engine) == "user";
}

/// Returns the values of `always`, and those of `further` where loading is cheap and with --thorough: for
/// GENERATE(from_range(…)) of a test that loads a loop for each value.
template <class T>
std::vector<T> some_of(std::initializer_list<T> always, std::initializer_list<T> further) {
    std::vector<T> values(always);
    if (loading_is_cheap() || rounds(0, 1) != 0) values.insert(values.end(), further);
    return values;
}
