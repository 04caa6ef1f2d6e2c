// SPDX-License-Identifier: MIT
// Part of every test program: notices Catch2's assertions in other threads than the test's own, which go well most of the time
// and crash some of it. ensure() is for these.
#include <catch2/interfaces/catch_interfaces_reporter.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

class OneThread : public Catch::EventListenerBase {
public:
    using EventListenerBase::EventListenerBase;
    void assertionStarting(const Catch::AssertionInfo& info) override {
        if (std::this_thread::get_id() == own_) return;
        std::fprintf(stderr, "%s:%zu: an assertion of Catch2's in another thread; take ensure()\n", info.lineInfo.file,
                     info.lineInfo.line);
        std::abort();
    }

private:
    const std::thread::id own_ = std::this_thread::get_id();
};

CATCH_REGISTER_LISTENER(OneThread)

}  // namespace
