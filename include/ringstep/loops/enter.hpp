// SPDX-License-Identifier: MIT
// The loop enter, which does what io_uring_enter(2) does on a ring without a loop.
#pragma once

#include <ringstep/compiled/enter.hpp>
#include <ringstep/loops/enter_loop.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

namespace ringstep::inline v0 {

namespace loops {

/// Submits claimed SQEs and waits, as io_uring_enter(2) does. It is the loop behind the C++ class Enter.
struct enter;

}  // namespace loops

/**
 * Runs io_uring_enter(2) as a loop, without hooks: see EnterLoop. It costs a little more than the system call alone, and is the
 * starting point for loops with hooks.
 */
class Enter : public EnterLoop<loops::enter> {
public:
    /// Attaches the loop to the ring. Throws Error.
    explicit Enter(Ring& ring, const LoopOptions& options = {}) : EnterLoop(ring, options) {}
};

}  // namespace ringstep::inline v0
