// SPDX-License-Identifier: MIT
// Queues requests and keeps a limited number of them in flight.
#pragma once

#include <ringstep/compiled/gate.hpp>
#include <ringstep/loops/gate_class.hpp>

namespace ringstep::inline v0 {

namespace loops {

/// The loop behind the C++ class Gate.
struct gate;

}  // namespace loops

/// Queues up to 2,048 requests (RINGSTEP_GATE_CAPACITY). Its state takes 0.7 MiB of locked memory. See GateClass for everything
/// that it does.
class Gate : public GateClass<loops::gate> {
public:
    using GateClass::GateClass;
};

}  // namespace ringstep::inline v0
