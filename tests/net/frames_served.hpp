// SPDX-License-Identifier: MIT
// A server of frames that runs on a thread of its own, for tests.
#pragma once

#include <ringstep/net/frames.hpp>

#include <chrono>
#include <utility>

#include "net/served.hpp"

namespace frames_test {

using namespace std::chrono_literals;
using ringstep::Framing;
using ringstep::ServerEvent;

/// Serves on a thread of its own, and calls a function for each event there.
class Served : public ServedBy<ringstep::Server, ServerEvent> {
public:
    Served(const Framing& framing, Handle handle, const ringstep::ServerOptions& options = {.linger = 200ms})
        : ServedBy([framing, options](ringstep::Ring& ring) { return ringstep::Server{ring, framing, options}; },
                   std::move(handle)) {}
};

}  // namespace frames_test
