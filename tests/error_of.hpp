// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/error.hpp>

#include <catch2/catch_test_macros.hpp>

/// The ringstep::Error that the function throws; the test fails if it throws none.
template <class F>
ringstep::Error error_of(F&& function) {
    try {
        function();
    } catch (const ringstep::Error& error) {
        return error;
    }
    FAIL("did not throw");
    return ringstep::Error(0, "");
}
