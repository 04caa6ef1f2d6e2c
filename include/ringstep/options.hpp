// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringstep::inline v0 {

/// What runs a loop.
enum class Engine : std::uint8_t {
    automatic,  ///< the kernel if it can, else user space. The environment's RINGSTEP_ENGINE=kernel or =user decides, if it is
                ///< set
    kernel,     ///< the kernel, inside one io_uring_enter(2): Linux 7.1, CAP_BPF and CAP_PERFMON to load
    user,       ///< the calling thread, around one io_uring_enter(2) for each turn: Linux 6.1, no privileges
};

/// A word for it, as in "user".
[[nodiscard]] constexpr std::string_view to_string(Engine engine) noexcept {
    switch (engine) {
        case Engine::automatic: return "automatic";
        case Engine::kernel: return "kernel";
        case Engine::user: return "user";
    }
    return "unknown";
}

/// How to put a loop on a ring.
struct LoopOptions {
    Engine engine = Engine::automatic;  ///< what runs the loop
    std::size_t extra_bytes = 0;      ///< bytes behind the state: tables, buffers, whatever the loop reaches beyond its state.
                                      ///< With the state less than 4 GiB
    bool huge_pages = false;          ///< for the memory region: see RegionMemory::allocate()
    std::uint32_t load_seconds = 30;  ///< how long the kernel's verifier may take (ETIME); 0: as long as it likes
};

}  // namespace ringstep::inline v0
