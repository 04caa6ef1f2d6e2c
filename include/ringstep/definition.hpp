// SPDX-License-Identifier: MIT
// The description of a loop for C++.
#pragma once

#include <ringstep/region.hpp>
#include <ringstep/c/user.h>
#include <ringstep/version.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>

namespace ringstep::inline v0 {

/**
 * A type that describes a loop for C++. It has the name given to RINGSTEP_LOOP(), the type of the state, and the program
 * compiled for the kernel. ringstep_add_loop() generates a type ringstep::loops::NAME in ringstep/compiled/NAME.hpp.
 *
 * **Example**:
 *
 *     struct ping {
 *         using state = ::ping_state;
 *         static constexpr std::string_view name = "ping";
 *         static std::span<const std::byte> object() { return ringstep::object_of<ping_bpf>(); }   // the skeleton's struct
 *         static const ringstep_user_loop& user() { return ringstep_user_ping; }                   // for the user engine
 *     };
 */
template <class Loop>
concept LoopDefinition = Shareable<typename Loop::state> && requires {
    { Loop::name } -> std::convertible_to<std::string_view>;
    { Loop::object() } -> std::convertible_to<std::span<const std::byte>>;
};

/// A loop that is also compiled for the user engine.
template <class Loop>
concept HasUserEngine = LoopDefinition<Loop> && requires {
    { Loop::user() } -> std::convertible_to<const ringstep_user_loop&>;
};

/// Returns the compiled BPF program inside a skeleton that bpftool generated.
template <class Skeleton>
[[nodiscard]] std::span<const std::byte> object_of() {
    std::size_t size = 0;
    const auto* bytes = static_cast<const std::byte*>(Skeleton::elf_bytes(&size));
    return {bytes, size};
}

}  // namespace ringstep::inline v0
