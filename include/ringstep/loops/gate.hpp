// SPDX-License-Identifier: MIT
// Any number of requests waits; so many are in flight.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/compiled/gate.hpp>
#include <ringstep/error.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>

namespace ringstep::inline v0 {

namespace loops {

/// The loop of Gate, which is its face.
struct gate : compiled::gate {};

}  // namespace loops

/// How a Gate begins.
struct GateOptions {
    std::uint32_t depth = 32;      ///< requests in flight at most; 0: none begins
    std::uint32_t file_limit = 0;  ///< of these, at most so many for each file; 0: no limit
    std::uint32_t patience = 0;    ///< see Gate::set_patience()
    LoopOptions loop{};            ///< as for every loop
};

/**
 * Takes many more requests than the ring has entries (16,384 at a time), and keeps `depth` of them in flight. Which is next is
 * exact: the first, by class and then by arrival, of those whose file is below its limit. A request that waits for its file
 * holds nobody else up.
 *
 * - Classes: 0 goes first, 7 last; inside a class, first come, first served. Strict: as long as a higher class has requests,
 *   lower ones wait, for ever if need be; unless set_patience() says otherwise.
 * - Files: whatever the caller counts as one, a number of 64 bits: by default the request's descriptor. Any number of files may
 *   have requests at once.
 * - What is pushed before run(), or by one thread while the loop works on something else, is ordered as a whole: the loop reads
 *   all of its mail before it submits. Of requests that several threads push at the same time, the order is that in which their
 *   pushes are noted, which is one of those possible.
 *
 * The CQ should hold twice the depth, as it does if depth is sq_entries at most: a turn of the loop submits 64 requests at
 * most, and none that could fill more than half of the CQ at once. So where it is smaller, fewer are in flight of those that
 * complete at once, and others get there in several turns.
 *
 * Requests with IOSQE_IO_LINK or IOSQE_IO_DRAIN and multishot requests are refused (EINVAL). RequestCompletion::memo is the
 * request's number in the order of submission; of a request that was cancelled before that, in the order of arrival.
 *
 * What threads may do, how completions are taken, how runs end: as with every RequestLoop.
 *
 * **Example**:
 *
 *     ringstep::Ring ring{{.sq_entries = 64}};
 *     ringstep::Gate gate{ring, {.depth = 32, .file_limit = 4}};
 *     for (const Block& block : ten_thousand_blocks) {
 *         io_uring_sqe sqe{};
 *         io_uring_prep_read(&sqe, block.fd, block.buffer, block.size, block.offset);
 *         gate.push(sqe, block.urgent ? 0 : 5);
 *     }
 *     gate.run();
 *     for (const ringstep::RequestCompletion& completion : gate.completions()) use(completion);
 */
class Gate : public RequestLoop<loops::gate> {
public:
    /// How many classes there are: 0 goes first.
    static constexpr std::uint32_t classes = RINGSTEP_GATE_CLASSES;

    /// Puts the loop on a ring. Throws Error.
    explicit Gate(Ring& ring, const GateOptions& options = {}) : RequestLoop(ring, options.loop) {
        state()->depth = options.depth;
        state()->file_limit = options.file_limit;
        state()->patience = options.patience;
    }

    /// What a request's file is, if nothing else is said: its descriptor, or its slot in the table of registered files.
    [[nodiscard]] static std::uint64_t file_of(const io_uring_sqe& sqe) noexcept {
        const std::uint64_t registered = (sqe.flags & IOSQE_FIXED_FILE) != 0 ? std::uint64_t{1} << 32 : 0;
        return registered | static_cast<std::uint32_t>(sqe.fd);
    }

    /// Hands a request to the loop, as liburing's io_uring_prep_ functions fill it in. Any thread, also while the loop runs,
    /// without locks. Nothing if all 16,384 slots are taken: take completions first. Throws Error (EINVAL) for a class that
    /// there is not, and for a request that no loop can schedule.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t file) {
        check(request_class);
        return RequestLoop::try_push(sqe, file, request_class);
    }
    /// The same; the file is file_of() it.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) {
        return try_push(sqe, request_class, file_of(sqe));
    }

    /// The same where there ought to be room: throws Error (ENOSPC) if there is none.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t file) {
        check(request_class);
        return RequestLoop::push(sqe, file, request_class);
    }
    /// The same; the file is file_of() it.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) { return push(sqe, request_class, file_of(sqe)); }

    /// Requests in flight at most; 0: none begins. Those that are in flight stay so. Any thread, also while the loop runs.
    void set_depth(std::uint32_t depth) noexcept { change(state()->depth, depth); }

    /**
     * Guards lower classes against starvation: a class is passed over each time that a request of a higher one goes while it
     * has requests. One that was passed over `times` times is next, whatever higher classes have; if its files hold all of its
     * requests back, as soon as one of them may go. If several classes are that impatient, the higher goes first, so a class
     * that no file holds back is passed over `times` + 6 times at most. 0, as at first: strict order. Any thread, also while
     * the loop runs; requests that their files hold back at that moment go by the new order when their files next have a place.
     */
    void set_patience(std::uint32_t times) noexcept { change(state()->patience, times); }

    /// Requests in flight at most for each file; 0: no limit. On the thread that pushes and runs, while there are no requests:
    /// throws Error (EBUSY) if there are, completions that nobody has taken included.
    void set_file_limit(std::uint32_t limit) {
        if (outstanding() != 0) {
            detail::raise(EBUSY, "change of the limit for files of loop 'gate'",
                          "There are " + std::to_string(outstanding()) +
                              " requests: wait until they are complete, and take their completions.");
        }
        state()->file_limit = limit;
    }

private:
    static void check(std::uint32_t request_class) {
        if (request_class >= classes) [[unlikely]] {
            detail::raise(EINVAL, "push of a request of class " + std::to_string(request_class) + " to loop 'gate'",
                          "Classes are 0, which goes first, to " + std::to_string(classes - 1) + ".");
        }
    }

    void change(__u32& field, std::uint32_t value) noexcept {
        std::atomic_ref(field).store(value, std::memory_order_release);
        program().wake();
    }
};

}  // namespace ringstep::inline v0
