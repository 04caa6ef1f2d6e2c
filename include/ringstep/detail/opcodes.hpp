// SPDX-License-Identifier: MIT
// What the library knows of io_uring's opcodes: their names, and which requests no scheduling loop can accept.
#pragma once

#include <ringstep/version.hpp>

#include <liburing.h>

#include <array>
#include <iterator>
#include <string_view>

namespace ringstep::inline v0::detail {

// Returns the name of an IORING_OP_, as in the UAPI. Returns an empty text for an opcode that this list lacks.
[[nodiscard]] inline std::string_view opcode_name(unsigned opcode) noexcept {
    // clang-format off: it would give each name a line of its own
    static constexpr std::string_view names[] = {
        "NOP", "READV", "WRITEV", "FSYNC", "READ_FIXED", "WRITE_FIXED", "POLL_ADD", "POLL_REMOVE", "SYNC_FILE_RANGE",
        "SENDMSG", "RECVMSG", "TIMEOUT", "TIMEOUT_REMOVE", "ACCEPT", "ASYNC_CANCEL", "LINK_TIMEOUT", "CONNECT", "FALLOCATE",
        "OPENAT", "CLOSE", "FILES_UPDATE", "STATX", "READ", "WRITE", "FADVISE", "MADVISE", "SEND", "RECV", "OPENAT2",
        "EPOLL_CTL", "SPLICE", "PROVIDE_BUFFERS", "REMOVE_BUFFERS", "TEE", "SHUTDOWN", "RENAMEAT", "UNLINKAT", "MKDIRAT",
        "SYMLINKAT", "LINKAT", "MSG_RING", "FSETXATTR", "SETXATTR", "FGETXATTR", "GETXATTR", "SOCKET", "URING_CMD", "SEND_ZC",
        "SENDMSG_ZC", "READ_MULTISHOT", "WAITID", "FUTEX_WAIT", "FUTEX_WAKE", "FUTEX_WAITV", "FIXED_FD_INSTALL", "FTRUNCATE",
        "BIND", "LISTEN", "RECV_ZC", "EPOLL_WAIT", "READV_FIXED", "WRITEV_FIXED", "PIPE", "NOP128", "URING_CMD128",
    };
    // clang-format on
    return opcode < std::size(names) ? names[opcode] : std::string_view{};
}

// Returns why the loop cannot schedule this request, or null if it can. The IOSQE_ flags in `handled` are accepted, because the
// loop implements them.
[[nodiscard]] inline const char* unschedulable(const io_uring_sqe& sqe, unsigned handled, bool long_sqes) noexcept {
    const unsigned flags = sqe.flags & ~handled;
    if ((flags & IOSQE_CQE_SKIP_SUCCESS) != 0)
        return "IOSQE_CQE_SKIP_SUCCESS: the loop needs the completion. Ignore it when it comes.";
    if ((flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) != 0)
        return "IOSQE_IO_LINK and IOSQE_IO_HARDLINK: this loop does not submit requests in the order in which they are pushed. "
               "Use "
               "the loops link or chain.";
    if ((flags & IOSQE_IO_DRAIN) != 0) return "IOSQE_IO_DRAIN: use the loop drain.";
    constexpr const char* multishot = "a multishot request: it completes any number of times, and a slot comes back once.";
    switch (sqe.opcode) {
        case IORING_OP_LINK_TIMEOUT:
            return "IORING_OP_LINK_TIMEOUT: it belongs to a request in front of it, and this loop submits each by itself.";
        case IORING_OP_ACCEPT: return (sqe.ioprio & IORING_ACCEPT_MULTISHOT) != 0 ? multishot : nullptr;
        case IORING_OP_RECV:
        case IORING_OP_RECVMSG: return (sqe.ioprio & IORING_RECV_MULTISHOT) != 0 ? multishot : nullptr;
        case IORING_OP_POLL_ADD: return (sqe.len & IORING_POLL_ADD_MULTI) != 0 ? multishot : nullptr;
        case IORING_OP_TIMEOUT: return (sqe.timeout_flags & IORING_TIMEOUT_MULTISHOT) != 0 ? multishot : nullptr;
        case IORING_OP_READ_MULTISHOT: return multishot;
        case IORING_OP_URING_CMD:
            return long_sqes ? "IORING_OP_URING_CMD on a ring with long SQEs: 64 bytes are all that a slot holds." : nullptr;
        default: return nullptr;
    }
}

// The opcodes that unschedulable() may refuse.
inline constexpr auto may_be_unschedulable = [] {
    std::array<bool, 256> may{};
    for (const unsigned opcode : {unsigned{IORING_OP_LINK_TIMEOUT}, unsigned{IORING_OP_ACCEPT}, unsigned{IORING_OP_RECV},
                                  unsigned{IORING_OP_RECVMSG}, unsigned{IORING_OP_POLL_ADD}, unsigned{IORING_OP_TIMEOUT},
                                  unsigned{IORING_OP_READ_MULTISHOT}, unsigned{IORING_OP_URING_CMD}})
        may.at(opcode) = true;
    return may;
}();

}  // namespace ringstep::inline v0::detail
