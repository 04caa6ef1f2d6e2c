// SPDX-License-Identifier: MIT
// Forks while the library is used for the first time. It is a program of its own, because the first use in a process counts.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>
#include <ringstep/signals.hpp>

#include "child.hpp"

#include <catch2/catch_test_macros.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

using namespace std::chrono_literals;
using ringstep::LoopProgram;
using ringstep::Ring;
using ringstep::StopOnSignals;
using Nops = LoopProgram<ringstep::loops::nop_chain>;

namespace {

bool watching = false;
unsigned hung = 0;
unsigned failed = 0;
unsigned installed = 0;

void use_everything() {
    Ring ring;
    Nops program(ring);
    const StopOnSignals signals{program};
    program.state()->total = 3;
    program.state()->depth = 1;
    if (!program.run().ok()) ::_exit(1);
}

/// Forks, on a thread of its own, a child that uses everything, and notes what becomes of it.
void fork_now() {
    std::thread([] {
        const pid_t child = ::fork();
        if (child == 0) {
            use_everything();
            ::_exit(0);
        }
        const auto until = std::chrono::steady_clock::now() + 20s;
        int status = 0;
        while (::waitpid(child, &status, WNOHANG) != child) {
            std::this_thread::sleep_for(1ms);
            if (std::chrono::steady_clock::now() < until) continue;
            hung++;
            ::kill(child, SIGKILL);
            status = status_of(child);
            return;
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) failed++;
    }).join();
}

}  // namespace

extern "C" int __register_atfork(void (*)(), void (*)(), void (*)(), void*);  // NOLINT: what the C library's calls
extern "C" void* __dso_handle;                                                // NOLINT

// In place of the C library's, for all of this program. At the moment before handlers are installed, another thread forks.
extern "C" int pthread_atfork(void (*prepare)(), void (*parent)(), void (*child)()) noexcept {
    if (watching) fork_now();
    installed++;
    return __register_atfork(prepare, parent, child, __dso_handle);
}

TEST_CASE("A fork at the moment of the first signal handling, ring and program leaves the child a library that works") {
    const unsigned before = installed;
    watching = true;
    {
        struct Nothing {
            void request_stop() noexcept {}
        } nothing;
        const StopOnSignals signals{nothing};
    }
    use_everything();
    watching = false;
    CHECK(hung == 0);
    CHECK(failed == 0);
    CHECK(before != 0);
    CHECK(installed == before);  // there is no such moment
    fork_now();
    CHECK(hung == 0);
    CHECK(failed == 0);
}
