// SPDX-License-Identifier: MIT
// What a Ring and the program attached to it both hold on to: the io_uring itself, its memory, and how it comes to an end.
#pragma once

#include <ringstep/detail/epochs.hpp>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/error.hpp>
#include <ringstep/queues.hpp>
#include <ringstep/region.hpp>

#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace ringstep::inline v0::detail {

/// A loop on a ring, as the ring sees it: something to take off before the ring goes.
class Attachment {
public:
    virtual void detach() noexcept = 0;

protected:
    ~Attachment() = default;
};

class RingCore {
public:
    explicit RingCore(const io_uring& native, const io_uring_params& params, unsigned close_wait_ms)
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
    }

    RingCore(const RingCore&) = delete;
    RingCore& operator=(const RingCore&) = delete;
    ~RingCore() { close(); }

    [[nodiscard]] io_uring& native() noexcept { return native_; }
    [[nodiscard]] QueueMemory& queues() noexcept { return queues_; }
    [[nodiscard]] const Geometry& geometry() const noexcept { return queues_.geometry; }
    [[nodiscard]] bool open() const noexcept { return open_; }
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
    [[nodiscard]] bool owned_by_this_thread() const noexcept { return owner_ == ::gettid(); }
    /// The same without a system call, and wrong in a forked child.
    [[nodiscard]] bool perhaps_owned_by_this_thread() const noexcept { return owner_ == cached_thread_id(); }

    /// How to name the ring in an io_uring_enter(2) on the owning thread: a number, and a flag that belongs to it.
    struct EnterBy {
        int number;
        unsigned flag;
    };
    [[nodiscard]] EnterBy enter_by() const noexcept {
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
    [[nodiscard]] int enter(unsigned to_submit, unsigned min_complete, unsigned flags) const noexcept {
        // A registered index means a ring of the calling thread's: on another thread it could be another ring.
        if (registered_index_ < 0 || !perhaps_owned_by_this_thread()) return enter_on(fd(), to_submit, min_complete, flags);
        const int result = enter_on(registered_index_, to_submit, min_complete, flags | IORING_ENTER_REGISTERED_RING);
        if (result == -EINVAL && !owned_by_this_thread())
            return enter_on(fd(), to_submit, min_complete, flags);  // after a fork
        return result;
    }

    /// Submits all that is claimed, on a ring without a loop. The count that the kernel took, or -errno.
    [[nodiscard]] int submit(unsigned wait_for) noexcept {
        settle_timer();
        const std::uint32_t claimed = SubmissionQueue(queues_).claimed();
        // Wake-ups for a loop that is gone: those in the CQ or on their way to it are not what is waited for.
        if (wait_for != 0) wait_for += 0 - queues_.own_wakes_seen;
        const int taken = enter(claimed, wait_for, IORING_ENTER_GETEVENTS);
        if (taken < 0) return taken;
        queues_.submitted += static_cast<unsigned>(taken);
        if (queues_.geometry.rewinds()) {
            const auto left = claimed - static_cast<unsigned>(taken);
            const std::size_t size = queues_.geometry.sqe_size;
            if (taken > 0 && left > 0)
                std::memmove(queues_.sqes, queues_.sqes + static_cast<unsigned>(taken) * size, left * size);
            *queues_.claimed = left;
        }
        return taken;
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

    /// Requests that the kernel has taken and whose last completion nobody has seen yet.
    [[nodiscard]] std::uint64_t in_flight() const noexcept {
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

    void keep_alive(std::shared_ptr<const void> object) { kept_.push_back(std::move(object)); }

    /// Cancels what is in flight, waits for it, and closes the ring. True if nothing is in flight any more; false if the wait
    /// ran out or was not possible from this thread: then the memory that requests may still use is never given back.
    bool close() noexcept {
        if (!open_) return quiet_;
        if (Attachment* loop = attachment(); loop != nullptr) loop->detach();
        quiet_ = settle();
        open_ = false;
        unregister_ring_fd();
        io_uring_queue_exit(&native_);
        queues_.rings = nullptr;
        queues_.sqes = nullptr;
        if (!quiet_) {
            // A request of a closed ring ends when it ends. Until then it may write, so nobody else may get its memory.
            kept_.push_back(region_);
            new (std::nothrow) std::vector<std::shared_ptr<const void>>(std::move(kept_));
        }
        kept_.clear();
        return quiet_;
    }

    /// Lets go of the ring as it is, the timer settled, with liburing's own record of the SQ brought up to date.
    io_uring release() noexcept {
        settle_timer();
        open_ = false;
        unregister_ring_fd();
        if (!queues_.geometry.rewinds()) {
            native_.sq.sqe_tail = queues_.word(queues_.geometry.sq_tail_offset).load(std::memory_order_relaxed);
            native_.sq.sqe_head = native_.sq.sqe_tail;
        }
        return native_;
    }

private:
    // Takes the completions that only the library knows of out of the CQ: the others move together towards its tail, where the
    // kernel does not write before the head has passed.
    void drop_hidden() noexcept {
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

    [[nodiscard]] static pid_t cached_thread_id() noexcept {
        thread_local const pid_t id = ::gettid();
        return id;
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

    [[nodiscard]] bool settle() noexcept {
        if (in_flight() == 0) return true;
        if (!owned_by_this_thread()) return false;
        io_uring_sync_cancel_reg cancel{};
        cancel.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
        const std::int64_t deadline = monotonic_ms() + close_wait_ms_;
        do {
            cancel.timeout.tv_sec = 0;
            cancel.timeout.tv_nsec = 10'000'000;
            (void)io_uring_register_sync_cancel(&native_, &cancel);
            (void)enter(0, 0, IORING_ENTER_GETEVENTS);
            Completion completion;
            while (CompletionQueue(queues_).pop(completion)) {
            }
            if (in_flight() == 0) return true;
            const timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
            (void)::nanosleep(&millisecond, nullptr);
        } while (monotonic_ms() < deadline);
        return false;
    }

    io_uring native_;
    QueueMemory queues_;
    LoopEpochs epochs_;
    std::shared_ptr<RegionMemory> region_;
    std::vector<std::shared_ptr<const void>> kept_;
    unsigned close_wait_ms_;
    std::atomic<Attachment*> attachment_{nullptr};
    pid_t owner_;
    int registered_index_ = -1;
    bool enabled_;
    bool region_registered_ = false;
    bool open_ = true;
    bool quiet_ = true;
};

}  // namespace ringstep::inline v0::detail
