// SPDX-License-Identifier: MIT
// The C++ classes of loops have the calls that all loops have, by the same names, with the same types and meanings.
#include <ringstep/chain/chains.hpp>
#include <ringstep/compiled/hooked.hpp>
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/drain.hpp>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/gate.hpp>
#include <ringstep/loops/link.hpp>
#include <ringstep/loops/loop_class.hpp>
#include <ringstep/loops/pace.hpp>
#include <ringstep/loops/stages.hpp>
#include <ringstep/ringstep.hpp>
#include <ringstep/signals.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <iterator>
#include <ranges>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "descriptors.hpp"

using namespace std::chrono_literals;
using ringstep::Ring;

namespace {

template <class Loop>
Loop loop_of(const ringstep::LoopClass<Loop>&);

/// What every class has.
template <class Class>
concept Face = requires(Class& face, const Class& fixed) {
    typename decltype(loop_of(face))::state;  // derives publicly from LoopClass<Loop>, from one of them
    { face.request_stop() } noexcept -> std::same_as<void>;
    { face.wake() } noexcept -> std::same_as<void>;
    { fixed.engine() } noexcept -> std::same_as<ringstep::Engine>;
    { fixed.engine_reason() } noexcept -> std::same_as<const std::string&>;
    { face.program() } noexcept -> std::same_as<ringstep::LoopProgram<decltype(loop_of(face))>&>;
    { fixed.program() } noexcept -> std::same_as<const ringstep::LoopProgram<decltype(loop_of(face))>&>;
    { fixed.state() } noexcept -> std::same_as<const ringstep::RegionView<typename Class::state_type>&>;
    requires std::same_as<typename Class::state_type, typename decltype(loop_of(face))::state>;
} && std::constructible_from<Class, Ring&> && !std::copyable<Class> && !std::movable<Class> && ringstep::Stoppable<Class>;

/// Runs without arguments, and with a token. Both runs have one kind of result.
template <class Class>
concept Runs = requires(Class& face, std::stop_token token) {
    { face.run() } noexcept;
    { face.run(token) } noexcept -> std::same_as<decltype(face.run())>;
};

/// Cancels what this names.
template <class Class, class Name>
concept Cancels = requires(Class& face, const Name& name) {
    { face.cancel(name) } noexcept -> std::same_as<bool>;
};

/// Has completions that are taken one by one.
template <class Class>
concept Completes = requires(Class& face) {
    { *face.completions().begin() };
    requires std::input_iterator<decltype(face.completions().begin())>;
    requires std::ranges::input_range<decltype(face.completions())>;
};

template <class Class>
concept HasCompletions = requires(Class& face) { face.completions(); };

using Hooked = ringstep::EnterLoop<ringstep::loops::hooked>;

// Loops that schedule requests name them by tickets. The results of chains are more than completions.
template <class Class>
concept Schedules = Face<Class> && Runs<Class> && Cancels<Class, ringstep::Ticket> &&
                    std::same_as<decltype(std::declval<Class&>().run()), ringstep::LoopExit>;
static_assert(Schedules<ringstep::Gate> && Completes<ringstep::Gate>);
static_assert(Schedules<ringstep::Pace> && Completes<ringstep::Pace>);
static_assert(Schedules<ringstep::Drain> && Completes<ringstep::Drain>);
static_assert(Schedules<ringstep::Link> && Completes<ringstep::Link>);
static_assert(Schedules<ringstep::chain::Chains> &&
              std::ranges::input_range<decltype(std::declval<ringstep::chain::Chains&>().results())>);

// Enter and Stages: requests are named by their user_data.
static_assert(Face<ringstep::Enter> && Runs<ringstep::Enter>);
static_assert(Cancels<ringstep::Enter, std::uint64_t> && Completes<ringstep::Enter>);
static_assert(Face<Hooked> && Runs<Hooked> && Cancels<Hooked, std::uint64_t> && Completes<Hooked>);
static_assert(Face<ringstep::Stages> && Runs<ringstep::Stages>);
static_assert(Cancels<ringstep::Stages, std::uint64_t> && Completes<ringstep::Stages>);

// A copy is run with two files, and cancelled as a whole. Its requests are its own.
static_assert(Face<ringstep::FileCopy> && !Runs<ringstep::FileCopy> && !HasCompletions<ringstep::FileCopy>);
static_assert(requires(ringstep::FileCopy& copy) {
    { copy.run(0, 1) } noexcept -> std::same_as<ringstep::CopyResult>;
    { copy.cancel() } noexcept -> std::same_as<ringstep::CopyResult>;
});

template <class Class>
std::uint64_t turns(const Class& face) {
    return std::atomic_ref(face.state().memory()->control().turns).load(std::memory_order_relaxed);
}

/// Makes a run that would not end by itself, and returns how it ended.
template <class Class>
ringstep::LoopExit endless(Class& face) {
    if constexpr (requires { face.set_stay(true); }) {
        face.set_stay(true);
        return face.run();
    } else if constexpr (requires { face.submit_and_wait(1); }) {
        return face.submit_and_wait(1).exit;
    } else if constexpr (requires { face.submit_and_wait(); }) {
        return face.submit_and_wait().exit;
    } else {
        const descriptors::Pipe pipe;
        const int output = ::memfd_create("copy", MFD_CLOEXEC);
        REQUIRE(output >= 0);
        const ringstep::LoopExit exit = face.run(pipe.out(), output).exit;
        (void)face.cancel();
        ::close(output);
        return exit;
    }
}

}  // namespace

TEMPLATE_TEST_CASE("All loops are stopped, woken and asked in one way", "", ringstep::Gate, ringstep::Pace, ringstep::Drain,
                   ringstep::Link, ringstep::chain::Chains, ringstep::Enter, Hooked, ringstep::Stages, ringstep::FileCopy) {
    Ring ring;
    TestType face{ring};
    CHECK(ring.has_loop());
    CHECK(face.program().attached());
    CHECK(face.engine() == face.program().engine());
    CHECK(&face.engine_reason() == &face.program().engine_reason());
    CHECK(face.state().get() == face.program().state().get());

    // A stop that was asked for before ends the next run, and one run only.
    face.request_stop();
    CHECK(endless(face).reason == ringstep::ExitReason::stop_requested);

    const std::uint64_t before = turns(face);
    std::jthread stopper([&] {
        while (turns(face) == before) std::this_thread::yield();
        // Being woken makes the loop take turns, and does not end the run.
        for (int i = 0; i < 10; i++) {
            const std::uint64_t turn = turns(face);
            while (turns(face) == turn) {
                face.wake();
                std::this_thread::sleep_for(1ms);
            }
        }
        face.request_stop();
    });
    ringstep::LoopExit exit = endless(face);
    while (exit.reason == ringstep::ExitReason::interrupted) exit = endless(face);
    CHECK(exit.reason == ringstep::ExitReason::stop_requested);
    CHECK(exit.turns >= 10);
}

TEST_CASE("The states of all usual loops together fit into the memory that may be locked by default") {
    const std::size_t sizes[] = {sizeof(ringstep_gate),  sizeof(ringstep_pace),   sizeof(ringstep_drain), sizeof(ringstep_link),
                                 sizeof(ringstep_chain), sizeof(ringstep_stages), sizeof(ringstep_copy)};
    std::size_t sum = 0;
    for (const std::size_t size : sizes) sum += size + sizeof(ringstep_control);
    CAPTURE(sum);
    CHECK(sum < 8 << 20);
}
