// SPDX-License-Identifier: MIT
// Prints the turns of a loop on stderr, for RINGSTEP_TRACE=1.
#pragma once

#include <ringstep/detail/opcodes.hpp>
#include <ringstep/detail/uapi.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/c/result.h>
#include <ringstep/c/user.h>
#include <ringstep/version.hpp>

#include <array>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace ringstep::inline v0::detail {

[[nodiscard]] inline bool trace_wanted() noexcept {
    // A static with an initialiser could make a forked child wait forever, for a parent's thread that was initialising it.
    static std::atomic<int> wanted{-1};
    int result = wanted.load(std::memory_order_relaxed);
    if (result < 0) [[unlikely]] {
        const char* const value = std::getenv("RINGSTEP_TRACE");
        result = value != nullptr && *value != '\0' && std::string_view(value) != "0" ? 1 : 0;
        wanted.store(result, std::memory_order_relaxed);
    }
    return result != 0;
}

// Returns for example "Input/output error (errno 5)".
[[nodiscard]] inline std::string describe_error(int error) {
    return std::generic_category().message(error) + " (errno " + std::to_string(error) + ")";
}

[[nodiscard]] inline std::string hex(std::uint64_t value) {
    char digits[16];
    return "0x" + std::string(digits, std::to_chars(std::begin(digits), std::end(digits), value, 16).ptr);
}

// A flag of a request and its name.
struct NamedFlag {
    std::uint32_t bit;
    std::string_view name;
};

inline void append_flags(std::string& said, std::uint32_t flags, std::span<const NamedFlag> names, std::string_view rest) {
    for (const NamedFlag& flag : names) {
        if ((flags & flag.bit) != 0) said.append(", ").append(flag.name);
        flags &= ~flag.bit;
    }
    if (flags != 0) said.append(", ").append(rest).append(" ").append(hex(flags));
}

// Describes a file of the process, or of the ring's table. Returns an empty text for a number that names no file.
[[nodiscard]] inline std::string describe_file(std::int32_t number, bool registered) {
    if (number == -100) return " AT_FDCWD";
    if (number < 0) return {};
    return (registered ? " file slot " : " fd ") + std::to_string(number);
}

// Appends the file slot that a new file takes, or the source of a splice, if the opcode has one.
inline void append_slot(std::string& said, const io_uring_sqe& sqe, const Opcode& opcode) {
    if (opcode.makes_file && sqe.file_index != 0) {
        said += sqe.file_index == IORING_FILE_INDEX_ALLOC ? ", into a free file slot"
                                                          : ", into file slot " + std::to_string(sqe.file_index - 1);
    }
    if (opcode.flags == Opcode::OpFlags::splice)
        said += ", from" + describe_file(sqe.splice_fd_in, (sqe.splice_flags & (1U << 31)) != 0);
}

// Returns the names of flags in `ioprio`.
[[nodiscard]] inline std::span<const NamedFlag> names_of(Opcode::Ioprio ioprio) noexcept {
    static constexpr std::array<NamedFlag, 1> accept{{{1U << 0, "multishot"}}};
    static constexpr std::array<NamedFlag, 5> transfer{{{1U << 0, "POLL_FIRST"},
                                                        {1U << 1, "multishot"},
                                                        {1U << 2, "FIXED_BUF"},
                                                        {1U << 3, "REPORT_USAGE"},
                                                        {1U << 4, "BUNDLE"}}};
    switch (ioprio) {
        case Opcode::Ioprio::accept: return accept;
        case Opcode::Ioprio::transfer: return transfer;
        case Opcode::Ioprio::other: break;
    }
    return {};
}

// Appends the flags in the union with `rw_flags`, and what goes with them.
inline void append_op_flags(std::string& said, const io_uring_sqe& sqe, const Opcode& opcode) {
    static constexpr std::array<NamedFlag, 4> poll{
        {{1U << 0, "multishot"}, {1U << 1, "UPDATE_EVENTS"}, {1U << 2, "UPDATE_USER_DATA"}, {1U << 3, "LEVEL"}}};
    static constexpr std::array<NamedFlag, 7> timeout{{{1U << 0, "ABS"},
                                                       {1U << 1, "UPDATE"},
                                                       {1U << 2, "BOOTTIME"},
                                                       {1U << 3, "REALTIME"},
                                                       {1U << 4, "LINK_UPDATE"},
                                                       {1U << 5, "ETIME_SUCCESS"},
                                                       {1U << 6, "multishot"}}};
    static constexpr std::array<NamedFlag, 6> cancel{
        {{1U << 0, "ALL"}, {1U << 1, "FD"}, {1U << 2, "ANY"}, {1U << 3, "FD_FIXED"}, {1U << 4, "USERDATA"}, {1U << 5, "OP"}}};
    const auto flags = static_cast<std::uint32_t>(sqe.rw_flags);
    switch (opcode.flags) {
        case Opcode::OpFlags::poll:  // its flags are in `len`
            said += ", events " + hex(sqe.poll32_events);
            append_flags(said, sqe.len, poll, "poll flags");
            break;
        case Opcode::OpFlags::timeout: append_flags(said, flags, timeout, "timeout flags"); break;
        case Opcode::OpFlags::cancel: append_flags(said, flags, cancel, "cancel flags"); break;
        case Opcode::OpFlags::splice:  // the last flag belongs to the source
            append_flags(said, flags & ~(1U << 31), {}, "splice flags");
            break;
        case Opcode::OpFlags::other: append_flags(said, flags, {}, "op flags"); break;
    }
}

// Appends the request's variant: multishot, its buffer, and the flags that only this opcode has.
inline void append_variant(std::string& said, const io_uring_sqe& sqe, const Opcode& opcode) {
    append_flags(said, sqe.ioprio, names_of(opcode.ioprio), "ioprio");
    append_op_flags(said, sqe, opcode);
    const bool fixed = opcode.ioprio == Opcode::Ioprio::transfer && (sqe.ioprio & (1U << 2)) != 0;
    if (opcode.buffer == Opcode::Buffer::registered || fixed) said += ", registered buffer " + std::to_string(sqe.buf_index);
    if (opcode.buffer == Opcode::Buffer::group || (sqe.flags & IOSQE_BUFFER_SELECT) != 0)
        said += ", buffer group " + std::to_string(sqe.buf_group);
}

// Returns for example "READ fd 3, len 4096, off 0, addr 0x7f…, user_data 0x1", followed by the variant of the request and the
// flags that are set.
[[nodiscard]] inline std::string describe(const io_uring_sqe& sqe) {
    const Opcode& opcode = opcode_of(sqe.opcode);
    std::string said(opcode.name);
    if (said.empty()) said = "opcode " + std::to_string(sqe.opcode);
    if (sqe.opcode == IORING_OP_CLOSE && sqe.file_index != 0) {
        said += " file slot " + std::to_string(sqe.file_index - 1);
    } else {
        const bool cancels_slot =
            sqe.opcode == IORING_OP_ASYNC_CANCEL && (sqe.cancel_flags & IORING_ASYNC_CANCEL_FD_FIXED) != 0;
        said += describe_file(sqe.fd, (sqe.flags & IOSQE_FIXED_FILE) != 0 || cancels_slot);
    }
    said += ", len " + std::to_string(sqe.len) + ", off " + (sqe.off == ~0ULL ? "-1" : std::to_string(sqe.off)) + ", addr " +
            hex(sqe.addr) + ", user_data " + hex(sqe.user_data);
    append_slot(said, sqe, opcode);
    append_variant(said, sqe, opcode);
    if (sqe.personality != 0) said += ", personality " + std::to_string(sqe.personality);
    static constexpr std::array<NamedFlag, 7> flags{{{1U << 0, "FIXED_FILE"},
                                                     {1U << 1, "IO_DRAIN"},
                                                     {1U << 2, "IO_LINK"},
                                                     {1U << 3, "IO_HARDLINK"},
                                                     {1U << 4, "ASYNC"},
                                                     {1U << 5, "BUFFER_SELECT"},
                                                     {1U << 6, "CQE_SKIP_SUCCESS"}}};
    append_flags(said, sqe.flags, flags, "flags");
    return said;
}

// Returns for example "user_data 0x1: 4096" or "user_data 0x1: Input/output error (errno 5)", followed by the meaning of its
// flags.
[[nodiscard]] inline std::string describe(const io_uring_cqe& cqe) {
    std::string said = "user_data " + hex(cqe.user_data) + ": ";
    said += cqe.res < 0 ? describe_error(ringstep_error_of(cqe.res)) : std::to_string(cqe.res);
    if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) said += ", buffer " + std::to_string(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if ((cqe.flags & IORING_CQE_F_MORE) != 0) said += ", more to come";
    if ((cqe.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0) said += ", more in the socket";
    if ((cqe.flags & IORING_CQE_F_NOTIF) != 0) said += ", notification";
    if ((cqe.flags & (1U << 4)) != 0) said += ", the buffer goes on";  // IORING_CQE_F_BUF_MORE, Linux 6.12
    return said;
}

inline void trace_line(std::string_view loop, const std::string& text) noexcept {
    (void)std::fprintf(stderr, "ringstep %.*s: %s\n", static_cast<int>(loop.size()), loop.data(), text.c_str());
}

// Calls `print`, which makes texts. A run does not fail because there is no memory for its trace.
template <class Print>
void trace(std::string_view loop, const Print& print) noexcept {
    try {
        print();
    } catch (const std::bad_alloc&) {
        (void)std::fprintf(stderr, "ringstep %.*s: no memory for the trace\n", static_cast<int>(loop.size()), loop.data());
    }
}

inline void trace_engine(std::string_view loop, std::string_view engine, const std::string& reason) noexcept {
    trace(loop, [&] {
        trace_line(loop, std::string("on the ").append(engine).append(" engine") + (reason.empty() ? "" : ". " + reason));
        if (engine == "kernel") trace_line(loop, "the kernel takes its turns, out of sight: RINGSTEP_ENGINE=user shows them");
    });
}

inline void trace_exit(std::string_view loop, const LoopExit& exit) noexcept {
    trace(loop, [&] {
        std::string said(to_string(exit.reason));
        if (exit.reason == ExitReason::stopped || exit.code != 0) said += ", code " + std::to_string(exit.code);
        if (exit.error != 0) said += ", " + describe_error(exit.error);
        said += ", after " + std::to_string(exit.turns) + " turns, " + std::to_string(exit.submitted) + " submitted, " +
                std::to_string(exit.completions) + " completed";
        if (const std::string_view what = advice(exit.reason); !what.empty()) said.append(". ").append(what);
        trace_line(loop, said);
    });
}

inline void trace_event(const ringstep_user* user, const ringstep_trace_event* event) {
    const ringstep_geometry& geometry = user->geometry;
    const std::string_view loop = user->loop->name;
    switch (event->kind) {
        case RINGSTEP_TRACE_TURN: {
            trace_line(loop,
                       "turn " + std::to_string(user->control->turns + 1) + ", completions: " + std::to_string(event->count));
            const std::uint32_t limit = user->loop->cqe_batch;  // further completions wait for the next turn
            const std::uint32_t shown = event->count < limit ? event->count : limit;
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

// Prints one event, as ringstep_user::trace.
inline void trace_turns(const ringstep_user* user, const ringstep_trace_event* event) noexcept {
    trace(user->loop->name, [&] { trace_event(user, event); });
}

}  // namespace ringstep::inline v0::detail
