// SPDX-License-Identifier: MIT
// Time, and what it means where the program runs.
#pragma once

#include <time.h>

#include <cstdint>
#include <cstdlib>
#include <string>

namespace bench {

/// CLOCK_MONOTONIC in nanoseconds. Read through the vDSO, so without a system call.
[[nodiscard]] inline std::uint64_t now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

/// How the machine is run: "icount", "tcg", "kvm", or "none" for a machine that is no virtual one of `./dev vm`.
[[nodiscard]] inline std::string accelerator() {
    const char* value = std::getenv("RINGSTEP_VM_ACCEL");
    return value != nullptr ? value : "none";
}

/// Under -icount the clock goes on by one nanosecond for each guest instruction, so a difference of times counts instructions.
[[nodiscard]] inline bool clock_counts_instructions() { return accelerator() == "icount"; }

/// What one unit of now() is.
[[nodiscard]] inline const char* clock_unit() { return clock_counts_instructions() ? "instructions" : "ns"; }

/// Instructions a clock unit, measured by a loop of known length: 1.00 under -icount, and of no use elsewhere.
[[nodiscard]] inline double instructions_per_unit() {
    constexpr std::uint64_t rounds = 20'000'000;
    std::uint64_t left = rounds;
    const std::uint64_t start = now();
    asm volatile("1: dec %0\n\tjnz 1b" : "+r"(left) : : "cc");  // two instructions a round
    return 2.0 * static_cast<double>(rounds) / static_cast<double>(now() - start);
}

}  // namespace bench
