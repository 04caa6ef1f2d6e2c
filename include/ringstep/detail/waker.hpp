// SPDX-License-Identifier: MIT
// Wakes a thread that sleeps in a loop, by messages to its ring.
#pragma once

#include <ringstep/detail/fork.hpp>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/error.hpp>

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace ringstep::inline v0::detail {

/**
 * Makes a thread that waits in io_uring_enter() take its loop's next turn, from any other thread.
 *
 * For a loop in the kernel, a message with data (IORING_MSG_DATA) is not enough. It counts as one completion, and the kernel
 * does not wake a thread that waits for several because of one. It would also be visible in the CQ. A message that passes a
 * file descriptor is carried out by the receiving thread, which must wake up for it. This message names no slot for the file,
 * so its only effect is the wake-up.
 *
 * An ordinary wait continues after this message. A loop in user space gets as many completions as it waits for, and drops them.
 *
 * A process has one waker, made before it is needed, because a stop must not fail for lack of a descriptor. The waker stays
 * open until the process ends, because threads may still wake loops while the process exits. A forked child makes another.
 */
class Waker final : public Forkable {
public:
    /// Returns the process's waker. Throws Error if it cannot be made.
    [[nodiscard]] static Waker& instance() {
        static constinit Waker waker;
        {
            const Forks::Lock lock;
            Forks::add(waker, lock);
        }
        const SignalProofLock lock(waker.mutex_);
        if (!waker.is_open_) waker.open();
        return waker;
    }

    Waker(const Waker&) = delete;
    Waker& operator=(const Waker&) = delete;

    /// Makes a loop in the kernel take its next turn. Does nothing for a ring of the parent process (-1). May be called from
    /// any thread.
    void wake(int ring_fd) noexcept {
        const SignalProofLock lock(mutex_);
        if (!is_open_ || ring_fd < 0) return;
        io_uring_sqe* sqe = next();
        if (sqe == nullptr) return;
        io_uring_prep_msg_ring_fd(sqe, ring_fd, 0, 0, 0, IORING_MSG_RING_CQE_SKIP);
        sqe->file_index = 0;  // names no slot
        (void)io_uring_submit(&ring_);
    }

    /// Posts `count` completions with this user_data on the ring, and returns how many were sent. For a ring of the parent
    /// process (-1), it sends nothing and returns `count`. May be called from any thread.
    std::uint32_t post(int ring_fd, std::uint64_t user_data, std::uint32_t count) noexcept {
        const SignalProofLock lock(mutex_);
        if (!is_open_ || ring_fd < 0) return count;
        std::uint32_t sent = 0;
        std::uint32_t ours = 0;  // number of this call's messages that a submit left behind, for lack of memory
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
    constexpr Waker() noexcept = default;

    static constexpr std::uint32_t entries = 64;

    void before_fork() noexcept override { ::pthread_mutex_lock(&mutex_); }
    void after_fork_in_parent() noexcept override { ::pthread_mutex_unlock(&mutex_); }
    // Otherwise, both processes would write to the memory of one ring.
    void after_fork_in_child() noexcept override {
        ::pthread_mutex_unlock(&mutex_);  // this thread took it before the fork
        if (is_open_) io_uring_queue_exit(&ring_);
        is_open_ = false;
    }

    // Returns the next SQE, or null if earlier submits failed.
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
        const int event = ::eventfd(0, EFD_CLOEXEC);  // a file to pass; its kind does not matter
        result = event >= 0 ? io_uring_register_files(&fresh, &event, 1) : -errno;
        if (event >= 0) ::close(event);
        if (result < 0) {
            io_uring_queue_exit(&fresh);
            raise(result, "registration of a file to wake up waiting loops with", "Descriptors may have run out (ulimit -n).");
        }
        ring_ = fresh;
        is_open_ = true;
    }

    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    io_uring ring_{};
    bool is_open_ = false;
};

}  // namespace ringstep::inline v0::detail
