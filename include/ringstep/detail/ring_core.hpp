// SPDX-License-Identifier: MIT
// What a Ring and the program attached to it both hold on to: the io_uring itself, its memory, and how it comes to an end.
#pragma once

#include <ringstep/detail/epochs.hpp>
#include <ringstep/detail/fork.hpp>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/error.hpp>
#include <ringstep/queues.hpp>
#include <ringstep/region.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringstep::inline v0::detail {

/// A loop on a ring, as the ring sees it: something to take off before the ring goes.
class Attachment {
public:
    virtual void detach() noexcept = 0;
    /// In a forked child: lets go of the child's copies. The loop stays on the parent's ring.
    virtual void after_fork_in_child() noexcept = 0;

protected:
    ~Attachment() = default;
};

/// What requests may write to, as far as the ring knows: its region, and all that Ring::keep_alive() was given.
struct Kept {
    std::shared_ptr<RegionMemory> region;
    std::vector<std::shared_ptr<const void>> objects;
    Kept* next = nullptr;

    /// Never gives it back. Allocates nothing. The list makes it findable, for those who look for leaks.
    static void for_good(std::unique_ptr<Kept> kept) noexcept {
        Kept* const mine = kept.release();
        mine->next = all_.load(std::memory_order_relaxed);
        while (!all_.compare_exchange_weak(mine->next, mine, std::memory_order_release, std::memory_order_relaxed)) {
        }
    }

private:
    inline static std::atomic<Kept*> all_{nullptr};
};

class RingCore final : public Forkable {
public:
    RingCore(const io_uring& native, const io_uring_params& params, unsigned close_wait_ms, const Forks::Lock& lock)
        : native_(native),
          close_wait_ms_(close_wait_ms),
          owner_(::gettid()),
          enabled_((params.flags & IORING_SETUP_R_DISABLED) == 0) {
        Geometry& geometry = queues_.geometry;
        geometry.sq_entries = params.sq_entries;
        geometry.cq_entries = params.cq_entries;
        geometry.sqe_size = (params.flags & IORING_SETUP_SQE128) != 0 ? 128 : 64;
        geometry.cqe_size = (params.flags & IORING_SETUP_CQE32) != 0 ? 32 : 16;
        geometry.sq_head_offset = params.sq_off.head;
        geometry.sq_tail_offset = params.sq_off.tail;
        geometry.cq_head_offset = params.cq_off.head;
        geometry.cq_tail_offset = params.cq_off.tail;
        geometry.cq_overflow_offset = params.cq_off.overflow;
        geometry.cqes_offset = params.cq_off.cqes;
        geometry.setup_flags = params.flags;
        queues_.rings = static_cast<std::byte*>(native_.cq.ring_ptr);
        queues_.sqes = reinterpret_cast<std::byte*>(native_.sq.sqes);
        queues_.claimed = &queues_.own_claimed;
        queues_.wakes_seen = &queues_.own_wakes_seen;
        Forks::add(*this, lock);
    }

    RingCore(const RingCore&) = delete;
    RingCore& operator=(const RingCore&) = delete;
    ~RingCore() { close(); }

    [[nodiscard]] io_uring& native() noexcept { return native_; }
    [[nodiscard]] QueueMemory& queues() noexcept { return queues_; }
    [[nodiscard]] const Geometry& geometry() const noexcept { return queues_.geometry; }
    [[nodiscard]] bool open() const noexcept { return open_ && !inherited_; }
    /// The ring is the parent's: this process was forked from the one that opened it.
    [[nodiscard]] bool inherited() const noexcept { return inherited_; }
    /// Requests may be submitted that this class does not see.
    void note_submission() noexcept { submitted_to_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] int fd() const noexcept { return native_.ring_fd; }
    [[nodiscard]] const std::shared_ptr<RegionMemory>& region() const noexcept { return region_; }
    /// What tells the requests of one loop from those of others.
    [[nodiscard]] LoopEpochs& epochs() noexcept { return epochs_; }
    [[nodiscard]] Attachment* attachment() const noexcept { return attachment_.load(std::memory_order_acquire); }
    void set_attachment(Attachment* attachment) noexcept { attachment_.store(attachment, std::memory_order_release); }

    /// Whether the ring runs; not yet, if it was opened disabled.
    [[nodiscard]] bool enabled() const noexcept { return enabled_; }
    /// Call on the thread that has enabled it, which owns it from then on.
    void set_enabled() noexcept {
        enabled_ = true;
        owner_ = ::gettid();
    }

    /// The task that opened (or enabled) the ring, which is the one that may run it.
    [[nodiscard]] bool owned_by_this_thread() const noexcept { return !inherited_ && owner_ == ::gettid(); }
    /// The same without a system call, and wrong in a child that was made without fork(3): by clone(2) or _Fork(3).
    [[nodiscard]] bool perhaps_owned_by_this_thread() const noexcept { return !inherited_ && owner_ == Forks::thread_id(); }

    /// How to name the ring in an io_uring_enter(2) on the owning thread: a number, and a flag that belongs to it.
    struct EnterBy {
        int number;
        unsigned flag;
    };
    [[nodiscard]] EnterBy enter_by() noexcept {
        note_submission();
        if (registered_index_ < 0) return {.number = fd(), .flag = 0};
        return {.number = registered_index_, .flag = IORING_ENTER_REGISTERED_RING};
    }

    /// Spares the kernel a look-up of the ring's file on each enter; and makes the task known to io_uring, which kernels before
    /// 7.3 fail to do when the first enter of a task runs a loop.
    [[nodiscard]] bool register_ring_fd() noexcept {
        if (registered_index_ >= 0) return true;
        io_uring_rsrc_update update{};
        update.offset = ~0U;  // any free slot
        update.data = static_cast<__u64>(fd());
        if (io_uring_register(static_cast<unsigned>(fd()), IORING_REGISTER_RING_FDS, &update, 1) != 1) return false;
        registered_index_ = static_cast<int>(update.offset);
        return true;
    }

    /// One io_uring_enter(2). Returns as the system call does, with -errno for an error.
    [[nodiscard]] int enter(unsigned to_submit, unsigned min_complete, unsigned flags) noexcept {
        if (inherited_) return -EEXIST;
        note_submission();
        // A registered index means a ring of the calling thread's: on another thread it could be another ring.
        if (registered_index_ < 0 || !perhaps_owned_by_this_thread()) return enter_on(fd(), to_submit, min_complete, flags);
        const int result = enter_on(registered_index_, to_submit, min_complete, flags | IORING_ENTER_REGISTERED_RING);
        if (result == -EINVAL && !owned_by_this_thread())
            return enter_on(fd(), to_submit, min_complete, flags);  // after a fork
        return result;
    }

    /// What a plain submit did. Both may be there: a signal has ended the wait for what was submitted.
    struct Submission {
        unsigned taken = 0;  ///< SQEs that the kernel took
        int error = 0;       ///< errno, or 0
    };

    /// Submits all that is claimed, on a ring without a loop, and waits if the kernel takes all of it.
    [[nodiscard]] Submission submit(unsigned wait_for) noexcept {
        if (inherited_) return {.taken = 0, .error = EEXIST};
        settle_timer();
        const std::uint32_t claimed = SubmissionQueue(queues_).claimed();
        // Wake-ups for a loop that is gone: those in the CQ or on their way to it are not what is waited for.
        if (wait_for != 0) wait_for += 0 - queues_.own_wakes_seen;
        wait_for = wait_for < queues_.geometry.cq_entries ? wait_for : queues_.geometry.cq_entries;  // as the kernel takes it
        const std::uint32_t tail = queues_.word(queues_.geometry.cq_tail_offset).load(std::memory_order_acquire);
        const int result = enter(claimed, wait_for, IORING_ENTER_GETEVENTS);
        if (result < 0) return {.taken = 0, .error = -result};
        const auto taken = static_cast<unsigned>(result);
        queues_.submitted += taken;
        if (queues_.geometry.rewinds()) {
            const auto left = claimed - taken;
            const std::size_t size = queues_.geometry.sqe_size;
            if (taken > 0 && left > 0) std::memmove(queues_.sqes, queues_.sqes + taken * size, left * size);
            *queues_.claimed = left;
        }
        const bool waited = wait_for != 0 && taken == claimed;
        return {.taken = taken, .error = waited && cut_short(wait_for, tail) ? EINTR : 0};
    }

    /// Makes `memory` the ring's MEM region. A ring has one, for good.
    void share_region(std::shared_ptr<RegionMemory> memory) {
        if (region_ == memory) return;
        if (region_) {
            raise(EBUSY, "use of another memory region, of " + std::to_string(memory->size()) + " bytes",
                  "A ring has one region for good, and this one has another already.");
        }
        region_ = std::move(memory);
        region_->control().timer = {};
        queues_.timer = &region_->control().timer;
        // From here on a loop claims SQEs, too: the count of those claimed moves to where both see it.
        region_->control().claimed = queues_.own_claimed;
        queues_.claimed = &region_->control().claimed;
    }

    /// Shows the region to the kernel, whose loops reach it then.
    void register_region(const RegionMemory& memory) {
        if (region_registered_) return;
        region_descriptor descriptor{};
        descriptor.user_address = reinterpret_cast<std::uintptr_t>(memory.data());
        descriptor.size = memory.size();
        descriptor.flags = mem_region_type_user;
        region_registration registration{};
        registration.descriptor = reinterpret_cast<std::uintptr_t>(&descriptor);
        const int result = io_uring_register(static_cast<unsigned>(fd()), register_mem_region, &registration, 1);
        if (result < 0) {
            const char* advice = "";
            if (result == -EBUSY) advice = "A ring has one region for good, and this one has another already.";
            if (result == -EINVAL) advice = "Memory regions need Linux 6.13 or later.";
            if (result == -ENOMEM) advice = "The locked-memory limit may be too low for it: raise ulimit -l (RLIMIT_MEMLOCK).";
            if (result == -EEXIST) advice = "Only the thread that opened the ring may do this.";
            raise(result, "registration of a memory region of " + std::to_string(memory.size()) + " bytes", advice);
        }
        region_registered_ = true;
    }

    /// Requests that the kernel has taken and whose last completion nobody has seen yet: for statistics. A request without a
    /// completion stays in it, and a message of another ring counts as the end of one. Nothing about memory goes by it.
    [[nodiscard]] std::uint64_t in_flight() const noexcept {
        if (!open_ && quiet_) return 0;
        std::uint64_t submitted = queues_.submitted;
        std::uint64_t finished = queues_.finished;
        if (region_) {
            const ringstep_control& control = region_->control();
            submitted += control.submitted;
            finished += control.reaped - control.unfinished;
        }
        return submitted > finished ? submitted - finished : 0;
    }

    /// Takes back the timer of a loop that has left the ring: cancels its request and takes its completion out of the CQ. False
    /// if there is one all the same: on another thread, or because a full CQ has no room for the completion.
    bool settle_timer() noexcept {
        const auto under_way = [this] {
            return region_ && (region_->control().timer.armed | region_->control().timer.updates) != 0;
        };
        if (!under_way()) [[likely]]
            return true;
        if (attachment() != nullptr || !open_ || !owned_by_this_thread()) return false;
        for (int tries = 0; tries < 100 && under_way(); tries++) {
            io_uring_sync_cancel_reg cancel{};
            cancel.addr = reinterpret_cast<std::uintptr_t>(&region_->control().timer.armed);
            cancel.fd = -1;
            cancel.timeout.tv_nsec = 10'000'000;
            (void)io_uring_register_sync_cancel(&native_, &cancel);
            (void)enter(0, 0, IORING_ENTER_GETEVENTS);
            drop_hidden();
        }
        return !under_way();
    }

    void keep_alive(std::shared_ptr<const void> object) { kept_->objects.push_back(std::move(object)); }

    /**
     * Cancels what is in flight, closes the ring, and waits until the kernel has given up the last request. True if it has:
     * then no memory is written to any more. False if that takes longer than the time for it, or if this thread may not ask the
     * kernel: then the memory that requests may still use is never given back.
     */
    bool close() noexcept {
        if (!open_) return quiet_;
        if (inherited_) {
            open_ = quiet_ = false;
            io_uring_queue_exit(&native_);  // of which only the empty memory is left
            return false;
        }
        if (Attachment* loop = attachment(); loop != nullptr) loop->detach();
        const std::int64_t deadline = monotonic_ms() + close_wait_ms_;
        if (submitted_to_) cancel_all(deadline);
        int answer = -1;
        {
            const Forks::Lock lock;  // no child gets a copy of what the kernel is to give up, and none closes it by its number
            if (submitted_to_) answer = leave_sign();
            Forks::remove(*this, lock);
            open_ = false;
            unregister_ring_fd();
            io_uring_queue_exit(&native_);
        }
        quiet_ = !submitted_to_;
        if (answer >= 0) {
            quiet_ = sign_is_gone(answer, deadline);
            ::close(answer);
        }
        queues_.rings = nullptr;
        queues_.sqes = nullptr;
        give_up_memory();
        return quiet_;
    }

    /// Lets go of the ring as it is, the timer settled, with liburing's own record of the SQ brought up to date. Its requests
    /// go on.
    io_uring release() noexcept {
        settle_timer();
        {
            const Forks::Lock lock;
            Forks::remove(*this, lock);
            open_ = false;
            unregister_ring_fd();
        }
        if (!queues_.geometry.rewinds()) {
            native_.sq.sqe_tail = queues_.word(queues_.geometry.sq_tail_offset).load(std::memory_order_relaxed);
            native_.sq.sqe_head = native_.sq.sqe_tail;
        }
        quiet_ = !submitted_to_;
        give_up_memory();
        return native_;
    }

private:
    // Whether a signal has ended a wait for `wanted` completions that the kernel calls a success. It does so if it has
    // submitted something, or if there is any completion. A timeout ends a wait early, too: one has come since the tail stood
    // at `tail`, or comes when the kernel gets another chance to post it.
    [[nodiscard]] bool cut_short(std::uint32_t wanted, std::uint32_t tail) noexcept {
        const CompletionQueue cq(queues_);
        if (cq.ready() >= wanted) [[likely]]
            return false;
        if (enter(0, 0, IORING_ENTER_GETEVENTS) == -EBADR || cq.ready() >= wanted) return false;
        const std::uint32_t end = queues_.word(queues_.geometry.cq_tail_offset).load(std::memory_order_acquire);
        for (; tail != end; tail++) {
            if (cqe_at(tail)->res == -ETIME) return false;
        }
        return true;
    }

    [[nodiscard]] const io_uring_cqe* cqe_at(std::uint32_t index) const noexcept {
        const Geometry& geometry = queues_.geometry;
        const std::size_t slot = index & (geometry.cq_entries - 1);
        return reinterpret_cast<const io_uring_cqe*>(queues_.rings + geometry.cqes_offset + slot * geometry.cqe_size);
    }

    // Takes the completions that only the library knows of out of the CQ: the others move together towards its tail, where the
    // kernel does not write before the head has passed.
    void drop_hidden() noexcept {
        if (native_.cq.ring_ptr != static_cast<void*>(queues_.rings)) return;  // somebody has resized the rings
        const Geometry& geometry = queues_.geometry;
        const auto head_word = queues_.word(geometry.cq_head_offset);
        const std::uint32_t head = head_word.load(std::memory_order_relaxed);
        const auto at = [&](std::uint32_t index) {
            return queues_.rings + geometry.cqes_offset + std::size_t{index & (geometry.cq_entries - 1)} * geometry.cqe_size;
        };
        std::uint32_t to = queues_.word(geometry.cq_tail_offset).load(std::memory_order_acquire);
        for (std::uint32_t from = to; from != head;) {
            --from;
            if (queues_.is_hidden(reinterpret_cast<const io_uring_cqe*>(at(from))->user_data)) continue;
            if (--to != from) std::memcpy(at(to), at(from), geometry.cqe_size);
        }
        head_word.store(to, std::memory_order_release);
    }

    void unregister_ring_fd() noexcept {
        if (registered_index_ >= 0 && owned_by_this_thread()) {  // the slot is the owning thread's
            io_uring_rsrc_update update{};
            update.offset = static_cast<unsigned>(registered_index_);
            (void)io_uring_register(static_cast<unsigned>(fd()), IORING_UNREGISTER_RING_FDS, &update, 1);
            registered_index_ = -1;
        }
    }

    // The parent's ring has to end when the parent closes it, so neither the descriptor nor the mappings may stay; and what
    // looks into the queues here finds them empty.
    void after_fork_in_child() noexcept override {
        inherited_ = true;
        if (Attachment* const loop = attachment_.exchange(nullptr); loop != nullptr) loop->after_fork_in_child();
        ::close(native_.ring_fd);
        native_.ring_fd = native_.enter_ring_fd = -1;
        registered_index_ = -1;
        if ((queues_.geometry.setup_flags & IORING_SETUP_NO_MMAP) != 0) return;  // the application's memory
        replace_mapping(native_.sq.ring_ptr, native_.sq.ring_sz);
        if (native_.cq.ring_ptr != native_.sq.ring_ptr) replace_mapping(native_.cq.ring_ptr, native_.cq.ring_sz);
        replace_mapping(native_.sq.sqes, std::size_t{native_.sq.ring_entries} * queues_.geometry.sqe_size);
    }

    [[nodiscard]] static int enter_on(int ring, unsigned to_submit, unsigned min_complete, unsigned flags) noexcept {
        return io_uring_enter2(static_cast<unsigned>(ring), to_submit, min_complete, flags, nullptr, 0);
    }

    // <chrono> would be half of what including this library costs.
    [[nodiscard]] static std::int64_t monotonic_ms() noexcept {
        timespec now{};
        (void)::clock_gettime(CLOCK_MONOTONIC, &now);
        return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
    }

    // Cancels until nothing is found that could be cancelled. The kernel does it again when the ring is closed; but here, the
    // links of what is cancelled end while the application's files are still registered.
    void cancel_all(std::int64_t deadline) noexcept {
        const std::int64_t enough = monotonic_ms() + most_cancelling_ms;
        const std::int64_t end = enough < deadline ? enough : deadline;
        do {
            io_uring_sync_cancel_reg cancel{};
            cancel.fd = -1;
            cancel.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
            cancel.timeout.tv_nsec = 10'000'000;
            const int found = io_uring_register_sync_cancel(&native_, &cancel);
            (void)enter(0, 0, IORING_ENTER_GETEVENTS);
            if (found == 0 || (found < 0 && found != -ETIME && found != -EINTR)) return;
            const timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
            (void)::nanosleep(&millisecond, nullptr);
        } while (monotonic_ms() < end);
    }

    /**
     * Has the ring hold one end of a pipe, and returns the other end, or -1. The kernel closes a ring's registered files when
     * its last request has ended, and no earlier: so the pipe tells when that is.
     *
     * A request that is linked to another may begin in between and name a registered file. So the end of the pipe takes every
     * slot: to close them all takes a request for each. It is an end that gives no data and takes none.
     */
    [[nodiscard]] int leave_sign() noexcept {
        if (registered_index_ >= 0 && !owned_by_this_thread()) return -1;  // the owning thread keeps the ring open
        int ends[2] = {-1, -1};
        if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
        const auto ring = static_cast<unsigned>(fd());
        int result = io_uring_register(ring, IORING_REGISTER_FILES, ends, 1) == 0 ? 1 : 0;
        if (result == 0) {
            constexpr unsigned batch = 64;
            int many[batch];
            for (int& end : many) end = ends[0];
            const unsigned slots = file_slots();
            unsigned done = 0;
            while (done < slots) {
                const unsigned count = slots - done < batch ? slots - done : batch;
                if (update_files(done, many, count) != static_cast<int>(count)) break;
                done += count;
            }
            result = slots != 0 && done == slots ? 1 : 0;
        }
        ::close(ends[0]);
        if (result == 1) return ends[1];
        ::close(ends[1]);
        return -1;
    }

    [[nodiscard]] int update_files(unsigned slot, const int* descriptors, unsigned count) const noexcept {
        io_uring_files_update update{};
        update.offset = slot;
        update.fds = reinterpret_cast<std::uintptr_t>(descriptors);
        return io_uring_register(static_cast<unsigned>(fd()), IORING_REGISTER_FILES_UPDATE, &update, count);
    }

    // How many slots the table of registered files has: an update that skips its slot is refused beyond the last.
    [[nodiscard]] unsigned file_slots() const noexcept {
        const int skip = IORING_REGISTER_FILES_SKIP;
        unsigned there = 0;        // slots that there are
        unsigned most = 1U << 20;  // more than the kernel allows are no use
        while (there < most) {
            const unsigned half = there + (most - there + 1) / 2;
            if (update_files(half - 1, &skip, 1) == 1) {
                there = half;
            } else {
                most = half - 1;
            }
        }
        return there;
    }

    // Nobody holds the other end of the pipe.
    [[nodiscard]] static bool sign_is_gone(int descriptor, std::int64_t deadline) noexcept {
        for (;;) {
            constexpr std::int64_t minute = 60'000;
            const std::int64_t left = deadline - monotonic_ms();
            pollfd end{.fd = descriptor, .events = 0, .revents = 0};
            const int result = ::poll(&end, 1, left < 0 ? 0 : static_cast<int>(left < minute ? left : minute));
            if (result > 0) return (end.revents & POLLERR) != 0;
            if (result < 0 && errno != EINTR) return false;
            if (monotonic_ms() >= deadline) return false;
        }
    }

    // The ring is closed, or another's.
    void give_up_memory() noexcept {
        if (!quiet_) {
            kept_->region = region_;
            Kept::for_good(std::move(kept_));
        }
        kept_.reset();
    }

    static constexpr std::int64_t most_cancelling_ms = 100;

    io_uring native_;
    QueueMemory queues_;
    LoopEpochs epochs_;
    std::shared_ptr<RegionMemory> region_;
    std::unique_ptr<Kept> kept_ = std::make_unique<Kept>();  // null when the ring is closed
    unsigned close_wait_ms_;
    std::atomic<Attachment*> attachment_{nullptr};
    pid_t owner_;
    int registered_index_ = -1;
    bool enabled_;
    bool region_registered_ = false;
    bool open_ = true;
    bool quiet_ = true;                      // when closed: the kernel writes to no memory of the ring's any more
    std::atomic<bool> submitted_to_{false};  // there may have been requests
    bool inherited_ = false;
};

}  // namespace ringstep::inline v0::detail
