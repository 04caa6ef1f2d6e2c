// SPDX-License-Identifier: MIT
// What becomes of a loop in a process to which something is forbidden, as one line of text.
#pragma once

#include <ringstep/program.hpp>

#include "busy.hpp"
#include "loops/scripted.hpp"

#include <cstdlib>
#include <string>
#include <string_view>

inline bool says(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

inline std::string text_of(const ringstep::LoopExit& exit) {
    return std::string(to_string(exit.reason)) + " " + std::to_string(exit.error);
}

/// Chooses the engine as an application does that wants one, "kernel" or "user", or that says nothing: "".
inline void want_engine(const char* engine) { ::setenv("RINGSTEP_ENGINE", engine, 1); }  // NOLINT(concurrency-mt-unsafe)

/// Opens a ring, loads a loop and lets it run three nops. Returns "ENGINE, REASON ERRNO. WHY THIS ENGINE", or "threw ERRNO:
/// TEXT". `engine` is what an application wants, "kernel" or "user", or "" if it does not care.
inline std::string run_nops_with(const char* engine) {
    want_engine(engine);
    try {
        ringstep::Ring ring;
        ring.use_region(ringstep::RegionMemory::allocate(busy::region_bytes));
        busy::Scripted program(ring);
        add_nops(program.state(), 3);
        program.state()->stop_at = 3;
        const ringstep::LoopExit exit = program.run();
        return std::string(to_string(program.engine())) + ", " + text_of(exit) + ". " + program.engine_reason();
    } catch (const ringstep::Error& error) {
        return "threw " + std::to_string(error.error_number()) + ": " + error.what();
    }
}
