// SPDX-License-Identifier: MIT
// Submits requests at given rates.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/compiled/pace.hpp>
#include <ringstep/error.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

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

/// The loop behind the C++ class Pace.
struct pace;

}  // namespace loops

/// The limits of a class: two token buckets. A request is submitted when both buckets hold the tokens that it needs.
struct PaceRate {
    std::uint64_t operations = 0;        ///< requests a second, at most 10^12; 0: no limit
    std::uint64_t operations_burst = 1;  ///< requests that may start at once after a pause: 1 to 2^32
    std::uint64_t bytes = 0;             ///< bytes a second, at most 10^12; 0: no limit
    std::uint64_t bytes_burst = 1;       ///< bytes that may start at once after a pause: 1 to 2^32
};

/**
 * Submits requests at given rates: each of 16 classes has a limit for requests and one for bytes a second. Up to 4,096 requests
 * may be outstanding. Inside a class, requests start in the order of arrival. Classes do not wait for each other.
 *
 * Guarantee: in any span of time, the requests of a class that start take at most the burst plus rate × span. A request larger
 * than bytes_burst starts when the bucket is full. For that request, its size takes the place of the burst, and later requests
 * wait until the excess has flowed in. A completion's `own.begun` is the time when the request started, in nanoseconds of
 * CLOCK_MONOTONIC, or 0 if it was cancelled before.
 *
 * Precision: tokens are counted exactly. A class reaches its rate as long as it has requests and its bucket does not stay full
 * because the loop runs late. The loop wakes up some time after the tokens are there, because of the kernel's timer slack, the
 * scheduler and other work. Tokens that arrive while the bucket is full are lost. Choose a burst that covers the longest time
 * that the loop may wait for a processor, for example 50 ms on a busy machine.
 *
 * `bench-pace` measured these parts of the requested rates with the user engine on Linux 6.18, on two processors kept busy by
 * other work:
 *
 * | operations a second | 1,000 | 10,000 | 100,000 |
 * |---------------------|-------|--------|---------|
 * | a burst of 1        |  58 % |   56 % |     3 % |
 * | bursts of 5 ms      |  99 % |   86 % |    49 % |
 * | bursts of 50 ms     | 100 % |   99 % |   100 % |
 *
 * There, the median request that had to wait started 30 to 65 µs after its tokens were there. In an emulated machine with Linux
 * 7.3, at 1,000 a second in bursts of 5 ms, it was 144 µs with the kernel engine and 220 µs with the user engine. `./dev bench
 * pace` measures both engines.
 *
 * A class has no limits at first, and requests of a class without limits start at once. See RequestLoop for the rules for
 * threads, how completions are taken, and how runs end.
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
    /// The number of classes.
    static constexpr std::uint32_t classes = RINGSTEP_PACE_CLASSES;

    /// Attaches the loop to a ring. Throws Error.
    explicit Pace(Ring& ring, const LoopOptions& options = {}) : RequestLoop(ring, options) {}

    /**
     * Returns the number of bytes that a request counts as by default:
     * - reads, writes, sends and receives (also of registered buffers), splice and tee: their length
     * - readv, writev (also of registered buffers): the sum of the vector; sendmsg, recvmsg: the sum of the message's vector.
     * Vectors are read now, so they must be valid when the request is pushed
     * - everything else (open, close, fsync, accept, connect, poll, fallocate …): 0
     *
     * The number is the requested size: a short read counts in full. A length of 0, with a buffer that the kernel selects later
     * (IOSQE_BUFFER_SELECT), counts as 0; then pass the bytes to the push.
     */
    [[nodiscard]] static std::uint64_t bytes_of(const io_uring_sqe& sqe) noexcept { return detail::bytes_of(sqe); }

    /// Pushes a request, filled in by one of liburing's io_uring_prep_ functions. Returns the request's ticket, or nullopt if
    /// all 4,096 slots are taken: then take completions first. May be called from any thread, also while the loop runs; takes
    /// no locks. Throws Error (EINVAL) for an unknown class, for 4 GiB or more in one request, and for a request that no loop
    /// can schedule.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t bytes) {
        check(request_class, bytes);
        return try_push_with(sqe, writer(request_class, bytes));
    }
    /// Pushes a request like the other `try_push()`; it counts as bytes_of() bytes.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) {
        return try_push(sqe, request_class, bytes_of(sqe));
    }

    /// Pushes a request like `try_push()`, but throws Error (ENOSPC) if all slots are taken.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t bytes) {
        check(request_class, bytes);
        return push_with(sqe, writer(request_class, bytes));
    }
    /// Pushes a request like the other `push()`; it counts as bytes_of() bytes.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) { return push(sqe, request_class, bytes_of(sqe)); }

    /// Sets the limits of a class. Its buckets keep their tokens, up to the new bursts; the bucket of a class without that
    /// limit starts full. May be called from any thread, also while the loop runs, which applies the limits within one wake-up.
    /// Throws Error (EINVAL) for an unknown class, or for a rate or burst out of range.
    void set_rate(std::uint32_t request_class, const PaceRate& rate) {
        check(request_class, 0);
        check("operations", rate.operations, rate.operations_burst);
        check("bytes", rate.bytes, rate.bytes_burst);
        const std::lock_guard lock(writing_);
        ringstep_pace_class& target = state()->classes[request_class];
        const std::uint32_t version = target.version;
        // The loop accepts the values only if it read the same even version before and after them.
        store(target.version, version + 1);
        store(target.wanted[RINGSTEP_PACE_OPERATIONS].rate, rate.operations);
        store(target.wanted[RINGSTEP_PACE_OPERATIONS].burst, rate.operations_burst);
        store(target.wanted[RINGSTEP_PACE_BYTES].rate, rate.bytes);
        store(target.wanted[RINGSTEP_PACE_BYTES].burst, rate.bytes_burst);
        store(target.version, version + 2);
        program().wake();
    }

    /// Returns how many requests of a class have started. May be called from any thread. Throws Error (EINVAL) for an unknown
    /// class.
    [[nodiscard]] std::uint64_t begun(std::uint32_t request_class) const {
        check(request_class, 0);
        return std::atomic_ref(state()->classes[request_class].operations).load(std::memory_order_acquire);
    }
    /// Returns how many bytes the started requests of a class count as. May be called from any thread. Throws Error (EINVAL)
    /// for an unknown class.
    [[nodiscard]] std::uint64_t bytes_begun(std::uint32_t request_class) const {
        check(request_class, 0);
        return std::atomic_ref(state()->classes[request_class].bytes).load(std::memory_order_acquire);
    }

private:
    // Writes what the loop keeps for a request into its slot.
    struct Writer {
        std::uint32_t request_class;
        std::uint32_t bytes;

        void operator()(Slot& slot) const noexcept { slot.own = {.begun = 0, .bytes = bytes, .request_class = request_class}; }
    };
    static Writer writer(std::uint32_t request_class, std::uint64_t bytes) noexcept {
        return {.request_class = request_class, .bytes = static_cast<std::uint32_t>(bytes)};
    }

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

    std::mutex writing_;  // held while rates are written
};

}  // namespace ringstep::inline v0
