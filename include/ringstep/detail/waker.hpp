// SPDX-License-Identifier: MIT
// Waking a thread that sleeps in a loop, by messages to its ring.
#pragma once

#include <ringstep/detail/uapi.hpp>
#include <ringstep/error.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace ringstep::inline v0::detail {

/**
 * Gets a thread that waits in io_uring_enter() to take its loop's next turn, from any other thread.
 *
 * For a loop in the kernel, a message with data (IORING_MSG_DATA) would not do: it counts as one completion, and the kernel
 * does not wake a thread that waits for several because of one; besides, it would lie in the CQ for everybody to see. A message
 * that passes a file descriptor is carried out by the receiving thread, which has to wake up for it. This one names no slot to
 * put the file into, so nothing but the waking comes of it.
 *
 * An ordinary wait goes on after such a message. A loop in user space gets completions, as many as it waits for, and drops
 * them.
 *
 * One for a process, made before it is needed: a stop must not fail because there is no descriptor left.
 */
class Waker {
public:
    /// The process's waker. Throws Error if it cannot be made.
    [[nodiscard]] static Waker& instance() {
        static Waker waker;
        const Lock lock(waker.mutex_);
        if (waker.process_ != ::getpid()) waker.open();  // a fork shares the ring's memory with its parent: not that one
        return waker;
    }

    Waker(const Waker&) = delete;
    Waker& operator=(const Waker&) = delete;

    /// Gets a loop in the kernel to take its next turn. Any thread.
    void wake(int ring_fd) noexcept {
        const Lock lock(mutex_);
        io_uring_sqe* sqe = next();
        if (sqe == nullptr) return;
        io_uring_prep_msg_ring_fd(sqe, ring_fd, 0, 0, 0, IORING_MSG_RING_CQE_SKIP);
        sqe->file_index = 0;  // no slot
        (void)io_uring_submit(&ring_);
    }

    /// Posts `count` completions with this user_data on the ring; how many could be sent. Any thread.
    std::uint32_t post(int ring_fd, std::uint64_t user_data, std::uint32_t count) noexcept {
        const Lock lock(mutex_);
        std::uint32_t sent = 0;
        std::uint32_t ours = 0;  // of the messages that a submit left behind, for lack of memory
        while (sent < count) {
            if (io_uring_sq_ready(&ring_) != 0) {
                const int submitted = io_uring_submit(&ring_);
                if (submitted <= 0) break;
                sent += static_cast<std::uint32_t>(submitted) < ours ? static_cast<std::uint32_t>(submitted) : ours;
                ours = 0;
                if (io_uring_sq_ready(&ring_) != 0) break;
                continue;
            }
            std::uint32_t batch = 0;
            while (batch < entries && batch < count - sent) {
                io_uring_sqe* const sqe = next();
                if (sqe == nullptr) break;
                io_uring_prep_msg_ring(sqe, ring_fd, 0, user_data, 0);
                batch++;
            }
            const int submitted = io_uring_submit(&ring_);
            if (submitted <= 0) break;
            sent += static_cast<std::uint32_t>(submitted);
            ours = batch - static_cast<std::uint32_t>(submitted);
        }
        return sent;
    }

private:
    Waker() = default;
    ~Waker() {
        if (process_ == ::getpid()) io_uring_queue_exit(&ring_);
    }

    static constexpr std::uint32_t entries = 64;

    // A signal handler may ask for a stop, too: it must not come while its thread holds the lock. (<mutex> would be a tenth of
    // what including this library costs.)
    class Lock {
    public:
        explicit Lock(pthread_mutex_t& mutex) noexcept : mutex_(mutex) {
            sigset_t all;
            sigfillset(&all);
            ::pthread_sigmask(SIG_BLOCK, &all, &before_);
            ::pthread_mutex_lock(&mutex_);
        }
        Lock(const Lock&) = delete;
        Lock& operator=(const Lock&) = delete;
        ~Lock() {
            ::pthread_mutex_unlock(&mutex_);
            ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        }

    private:
        pthread_mutex_t& mutex_;
        sigset_t before_{};
    };

    // Null only if earlier submits failed.
    [[nodiscard]] io_uring_sqe* next() noexcept {
        io_uring_cqe* cqe = nullptr;
        while (io_uring_peek_cqe(&ring_, &cqe) == 0) io_uring_cqe_seen(&ring_, cqe);
        return io_uring_get_sqe(&ring_);
    }

    void open() {
        io_uring fresh{};
        int result = io_uring_queue_init(entries, &fresh, 0);
        if (result < 0)
            raise(result, "opening of the ring that wakes up waiting loops", "Descriptors may have run out (ulimit -n).");
        const int event = ::eventfd(0, EFD_CLOEXEC);  // some file, to pass
        result = event >= 0 ? io_uring_register_files(&fresh, &event, 1) : -errno;
        if (event >= 0) ::close(event);
        if (result < 0) {
            io_uring_queue_exit(&fresh);
            raise(result, "registration of a file to wake up waiting loops with", "Descriptors may have run out (ulimit -n).");
        }
        ring_ = fresh;
        process_ = ::getpid();
    }

    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    io_uring ring_{};
    pid_t process_ = 0;
};

}  // namespace ringstep::inline v0::detail
