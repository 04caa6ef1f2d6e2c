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

/// How to open a ring.
struct RingOptions {
    unsigned sq_entries = 64;       ///< rounded up to a power of two by the kernel
    unsigned cq_entries = 0;        ///< likewise; 0: four times the SQ
    bool cqe32 = false;             ///< completions of 32 bytes (IORING_SETUP_CQE32)
    bool sqe128 = false;            ///< SQEs of 128 bytes (IORING_SETUP_SQE128)
    bool clamp = false;             ///< too many entries become the most there can be, instead of an error
    bool start_disabled = false;    ///< IORING_SETUP_R_DISABLED: the thread that calls enable() becomes the owner
    bool register_ring_fd = true;   ///< cheaper enters; uses one of the 16 slots that a thread has
    bool submit_all = true;         ///< a refused request does not stop those behind it from being submitted
    bool sq_rewind = true;          ///< IORING_SETUP_SQ_REWIND where the kernel has it (Linux 7.0)
    unsigned close_wait_ms = 5000;  ///< milliseconds that closing waits for cancelled requests, and the kernel's word on them
};

/// What a submit did. Running is not setting up: it throws nothing.
struct Submitted {
    unsigned count = 0;  ///< SQEs that the kernel took, also if there is an error
    int error = 0;       ///< errno, or 0; EINTR: a signal has ended the wait before the completions were there
    /// Nothing went wrong; the kernel may have taken fewer SQEs than there were, and then it did not wait.
    [[nodiscard]] explicit operator bool() const noexcept { return error == 0; }
};

/**
 * An io_uring that loops can run on: SINGLE_ISSUER | DEFER_TASKRUN | CQSIZE, with NO_SQARRAY where there is one (Linux 6.6) and
 * SQ_REWIND (7.0).
 *
 * Belongs to the thread that opens it (with `start_disabled`: that enables it): only that one may submit, run and close.
 * Needs Linux 6.1; a loop in the kernel needs 7.1. Moving a Ring is cheap, and programs on it do not notice.
 *
 * Closing (also by the destructor) cancels what is in flight and waits until the kernel says that it is over, `close_wait_ms`
 * at most. If that does not succeed, or is tried on another thread, the memory region and all that was handed to keep_alive()
 * is never given back: requests may still write to it.
 *
 * A forked child cannot use it: see docs/fork.md.
 *
 * **Example**:
 *
 *     ringstep::Ring ring{{.sq_entries = 64, .cq_entries = 256}};
 */
class Ring {
public:
    /// Opens a ring. Throws Error if the kernel refuses.
    explicit Ring(const RingOptions& options = {}) {
        if (options.sq_entries == 0)
            detail::raise(EINVAL, "opening of a ring with no SQ entries", "Ask for one entry or more.");
        io_uring_params params{};
        params.cq_entries = options.cq_entries != 0 ? options.cq_entries : options.sq_entries * 4;
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE;
        if (options.cqe32) params.flags |= IORING_SETUP_CQE32;
        if (options.sqe128) params.flags |= IORING_SETUP_SQE128;
        if (options.clamp) params.flags |= IORING_SETUP_CLAMP;
        if (options.start_disabled) params.flags |= IORING_SETUP_R_DISABLED;
        if (options.submit_all) params.flags |= IORING_SETUP_SUBMIT_ALL;
        if (options.sq_rewind) params.flags |= detail::setup_sq_rewind;

        // What a kernel does not know yet it refuses, without a word on which flag it was.
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
     * Takes over a ring that was opened with liburing, together with the params that it was opened with. Its files, buffers and
     * requests in flight stay as they are; `in_flight` says how many requests it has under way. A loop can run on it if it
     * was opened without SQPOLL and IOPOLL; in the kernel, if it was opened with DEFER_TASKRUN, too.
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

    /// Gives the io_uring back to the caller, who must close it with io_uring_queue_exit(3). Requests in flight stay in flight.
    /// This `Ring` is closed afterwards. If anything was ever submitted, the memory region and what keep_alive() holds are
    /// never given back, because requests may write to them until the caller has closed the io_uring. Throws Error: EBUSY if a
    /// loop is attached, EBADF if the ring is closed or the parent process's.
    [[nodiscard]] io_uring release() {
        (void)queues();
        if (has_loop()) detail::raise(EBUSY, "release of a ring that has a loop", "Destroy its LoopProgram first.");
        return core_->release();
    }

    /// Afterwards the other one is closed; all else may only destroy it or assign to it.
    Ring(Ring&&) noexcept = default;
    /// Closes this ring first, unless a LoopProgram still holds on to it.
    Ring& operator=(Ring&&) noexcept = default;
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() = default;

    /// How the kernel has laid it out.
    [[nodiscard]] const Geometry& geometry() const noexcept { return core_->geometry(); }
    /// The ring's descriptor, for poll(2) and the like.
    [[nodiscard]] int fd() const noexcept { return core_->fd(); }
    /// Neither closed nor moved from.
    [[nodiscard]] bool is_open() const noexcept { return core_ && core_->open(); }
    /// The liburing ring, for what this class does not cover. Submitting through it goes past the count of requests in flight,
    /// but close() waits for these requests as well.
    [[nodiscard]] io_uring& native() noexcept {
        core_->note_submission();
        return core_->native();
    }

    /// Starts a ring opened with `start_disabled`; the calling thread becomes its owner. Throws Error.
    void enable() {
        check(io_uring_enable_rings(&opened()), "enabling of a ring",
              "Only a ring opened with start_disabled can be enabled, and only once.");
        core_->set_enabled();
        if (register_ring_fd_ || has_loop()) (void)core_->register_ring_fd();
    }

    /// The completions. See CompletionQueue. The view is good until the ring is closed; a closed ring has none (Error, EBADF).
    [[nodiscard]] CompletionQueue cq() { return CompletionQueue(queues()); }
    /// The SQEs. See SubmissionQueue. Good for as long.
    [[nodiscard]] SubmissionQueue sq() { return SubmissionQueue(queues()); }

    /**
     * Submits what is claimed. On a ring with a loop there is no such thing: io_uring_enter(2) would run the loop and ignore
     * what it was called for. So there it throws Error (EBUSY); use LoopProgram::run().
     */
    Submitted submit() { return submit_and_wait(0); }

    /**
     * Submits what is claimed and waits until `completions` are in the CQ. Throws like submit().
     *
     * If a signal comes first, the error is EINTR, and the count tells what was submitted all the same: wait for the rest by
     * another call. A wait that ends without an error may leave fewer completions in two cases: the kernel did not take all
     * SQEs, so it did not wait; or a timeout (IORING_OP_TIMEOUT) expired, which ends every wait. A timeout that completes
     * because so many other requests did ends waits, too, and looks like a signal.
     */
    Submitted submit_and_wait(unsigned completions) {
        if (core_->attachment() != nullptr) {
            detail::raise(EBUSY, "plain submit on a ring with a loop attached",
                          "Every io_uring_enter on it runs the loop. Call run() of its LoopProgram, or destroy that first.");
        }
        (void)queues();
        const auto [taken, error] = core_->submit(completions);
        return {.count = taken, .error = error};
    }

    /// Whether a LoopProgram is attached.
    [[nodiscard]] bool has_loop() const noexcept { return core_->attachment() != nullptr; }

    /// Requests that the kernel has taken and that have not finished, as far as this ring and its loops have counted them: a
    /// number for statistics. It is too high after requests that skip their completion (IOSQE_CQE_SKIP_SUCCESS), and too low
    /// after messages from other rings (IORING_OP_MSG_RING). Never free memory because it is 0: close() tells when that is
    /// safe.
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return core_->in_flight(); }

    /// Makes `memory` the region that loops on this ring share with the application; a LoopProgram does it by itself when there
    /// is none yet. One region for each ring, for good. The kernel gets to know of it when a loop of its own is attached
    /// (which needs Linux 6.13). Throws Error.
    void use_region(std::shared_ptr<RegionMemory> memory) {
        if (memory->size() < sizeof(ringstep_control)) {
            detail::raise(EINVAL, "use of a memory region of " + std::to_string(memory->size()) + " bytes",
                          "It has to hold the control block and a loop's state.");
        }
        core_->share_region(std::move(memory));
    }

    /// The memory region, or null.
    [[nodiscard]] std::shared_ptr<RegionMemory> region() const noexcept { return core_->region(); }

    /// Registers files; a negative descriptor leaves its slot empty. Requests name them by slot, with IOSQE_FIXED_FILE.
    void register_files(std::span<const int> descriptors) {
        check(io_uring_register_files(&opened(), descriptors.data(), static_cast<unsigned>(descriptors.size())),
              "registration of " + std::to_string(descriptors.size()) + " files", files_advice);
    }
    /// Registers a table of empty slots.
    void register_files_sparse(unsigned slots) {
        check(io_uring_register_files_sparse(&opened(), slots),
              "registration of a table of " + std::to_string(slots) + " file slots", files_advice);
    }
    /// Puts a file into a slot; -1 empties it.
    void update_file(unsigned slot, int descriptor) {
        check(io_uring_register_files_update(&opened(), slot, &descriptor, 1),
              "update of registered file slot " + std::to_string(slot), "The slot has to lie inside the registered table.");
    }
    /// Throws Error if none are registered.
    void unregister_files() { check(io_uring_unregister_files(&opened()), "unregistration of files", "None are registered."); }

    /// Registers (pins) buffers, which have to outlive their use; see keep_alive(). Counts against RLIMIT_MEMLOCK.
    void register_buffers(std::span<const iovec> buffers) {
        check(io_uring_register_buffers(&opened(), buffers.data(), static_cast<unsigned>(buffers.size())),
              "registration of " + std::to_string(buffers.size()) + " buffers", buffers_advice);
    }
    /// Registers a table of empty slots.
    void register_buffers_sparse(unsigned slots) {
        check(io_uring_register_buffers_sparse(&opened(), slots),
              "registration of a table of " + std::to_string(slots) + " buffer slots", buffers_advice);
    }
    /// Puts a buffer into a slot.
    void update_buffer(unsigned slot, const iovec& buffer) {
        const __u64 tag = 0;
        check(io_uring_register_buffers_update_tag(&opened(), slot, &buffer, &tag, 1),
              "update of registered buffer slot " + std::to_string(slot), "The slot has to lie inside the registered table.");
    }
    /// Throws Error if none are registered.
    void unregister_buffers() {
        check(io_uring_unregister_buffers(&opened()), "unregistration of buffers", "None are registered.");
    }

    /// Holds on to an object (say, buffers) until no request can use it any more: until close() has returned true. Throws Error
    /// (EBADF) if the ring is closed.
    void keep_alive(std::shared_ptr<const void> object) {
        (void)queues();
        core_->keep_alive(std::move(object));
    }

    /**
     * Detaches the loop, cancels requests in flight, closes the ring, and waits until the kernel has given up its last request
     * (`close_wait_ms` at most). Call it on the owning thread.
     *
     * Returns true if the kernel has: no request writes to memory any more. This is the kernel's own answer and covers every
     * request, also those without a completion, zero-copy sends and requests submitted through native(). It takes some 10 to
     * 40 ms, unless nothing was ever submitted. Returns false if the answer does not come in time or cannot be asked for (on
     * another thread; without two free descriptors; another process holds the ring's descriptor): buffers of requests must not
     * be reused or freed then. The region and what keep_alive() holds are not. In a forked child it returns false and leaves
     * the parent's ring alone.
     */
    bool close() noexcept { return core_->close(); }

    /// For LoopProgram and engines.
    [[nodiscard]] const std::shared_ptr<detail::RingCore>& core() const noexcept { return core_; }

private:
    struct Adopted {};
    explicit Ring(Adopted) noexcept {}

    // A ring that was just opened is closed if there is no memory for it.
    [[nodiscard]] static std::shared_ptr<detail::RingCore> make_core(io_uring& native, const io_uring_params& params,
                                                                     unsigned close_wait_ms, const detail::Forks::Lock& lock) {
        try {
            return std::make_shared<detail::RingCore>(native, params, close_wait_ms, lock);
        } catch (...) {
            io_uring_queue_exit(&native);
            throw;
        }
    }

    static constexpr const char* files_advice =
        "EBUSY: files are registered already; EMFILE or ENOMEM: the table is larger than RLIMIT_NOFILE or memory allows.";
    static constexpr const char* buffers_advice =
        "EBUSY: buffers are registered already; ENOMEM: raise ulimit -l (RLIMIT_MEMLOCK); EFAULT: not mapped, or not writable.";

    [[nodiscard]] io_uring& opened() {
        if (core_->inherited())
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
                    "io_uring is switched off for this process: look at /proc/sys/kernel/io_uring_disabled, and at the seccomp "
                    "profile "
                    "of the container (Docker's default one forbids io_uring). ringstep-check tells which.";
                break;
            case -ENOMEM:
                advice = "Out of memory, or of locked memory: ask for fewer entries or raise ulimit -l (RLIMIT_MEMLOCK).";
                break;
            case -EMFILE:
            case -ENFILE: advice = "Out of file descriptors: raise ulimit -n (RLIMIT_NOFILE)."; break;
            default: break;
        }
        detail::raise(result,
                      "opening of a ring with " + std::to_string(options.sq_entries) + " SQ entries and " +
                          std::to_string(options.cq_entries != 0 ? options.cq_entries : options.sq_entries * 4) + " CQ entries",
                      std::move(advice));
    }

    std::shared_ptr<detail::RingCore> core_;
    bool register_ring_fd_ = false;
};

}  // namespace ringstep::inline v0
