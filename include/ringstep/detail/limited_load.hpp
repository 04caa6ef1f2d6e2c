// SPDX-License-Identifier: MIT
// Loads a BPF object with a time limit, however long the verifier would take.
#pragma once

#include <ringstep/detail/libbpf.hpp>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/version.hpp>

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>

namespace ringstep::inline v0::detail {

/// Returns true if a log of the verifier ends with what it was looking at, and not with what is wrong: then it was interrupted.
/// libbpf loads a refused program once more, with a log, and this may be what the time limit ends. If the log does not fit, the
/// errno does not say so.
[[nodiscard]] inline bool verifier_was_interrupted(std::string_view log) noexcept {
    const std::size_t end = log.rfind("\nprocessed ");
    if (end == std::string_view::npos || end == 0) return false;
    const std::size_t before = log.rfind('\n', end - 1);
    const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
    const std::string_view line = log.substr(begin, end - begin);
    // An instruction ("123: (85) call …"), the state at a branch, a line of the source, or a function that is verified by
    // itself.
    const std::size_t digits = line.find_first_not_of("0123456789");
    return (digits != 0 && digits != std::string_view::npos && line.substr(digits).starts_with(": ")) ||
           line.starts_with("from ") || line.starts_with("; ") || line.starts_with("Func#");
}

/**
 * Loads a BPF object with a time limit, because the verifier may take minutes for a loop that it rejects in the end.
 *
 * The verifier ends early when its task has a signal to handle. The load therefore runs on a thread of its own, so that the
 * application's threads, handlers and masks stay unchanged. No real signal is sent either. The thread opens a ring whose
 * timeouts interrupt the verifier like a signal, and leave nothing behind in user space. The kernel then answers EAGAIN. libbpf
 * repeats the load several times after that, so there are many timeouts.
 */
class LimitedLoad {
public:
    /// Calls bpf_object__load(), with a limit of `seconds` (0: no limit). There is also no limit if the thread or the ring
    /// cannot be made.
    LimitedLoad(bpf_object* object, std::uint32_t seconds) : object_(object), seconds_(seconds) {
        sigset_t all, before;
        ::sigfillset(&all);
        pthread_t thread{};
        bool apart = false;
        if (seconds != 0 && ::pthread_sigmask(SIG_SETMASK, &all, &before) == 0) {
            apart = ::pthread_create(&thread, nullptr, &on_thread, this) == 0;
            ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        }
        if (apart) {
            ::pthread_join(thread, nullptr);
        } else {
            load();
        }
    }

    LimitedLoad(const LimitedLoad&) = delete;
    LimitedLoad& operator=(const LimitedLoad&) = delete;

    /// Returns the result of bpf_object__load(): 0, or a negative errno. Returns -ETIME if the time limit ended the load.
    [[nodiscard]] int result() const noexcept { return result_; }
    /// Returns libbpf's warnings during the load.
    [[nodiscard]] const std::string& diagnostics() const noexcept { return said_; }

private:
    static constexpr unsigned interruptions = 128, pause_ms = 10;

    static void* on_thread(void* self) noexcept {
        auto& load = *static_cast<LimitedLoad*>(self);
        io_uring ring{};
        const bool limited = arm(ring, load.seconds_);
        const std::int64_t end = now() + load.seconds_;
        load.load();
        if (load.result_ == -EAGAIN && now() >= end) load.result_ = -ETIME;
        if (limited) ::io_uring_queue_exit(&ring);
        return nullptr;
    }

    void load() noexcept {
        const LibbpfDiagnostics diagnostics;
        result_ = bpf_object__load(object_);
        try {
            said_ = diagnostics.text();
        } catch (const std::bad_alloc&) {
            said_.clear();  // only the errno is reported
        }
    }

    [[nodiscard]] static std::int64_t now() noexcept {
        timespec time{};
        (void)::clock_gettime(CLOCK_MONOTONIC, &time);
        return time.tv_sec;
    }

    // Sets one timeout that repeats every `seconds`, and many single ones from the end of the first period on, `pause_ms`
    // apart.
    [[nodiscard]] static bool arm(io_uring& ring, std::uint32_t seconds) noexcept {
        if (::io_uring_queue_init(interruptions, &ring, 0) != 0) return false;
        __kernel_timespec times[interruptions];
        for (unsigned i = 0; i < interruptions; i++) {
            times[i].tv_sec = std::int64_t{seconds} + i * pause_ms / 1000;
            times[i].tv_nsec = static_cast<long long>(i * pause_ms % 1000) * 1'000'000;
            io_uring_prep_timeout(::io_uring_get_sqe(&ring), &times[i], 0, i == 0 ? timeout_multishot : 0);
        }
        if (::io_uring_submit(&ring) >= 0) return true;
        ::io_uring_queue_exit(&ring);
        return false;
    }

    bpf_object* object_;
    std::uint32_t seconds_;
    int result_ = -ENOMEM;
    std::string said_;
};

}  // namespace ringstep::inline v0::detail
