// SPDX-License-Identifier: MIT
// Loading of a BPF object that ends after some time, whatever the verifier makes of it.
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
 * The verifier may take minutes for a loop that it refuses in the end. It gives up when its task has a signal to look at, so it
 * is given one, on a thread that is there for the load alone: the application's threads, handlers and masks are not touched.
 * Nor is it a signal that a handler sees: a time-out of a ring that the thread has opened interrupts it in the same way, and
 * is gone when the thread is back in user space. The kernel answers EAGAIN then. libbpf tries some times again, so there are
 * many time-outs.
 */
class LimitedLoad {
public:
    /// bpf_object__load(), in so many seconds; 0: in any time. Where there is no thread or no ring to be had, in any time, too.
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

    /// What bpf_object__load() returned: 0, or a negative errno; -ETIME if the time was up.
    [[nodiscard]] int result() const noexcept { return result_; }
    /// What libbpf had to say meanwhile.
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
            said_.clear();  // the errno has to do
        }
    }

    [[nodiscard]] static std::int64_t now() noexcept {
        timespec time{};
        (void)::clock_gettime(CLOCK_MONOTONIC, &time);
        return time.tv_sec;
    }

    // One interruption every so many seconds, and many once the first of these is over.
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
