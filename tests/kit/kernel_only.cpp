// SPDX-License-Identifier: MIT
// A loop that is declared KERNEL_ONLY may use what the kernel has, and has no user engine.
#include <ringstep/compiled/kernel_only.hpp>
#include <ringstep/program.hpp>

#include "error_of.hpp"

#include <catch2/catch_test_macros.hpp>

#include <sys/utsname.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

using Program = ringstep::LoopProgram<ringstep::loops::kernel_only>;

static_assert(!ringstep::HasUserEngine<ringstep::loops::kernel_only>);

TEST_CASE("Maps, helpers, functions and configuration of the kernel are there") {
    ringstep::Ring ring;
    Program program{ring};
    CHECK(program.engine() == ringstep::Engine::kernel);
    CHECK(program.run().ok());
    CHECK(program.run().ok());
    CHECK(program.state()->in_map == 2);
    CHECK(program.state()->task != 0);
    CHECK(program.state()->locked == 2);
    utsname running{};
    unsigned major = 0, minor = 0;
    REQUIRE(::uname(&running) == 0);
    REQUIRE(std::sscanf(running.release, "%u.%u", &major, &minor) == 2);
    CHECK(program.state()->version >> 8 == (major << 8 | minor));
}

TEST_CASE("The user engine cannot be asked for") {
    ringstep::Ring ring;
    const ringstep::Error error = error_of([&] { Program program(ring, {.engine = ringstep::Engine::user}); });
    CHECK(error.error_number() == EOPNOTSUPP);
    CHECK(error.advice().find("KERNEL_ONLY") != std::string_view::npos);
}
