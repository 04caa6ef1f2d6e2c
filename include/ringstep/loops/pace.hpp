// SPDX-License-Identifier: MIT
// Requests that begin at given rates.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/compiled/pace.hpp>
#include <ringstep/error.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>

namespace ringstep::inline v0 {

namespace loops {

/// The loop of Pace, which is its face.
struct pace : compiled::pace {};

}  // namespace loops

/// What a class of a Pace is allowed: two buckets of tokens, both of which a request has to find what it takes in.
struct PaceRate {
    std::uint64_t operations = 0;        ///< requests a second, 10^12 at most; 0: no limit
    std::uint64_t operations_burst = 1;  ///< requests that may begin at once after a pause: 1 to 2^32
    std::uint64_t bytes = 0;             ///< bytes a second, 10^12 at most; 0: no limit
    std::uint64_t bytes_burst = 1;       ///< bytes that may begin at once after a pause: 1 to 2^32
};

/**
 * Begins requests at given rates: so many, and so many bytes, a second, for each of 16 classes. 4,096 requests at a time.
 * Inside a class, first come, first served; classes do not wait for each other.
 *
 * What is promised: in any span of time, the requests of a class that begin take no more than the burst and rate × span. (Where
 * a request is larger than bytes_burst, read its size for the burst: it begins when the bucket is full, and the ones after it
 * wait until what it took beyond that has flowed in.) RequestCompletion::memo is when the request began, in nanoseconds of
 * CLOCK_MONOTONIC; 0 for one that was cancelled before.
 *
 * What is reached: tokens are counted exactly, so the rate is as asked as long as there are requests and the bucket never is
 * full for want of the loop's attention. But the loop wakes up for the next request some time after its tokens are there (the
 * kernel's timer slack, the scheduler, other work), and what flows in while the bucket is full is lost. So let the burst cover
 * the longest time that the loop may have to wait for a processor: some 50 ms where others want it, too. Measured by
 * `bench-pace` by the user engine on Linux 6.18, on two processors that other work kept busy, of what was asked for:
 *
 * | operations a second | 1,000 | 10,000 | 100,000 |
 * |---------------------|-------|--------|---------|
 * | a burst of 1        |  58 % |   56 % |     3 % |
 * | bursts of 5 ms      |  99 % |   86 % |    49 % |
 * | bursts of 50 ms     | 100 % |   99 % |   100 % |
 *
 * There, the median of those that had to wait began 30 to 65 µs after their tokens were there. In an emulated machine with
 * Linux 7.3 it was 144 µs with the kernel engine and 220 µs with the user engine, at 1,000 a second in bursts of 5 ms.
 * `./dev bench pace` measures both engines.
 *
 * A class has no limits at first, and what has none begins at once. What threads may do, how completions are taken, how runs
 * end: as with every RequestLoop.
 *
 * **Example**:
 *
 *     ringstep::Pace pace{ring};
 *     pace.set_rate(3, {.bytes = 50 << 20, .bytes_burst = 1 << 20});    // 50 MiB a second
 *     for (const Block& block : blocks) {
 *         io_uring_sqe sqe{};
 *         io_uring_prep_write(&sqe, block.fd, block.data, block.size, block.offset);
 *         pace.push(sqe, 3);
 *     }
 *     pace.run();
 */
class Pace : public RequestLoop<loops::pace> {
public:
    /// How many classes there are.
    static constexpr std::uint32_t classes = RINGSTEP_PACE_CLASSES;

    /// Puts the loop on a ring. Throws Error.
    explicit Pace(Ring& ring, const LoopOptions& options = {}) : RequestLoop(ring, options) {}

    /**
     * What a request counts as, if nothing else is said:
     * - reads, writes, sends and receives, of registered buffers too, splice and tee: their length
     * - readv, writev: the sum of the vector; sendmsg, recvmsg: that of the message. Both are looked at now, so they have to be
     *   there when the request is pushed
     * - everything else (open, close, fsync, accept, connect, poll, fallocate …): 0
     *
     * It is what is asked for: a read that comes back short has counted in full. A length that is 0 because the buffer is
     * yet to be selected (IOSQE_BUFFER_SELECT) counts as 0: say the bytes with the push.
     */
    [[nodiscard]] static std::uint64_t bytes_of(const io_uring_sqe& sqe) noexcept {
        const auto sum = [](const iovec* vector, std::size_t count) {
            std::uint64_t bytes = 0;
            for (std::size_t i = 0; vector != nullptr && i < count; i++) {
                const std::uint64_t length = vector[i].iov_len;
                bytes = length > std::numeric_limits<std::uint64_t>::max() - bytes ? std::numeric_limits<std::uint64_t>::max()
                                                                                   : bytes + length;
            }
            return bytes;
        };
        switch (sqe.opcode) {
            case IORING_OP_READ:
            case IORING_OP_WRITE:
            case IORING_OP_READ_FIXED:
            case IORING_OP_WRITE_FIXED:
            case IORING_OP_SEND:
            case IORING_OP_SEND_ZC:
            case IORING_OP_RECV:
            case IORING_OP_SPLICE:
            case IORING_OP_TEE: return sqe.len;
            case IORING_OP_READV:
            case IORING_OP_WRITEV: return sum(reinterpret_cast<const iovec*>(sqe.addr), sqe.len);
            case IORING_OP_SENDMSG:
            case IORING_OP_SENDMSG_ZC:
            case IORING_OP_RECVMSG: {
                const auto* message = reinterpret_cast<const msghdr*>(sqe.addr);
                return message == nullptr ? 0 : sum(message->msg_iov, message->msg_iovlen);
            }
            default: return 0;
        }
    }

    /// Hands a request to the loop, as liburing's io_uring_prep_ functions fill it in. Any thread, also while the loop runs,
    /// without locks. Nothing if all 4,096 slots are taken: take completions first. Throws Error (EINVAL) for a class that
    /// there is not, for 4 GiB or more in one request, and for a request that no loop can schedule.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t bytes) {
        check(request_class, bytes);
        return RequestLoop::try_push(sqe, bytes, request_class);
    }
    /// The same; it counts as bytes_of() it.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) {
        return try_push(sqe, request_class, bytes_of(sqe));
    }

    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t bytes) {
        check(request_class, bytes);
        return RequestLoop::push(sqe, bytes, request_class);
    }
    /// The same; it counts as bytes_of() it.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) { return push(sqe, request_class, bytes_of(sqe)); }

    /// What a class is allowed from now on. Its buckets keep what they have, as far as the new ones hold it; one that had no
    /// limit begins full. Any thread, also while the loop runs, which sees it within a wake-up. Throws Error (EINVAL) for a
    /// class, a rate or a burst out of its range.
    void set_rate(std::uint32_t request_class, const PaceRate& rate) {
        check(request_class, 0);
        check("operations", rate.operations, rate.operations_burst);
        check("bytes", rate.bytes, rate.bytes_burst);
        const std::lock_guard lock(writing_);
        ringstep_pace_class& target = state()->classes[request_class];
        const std::uint32_t version = target.version;
        // The loop takes what it reads between two looks at the same even version.
        store(target.version, version + 1);
        store(target.wanted[RINGSTEP_PACE_OPERATIONS].rate, rate.operations);
        store(target.wanted[RINGSTEP_PACE_OPERATIONS].burst, rate.operations_burst);
        store(target.wanted[RINGSTEP_PACE_BYTES].rate, rate.bytes);
        store(target.wanted[RINGSTEP_PACE_BYTES].burst, rate.bytes_burst);
        store(target.version, version + 2);
        program().wake();
    }

    /// Requests of a class that have begun. Any thread.
    [[nodiscard]] std::uint64_t begun(std::uint32_t request_class) const {
        check(request_class, 0);
        return std::atomic_ref(state()->classes[request_class].operations).load(std::memory_order_acquire);
    }
    /// Their bytes. Any thread.
    [[nodiscard]] std::uint64_t bytes_begun(std::uint32_t request_class) const {
        check(request_class, 0);
        return std::atomic_ref(state()->classes[request_class].bytes).load(std::memory_order_acquire);
    }

private:
    static void check(std::uint32_t request_class, std::uint64_t bytes) {
        if (request_class >= classes) [[unlikely]] {
            detail::raise(EINVAL, "use of class " + std::to_string(request_class) + " of loop 'pace'",
                          "Classes are 0 to " + std::to_string(classes - 1) + ".");
        }
        if (bytes > std::numeric_limits<std::uint32_t>::max()) [[unlikely]] {
            detail::raise(EINVAL, "push of a request of " + std::to_string(bytes) + " bytes to loop 'pace'",
                          "A request counts as 4 GiB - 1 at most.");
        }
    }

    static void check(const char* what, std::uint64_t rate, std::uint64_t burst) {
        if (rate > RINGSTEP_PACE_MOST_RATE || burst == 0 || burst > RINGSTEP_PACE_MOST_BURST) [[unlikely]] {
            detail::raise(EINVAL,
                          std::string("setting of a rate of ") + std::to_string(rate) + " " + what +
                              " a second, with a burst of " + std::to_string(burst) + ", for loop 'pace'",
                          "A rate is 10^12 at most, a burst 1 to 2^32.");
        }
    }

    template <class Integer>
    static void store(Integer& field, std::type_identity_t<Integer> value) noexcept {
        std::atomic_ref(field).store(value, std::memory_order_release);
    }

    std::mutex writing_;  // of rates
};

}  // namespace ringstep::inline v0
