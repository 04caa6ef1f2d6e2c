// SPDX-License-Identifier: MIT
// What a kernel does with a registered file whose slot is emptied.
#pragma once

#include <ringstep/detail/owned_fd.hpp>

#include <liburing.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>

namespace ringstep::inline v0::detail {

/// Tries whether a file is closed when its slot is emptied, although a request on another file is in flight. Before Linux 6.13,
/// the file stays open until such requests have ended. Returns false if that could not be tried.
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

}  // namespace ringstep::inline v0::detail
