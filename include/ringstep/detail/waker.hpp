// SPDX-License-Identifier: MIT
// Wakes a thread that sleeps in a loop, by messages to its ring.
#pragma once

#include <ringstep/detail/call_filter.hpp>
#include <ringstep/detail/fork.hpp>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/error.hpp>

#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <type_traits>

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

    /// Returns how often to try again after this errno, a millisecond later each time. The kernel may be short of memory, and a
    /// stop must not get lost. A filter of system calls forbids the next call, too, as a rule.
    [[nodiscard]] static int most_tries(int error) noexcept { return may_come_from_call_filter(error) ? 20 : 1000; }

    /// Makes a loop in the kernel take its next turn. Does nothing for a ring of the parent process (-1). May be called from
    /// any thread.
    void wake(int ring_fd) noexcept {
        for (int tries = 0;; tries++) {
            const int error = try_wake(ring_fd);
            if (error == 0 || tries >= most_tries(error)) return;
            const timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
            (void)::nanosleep(&millisecond, nullptr);
        }
    }

    /// Posts `count` completions with this user_data on the ring, and returns how many were sent. If these are fewer than
    /// `count`, the rest is never sent, and `*error` is the errno. For a ring of the parent process (-1), it sends nothing and
    /// returns `count`. May be called from any thread.
    std::uint32_t post(int ring_fd, std::uint64_t user_data, std::uint32_t count, int* error = nullptr) noexcept {
        const SignalProofLock lock(mutex_);
        if (!is_open_ || ring_fd < 0) return count;
        std::uint32_t sent = 0;
        while (sent < count) {
            std::uint32_t batch = 0;
            while (batch < entries && batch < count - sent) {
                io_uring_sqe* const sqe = next();
                if (sqe == nullptr) break;
                io_uring_prep_msg_ring(sqe, ring_fd, 0, user_data, 0);
                batch++;
            }
            const int submitted = submit();
            if (submitted <= 0) {
                if (error != nullptr) *error = submitted < 0 ? -submitted : EAGAIN;
                break;
            }
            sent += static_cast<std::uint32_t>(submitted);
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

    // Returns 0, or an errno.
    [[nodiscard]] int try_wake(int ring_fd) noexcept {
        const SignalProofLock lock(mutex_);
        if (!is_open_ || ring_fd < 0) return 0;
        io_uring_sqe* const sqe = next();
        if (sqe == nullptr) return EAGAIN;
        io_uring_prep_msg_ring_fd(sqe, ring_fd, 0, 0, 0, IORING_MSG_RING_CQE_SKIP);
        sqe->file_index = 0;  // names no slot
        const int submitted = submit();
        return submitted == 1 ? 0 : submitted < 0 ? -submitted : EAGAIN;
    }

    // Submits all messages, and returns how many the kernel took, or -errno. The others are withdrawn: left in the SQ, they
    // would be sent by a later call, which does not count them.
    [[nodiscard]] int submit() noexcept {
        const int submitted = io_uring_submit(&ring_);
        io_uring_sq& sq = ring_.sq;
        const unsigned head = io_uring_smp_load_acquire(sq.khead);
        if (head != sq.sqe_tail) [[unlikely]] {
            sq.sqe_head = sq.sqe_tail = head;
            io_uring_smp_store_release(sq.ktail, head);
        }
        return submitted;
    }

    // Returns the next SQE, or null if all are in use.
    [[nodiscard]] io_uring_sqe* next() noexcept {
        io_uring_cqe* cqe = nullptr;
        while (io_uring_peek_cqe(&ring_, &cqe) == 0) io_uring_cqe_seen(&ring_, cqe);
        return io_uring_get_sqe(&ring_);
    }

    [[nodiscard]] static std::string advice_for(int result) {
        if (result == -EMFILE || result == -ENFILE) return "Out of file descriptors: raise ulimit -n (RLIMIT_NOFILE).";
        if (result == -ENOMEM) return "Out of memory, or of locked memory (RLIMIT_MEMLOCK, ulimit -l).";
        return {};
    }

    void open() {
        io_uring fresh{};
        int result = io_uring_queue_init(entries, &fresh, 0);
        if (result < 0) raise(result, "opening of the ring that wakes up waiting loops", advice_for(result));
        const int event = ::eventfd(0, EFD_CLOEXEC);  // a file to pass; its kind does not matter
        result = event >= 0 ? io_uring_register_files(&fresh, &event, 1) : -errno;
        if (event >= 0) ::close(event);
        if (result < 0) {
            io_uring_queue_exit(&fresh);
            raise(result, "registration of a file to wake up waiting loops with", advice_for(result));
        }
        ring_ = fresh;
        is_open_ = true;
    }

    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    io_uring ring_{};
    bool is_open_ = false;
};

static_assert(std::is_trivially_destructible_v<Waker>, "threads may still wake loops while the process exits");

}  // namespace ringstep::inline v0::detail
