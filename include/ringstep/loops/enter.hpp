// SPDX-License-Identifier: MIT
// The loop enter, which does what io_uring_enter(2) does on a ring without a loop.
#pragma once

#include <ringstep/compiled/enter.hpp>
#include <ringstep/loops/enter_loop.hpp>

namespace ringstep::inline v0 {

namespace loops {

/// Submits claimed SQEs and waits, as io_uring_enter(2) does. It is the loop behind the C++ class Enter.
struct enter;

}  // namespace loops

/**
 * Runs io_uring_enter(2) as a loop, without hooks: see EnterLoop. It costs a little more than the system call alone, and is the
 * starting point for loops with hooks.
 */
using Enter = EnterLoop<loops::enter>;

}  // namespace ringstep::inline v0
