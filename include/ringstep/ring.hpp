// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/detail/ring_core.hpp>
#include <ringstep/error.hpp>
#include <ringstep/queues.hpp>
#include <ringstep/region.hpp>

#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace ringstep::inline v0 {

/// Options for opening a ring.
struct RingOptions {
    unsigned sq_entries = 64;       ///< number of SQEs; the kernel rounds it up to a power of two
    unsigned cq_entries = 0;        ///< number of CQEs, rounded up to a power of two; 0: four times `sq_entries`
    bool cqe32 = false;             ///< completions of 32 bytes (IORING_SETUP_CQE32)
    bool sqe128 = false;            ///< SQEs of 128 bytes (IORING_SETUP_SQE128)
    bool clamp = false;             ///< reduces too many entries to the maximum instead of failing (IORING_SETUP_CLAMP)
    bool start_disabled = false;    ///< IORING_SETUP_R_DISABLED: the thread that calls enable() becomes the owner
    bool register_ring_fd = true;   ///< makes each enter cheaper; uses one of the thread's 16 slots for ring descriptors
    bool submit_all = true;         ///< submits the requests after a refused one as well (IORING_SETUP_SUBMIT_ALL)
    bool sq_rewind = true;          ///< IORING_SETUP_SQ_REWIND if the kernel has it (Linux 7.0)
    unsigned close_wait_ms = 5000;  ///< maximum time in milliseconds for close() to end all requests
};

/// The result of a submit. The kernel's errors are reported here and not thrown.
struct Submitted {
    unsigned count = 0;  ///< SQEs that the kernel took, also after an error
    int error = 0;       ///< errno, or 0; EINTR: a signal ended the wait before the completions were in the CQ
    /// Returns true if there was no error. The kernel may still have taken fewer SQEs than were claimed, and then it did not
    /// wait.
    [[nodiscard]] explicit operator bool() const noexcept { return error == 0; }
};

namespace detail {
struct RingAccess;
}

/**
 * An io_uring that loops can run on. It is opened with SINGLE_ISSUER, DEFER_TASKRUN and CQSIZE, and with NO_SQARRAY (Linux 6.6)
 * and SQ_REWIND (Linux 7.0) if the kernel has them.
 *
 * The thread that opens the ring owns it. With `start_disabled`, the thread that enables it does. Only the owning thread may
 * submit, run and close. A ring needs Linux 6.1, and a loop in the kernel needs Linux 7.1. Moving a `Ring` is cheap and does
 * not affect programs on it.
 *
 * Closing, also by the destructor, cancels the requests in flight and waits up to `close_wait_ms` until the kernel reports
 * their end. That can fail, and fails on any thread but the owning one. The memory region and everything passed to keep_alive()
 * then stay allocated forever, because requests may still write to them.
 *
 * A forked child cannot use its parent's ring: see docs/fork.md.
 *
 * **Example**:
 *
 *     ringstep::Ring ring{{.sq_entries = 64, .cq_entries = 256}};
 */
class Ring {
public:
    /// Opens a ring. The calling thread becomes the owning thread, unless `start_disabled` is set. Throws Error: EINVAL if
    /// `sq_entries` is 0, or the kernel's errno if it refuses. Needs Linux 6.1.
    explicit Ring(const RingOptions& options = {}) {
        if (options.sq_entries == 0)
            detail::raise(EINVAL, "opening of a ring with no SQ entries", "Ask for one entry or more.");
        io_uring_params params{};
        params.cq_entries = cq_entries_of(options);
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE;
        if (options.cqe32) params.flags |= IORING_SETUP_CQE32;
        if (options.sqe128) params.flags |= IORING_SETUP_SQE128;
        if (options.clamp) params.flags |= IORING_SETUP_CLAMP;
        if (options.start_disabled) params.flags |= IORING_SETUP_R_DISABLED;
        if (options.submit_all) params.flags |= IORING_SETUP_SUBMIT_ALL;
        if (options.sq_rewind) params.flags |= detail::setup_sq_rewind;

        // A kernel refuses flags that it does not know, without naming the flag.
        const io_uring_params wanted = params;
        io_uring native{};
        const detail::Forks::Lock lock;
        int result = io_uring_queue_init_params(options.sq_entries, &native, &params);
        for (const unsigned late : {detail::setup_sq_rewind, unsigned{IORING_SETUP_NO_SQARRAY}}) {
            if (result != -EINVAL) break;
            const unsigned flags = wanted.flags & ~(detail::setup_sq_rewind | late);
            params = wanted;
            params.flags = flags;
            result = io_uring_queue_init_params(options.sq_entries, &native, &params);
        }
        if (result < 0) refused(result, options);
        core_ = make_core(native, params, options.close_wait_ms, lock);
        register_ring_fd_ = options.register_ring_fd;
        if (register_ring_fd_ && !options.start_disabled) (void)core_->register_ring_fd();
    }

    /**
     * Takes over a ring that was opened with liburing, and returns it. `params` must be those that the ring was opened with.
     * Its files, buffers and requests in flight stay as they are. `in_flight` is the number of its requests in flight. Loops
     * can run on the ring if it was opened without SQPOLL and IOPOLL. The kernel engine also needs DEFER_TASKRUN. Throws Error.
     */
    [[nodiscard]] static Ring adopt(const io_uring& native, const io_uring_params& params, std::uint64_t in_flight = 0) {
        Ring ring{Adopted{}};
        const detail::Forks::Lock lock;
        ring.core_ = std::make_shared<detail::RingCore>(native, params, RingOptions{}.close_wait_ms, lock);
        ring.core_->queues().submitted = in_flight;
        ring.core_->note_submission();
        // Opened disabled, it may have been enabled since. Only the kernel knows.
        if (!ring.core_->enabled() && ring.core_->enter(0, 0, IORING_ENTER_GETEVENTS) != -EBADFD) ring.core_->set_enabled();
        return ring;
    }

    /// Gives the io_uring back to the caller, who must close it with io_uring_queue_exit(3). This `Ring` is closed afterwards.
    /// Requests in flight stay in flight, and may write to memory until the caller has closed the io_uring. If anything was
    /// ever submitted, the memory region and everything passed to keep_alive() therefore stay allocated forever. Throws Error:
    /// EBUSY if a loop is attached, EBADF if the ring is closed or belongs to the parent process.
    [[nodiscard]] io_uring release() {
        (void)queues();
        if (has_loop()) detail::raise(EBUSY, "release of a ring that has a loop", "Destroy its LoopProgram first.");
        return core_->release();
    }

    /// Moves the ring. The moved-from object has no ring any more. Its functions that throw then throw Error (EBADF), and the
    /// others return what their comments say.
    Ring(Ring&&) noexcept = default;
    /// Closes this object's own ring first, unless a LoopProgram still uses it, and then moves the other ring here.
    Ring& operator=(Ring&&) noexcept = default;
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() = default;

    /// Returns the layout that the kernel chose for the ring. All its members are 0 if the ring was moved from.
    [[nodiscard]] const Geometry& geometry() const noexcept { return core_ ? core_->geometry() : no_geometry; }
    /// Returns the ring's file descriptor, for example for poll(2), or -1 if the ring was moved from.
    [[nodiscard]] int fd() const noexcept { return core_ ? core_->fd() : -1; }
    /// Returns true if the ring is neither closed nor moved from.
    [[nodiscard]] bool is_open() const noexcept { return core_ && core_->open(); }
    /// Returns the liburing ring, for operations that this class does not offer. Requests submitted through it are not counted
    /// as in flight, but close() waits for them as well. Throws Error (EBADF) if the ring was moved from.
    [[nodiscard]] io_uring& native() {
        existing().note_submission();
        return core_->native();
    }

    /// Enables a ring that was opened with `start_disabled`. The calling thread becomes the owning thread. Throws Error.
    void enable() {
        check(io_uring_enable_rings(&opened()), "enabling of a ring",
              "Only a ring opened with start_disabled can be enabled, and only once.");
        core_->set_enabled();
        if (register_ring_fd_ || has_loop()) (void)core_->register_ring_fd();
    }

    /// Returns a view of the completions: see CompletionQueue. The view is valid until the ring is closed. Throws Error (EBADF)
    /// if the ring is closed.
    [[nodiscard]] CompletionQueue cq() { return detail::QueueAccess::cq(queues()); }
    /// Returns a view of the SQEs: see SubmissionQueue. The view is valid until the ring is closed. Throws Error (EBADF) if the
    /// ring is closed.
    [[nodiscard]] SubmissionQueue sq() { return detail::QueueAccess::sq(queues()); }

    /**
     * Submits all claimed SQEs, and returns how many the kernel took. Must be called on the ring's owning thread. Throws Error
     * (EBUSY) if a loop is attached, because io_uring_enter(2) would then run the loop instead. Use LoopProgram::run(). Throws
     * Error (EBADF) if the ring is closed.
     */
    Submitted submit() { return submit_and_wait(0); }

    /**
     * Submits all claimed SQEs and waits until `completions` are in the CQ. Must be called on the ring's owning thread. Throws
     * like submit().
     *
     * If a signal ends the wait, the error is EINTR, and the count still tells how many SQEs were submitted. Call the function
     * again to wait for the rest.
     *
     * A wait without an error may leave fewer completions in two cases. If the kernel does not take all SQEs, it does not wait.
     * A timeout (IORING_OP_TIMEOUT) that expires ends every wait. A timeout that ends because its number of other requests has
     * completed also ends waits, but the error is then EINTR, as after a signal.
     *
     * The kernel does not tell whether a timeout or a signal has ended a wait. So a completion with the result -ETIME that came
     * during the wait counts as a timeout that ended it, whatever its request was. If a signal ends a wait in which an
     * IORING_OP_LINK_TIMEOUT has expired, the error is therefore 0, and only the number of completions shows the early end.
     */
    Submitted submit_and_wait(unsigned completions) {
        if (existing().attachment() != nullptr) {
            detail::raise(EBUSY, "plain submit on a ring with a loop attached",
                          "Every io_uring_enter on it runs the loop. Call run() of its LoopProgram, or destroy that first.");
        }
        (void)queues();
        const auto [taken, error] = core_->submit(completions);
        return {.count = taken, .error = error};
    }

    /// Returns true if a LoopProgram is attached. Returns false if the ring was moved from.
    [[nodiscard]] bool has_loop() const noexcept { return core_ && core_->attachment() != nullptr; }

    /// Returns the number of requests in flight, as far as this ring and its loops have counted them. Use the number for
    /// statistics only. It is too high after requests that skip their completion (IOSQE_CQE_SKIP_SUCCESS), and too low after
    /// messages from other rings (IORING_OP_MSG_RING). Never free memory because it is 0: close() tells when that is safe. The
    /// number is 0 if the ring was moved from.
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return core_ ? core_->in_flight() : 0; }

    /// Makes `memory` the region that loops on this ring share with the application. A LoopProgram allocates a region by itself
    /// if the ring has none. A ring cannot change its region. The region is registered with the kernel when the kernel engine
    /// attaches a loop (Linux 6.13). Throws Error: EBUSY if the ring has another region, EINVAL if `memory` is null or too
    /// small for the control block, EBADF if the ring is closed.
    void use_region(std::shared_ptr<RegionMemory> memory) {
        (void)opened();
        if (!memory)
            detail::raise(EINVAL, "use of no memory region", "Pass what RegionMemory::allocate() or borrow() returns.");
        if (memory->size() < sizeof(ringstep_control)) {
            detail::raise(EINVAL, "use of a memory region of " + std::to_string(memory->size()) + " bytes",
                          "It has to hold the control block and a loop's state.");
        }
        core_->share_region(std::move(memory));
    }

    /// Returns the memory region, or null if the ring has none or was moved from.
    [[nodiscard]] std::shared_ptr<RegionMemory> region() const noexcept { return core_ ? core_->region() : nullptr; }

    /// Registers a table of files. A descriptor of -1 leaves its slot empty. Requests name a file by its slot, with
    /// IOSQE_FIXED_FILE. Throws Error.
    void register_files(std::span<const int> descriptors) {
        check(io_uring_register_files(&opened(), descriptors.data(), count_of(descriptors.size(), "files")),
              "registration of " + std::to_string(descriptors.size()) + " files", files_advice);
    }
    /// Registers a table of `slots` empty file slots. Throws Error.
    void register_files_sparse(unsigned slots) {
        check(io_uring_register_files_sparse(&opened(), slots),
              "registration of a table of " + std::to_string(slots) + " file slots", files_advice);
    }
    /// Puts a file into a slot; -1 empties the slot. Throws Error: EINVAL for any other negative descriptor, and for a slot
    /// outside of the table.
    void update_file(unsigned slot, int descriptor) {
        if (descriptor < -1) {  // the kernel takes -2 for a slot to be left as it is
            detail::raise(
                EINVAL,
                "update of registered file slot " + std::to_string(slot) + " with descriptor " + std::to_string(descriptor),
                "Pass an open descriptor, or -1 to empty the slot.");
        }
        check(io_uring_register_files_update(&opened(), slot, &descriptor, 1),
              "update of registered file slot " + std::to_string(slot), "The slot has to lie inside the registered table.");
    }
    /// Unregisters all files. Throws Error if none are registered.
    void unregister_files() { check(io_uring_unregister_files(&opened()), "unregistration of files", "None are registered."); }

    /// Registers buffers, which pins them. They must stay valid as long as requests use them: see keep_alive(). They count
    /// against RLIMIT_MEMLOCK. Throws Error.
    void register_buffers(std::span<const iovec> buffers) {
        check(io_uring_register_buffers(&opened(), buffers.data(), count_of(buffers.size(), "buffers")),
              "registration of " + std::to_string(buffers.size()) + " buffers", buffers_advice);
    }
    /// Registers a table of `slots` empty buffer slots. Throws Error.
    void register_buffers_sparse(unsigned slots) {
        check(io_uring_register_buffers_sparse(&opened(), slots),
              "registration of a table of " + std::to_string(slots) + " buffer slots", buffers_advice);
    }
    /// Puts a buffer into a slot. Throws Error.
    void update_buffer(unsigned slot, const iovec& buffer) {
        const __u64 tag = 0;
        check(io_uring_register_buffers_update_tag(&opened(), slot, &buffer, &tag, 1),
              "update of registered buffer slot " + std::to_string(slot), "The slot has to lie inside the registered table.");
    }
    /// Unregisters all buffers. Throws Error if none are registered.
    void unregister_buffers() {
        check(io_uring_unregister_buffers(&opened()), "unregistration of buffers", "None are registered.");
    }

    /// Keeps an object alive, for example buffers, until no request can use it: until close() has returned true. If there is no
    /// memory to note the object, it stays allocated forever. Throws Error (EBADF) if the ring is closed.
    void keep_alive(std::shared_ptr<const void> object) {
        (void)queues();
        core_->keep_alive(std::move(object));
    }

    /**
     * Detaches the loop, cancels requests in flight, closes the ring, and waits up to `close_wait_ms` until the kernel has
     * ended the last request. Must be called on the ring's owning thread.
     *
     * Returns true if every request has ended, so that no request writes to memory any more. This is the kernel's own answer.
     * It covers requests without a completion, zero-copy sends and requests submitted through native(). It takes some
     * tens of milliseconds (docs/fork.md), or no time if nothing was ever submitted.
     *
     * Returns false if the answer does not come in time or cannot be obtained. It cannot on another thread, without two free
     * descriptors, or if another process holds the ring's descriptor. Buffers of requests must not be reused or freed then. The
     * region and everything passed to keep_alive() stay allocated. In a forked child, the function returns false and leaves the
     * parent's ring alone. On a moved-from ring, it does nothing and returns true.
     */
    bool close() noexcept { return !core_ || core_->close(); }

private:
    friend struct detail::RingAccess;

    // The constructor keeps this from being an aggregate. In a template, clang would otherwise call Ring{{.sq_entries = 8}}
    // ambiguous, because an aggregate could be made from the inner braces, too.
    struct Adopted {
        explicit Adopted() = default;
    };
    explicit Ring(Adopted) noexcept {}

    // Closes the new ring if memory runs out here.
    [[nodiscard]] static std::shared_ptr<detail::RingCore> make_core(io_uring& native, const io_uring_params& params,
                                                                     unsigned close_wait_ms, const detail::Forks::Lock& lock) {
        try {
            return std::make_shared<detail::RingCore>(native, params, close_wait_ms, lock);
        } catch (...) {
            io_uring_queue_exit(&native);
            throw;
        }
    }

    [[nodiscard]] static unsigned cq_entries_of(const RingOptions& options) noexcept {
        constexpr unsigned most = ~0U;
        if (options.cq_entries != 0) return options.cq_entries;
        return options.sq_entries < most / 4 ? options.sq_entries * 4 : most;
    }

    // Returns the number of files or buffers to register, in the kernel's type. Throws Error (EINVAL) if it does not fit.
    [[nodiscard]] static unsigned count_of(std::size_t entries, const char* kind) {
        if (entries > std::size_t{~0U}) {
            detail::raise(EINVAL, "registration of " + std::to_string(entries) + " " + kind,
                          "The kernel's tables have at most 1048576 files and 16384 buffers.");
        }
        return static_cast<unsigned>(entries);
    }

    static constexpr const char* files_advice =
        "EBUSY: files are registered already; EMFILE or ENOMEM: the table is larger than RLIMIT_NOFILE or memory allows.";
    static constexpr const char* buffers_advice =
        "EBUSY: buffers are registered already; ENOMEM: raise ulimit -l (RLIMIT_MEMLOCK); EFAULT: not mapped, not "
        "writable, or secret.";

    static constexpr Geometry no_geometry{};

    [[nodiscard]] detail::RingCore& existing() const {
        if (!core_) detail::raise(EBADF, "use of a ring that was moved from", "Use the Ring that it was moved to.");
        return *core_;
    }
    [[nodiscard]] io_uring& opened() {
        if (existing().inherited())
            detail::raise(EBADF, "use of a ring of the parent process", "A forked child opens rings of its own.");
        if (!core_->open()) detail::raise(EBADF, "use of a closed ring", "Open another one.");
        return core_->native();
    }
    [[nodiscard]] detail::QueueMemory& queues() {
        (void)opened();
        return core_->queues();
    }

    static void check(int result, std::string tried, std::string advice) {
        if (result < 0) detail::raise(result, std::move(tried), std::move(advice));
    }

    [[noreturn, gnu::cold, gnu::noinline]] static void refused(int result, const RingOptions& options) {
        std::string advice;
        switch (result) {
            case -EINVAL:
                advice =
                    "SINGLE_ISSUER with DEFER_TASKRUN needs Linux 6.1; more than 32768 SQ or 65536 CQ entries need clamp, and "
                    "the "
                    "CQ must not be smaller than the SQ.";
                break;
            case -ENOSYS: advice = "This kernel has no io_uring, or a seccomp filter hides it."; break;
            case -EPERM:
            case -EACCES:
                advice =
                    "io_uring is switched off for this process: look at /proc/sys/kernel/io_uring_disabled, at the seccomp "
                    "profile "
                    "of the container (Docker's default one forbids io_uring), and at the audit log of a security module "
                    "(SELinux, "
                    "AppArmor). ringstep-check tells which.";
                break;
            case -ENOMEM:
                advice =
                    "Out of memory, or of locked memory: ask for fewer entries, or raise the limit with `ulimit -l` or "
                    "LimitMEMLOCK= (RLIMIT_MEMLOCK), or give the process CAP_IPC_LOCK.";
                break;
            case -EMFILE:
            case -ENFILE: advice = "Out of file descriptors: raise ulimit -n (RLIMIT_NOFILE)."; break;
            default: break;
        }
        detail::raise(result,
                      "opening of a ring with " + std::to_string(options.sq_entries) + " SQ entries and " +
                          std::to_string(cq_entries_of(options)) + " CQ entries",
                      std::move(advice));
    }

    std::shared_ptr<detail::RingCore> core_;
    bool register_ring_fd_ = false;
};

namespace detail {

// How the other parts of the library reach the internals of a ring.
struct RingAccess {
    [[nodiscard]] static const std::shared_ptr<RingCore>& core(const Ring& ring) noexcept { return ring.core_; }
};

}  // namespace detail

}  // namespace ringstep::inline v0
