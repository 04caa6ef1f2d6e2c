// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/version.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringstep::inline v0 {

/// The engine that runs a loop.
enum class Engine : std::uint8_t {
    automatic,  ///< the kernel engine if the kernel can run the loop, else the user engine. The environment variable
                ///< RINGSTEP_ENGINE=kernel or RINGSTEP_ENGINE=user overrides this choice
    kernel,     ///< the kernel, inside one io_uring_enter(2): needs Linux 7.1, and CAP_BPF and CAP_PERFMON to load
    user,       ///< the calling thread, with one io_uring_enter(2) for each turn: needs Linux 6.1, no privileges
};

/// Returns the engine's name, for example "user".
[[nodiscard]] constexpr std::string_view to_string(Engine engine) noexcept {
    switch (engine) {
        case Engine::automatic: return "automatic";
        case Engine::kernel: return "kernel";
        case Engine::user: return "user";
    }
    return "unknown";
}

/// Options for attaching a loop to a ring.
struct LoopOptions {
    Engine engine = Engine::automatic;  ///< the engine that runs the loop
    std::size_t extra_bytes = 0;        ///< bytes behind the state, for tables and buffers that the loop accesses.
                                        ///< Control block, state and extra bytes together must fit into 4 GiB minus 2 MiB
    bool huge_pages = false;            ///< uses huge pages for the memory region: see RegionMemory::allocate()
    std::uint32_t load_seconds = 30;    ///< time limit for the kernel's verifier in seconds (ETIME); 0: no limit
};

}  // namespace ringstep::inline v0
