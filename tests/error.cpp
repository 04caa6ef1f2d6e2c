// SPDX-License-Identifier: MIT
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
