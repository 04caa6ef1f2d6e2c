// SPDX-License-Identifier: MIT
// Loops that are taken off their ring, by their owner or by others, while they run or not.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "ensure.hpp"
#include "exiting.hpp"
#include "loops/scripted.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <bpf/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <thread>

using namespace std::chrono_literals;
using exiting::keep_busy;
using exiting::OnSignal;
using exiting::Pipe;
using exiting::wait_until_waiting;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;
using Scripted = LoopProgram<scripted_loop>;

TEST_CASE("Requests to stop do not get in the way of taking the loop off") {
    Ring ring;
    Scripted program(ring);
    program.state()->spin = 1;
    std::atomic<bool> off{false};
    std::thread stopper([&] {
        const auto until = std::chrono::steady_clock::now() + 30s;
        while (!off) {
            program.request_stop();
            ensure(std::chrono::steady_clock::now() < until);
        }
    });
    std::thread remover([&] {
        wait_until_waiting(program.state());
        program.detach();
        off = true;
    });
    LoopExit exit;
    do {
        exit = program.run();
    } while (exit.reason == ExitReason::stop_requested);
    CHECK(exit.reason == ExitReason::detached);
    CHECK(exit.error == EFAULT);
    remover.join();
    stopper.join();
    CHECK(program.run().reason == ExitReason::detached);
}

TEST_CASE("A run that says that the loop is off ends after the loop is off, whoever took it off", "[main]") {
    const auto times = static_cast<unsigned>(loading_is_cheap() ? 50 : rounds(10, 50));
    for (unsigned round = 0; round < times; round++) {
        Ring ring;
        Pipe pipe;
        Scripted program(ring);
        pipe.add_read(program.state());
        program.state()->wait = 1;
        std::atomic<bool> go{false};
        std::array<std::thread, 2> removers;
        for (std::thread& remover : removers) {
            remover = std::thread([&, first = &remover == removers.data()] {
                // Only one of them looks at the state, which is the next loop's as soon as this one is off.
                while (first && program.state().load(&scripted::turns) == 0) std::this_thread::yield();
                if (first) go = true;
                while (!go) std::this_thread::yield();
                program.detach();
                ensure(!program.attached());
            });
        }
        LoopExit exit;
        do {
            exit = program.run();
        } while (exit.reason == ExitReason::interrupted);
        REQUIRE(exit.reason == ExitReason::detached);
        REQUIRE_FALSE(ring.has_loop());
        // The next one has the ring to itself, even though somebody may still be about to take off the one before.
        Scripted next(ring);
        add_nops(next.state(), 20);
        next.state()->sqes_per_turn = 1;
        next.state()->wait = 1;
        next.state()->stop_at = 20;
        REQUIRE(next.run().ok());
        for (std::thread& remover : removers) remover.join();
        pipe.feed();
    }
}

TEST_CASE("Who takes a loop off the ring that is being taken off finds it off") {
    const auto times = static_cast<unsigned>(loading_is_cheap() ? 30 : rounds(8, 30));
    for (unsigned round = 0; round < times; round++) {
        Ring ring;
        Scripted program(ring);
        std::atomic<bool> go{false};
        std::thread other([&] {
            while (!go) std::this_thread::yield();
            keep_busy(std::chrono::microseconds(round * 2));
            program.detach();
            ensure(!program.attached());
        });
        go = true;
        keep_busy(std::chrono::microseconds(10));
        program.detach();
        REQUIRE_FALSE(ring.has_loop());
        const Nops next(ring);
        other.join();
    }
}

TEST_CASE("Requests to stop a loop that is off the ring do not stop the next loop on it") {
    Ring ring;
    Scripted program(ring);
    program.detach();
    program.request_stop();
    Nops next(ring);
    next.state()->total = 1000;
    next.state()->depth = 1;
    program.request_stop();
    std::stop_source source;
    source.request_stop();
    CHECK(program.run(source.get_token()).reason == ExitReason::detached);
    program.detach();
    CHECK(next.run().ok());
    CHECK(program.run().reason == ExitReason::detached);
    next.request_stop();
    CHECK(next.run().reason == ExitReason::stop_requested);
}

TEST_CASE("A signal and taking the loop off at once: it is off") {
    Pipe pipe;
    const OnSignal handler(SIGUSR1, [](int) {});
    const auto times = static_cast<unsigned>(loading_is_cheap() ? 20 : rounds(8, 20));
    for (unsigned round = 0; round < times; round++) {
        Ring ring;
        Scripted program(ring);
        pipe.add_read(program.state());
        program.state()->wait = 1;
        std::thread remover([&, target = ::pthread_self()] {
            while (program.state().load(&scripted::turns) == 0) std::this_thread::yield();
            keep_busy(std::chrono::microseconds(round * 400 / times));
            ensure(::pthread_kill(target, SIGUSR1) == 0);
            program.detach();
        });
        LoopExit exit;
        do {
            exit = program.run();
        } while (exit.reason == ExitReason::interrupted);
        remover.join();
        REQUIRE(exit.reason == ExitReason::detached);
        REQUIRE(exit.error == EFAULT);
    }
}

TEST_CASE("Taking the loop off while it runs ends the run", "[main]") {
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    const bool spin = GENERATE(false, true);
    program.state()->spin = spin;
    pipe.add_read(program.state());
    program.state()->wait = 1;
    std::thread remover([&] {
        wait_until_waiting(program.state());
        program.detach();
    });
    const LoopExit exit = program.run();
    remover.join();
    CHECK(exit.reason == ExitReason::detached);
    CHECK(exit.error == EFAULT);
    CHECK_FALSE(program.attached());
    // What it left is the ring's.
    pipe.feed();
    REQUIRE(ring.submit_and_wait(1));
    ringstep::Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.result == 1);
    // And a program that is off stays off.
    CHECK(program.run().reason == ExitReason::detached);
}

TEST_CASE("A thread that detaches a loop waits until another one has finished detaching it") {
    // The owning thread also ends requests that the next loop must not meet, which may take long. These end when they like.
    struct Slow {
        __u64 counts = RINGSTEP_REQUESTS_IN_FLIGHT;
        std::uint32_t helpers = 0;
        std::atomic<bool> begun{false};
        std::atomic<bool> done{false};
        static void cancel(ringstep::detail::RingCore& /*ring*/, void* state) noexcept {
            Slow& slow = *static_cast<Slow*>(state);
            slow.begun = true;
            std::this_thread::sleep_for(300ms);
            slow.counts = 0;
            slow.done = true;
        }
    } slow;
    Ring ring;
    Scripted program(ring);
    ringstep::detail::RingAccess::core(ring)->set_state_requests({.tag = ringstep_identity_of_loop(0x1234),
                                                                  .counts = &slow.counts,
                                                                  .helpers = &slow.helpers,
                                                                  .state = &slow,
                                                                  .cancel = &Slow::cancel});
    std::thread second([&] {
        while (!slow.begun) std::this_thread::yield();
        program.detach();
        ensure(slow.done);
    });
    program.detach();
    CHECK(slow.done);
    second.join();
}

TEST_CASE("The owning thread ends what a loop has left, also if another thread has detached it") {
    static std::atomic<unsigned> cancelled{0};
    cancelled = 0;
    __u64 counts = RINGSTEP_REQUESTS_IN_FLIGHT;
    std::uint32_t helpers = 0;
    Ring ring;
    Scripted program(ring);
    ringstep::detail::RingAccess::core(ring)->set_state_requests(
        {.tag = ringstep_identity_of_loop(0x1234),
         .counts = &counts,
         .helpers = &helpers,
         .state = &counts,
         .cancel = [](ringstep::detail::RingCore&, void* number) noexcept {
             cancelled++;
             *static_cast<__u64*>(number) = 0;
         }});
    std::thread([&] { program.detach(); }).join();
    CHECK(cancelled == 0);
    program.detach();
    CHECK(cancelled == 1);
}

namespace {

/// Detaches the loops of this machine, as an administrator may, and returns their number.
unsigned detach_as_administrator() {
    unsigned detached = 0;
    for (__u32 id = 0; ::bpf_link_get_next_id(id, &id) == 0;) {
        const int fd = ::bpf_link_get_fd_by_id(id);
        if (fd < 0) continue;
        bpf_link_info info{};
        __u32 size = sizeof info;
        if (::bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == BPF_LINK_TYPE_STRUCT_OPS)
            detached += ::bpf_link_detach(fd) == 0 ? 1 : 0;
        ::close(fd);
    }
    return detached;
}

}  // namespace

TEST_CASE("A loop that an administrator detaches is detached for the library, too", "[main]") {
    Pipe pipe;
    Ring ring;
    Scripted program(ring);
    if (program.engine() != ringstep::Engine::kernel) SKIP("no administrator sees loops of the user engine");
    LoopExit exit;
    SECTION("between two runs") {
        add_nops(program.state(), 1);
        program.state()->stop_at = 1;
        REQUIRE(program.run().ok());
        REQUIRE(detach_as_administrator() == 1);
        program.request_stop();  // must not be taken for the end of a run of the loop
        exit = program.run();
    }
    SECTION("before the first run") {
        REQUIRE(detach_as_administrator() == 1);
        exit = program.run();
    }
    SECTION("while it runs") {
        pipe.add_read(program.state());
        program.state()->wait = 1;
        std::thread administrator([&] {
            wait_until_waiting(program.state());
            ensure(detach_as_administrator() == 1);
            program.wake();  // a loop that sleeps finds out when it wakes up
        });
        do {
            exit = program.run();
        } while (exit.reason == ExitReason::interrupted);
        administrator.join();
        pipe.feed();
        REQUIRE(ring.submit_and_wait(1));
    }
    CHECK(exit.reason == ExitReason::detached);
    CHECK(exit.error == EFAULT);
    CHECK_FALSE(exit.ok());
    CHECK_FALSE(program.attached());
    CHECK_FALSE(ring.has_loop());
    CHECK(program.run().reason == ExitReason::detached);
    // The ring takes plain submits again, and loops.
    io_uring_prep_nop(ring.sq().claim());
    CHECK(ring.submit_and_wait(1).count == 1);
    for (const ringstep::Completion& completion : ring.cq()) CHECK(completion.ok());
    Nops next(ring);
    next.state()->total = 3;
    next.state()->depth = 1;
    CHECK(next.run().ok());
}
