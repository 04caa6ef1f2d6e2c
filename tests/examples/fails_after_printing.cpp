// SPDX-License-Identifier: MIT
// Prints more than stdout's buffer holds, and then fails. The argument says how: error, system, other, status or not.
#include <ringstep/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "program.hpp"

int main(int argc, char** argv) {
    return program::run("fails-after-printing", [&] {
        const std::string_view how = argc > 1 ? argv[1] : "";
        const std::string text(1 << 20, 'x');
        if (how == "print") {
            fmt::print("{}\n", text);  // throws an exception of its own if it cannot write
        } else {
            program::print("{}\n", text);
        }
        if (how == "error") throw ringstep::Error(EBUSY, "test of an error", "Do this instead.");
        if (how == "system") throw std::system_error(EBUSY, std::generic_category(), "test of an error");
        if (how == "other") throw std::runtime_error("test of an error");
        return how == "status" ? 7 : 0;
    });
}
