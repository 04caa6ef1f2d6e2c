// SPDX-License-Identifier: MIT
// The loop enter, which does what io_uring_enter(2) does on a ring without a loop.
#pragma once

#include <ringstep/compiled/enter.hpp>
#include <ringstep/loops/enter_loop.hpp>

namespace ringstep::inline v0 {

namespace loops {

/// Submits what is in the SQ and waits, as io_uring_enter(2) does. Enter is its face.
struct enter : compiled::enter {};

}  // namespace loops

/**
 * io_uring_enter(2) as a loop, without hooks: see EnterLoop. Costs a little more than the system call alone; it is what to
 * begin with before hooks are added.
 */
using Enter = EnterLoop<loops::enter>;

}  // namespace ringstep::inline v0
