// SPDX-License-Identifier: MIT
// Turns signals that ask a process to end into stop requests for its loops.
#pragma once

#include <ringstep/detail/fork.hpp>
#include <ringstep/error.hpp>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <initializer_list>
#include <string>

namespace ringstep::inline v0 {

class StopOnSignals;

namespace detail {

// The data of all StopOnSignals objects in the process.
struct SignalsState {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    sigset_t blocked_before_fork{};
    std::atomic<pid_t> process{0};  // the process that the listed loops belong to
    StopOnSignals* first = nullptr;
    std::array<unsigned, NSIG> users{};
    std::array<bool, NSIG> installed{};
    std::array<struct sigaction, NSIG> before{};
};
inline constinit SignalsState signals_state;

}  // namespace detail

/// A type whose `request_stop()` ends a run and may be called from signal handlers: LoopProgram, and every class of a loop.
template <class Loop>
concept Stoppable = requires(Loop& loop) {
    { loop.request_stop() } noexcept;
};

/**
 * Stops a loop when SIGTERM or SIGINT comes, as long as this object exists. Each signal calls `request_stop()`. The run in
 * progress, or else the next run, then ends with ExitReason::stop_requested, on whichever thread the signal comes.
 *
 * Any number of these objects may exist at a time, for any number of loops and threads. A signal stops all their loops. The
 * first object installs the handlers, and the last one restores the previous handlers. A signal that the process ignores when
 * the object is made stays ignored. SIGINT is ignored in programs that a script starts with `&`. In a forked child, a signal
 * has the effect that it had before the first object, unless the child makes an object of its own.
 *
 * Declare the object after the loop, so that it is destroyed first. It may be made and destroyed on any thread.
 *
 * **Example**:
 *
 *     ringstep::StopOnSignals signals{program};
 *     ringstep::LoopExit exit;
 *     do exit = program.run(); while (exit.reason == ringstep::ExitReason::interrupted);
 *     if (signals.received() != 0) fmt::print(stderr, "ended by {}\n", ::strsignal(signals.received()));
 */
class StopOnSignals {
public:
    /// Installs the handlers for `signals`. Throws Error if one of the signals cannot be handled.
    template <Stoppable Loop>
    explicit StopOnSignals(Loop& loop, std::initializer_list<int> signals = {SIGTERM, SIGINT})
        : loop_(&loop), stop_([](void* object) noexcept { static_cast<Loop*>(object)->request_stop(); }) {
        enter(signals);
    }

    StopOnSignals(const StopOnSignals&) = delete;
    StopOnSignals& operator=(const StopOnSignals&) = delete;

    /// Removes the object from the handlers, which do not use the loop any more after that.
    ~StopOnSignals() { leave(); }

    /// Returns the number of the last signal that came, or 0. May be called from any thread.
    [[nodiscard]] int received() const noexcept { return received_.load(std::memory_order_relaxed); }

private:
    static constexpr detail::SignalsState& shared_ = detail::signals_state;

    // Handlers take this lock as well, so no signal may come to a thread that holds it.
    static void lock(sigset_t& before) noexcept {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_BLOCK, &all, &before);
        ::pthread_mutex_lock(&shared_.mutex);
    }
    static void unlock(const sigset_t& before) noexcept {
        ::pthread_mutex_unlock(&shared_.mutex);
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    class Lock {
    public:
        Lock() noexcept { lock(before_); }
        Lock(const Lock&) = delete;
        Lock& operator=(const Lock&) = delete;
        ~Lock() { unlock(before_); }

    private:
        sigset_t before_{};
    };

    static void handle(int signal) {
        const int before = errno;
        if (shared_.process.load(std::memory_order_relaxed) != ::getpid()) {
            // This process is a child between vfork(2) and exec(2), and uses the parent's memory.
            ::signal(signal, SIG_DFL);
            ::raise(signal);
        } else {
            const Lock lock;
            bool known = false;
            for (StopOnSignals* each = shared_.first; each != nullptr; each = each->next_) {
                if (::sigismember(&each->signals_, signal) != 1) continue;
                known = true;
                each->received_.store(signal, std::memory_order_relaxed);
                each->stop_(each->loop_);
            }
            if (!known) {
                // Either this is a forked child, or the last object was just destroyed. The signal stays blocked until the
                // handler has returned.
                put_back(signal);
                ::raise(signal);
            }
        }
        errno = before;
    }

    static void put_back(int signal) noexcept {
        const auto index = static_cast<std::size_t>(signal);
        if (!shared_.installed[index]) return;
        (void)::sigaction(signal, &shared_.before[index], nullptr);
        shared_.installed[index] = false;
    }

    // A forked child inherits the handlers but none of the loops.
    static int watch_forks() noexcept {
        return ::pthread_atfork(
            [] {
                sigset_t before;
                lock(before);
                shared_.blocked_before_fork = before;
            },
            [] { unlock(sigset_t{shared_.blocked_before_fork}); },
            [] {
                shared_.first = nullptr;
                shared_.users = {};
                shared_.process.store(::getpid(), std::memory_order_relaxed);
                unlock(sigset_t{shared_.blocked_before_fork});
            });
    }

    // The errno of installing the fork handlers, or 0. Like those of detail::Forks, they are installed before main() begins. A
    // signal handler takes this class's lock, and then those of loops. A fork takes them in that order, because the handlers of
    // detail::Forks are installed first: each file that includes this header has that variable before this one.
    inline static const int forks_unwatched_ = watch_forks();

    void enter(std::initializer_list<int> signals) {
        if (forks_unwatched_ != 0) detail::raise(forks_unwatched_, "handling of signals (pthread_atfork)", "Out of memory.");
        const Lock lock;
        ::sigemptyset(&signals_);
        for (const int signal : signals) {
            struct sigaction now{};
            if (signal == SIGKILL || signal == SIGSTOP || ::sigaction(signal, nullptr, &now) != 0) {
                detail::raise(EINVAL, "handling of signal " + std::to_string(signal),
                              "Nobody can handle SIGKILL, SIGSTOP and the C library's own signals.");
            }
            if (now.sa_handler != SIG_IGN) ::sigaddset(&signals_, signal);
        }
        shared_.process.store(::getpid(), std::memory_order_relaxed);
        next_ = shared_.first;
        shared_.first = this;
        struct sigaction action{};
        action.sa_handler = handle;
        action.sa_flags = SA_RESTART;  // other system calls of the process continue after the signal
        for (std::size_t index = 1; index < NSIG; index++) {
            const int signal = static_cast<int>(index);
            if (::sigismember(&signals_, signal) != 1) continue;
            shared_.users[index]++;
            if (!shared_.installed[index]) shared_.installed[index] = ::sigaction(signal, &action, &shared_.before[index]) == 0;
        }
    }

    void leave() noexcept {
        if (process_ != ::getpid()) return;  // this object is a forked child's copy
        const Lock lock;
        StopOnSignals** link = &shared_.first;
        while (*link != nullptr && *link != this) link = &(*link)->next_;
        if (*link == nullptr) return;  // a forked child's copy in another PID namespace, where the child has the same number
        *link = next_;
        for (std::size_t index = 1; index < NSIG; index++) {
            const int signal = static_cast<int>(index);
            if (::sigismember(&signals_, signal) == 1 && --shared_.users[index] == 0) put_back(signal);
        }
    }

    void* loop_;
    void (*stop_)(void*) noexcept;
    StopOnSignals* next_ = nullptr;
    sigset_t signals_{};
    std::atomic<int> received_{0};
    pid_t process_ = ::getpid();
};

}  // namespace ringstep::inline v0
