// SPDX-License-Identifier: MIT
// Signals that are handled from before there is a ring. It is a program of its own, because the first ring of a process counts.
#include <ringstep/program.hpp>
#include <ringstep/signals.hpp>

#include "ensure.hpp"
#include "loops/scripted.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopProgram;
using ringstep::Ring;
using ringstep::StopOnSignals;
using Scripted = LoopProgram<scripted_loop>;

namespace {

/// A loop that is made later than the object that stops it.
struct Late {
    std::atomic<Scripted*> program{nullptr};
    void request_stop() noexcept {
        if (Scripted* const it = program; it != nullptr) it->request_stop();
    }
};

}  // namespace

TEST_CASE("Forks and signals do not wait for each other if signals are handled before there is a ring") {
    // Where they do, this ends the test.
    ::alarm(150);
    Late late;
    const StopOnSignals signals{late, {SIGTERM}};
    std::atomic<bool> over{false};
    std::atomic<bool> done{false};
    std::thread runner([&] {
        Ring ring;
        Scripted program(ring);
        program.state()->wait = 1;
        late.program = &program;
        while (!over) ensure(program.run().resumable());
        while (!done) std::this_thread::sleep_for(1ms);
    });
    while (late.program == nullptr) std::this_thread::sleep_for(1ms);
    std::thread sender([&] {
        while (!over) ensure(::pthread_kill(::pthread_self(), SIGTERM) == 0);
    });
    while (signals.received() == 0) std::this_thread::sleep_for(1ms);
    for (unsigned i = 0; i < (loading_is_cheap() ? 400U : 100U); i++) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(0);
        ensure(child > 0);
        int status = 0;
        while (::waitpid(child, &status, 0) != child) {
        }
        ensure(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    over = true;
    sender.join();
    late.request_stop();
    done = true;
    runner.join();
    ::alarm(0);
    CHECK(signals.received() == SIGTERM);
}
