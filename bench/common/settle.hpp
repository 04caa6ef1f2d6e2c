// SPDX-License-Identifier: MIT
// A machine that has just started still has things to do in the background, and with one processor they are in every figure.
#pragma once

#include "../../examples/common/program.hpp"
#include "clock.hpp"

namespace bench {

/// Under -icount: waits until a loop of known length takes its time and no more, three times in a row.
inline void settle() {
    if (!clock_counts_instructions()) return;
    double last = 0;
    int good = 0;
    for (int tries = 0; tries < 200 && good < 3; tries++) {
        last = instructions_per_unit();
        good = last > 0.995 && last < 1.005 ? good + 1 : 0;
    }
    if (good < 3) program::print_error("bench: the machine does not come to rest: {:.3f} instructions a nanosecond\n", last);
}

}  // namespace bench
