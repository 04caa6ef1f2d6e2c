// SPDX-License-Identifier: MIT
// Queues many requests and keeps a limited number of them in flight.
#pragma once

#include <ringstep/compiled/gate_large.hpp>
#include <ringstep/loops/gate_class.hpp>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class LargeGate.
struct gate_large;

}  // namespace loops

/// Queues up to 16,384 requests (RINGSTEP_GATE_LARGE_CAPACITY). Its state takes 5.3 MiB of locked memory, most of what
/// processes without privileges may lock (RLIMIT_MEMLOCK, 8 MiB by default). See GateClass for everything that it does.
class LargeGate : public GateClass<loops::gate_large> {
public:
    using GateClass::GateClass;
};

}  // namespace ringstep::inline v0
