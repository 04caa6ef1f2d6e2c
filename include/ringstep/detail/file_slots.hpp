// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/detail/ring_core.hpp>
#include <ringstep/error.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

namespace ringstep::inline v0::detail {

/// Tests whether the kernel closes a registered file as soon as its slot is emptied, even while a request on another file is in
/// flight. Before Linux 6.13, the file stays open until that request has ended. Also returns false if the test could not run.
inline bool try_closing_of_slots() noexcept {
    io_uring ring{};
    std::array<int, 2> waits{-1, -1};
    std::array<int, 2> closed{-1, -1};
    if (::pipe2(waits.data(), O_CLOEXEC) != 0) return false;
    const OwnedFd waits_reader(waits[0]);
    const OwnedFd waits_writer(waits[1]);
    if (::pipe2(closed.data(), O_CLOEXEC) != 0) return false;
    const OwnedFd reader(closed[0]);
    OwnedFd writer(closed[1]);
    if (io_uring_queue_init(4, &ring, 0) != 0) return false;
    std::array<int, 2> files{waits_reader.get(), writer.get()};
    bool at_once = false;
    if (io_uring_register_files(&ring, files.data(), files.size()) == 0) {
        writer = OwnedFd();
        io_uring_sqe* const sqe = io_uring_get_sqe(&ring);
        io_uring_prep_poll_add(sqe, 0, POLLIN);
        sqe->flags |= IOSQE_FIXED_FILE;
        int none = -1;
        pollfd hung_up{.fd = reader.get(), .events = 0, .revents = 0};
        if (io_uring_submit(&ring) == 1 && io_uring_register_files_update(&ring, 1, &none, 1) == 1 &&
            ::poll(&hung_up, 1, 0) == 1)
            at_once = (hung_up.revents & POLLHUP) != 0;
    }
    io_uring_queue_exit(&ring);
    return at_once;
}

/// Returns what try_closing_of_slots() has found. It tries once in a process.
inline bool slots_close_at_once() noexcept {
    static const bool result = try_closing_of_slots();
    return result;
}

/// The registered file slots of a loop that accepts connections. If the ring has no registered files, it gets a table.
class FileSlots {
public:
    /// Takes `count` slots from `first` on. The kernel chooses slots for new connections among the first `chosen` of them. A
    /// new table has `more` slots behind them. Throws Error.
    FileSlots(RingCore& ring, unsigned first, unsigned count, unsigned chosen, unsigned more = 0)
        : ring_(&ring), first_(first), count_(count) {
        const std::string what = "reservation of " + std::to_string(count) + " file slots for connections" +
                                 (more > 0 ? ", and of " + std::to_string(more) + " for files" : std::string());
        int result = io_uring_register_files_sparse(&ring.native(), first + count + more);
        owns_table_ = result == 0;
        if (result != 0 && result != -EBUSY) {
            raise(result, what,
                  result == -EMFILE ? "The limit on open files (RLIMIT_NOFILE, ulimit -n) is lower than that: raise it."
                                    : "It needs Linux 6.1, and the ring's owning thread.");
        }
        result = io_uring_register_file_alloc_range(&ring.native(), first, chosen);
        if (result == 0) return;
        if (owns_table_) (void)io_uring_unregister_files(&ring.native());
        raise(result, what,
              "The ring has registered files: make their table large enough, and name the first free slot by the option "
              "first_slot.");
    }
    FileSlots(const FileSlots&) = delete;
    FileSlots& operator=(const FileSlots&) = delete;

    /// Returns true if the kernel may close the file of an emptied slot late: when the requests with registered files that
    /// began before have ended, whatever their files are. It tries that once in a process.
    [[nodiscard]] static bool closes_late() noexcept { return !slots_close_at_once(); }

    /// Closes all files in the slots. Must be called on the ring's owning thread.
    void close() noexcept {
        if (owns_table_) {
            (void)io_uring_unregister_files(&ring_->native());
            return;
        }
        std::array<int, 64> none;
        none.fill(-1);
        for (unsigned slot = 0; slot < count_;) {
            const unsigned batch = std::min<unsigned>(none.size(), count_ - slot);
            (void)io_uring_register_files_update(&ring_->native(), first_ + slot, none.data(), batch);
            slot += batch;
        }
    }

private:
    RingCore* ring_;
    unsigned first_;
    unsigned count_;
    bool owns_table_ = false;
};

}  // namespace ringstep::inline v0::detail
