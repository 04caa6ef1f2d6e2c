// SPDX-License-Identifier: MIT
// Two neighbouring fields of a state that a loop writes together.
#pragma once

#include <ringstep/version.hpp>

#include <linux/types.h>

#include <array>
#include <bit>
#include <cstdint>

namespace ringstep::inline v0::detail {

/// The values of two fields of 32 bits at one moment.
struct Pair {
    std::uint32_t first;
    std::uint32_t second;
};

/// Reads two neighbouring fields that a loop writes with one store of 64 bits. Returns the values of one moment. The caller
/// then sees everything that the loop wrote before them. `first` must be aligned to 8 bytes, and `second` must follow it
/// directly. May be called from any thread.
///
/// An atomic read of one of the fields alone would be another access than the store. C++ does not define how the two relate,
/// and the one that reads `second` does not synchronize with a store that begins at `first`.
[[nodiscard]] inline Pair load_pair(const __u32& first, const __u32& second) noexcept {
    // The fields are no number of 64 bits to the compiler, so this access must be allowed to alias them.
    typedef std::uint64_t Both __attribute__((may_alias));  // NOLINT: an alias by `using` loses the attribute in some compilers
    static_assert(sizeof(Both) == sizeof(Pair));
    (void)second;
    const std::uint64_t both = __atomic_load_n(reinterpret_cast<const Both*>(&first), __ATOMIC_ACQUIRE);
    const auto halves = std::bit_cast<std::array<std::uint32_t, 2>>(both);  // in the order of their addresses
    return {.first = halves[0], .second = halves[1]};
}

}  // namespace ringstep::inline v0::detail
