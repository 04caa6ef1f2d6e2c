// SPDX-License-Identifier: MIT
// Another source file with the same headers: none of them may define anything twice.
#include <ringstep/format.hpp>
#include <ringstep/loops/copy.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <ringstep/compiled/hello.hpp>

const struct Sizes {
    Sizes() {
        fmt::print("{} and {} bytes of loops\n", ringstep::loops::hello::object().size(),
                   ringstep::loops::copy::object().size());
    }
} sizes;
