// SPDX-License-Identifier: MIT
// What other threads of a test insist on.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <source_location>

/// Ends the test, as failed, where the condition does not hold. Catch2's own assertions are for the test's own thread alone: a
/// REQUIRE that throws in another one ends the program, and two at a time trip over each other even where both hold.
inline void ensure(bool condition, const std::source_location where = std::source_location::current()) {
    if (condition) return;
    const int error = errno;
    std::fprintf(stderr, "%s:%u: %s does not find what it ensures; the last error was %s\n", where.file_name(), where.line(),
                 where.function_name(), std::strerror(error));
    std::abort();  // which Catch2 reports, with the name of the test case
}
