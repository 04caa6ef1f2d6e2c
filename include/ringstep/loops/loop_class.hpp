// SPDX-License-Identifier: MIT
// The base of the C++ classes of loops.
#pragma once

#include <ringstep/definition.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>
#include <ringstep/program.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <memory>
#include <stop_token>
#include <string>
#include <utility>

namespace ringstep::inline v0 {

/**
 * The base of every C++ class of a loop: Gate, Pace, Drain, Link, Chains, Enter, Stages, FileCopy, and classes of custom loops.
 * It attaches the loop to a ring, and has the calls that mean the same for all loops. A derived class adds calls that fill in
 * the state and read it. Its destructor runs while the loop is still attached; then the loop is detached.
 *
 * Each derived class also has these two calls, if the loop has requests that the application can name:
 * - `cancel()` cancels requests. It takes what the class names them by: a ticket, or their user_data.
 * - `completions()` returns a range that takes each completion when the iteration reaches it.
 *
 * A derived class may replace `run()` by one that takes or returns something else.
 *
 * Use the object only on the ring's owning thread, except for calls that say otherwise.
 *
 * **Example**:
 *
 *     class Countdown : public ringstep::LoopClass<ringstep::loops::countdown> {
 *     public:
 *         explicit Countdown(ringstep::Ring& ring, const ringstep::LoopOptions& options = {}) : LoopClass(ring, options) {}
 *         void set(std::uint64_t turns) noexcept { state()->left = turns; }
 *     };
 *
 *     Countdown countdown{ring};
 *     countdown.set(1000);
 *     ringstep::LoopExit exit = countdown.run();
 */
template <LoopDefinition Loop>
class LoopClass {
public:
    /// The struct that application and loop share.
    using state_type = typename Loop::state;

    LoopClass(const LoopClass&) = delete;
    LoopClass& operator=(const LoopClass&) = delete;

    /// Runs the loop until it stops or something stops it, and returns why and how the run ended. The meaning of LoopExit::code
    /// depends on the loop. Must be called on the ring's owning thread. Never throws, and may be called again.
    LoopExit run() noexcept { return program_.run(); }
    /// Runs the loop like the other `run()`, but ends within one wake-up when a stop is requested through `token`. A stop
    /// cancels no requests. The token ends only the runs that it is passed to: see LoopProgram.
    LoopExit run(std::stop_token token) noexcept { return program_.run(std::move(token)); }

    /// Ends the run in progress. Ends the next run instead if no run is in progress, or if the current run ends for another
    /// reason first. A request ends one run, and cancels no requests of the loop. May be called from any thread and from signal
    /// handlers, while the object exists.
    void request_stop() noexcept { program_.request_stop(); }
    /// Makes the loop take another turn, even if it sleeps. Call this after a change to the state that the loop should see. May
    /// be called from any thread, while the object exists.
    void wake() noexcept { program_.wake(); }

    /// Returns the engine that runs the loop: Engine::kernel or Engine::user. May be called from any thread.
    [[nodiscard]] Engine engine() const noexcept { return program_.engine(); }
    /// Returns a text for a person that says why the kernel does not run the loop. The text is empty if the kernel runs it, or
    /// if the user engine was asked for. May be called from any thread.
    [[nodiscard]] const std::string& engine_reason() const noexcept { return program_.engine_reason(); }

    /// Returns the loop's program, for example to detach the loop. May be called from any thread.
    [[nodiscard]] LoopProgram<Loop>& program() noexcept { return program_; }
    /// Returns the loop's program.
    [[nodiscard]] const LoopProgram<Loop>& program() const noexcept { return program_; }
    /// Returns the state that application and loop share. The class says which members the application may change. The view
    /// stays valid after the object and the ring are destroyed.
    [[nodiscard]] const RegionView<state_type>& state() const noexcept { return program_.state(); }

protected:
    /// Loads the loop and attaches it to `ring`, whose requests in flight and completions are kept. Must be called on the
    /// ring's owning thread. Throws Error.
    explicit LoopClass(Ring& ring, const LoopOptions& options = {})
        : ring_(detail::RingAccess::core(ring)), program_(ring, options) {}
    /// Detaches the loop. Requests in flight stay in flight.
    ~LoopClass() = default;

    /// Returns the internals of the ring, which exist as long as this object.
    [[nodiscard]] detail::RingCore& ring_core() const noexcept { return *ring_; }

private:
    std::shared_ptr<detail::RingCore> ring_;
    LoopProgram<Loop> program_;
};

}  // namespace ringstep::inline v0
