// SPDX-License-Identifier: MIT
// The parts that a Ring and its program share: the io_uring itself, its memory, and its closing.
#pragma once

#include <ringstep/c/blocks/requests.h>
#include <ringstep/c/compact.h>
#include <ringstep/detail/epochs.hpp>
#include <ringstep/detail/fork.hpp>
#include <ringstep/detail/memlock.hpp>
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
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringstep::inline v0::detail {

/// A loop as its ring sees it: the ring must detach the loop before it closes.
class Attachment {
public:
    virtual void detach() noexcept = 0;
    /// Closes a forked child's copies. The loop stays attached to the parent's ring.
    virtual void after_fork_in_child() noexcept = 0;

protected:
    ~Attachment() = default;
};

/// The memory that requests may write to, as far as the ring knows: its region, and all objects passed to Ring::keep_alive().
struct Kept {
    std::shared_ptr<RegionMemory> region;
    std::vector<std::shared_ptr<const void>> objects;
    Kept* next = nullptr;

    /// Keeps the memory allocated forever. This function allocates nothing. The list keeps the memory reachable for leak
    /// checkers.
    static void for_good(std::unique_ptr<Kept> kept) noexcept {
        Kept* const mine = kept.release();
        mine->next = all_.load(std::memory_order_relaxed);
        while (!all_.compare_exchange_weak(mine->next, mine, std::memory_order_release, std::memory_order_relaxed)) {
        }
    }

    /// Keeps one object allocated forever. This function allocates nothing. Leak checkers do not find the object.
    static void for_good(std::shared_ptr<const void> object) noexcept {
        union Undestroyed {
            explicit Undestroyed(std::shared_ptr<const void>&& kept) noexcept : object(std::move(kept)) {}
            ~Undestroyed() {}  // NOLINT: does not destroy its member
            std::shared_ptr<const void> object;
        } const kept(std::move(object));
    }

private:
    inline static std::atomic<Kept*> all_{nullptr};
};

class RingCore;

/// The requests of a loop that let the kernel write to the loop's own state. As the ring's next loop uses the same memory, they
/// must have ended before it begins.
struct StateRequests {
    std::uint64_t tag = 0;                                ///< ringstep_identity_of_loop(); 0: there is no such loop
    __u64* counts = nullptr;                              ///< struct ringstep_requests.counts, in the state
    std::uint32_t* helpers = nullptr;                     ///< the number of timeouts and cancellations, in the state
    void* state = nullptr;                                ///< the argument of `cancel`
    void (*cancel)(RingCore&, void*) noexcept = nullptr;  ///< calls RingCore::cancel() for each of them
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
        queues_.claimed = &queues_.kept_claimed;
        queues_.wakes_seen = &queues_.kept_wakes_seen;
        Forks::add(*this, lock);
    }

    RingCore(const RingCore&) = delete;
    RingCore& operator=(const RingCore&) = delete;
    ~RingCore() { close(); }

    [[nodiscard]] io_uring& native() noexcept { return native_; }
    [[nodiscard]] QueueMemory& queues() noexcept { return queues_; }
    [[nodiscard]] const Geometry& geometry() const noexcept { return queues_.geometry; }
    [[nodiscard]] bool open() const noexcept { return open_ && !inherited_; }
    /// Returns true if the ring is the parent's, because this process was forked from the one that opened it.
    [[nodiscard]] bool inherited() const noexcept { return inherited_; }
    /// Notes that requests may be submitted, also ones that this class does not see.
    void note_submission() noexcept { submitted_to_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] int fd() const noexcept { return native_.ring_fd; }
    [[nodiscard]] const std::shared_ptr<RegionMemory>& region() const noexcept { return region_; }
    /// Returns the epochs, which tell the requests of one loop from those of others.
    [[nodiscard]] LoopEpochs& epochs() noexcept { return epochs_; }
    [[nodiscard]] Attachment* attachment() const noexcept { return attachment_.load(std::memory_order_acquire); }
    void set_attachment(Attachment* attachment) noexcept {
        if (attachment != nullptr) attached_.fetch_add(1, std::memory_order_relaxed);
        attachment_.store(attachment, std::memory_order_release);
    }
    /// Returns how many loops have been attached so far. Since the last one was, the region has had no other loop's state.
    [[nodiscard]] std::uint64_t attached() const noexcept { return attached_.load(std::memory_order_relaxed); }

    /// Returns true if the ring is enabled. A ring that was opened disabled is not enabled yet.
    [[nodiscard]] bool enabled() const noexcept { return enabled_; }
    /// Marks the ring as enabled. Must be called on the thread that enabled the ring, which becomes its owning thread.
    void set_enabled() noexcept {
        enabled_ = true;
        owner_ = ::gettid();
    }

    /// Returns true if the calling thread is the owning thread, which opened or enabled the ring and may run it.
    [[nodiscard]] bool owned_by_this_thread() const noexcept { return !inherited_ && owner_ == ::gettid(); }
    /// Returns true if the calling thread is the owning thread. Makes no system call after a thread's first call. The answer is
    /// wrong in a child that was made without fork(3): by clone(2) or _Fork(3).
    [[nodiscard]] bool perhaps_owned_by_this_thread() const noexcept { return !inherited_ && owner_ == Forks::thread_id(); }

    /// The name of the ring in an io_uring_enter(2) on the owning thread: a number, and the flag that goes with it.
    struct EnterBy {
        int number;
        unsigned flag;
    };
    [[nodiscard]] EnterBy enter_by() noexcept {
        note_submission();
        if (registered_index_ < 0) return {.number = fd(), .flag = 0};
        return {.number = registered_index_, .flag = IORING_ENTER_REGISTERED_RING};
    }

    /// Registers the ring's descriptor, and returns true if it is registered. The kernel then skips the look-up of the ring's
    /// file on each enter. It also registers the task with io_uring, which kernels before 7.3 do not do when the task's first
    /// enter runs a loop.
    [[nodiscard]] bool register_ring_fd() noexcept {
        if (registered_index_ >= 0) return true;
        io_uring_rsrc_update update{};
        update.offset = ~0U;  // any free slot
        update.data = static_cast<__u64>(fd());
        if (io_uring_register(static_cast<unsigned>(fd()), IORING_REGISTER_RING_FDS, &update, 1) != 1) return false;
        registered_index_ = static_cast<int>(update.offset);
        return true;
    }

    /// Calls io_uring_enter(2) once. Returns the result of the system call, or -errno.
    [[nodiscard]] int enter(unsigned to_submit, unsigned min_complete, unsigned flags) noexcept {
        if (inherited_) return -EEXIST;
        note_submission();
        // A registered index is only valid on the owning thread. On another thread, it could name another ring.
        if (registered_index_ < 0 || !perhaps_owned_by_this_thread()) return enter_on(fd(), to_submit, min_complete, flags);
        const int result = enter_on(registered_index_, to_submit, min_complete, flags | IORING_ENTER_REGISTERED_RING);
        if (result == -EINVAL && !owned_by_this_thread())
            return enter_on(fd(), to_submit, min_complete, flags);  // the thread is a forked child's
        return result;
    }

    /// The result of a plain submit. Both members are set if a signal ended the wait after a submit.
    struct Submission {
        unsigned taken = 0;  ///< SQEs that the kernel took
        int error = 0;       ///< errno, or 0
    };

    /// Submits all claimed SQEs of a ring without a loop. Then waits for `wait_for` completions if the kernel took all SQEs.
    [[nodiscard]] Submission submit(unsigned wait_for) noexcept {
        if (inherited_) return {.taken = 0, .error = EEXIST};
        settle_timer();
        settle_state(0);
        const std::uint32_t claimed = QueueAccess::sq(queues_).claimed();
        wait_for = wait_for < queues_.geometry.cq_entries ? wait_for : queues_.geometry.cq_entries;  // the kernel's own limit
        // The wait must not count wake-ups for a detached loop, whether they are in the CQ or still come.
        if (wait_for != 0) wait_for += 0 - queues_.kept_wakes_seen;
        wait_for = wait_for < queues_.geometry.cq_entries ? wait_for : queues_.geometry.cq_entries;
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

    /// Makes `memory` the ring's memory region. A ring cannot change its region. Throws Error (EBUSY) if the ring has another
    /// region.
    void share_region(std::shared_ptr<RegionMemory> memory) {
        if (region_ == memory) return;
        if (region_) {
            raise(EBUSY, "use of another memory region, of " + std::to_string(memory->size()) + " bytes",
                  "A ring has one region for good, and this one has another already.");
        }
        region_ = std::move(memory);
        region_->control().timer = {};
        queues_.timer = &region_->control().timer;
        // Loops also claim SQEs from here on, so the count of claimed SQEs moves to memory that both sides see.
        region_->control().claimed = queues_.kept_claimed;
        queues_.claimed = &region_->control().claimed;
    }

    /// Registers the region with the kernel, so that loops in the kernel can access it (Linux 6.13). Throws Error.
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
            std::string advice = pinning_advice(-result, memory.size());
            if (result == -EBUSY) advice = "A ring has one region for good, and this one has another already.";
            if (result == -EINVAL) advice = "Memory regions need Linux 6.13 or later.";
            if (result == -EEXIST) advice = "Only the thread that opened the ring may do this.";
            raise(result, "registration of a memory region of " + std::to_string(memory.size()) + " bytes", std::move(advice));
        }
        region_registered_ = true;
    }

    /// Returns the number of requests that the kernel has taken and whose last completion nobody has seen, for statistics. A
    /// request without a completion stays in the count, and a message from another ring counts as the end of a request. No
    /// decision about memory depends on this count.
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

    /// Cancels the timer of a detached loop and takes its completion out of the CQ. Returns true if no timer is in flight
    /// afterwards. Returns false on another thread, or if a full CQ has no room for the completion.
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

    /// Takes completions out of the CQ: those for which `drops(user_data, flags)` returns true. It is called once for each
    /// completion, the last one first. The others stay, in their order. No loop may run.
    template <class Drops>
    void drop_completions(Drops&& drops) noexcept {
        if (native_.cq.ring_ptr != static_cast<void*>(queues_.rings)) return;  // the rings were resized
        const Geometry& geometry = queues_.geometry;
        const auto head_word = queues_.word(geometry.cq_head_offset);
        const std::uint32_t head = head_word.load(std::memory_order_relaxed);
        const std::uint32_t tail = queues_.word(geometry.cq_tail_offset).load(std::memory_order_acquire);
        const auto call = [](void* context, const ringstep_cqe_word* cqe) noexcept -> int {
            const std::uint32_t flags = reinterpret_cast<const io_uring_cqe*>(cqe)->flags;
            return (*static_cast<std::remove_reference_t<Drops>*>(context))(cqe[0], flags) ? 1 : 0;
        };
        auto* const cqes = reinterpret_cast<ringstep_cqe_word*>(queues_.rings + geometry.cqes_offset);
        const std::uint32_t shift = geometry.cqe_size == sizeof(io_uring_cqe) ? 1 : 2;
        head_word.store(ringstep_cq_compact(cqes, geometry.cq_entries - 1, shift, head, tail, call, &drops),
                        std::memory_order_release);
    }

    /// Notes that the attached loop has requests that write to its state. Must be called on the ring's owning thread.
    void set_state_requests(const StateRequests& requests) noexcept {
        state_requests_ = requests;
        queues_.state_tag = requests.tag;
        queues_.state_gone = 0;
    }

    /// Ends the requests of a detached loop that write to its state: cancels them, and takes their completions out of the CQ.
    /// Waits for their end, up to `wait_ms` milliseconds. Returns true if none of them is left. Returns false after that time,
    /// on another thread than the owning one, or if a full CQ has no room for the completions.
    bool settle_state(unsigned wait_ms) noexcept {
        if (state_requests_.cancel == nullptr) [[likely]]
            return true;
        if (attachment() != nullptr || !open() || !owned_by_this_thread()) return false;
        take_back_claimed();
        const std::int64_t deadline = monotonic_ms() + wait_ms;
        while (state_requests_left()) {
            state_requests_.cancel(*this, state_requests_.state);
            (void)enter(0, 0, IORING_ENTER_GETEVENTS);
            drop_hidden();
            if (!state_requests_left()) break;
            if (monotonic_ms() >= deadline) return false;
            const timespec millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};
            (void)::nanosleep(&millisecond, nullptr);
        }
        *state_requests_.counts = ringstep_requests_waiting(*state_requests_.counts);
        *state_requests_.helpers = 0;
        set_state_requests({});
        return true;
    }

    /// Ends the requests of the loop with this tag, like settle_state(). Returns true if they have ended, now or earlier.
    bool settle_state_of(std::uint64_t tag, unsigned wait_ms) noexcept {
        if (!owned_by_this_thread()) return false;
        return state_requests_.cancel == nullptr || state_requests_.tag != tag || settle_state(wait_ms);
    }

    /// Ends the timer and the requests that a detached loop has left, which the next loop must not meet. Does nothing on
    /// another thread than the owning one, which does this at its next submit or attach.
    void settle_detached() noexcept {
        if (!owned_by_this_thread()) return;
        (void)settle_timer();
        (void)settle_state(close_wait_ms_);
    }

    /// Returns the time that closing, or ending a loop's requests, may take.
    [[nodiscard]] unsigned close_wait_ms() const noexcept { return close_wait_ms_; }

    /// Cancels the request with this user_data, if the kernel can. Does not wait for its end. Returns 0, or -errno, such as
    /// -ENOENT if there is no such request. With IORING_ASYNC_CANCEL_ALL in `flags`, cancels all such requests and returns
    /// their number. The cancellation is no request, and has no completion. Returns -EBADF if the ring is closed.
    int cancel(std::uint64_t user_data, unsigned flags = 0) noexcept {
        if (!open()) return -EBADF;  // its descriptor may be another ring's by now
        io_uring_sync_cancel_reg cancel{};
        cancel.addr = user_data;
        cancel.fd = -1;
        cancel.flags = flags;
        return io_uring_register_sync_cancel(&native_, &cancel);
    }

    /// Keeps an object alive until the ring is closed and no request can use it. If there is no memory to note the object, it
    /// stays allocated forever, because requests may be using it already.
    void keep_alive(std::shared_ptr<const void> object) noexcept {
        try {
            kept_->objects.push_back(std::move(object));  // leaves `object` as it is if it throws
        } catch (const std::bad_alloc&) {
            Kept::for_good(std::move(object));
        }
    }

    /**
     * Cancels requests in flight, closes the ring, and waits until the kernel has ended the last request. Returns true if it
     * has, so that no memory is written to any more. Returns false if that takes longer than the time limit, or if this thread
     * may not ask the kernel. The memory that requests may still use then stays allocated forever.
     */
    bool close() noexcept {
        if (!open_) return quiet_;
        if (inherited_) {
            open_ = quiet_ = false;
            exit_queues();  // only its empty memory is left
            return false;
        }
        if (Attachment* loop = attachment(); loop != nullptr) loop->detach();
        const std::int64_t deadline = monotonic_ms() + close_wait_ms_;
        if (submitted_to_) cancel_all(deadline);
        int answer = -1;
        {
            const Forks::Lock lock;  // a child forked here would keep the ring open, or close a reused descriptor
            if (submitted_to_) answer = leave_sign();
            Forks::remove(*this, lock);
            open_ = false;
            unregister_ring_fd();
            exit_queues();
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

    /// Gives up the ring and returns its io_uring. Cancels the timer and updates liburing's own record of the SQ. Requests in
    /// flight stay in flight.
    io_uring release() noexcept {
        settle_timer();
        settle_state(0);
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
    // Returns true if a signal ended a wait for `wanted` completions that the kernel reports as a success. The kernel does so
    // if it has submitted something, or if there is any completion. A timeout also ends a wait early. Its completion has come
    // since the tail was at `tail`, or comes when the kernel gets another chance to post it.
    [[nodiscard]] bool cut_short(std::uint32_t wanted, std::uint32_t tail) noexcept {
        const CompletionQueue cq = QueueAccess::cq(queues_);
        if (cq.ready() >= wanted) [[likely]]
            return false;
        if (enter(0, 0, IORING_ENTER_GETEVENTS) == -EBADR || cq.ready() >= wanted) return false;
        const std::uint32_t end = queues_.word(queues_.geometry.cq_tail_offset).load(std::memory_order_acquire);
        if (end - tail > queues_.geometry.cq_entries) return false;  // no kernel leaves the CQ in this state
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

    [[nodiscard]] bool state_requests_left() const noexcept {
        return ringstep_requests_in_flight(*state_requests_.counts) + *state_requests_.helpers > queues_.state_gone;
    }

    // Replaces claimed SQEs of a detached loop whose requests write to its state. The next submit would start them otherwise.
    void take_back_claimed() noexcept {
        const Geometry& geometry = queues_.geometry;
        const std::uint32_t first =
            geometry.rewinds() ? 0 : queues_.word(geometry.sq_head_offset).load(std::memory_order_acquire);
        const std::uint32_t claimed = QueueAccess::sq(queues_).claimed();
        for (std::uint32_t i = 0; i < claimed; i++) {
            const std::size_t slot = (first + i) & (geometry.sq_entries - 1);
            auto* const sqe = reinterpret_cast<io_uring_sqe*>(queues_.sqes + slot * geometry.sqe_size);
            if (ringstep_identity_is_of(sqe->user_data, state_requests_.tag) == 0) continue;
            if (sqe->opcode == IORING_OP_ASYNC_CANCEL || sqe->opcode == IORING_OP_TIMEOUT_REMOVE) (void)cancel(sqe->addr);
            std::memset(static_cast<void*>(sqe), 0, geometry.sqe_size);
            io_uring_prep_nop(sqe);
            sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
            ++queues_.state_gone;
            ++queues_.finished;
        }
    }

    // liburing takes the size of what it unmaps from the rings, where other threads and requests can write. With another number
    // there, it would unmap memory of the application.
    void exit_queues() noexcept {
        if (native_.sq.kring_entries != nullptr)
            std::atomic_ref(*native_.sq.kring_entries).store(queues_.geometry.sq_entries, std::memory_order_relaxed);
        io_uring_queue_exit(&native_);
    }

    // Takes the library's own completions out of the CQ.
    void drop_hidden() noexcept {
        drop_completions(
            [this](std::uint64_t user_data, std::uint32_t flags) noexcept { return queues_.swallow_hidden(user_data, flags); });
    }

    void unregister_ring_fd() noexcept {
        if (registered_index_ >= 0 && owned_by_this_thread()) {  // the slot belongs to the owning thread
            io_uring_rsrc_update update{};
            update.offset = static_cast<unsigned>(registered_index_);
            (void)io_uring_register(static_cast<unsigned>(fd()), IORING_UNREGISTER_RING_FDS, &update, 1);
            registered_index_ = -1;
        }
    }

    // The parent's ring must end when the parent closes it, so neither the descriptor nor the mappings may stay in the child.
    // Code that reads the queues in the child finds them empty.
    void after_fork_in_child() noexcept override {
        inherited_ = true;
        if (Attachment* const loop = attachment_.exchange(nullptr); loop != nullptr) loop->after_fork_in_child();
        ::close(native_.ring_fd);
        native_.ring_fd = native_.enter_ring_fd = -1;
        registered_index_ = -1;
        if ((queues_.geometry.setup_flags & IORING_SETUP_NO_MMAP) != 0) return;  // the queues are in the application's memory
        replace_mapping(native_.sq.ring_ptr, native_.sq.ring_sz);
        if (native_.cq.ring_ptr != native_.sq.ring_ptr) replace_mapping(native_.cq.ring_ptr, native_.cq.ring_sz);
        replace_mapping(native_.sq.sqes, std::size_t{native_.sq.ring_entries} * queues_.geometry.sqe_size);
    }

    [[nodiscard]] static int enter_on(int ring, unsigned to_submit, unsigned min_complete, unsigned flags) noexcept {
        return io_uring_enter2(static_cast<unsigned>(ring), to_submit, min_complete, flags, nullptr, 0);
    }

    // Including <chrono> would be half of the cost of including this library.
    [[nodiscard]] static std::int64_t monotonic_ms() noexcept {
        timespec now{};
        (void)::clock_gettime(CLOCK_MONOTONIC, &now);
        return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
    }

    // Cancels until no request is found that can be cancelled. The kernel cancels again when the ring is closed. Cancelled
    // here, linked requests end while the application's files are still registered.
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
     * Registers one end of a pipe as a file of the ring. Returns the other end, or -1. The kernel closes a ring's registered
     * files only when its last request has ended, so the pipe shows that end.
     *
     * A request that is linked to another may start in between and name a registered file. The end of the pipe therefore takes
     * every slot, so that the link would need a request for each slot to close them all. This end of the pipe gives no data and
     * takes none.
     */
    [[nodiscard]] int leave_sign() noexcept {
        if (registered_index_ >= 0 && !owned_by_this_thread()) return -1;  // the registered descriptor keeps the ring open
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

    // Returns the number of slots in the table of registered files. An update that skips its slot is refused beyond the last
    // slot.
    [[nodiscard]] unsigned file_slots() const noexcept {
        const int skip = IORING_REGISTER_FILES_SKIP;
        unsigned there = 0;        // number of slots known to exist
        unsigned most = 1U << 20;  // the kernel allows no larger table
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

    // Waits until nobody holds the other end of the pipe. Returns false if the deadline passes first.
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

    // Releases the memory kept for requests, or keeps it allocated forever. The ring is closed by now, or was released.
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
    StateRequests state_requests_;
    std::shared_ptr<RegionMemory> region_;
    std::unique_ptr<Kept> kept_ = std::make_unique<Kept>();  // null once the ring is closed
    unsigned close_wait_ms_;
    std::atomic<Attachment*> attachment_{nullptr};
    std::atomic<std::uint64_t> attached_{0};
    pid_t owner_;
    int registered_index_ = -1;
    bool enabled_;
    bool region_registered_ = false;
    bool open_ = true;
    bool quiet_ = true;                      // after closing: the kernel no longer writes to memory that requests use
    std::atomic<bool> submitted_to_{false};  // requests may have been submitted
    bool inherited_ = false;
};

}  // namespace ringstep::inline v0::detail
