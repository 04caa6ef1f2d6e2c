// SPDX-License-Identifier: MIT
#include <ringstep/detail/limited_load.hpp>
#include <ringstep/error.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cerrno>
#include <string_view>
#include <type_traits>

using ringstep::Error;

TEST_CASE("An error has the errno, what was tried, advice and the log, apart and in one text") {
    const Error error(EPERM, "loading", "Get a capability.", "0: R0 invalid");
    CHECK(error.error_number() == EPERM);
    CHECK(error.code() == std::errc::operation_not_permitted);
    CHECK(error.tried() == "loading");
    CHECK(error.advice() == "Get a capability.");
    CHECK(error.verifier_log() == "0: R0 invalid");
    CHECK(std::string_view(error.what()) ==
          "loading: Operation not permitted (errno 1). Get a capability.\nThe verifier's log:\n0: R0 invalid");
}

TEST_CASE("What is not known is left out") {
    CHECK(std::string_view(Error(ENOENT, "opening").what()) == "opening: No such file or directory (errno 2)");
}

TEST_CASE("raise() takes errnos with either sign") {
    for (const int number : {EBUSY, -EBUSY}) {
        try {
            ringstep::detail::raise(number, "x");
            FAIL("did not throw");
        } catch (const std::system_error& error) {
            CHECK(error.code().value() == EBUSY);
        }
    }
}

TEST_CASE("Copies cannot throw and share the text") {
    STATIC_CHECK(std::is_nothrow_copy_constructible_v<Error>);
    const Error error(EIO, "reading");
    const Error copy = error;
    CHECK(copy.what() == error.what());
}

TEST_CASE("The end of a verifier's log tells an interruption from a refusal") {
    using ringstep::detail::verifier_was_interrupted;
    CHECK(verifier_was_interrupted("x\n1594: (61) r2 = *(u32 *)(r9 +52)\nprocessed 401297 insns (limit 1000000)\n"));
    CHECK(verifier_was_interrupted("1090: (85) call pc+6477\nFunc#10 ('f') is global and assumed valid.\nprocessed 1 insns\n"));
    CHECK(verifier_was_interrupted("; if (a) @ step.c:1\nprocessed 1 insns\n"));
    CHECK(verifier_was_interrupted("from 12 to 14: R0=scalar()\nprocessed 1 insns\n"));
    CHECK_FALSE(verifier_was_interrupted("17: (79) r1 = *(u64 *)(r2 +0)\nR2 unbounded memory access\nprocessed 18 insns\n"));
    CHECK_FALSE(verifier_was_interrupted("1: (05) goto pc+1\nThe sequence of 8193 jumps is too complex.\nprocessed 2 insns\n"));
    CHECK_FALSE(verifier_was_interrupted("\nprocessed 2 insns\n"));
    CHECK_FALSE(verifier_was_interrupted("17: (79) r1 = *(u64 *)(r2 +0)\n"));
    CHECK_FALSE(verifier_was_interrupted(""));
}
