// SPDX-License-Identifier: MIT
// What the gates of both sizes have in common: they queue requests and keep a limited number of them in flight.
#pragma once

#include <ringstep/blocks/requests.hpp>
#include <ringstep/c/loops/gate.h>
#include <ringstep/definition.hpp>
#include <ringstep/error.hpp>
#include <ringstep/options.hpp>
#include <ringstep/ring.hpp>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>

namespace ringstep::inline v0 {

/// The initial settings of a Gate.
struct GateOptions {
    std::uint32_t depth = 32;      ///< most requests in flight; 0: none is submitted
    std::uint32_t file_limit = 0;  ///< most requests in flight for each file; 0: no limit
    std::uint32_t patience = 0;    ///< see Gate::set_patience()
    LoopOptions loop{};            ///< the options of every loop
};

/**
 * Queues requests, many more than the ring has entries, and keeps up to `depth` of them in flight. There are two sizes, which
 * differ in nothing else: Gate (loops/gate.hpp) and LargeGate (loops/gate_large.hpp). The order is
 * exact. Among requests whose file is below its limit, the next one is the first by class, then by arrival. A request that
 * waits for its file delays no request of another file.
 *
 * - Classes: class 0 is first, class 7 last. Inside a class, requests are submitted in the order of arrival. Lower classes wait
 *   as long as a higher class has requests, possibly forever, unless set_patience() changes that.
 * - Files: a file is any 64-bit number that the caller chooses, by default the request's descriptor. Any number of files may
 *   have requests at once.
 * - Order of pushes: the loop reads all of its messages before it submits. Requests pushed before run(), or by one thread while
 *   the loop is busy, are therefore ordered as a whole. If several threads push at once, their requests are ordered as the
 *   mailbox records the pushes.
 *
 * The CQ should hold twice the depth, as it does if depth is at most sq_entries. A turn of the loop submits at most 64
 * requests, and never more at once than could fill half of the CQ. With a smaller CQ, fewer requests are in flight if they
 * complete at once, and other requests reach the depth in several turns.
 *
 * Requests with IOSQE_IO_LINK or IOSQE_IO_DRAIN and multishot requests are refused (EINVAL). A completion's `own.order` is the
 * request's number in the order of submission, and `own.sequence` its number in the order of arrival.
 *
 * See RequestLoop for the rules for threads, how completions are taken, and how runs end.
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
template <LoopDefinition Loop>
class GateClass : public RequestLoop<Loop> {
    using Base = RequestLoop<Loop>;

public:
    using Base::outstanding;
    using Base::program;
    using Base::state;
    using typename Base::own_type;

    /// The number of classes. Class 0 is first.
    static constexpr std::uint32_t classes = RINGSTEP_GATE_CLASSES;

    /// Attaches the loop to a ring. Throws Error.
    explicit GateClass(Ring& ring, const GateOptions& options = {}) : Base(ring, options.loop) {
        state()->depth = options.depth;
        state()->file_limit = options.file_limit;
        state()->patience = options.patience;
    }

    /// Returns a request's default file: its descriptor, or its slot in the table of registered files.
    [[nodiscard]] static std::uint64_t file_of(const io_uring_sqe& sqe) noexcept {
        const std::uint64_t registered = (sqe.flags & IOSQE_FIXED_FILE) != 0 ? std::uint64_t{1} << 32 : 0;
        return registered | static_cast<std::uint32_t>(sqe.fd);
    }

    /// Pushes a request, filled in by one of liburing's io_uring_prep_ functions. Returns the request's ticket, or nullopt if
    /// all slots are taken: then take completions first. May be called from any thread, also while the loop runs; takes
    /// no locks. Throws Error (EINVAL) for an unknown class and for a request that no loop can schedule.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t file) {
        check(request_class);
        return Base::try_push_with(sqe, writer(request_class, file));
    }
    /// Pushes a request like the other `try_push()`, with file_of() as its file.
    std::optional<Ticket> try_push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) {
        return try_push(sqe, request_class, file_of(sqe));
    }

    /// Pushes a request like `try_push()`, but throws Error (ENOSPC) if all slots are taken.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class, std::uint64_t file) {
        check(request_class);
        return Base::push_with(sqe, writer(request_class, file));
    }
    /// Pushes a request like the other `push()`, with file_of() as its file.
    Ticket push(const io_uring_sqe& sqe, std::uint32_t request_class = 0) { return push(sqe, request_class, file_of(sqe)); }

    /// Returns how many pushed requests have not been submitted. May be called from any thread, but is exact only while no
    /// other thread pushes or takes, and the loop does not run.
    [[nodiscard]] std::uint32_t waiting() const noexcept {
        const std::uint32_t all = outstanding();
        const std::uint32_t others = Base::in_flight() + Base::ready();
        return all > others ? all - others : 0;
    }

    /// Sets how many requests may be in flight. With 0, no request is submitted. Requests already in flight stay in flight. May
    /// be called from any thread, also while the loop runs.
    void set_depth(std::uint32_t depth) noexcept { Base::set(state()->depth, depth); }

    /**
     * Guards lower classes against starvation. A class with requests is passed over each time that a request of a higher class
     * is submitted. After `times` times, the class is next, regardless of higher classes. If the file limit holds all of its
     * requests back, the class is next as soon as a file allows it.
     *
     * If several classes have reached `times`, the highest of them is first. A class that no file holds back is therefore
     * passed over at most `times` + 6 times. With 0, the default, the order is strict.
     *
     * May be called from any thread, also while the loop runs. Requests held back by their files at that moment follow the new
     * order when their files next have a place.
     */
    void set_patience(std::uint32_t times) noexcept { Base::set(state()->patience, times); }

    /// Sets how many requests may be in flight for each file; 0 means no limit. Must be called on the thread that pushes and
    /// runs. Throws Error (EBUSY) if requests are outstanding, including completions that were not taken.
    void set_file_limit(std::uint32_t limit) {
        if (outstanding() != 0) {
            detail::raise(EBUSY, "change of the limit for files of loop '" + std::string(Loop::name) + "'",
                          "There are " + std::to_string(outstanding()) +
                              " requests: wait until they are complete, and take their completions.");
        }
        state()->file_limit = limit;
    }

private:
    // Writes what the loop keeps for a request into its slot.
    static auto writer(std::uint32_t request_class, std::uint64_t file) noexcept {
        return [=](typename Base::Slot& slot) noexcept {
            slot.own = {.file = file, .sequence = 0, .order = 0, .request_class = request_class, .place = 0};
        };
    }

    static void check(std::uint32_t request_class) {
        if (request_class >= classes) [[unlikely]]
            raise_class(request_class);
    }
    [[noreturn, gnu::cold]] static void raise_class(std::uint32_t request_class) {
        detail::raise(
            EINVAL,
            "push of a request of class " + std::to_string(request_class) + " to loop '" + std::string(Loop::name) + "'",
            "Classes are 0, which goes first, to " + std::to_string(classes - 1) + ".");
    }
};

}  // namespace ringstep::inline v0
