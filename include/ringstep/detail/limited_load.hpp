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
#include <cstdint>
#include <new>
#include <string>

namespace ringstep::inline v0::detail {

/**
 * Loads a BPF object with a time limit, because the verifier may take minutes for a loop that it rejects in the end.
 *
 * The verifier ends early when its task has a signal to handle. The load therefore runs on a thread of its own, so that the
 * application's threads, handlers and masks stay unchanged. No real signal is sent either. The thread opens a ring whose
 * timeouts interrupt the verifier like a signal, and leave nothing behind in user space. The kernel then answers EAGAIN, or
 * ENOSPC if the verifier's log did not fit. libbpf repeats the load several times after that, the last time with a log, so the
 * timeouts go on.
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
    static constexpr unsigned interruptions = 4096;
    static constexpr long long pause_ms = 10;

    static void* on_thread(void* self) noexcept {
        auto& load = *static_cast<LimitedLoad*>(self);
        io_uring ring{};
        const bool limited = arm(ring, load.seconds_);
        const std::int64_t end = now() + load.seconds_;
        load.load();
        if ((load.result_ == -EAGAIN || load.result_ == -ENOSPC) && now() >= end) load.result_ = -ETIME;
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

    // Sets a timeout for the end of the time, and one behind it that repeats every `pause_ms` from then on.
    [[nodiscard]] static bool arm(io_uring& ring, std::uint32_t seconds) noexcept {
        io_uring_params params{};
        params.flags = IORING_SETUP_CQSIZE;
        params.cq_entries = interruptions;  // nobody takes the completions, and without room for one, the repetition ends
        if (::io_uring_queue_init_params(2, &ring, &params) != 0) return false;
        __kernel_timespec end{.tv_sec = seconds, .tv_nsec = 0};
        __kernel_timespec pause{.tv_sec = 0, .tv_nsec = pause_ms * 1'000'000};
        io_uring_sqe* const first = ::io_uring_get_sqe(&ring);
        io_uring_prep_timeout(first, &end, 0, IORING_TIMEOUT_ETIME_SUCCESS);
        first->flags |= IOSQE_IO_LINK;
        io_uring_prep_timeout(::io_uring_get_sqe(&ring), &pause, 0, timeout_multishot);
        if (::io_uring_submit(&ring) == 2) return true;
        ::io_uring_queue_exit(&ring);
        return false;
    }

    bpf_object* object_;
    std::uint32_t seconds_;
    int result_ = -ENOMEM;
    std::string said_;
};

}  // namespace ringstep::inline v0::detail
