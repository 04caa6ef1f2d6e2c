// SPDX-License-Identifier: MIT
// What a loop does, turn by turn, on stderr: for RINGSTEP_TRACE=1.
#pragma once

#include <ringstep/detail/uapi.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/user.h>
#include <ringstep/version.hpp>

#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>

namespace ringstep::inline v0::detail {

[[nodiscard]] inline bool trace_wanted() noexcept {
    // A static that is set up once would have a forked child wait for a thread that was setting it up.
    static std::atomic<int> wanted{-1};
    int result = wanted.load(std::memory_order_relaxed);
    if (result < 0) [[unlikely]] {
        const char* const value = std::getenv("RINGSTEP_TRACE");
        result = value != nullptr && *value != '\0' && std::string_view(value) != "0" ? 1 : 0;
        wanted.store(result, std::memory_order_relaxed);
    }
    return result != 0;
}

// The name of an IORING_OP_, as in the UAPI; empty for one that this list does not have.
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

// "Input/output error (errno 5)"
[[nodiscard]] inline std::string describe_error(int error) {
    return std::generic_category().message(error) + " (errno " + std::to_string(error) + ")";
}

[[nodiscard]] inline std::string hex(std::uint64_t value) {
    char digits[16];
    return "0x" + std::string(digits, std::to_chars(std::begin(digits), std::end(digits), value, 16).ptr);
}

// "READ fd 3, len 4096, off 0, addr 0x7f…, user_data 0x1", then the flags that are set.
[[nodiscard]] inline std::string describe(const io_uring_sqe& sqe) {
    std::string said(opcode_name(sqe.opcode));
    if (said.empty()) said = "opcode " + std::to_string(sqe.opcode);
    if (sqe.fd >= 0) said += ((sqe.flags & IOSQE_FIXED_FILE) != 0 ? " file slot " : " fd ") + std::to_string(sqe.fd);
    said += ", len " + std::to_string(sqe.len) + ", off " + std::to_string(sqe.off) + ", addr " + hex(sqe.addr) +
            ", user_data " + hex(sqe.user_data);
    static constexpr auto flags = std::to_array<std::string_view>(
        {"FIXED_FILE", "IO_DRAIN", "IO_LINK", "IO_HARDLINK", "ASYNC", "BUFFER_SELECT", "CQE_SKIP_SUCCESS"});
    for (std::size_t bit = 0; bit < flags.size(); bit++) {
        if ((sqe.flags & (1U << bit)) != 0) said.append(", ").append(flags[bit]);
    }
    return said;
}

// "user_data 0x1: 4096" or "user_data 0x1: Input/output error (errno 5)", then what its flags say.
[[nodiscard]] inline std::string describe(const io_uring_cqe& cqe) {
    std::string said = "user_data " + hex(cqe.user_data) + ": ";
    said += cqe.res < 0 ? describe_error(-cqe.res) : std::to_string(cqe.res);
    if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) said += ", buffer " + std::to_string(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if ((cqe.flags & IORING_CQE_F_MORE) != 0) said += ", more to come";
    if ((cqe.flags & IORING_CQE_F_NOTIF) != 0) said += ", notification";
    return said;
}

inline void trace_line(std::string_view loop, const std::string& text) noexcept {
    (void)std::fprintf(stderr, "ringstep %.*s: %s\n", static_cast<int>(loop.size()), loop.data(), text.c_str());
}

inline void trace_engine(std::string_view loop, std::string_view engine, const std::string& reason) noexcept {
    trace_line(loop, std::string("on the ").append(engine).append(" engine") + (reason.empty() ? "" : ". " + reason));
    if (engine == "kernel") trace_line(loop, "the kernel takes its turns, out of sight: RINGSTEP_ENGINE=user shows them");
}

inline void trace_exit(std::string_view loop, const LoopExit& exit) noexcept {
    std::string said(to_string(exit.reason));
    if (exit.reason == ExitReason::stopped || exit.code != 0) said += ", code " + std::to_string(exit.code);
    if (exit.error != 0) said += ", " + describe_error(exit.error);
    trace_line(loop, said + ", after " + std::to_string(exit.turns) + " turns, " + std::to_string(exit.submitted) +
                         " submitted, " + std::to_string(exit.completions) + " completed");
}

// ringstep_user::trace.
inline void trace_turns(const ringstep_user* user, const ringstep_trace_event* event) {
    const ringstep_geometry& geometry = user->geometry;
    const std::string_view loop = user->loop->name;
    switch (event->kind) {
        case RINGSTEP_TRACE_TURN: {
            trace_line(loop, "turn " + std::to_string(user->control->turns) + ", completions: " + std::to_string(event->count));
            const std::uint32_t shown = event->count < RINGSTEP_CQE_BATCH ? event->count : RINGSTEP_CQE_BATCH;
            for (std::uint32_t i = 0; i < shown; i++) {
                const auto slot = static_cast<std::size_t>((event->first + i) & geometry.cq_mask);
                const auto* cqe =
                    reinterpret_cast<const io_uring_cqe*>(user->cq + geometry.cqes + (slot << geometry.cqe_shift));
                trace_line(loop, "  completed " + describe(*cqe));
            }
            break;
        }
        case RINGSTEP_TRACE_SUBMIT:
            for (std::uint32_t i = 0; i < event->count; i++) {
                const auto slot = static_cast<std::size_t>((event->first + i) & geometry.sq_mask);
                const auto* sqe = reinterpret_cast<const io_uring_sqe*>(user->sq + (slot << geometry.sqe_shift));
                trace_line(loop, "  submit " + describe(*sqe));
            }
            break;
        case RINGSTEP_TRACE_SUBMITTED:
            if (event->result < 0) trace_line(loop, "  the kernel took none: " + describe_error(-event->result));
            if (event->result >= 0 && static_cast<std::uint32_t>(event->result) < event->count) {
                trace_line(loop, "  the kernel took " + std::to_string(event->result) + " of " + std::to_string(event->count));
            }
            break;
        case RINGSTEP_TRACE_WAIT: trace_line(loop, "  wait for " + std::to_string(event->count)); break;
    }
}

}  // namespace ringstep::inline v0::detail
