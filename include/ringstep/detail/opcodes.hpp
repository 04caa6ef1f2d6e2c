// SPDX-License-Identifier: MIT
// What the library knows of io_uring's opcodes, in one table.
#pragma once

#include <ringstep/detail/uapi.hpp>
#include <ringstep/version.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringstep::inline v0::detail {

// One opcode. Every function and table below, and those of the loops pace and link and of the trace, derive from these entries.
struct Opcode {
    // Where a request says how many bytes it transfers.
    enum class Bytes : std::uint8_t {
        none,     // nowhere: it transfers no bytes
        length,   // in `len`
        spliced,  // in `len`, without the kernel's limit for one transfer
        vectors,  // in `len` vectors at `addr`
        message,  // in the vectors of the msghdr at `addr`
    };
    // Which requests take their length from a buffer that the kernel selects.
    enum class Selected : std::uint8_t {
        none,           // those that know their length
        sets_length_0,  // those with a length of 0
        sets_length,    // all with IOSQE_BUFFER_SELECT
    };
    // Which results make the kernel mark a request as failed, so that a link is severed.
    enum class Failure : std::uint8_t {
        any_error,           // any error
        not_all,             // any error, and fewer bytes than requested
        not_all_waited_for,  // any error, and with MSG_WAITALL fewer bytes than requested
        no_file,             // only a descriptor that does not exist
        none,                // none of the operation's own
        not_expired,         // any error; -ETIME only without IORING_TIMEOUT_ETIME_SUCCESS
    };
    enum class Field : std::uint8_t {
        never,
        always,
        ioprio,
        len,
        op_flags
    };
    // The bit that makes a request complete any number of times.
    struct Multishot {
        Field field = Field::never;
        std::uint32_t bit = 0;
    };
    // The flags in `ioprio`, in the union with `rw_flags` (those of a poll: in `len`), and the use of `buf_index`.
    enum class Ioprio : std::uint8_t {
        other,
        accept,
        transfer
    };
    enum class OpFlags : std::uint8_t {
        other,
        poll,
        timeout,
        cancel,
        splice
    };
    enum class Buffer : std::uint8_t {
        by_flags,
        registered,
        group
    };

    // Which requests the kernel hands to a worker thread without trying them first. All others it hands there only if they
    // would block, and if nothing can tell when they no longer would.
    enum class Worker : std::uint8_t {
        if_it_blocks,  // none
        always,        // all
        by_advice,     // those with advice that may read or write
        by_flags,      // those that may make a file, or cut one off
        by_how,        // the same, with the flags in the open_how at `addr2`
    };

    unsigned number = 0;
    std::string_view name{};  // as in the UAPI, without IORING_OP_
    Bytes bytes = Bytes::none;
    Selected selected = Selected::none;
    Failure failure = Failure::any_error;
    bool continues = false;  // a request for the rest of a short transfer has another `addr` and `len`
    bool at_offset = false;  // and another `off`, unless that is -1
    Multishot multishot{};
    bool belongs_to_previous = false;  // to the request in front of it
    bool may_be_long = false;          // uses all 128 bytes of a long SQE
    Ioprio ioprio = Ioprio::other;
    OpFlags flags = OpFlags::other;
    bool makes_file = false;  // into a slot of the file table if `file_index` says so
    Buffer buffer = Buffer::by_flags;
    Worker worker = Worker::if_it_blocks;
};

// clang-format off: it would give each member a line of its own
// The table, by number.
inline constexpr auto opcodes = [] {
    using Bytes = Opcode::Bytes;
    using Selected = Opcode::Selected;
    using Failure = Opcode::Failure;
    using Field = Opcode::Field;
    using Ioprio = Opcode::Ioprio;
    using OpFlags = Opcode::OpFlags;
    using Buffer = Opcode::Buffer;
    using Worker = Opcode::Worker;
    return std::to_array<Opcode>({
        {.number = IORING_OP_NOP, .name = "NOP"},
        {.number = IORING_OP_READV, .name = "READV", .bytes = Bytes::vectors, .selected = Selected::sets_length,
         .failure = Failure::not_all},
        {.number = IORING_OP_WRITEV, .name = "WRITEV", .bytes = Bytes::vectors, .failure = Failure::not_all},
        {.number = IORING_OP_FSYNC, .name = "FSYNC", .failure = Failure::no_file, .worker = Worker::always},
        {.number = IORING_OP_READ_FIXED, .name = "READ_FIXED", .bytes = Bytes::length, .failure = Failure::not_all,
         .continues = true, .at_offset = true, .buffer = Buffer::registered},
        {.number = IORING_OP_WRITE_FIXED, .name = "WRITE_FIXED", .bytes = Bytes::length, .failure = Failure::not_all,
         .continues = true, .at_offset = true, .buffer = Buffer::registered},
        {.number = IORING_OP_POLL_ADD, .name = "POLL_ADD", .multishot = {Field::len, IORING_POLL_ADD_MULTI},
         .flags = OpFlags::poll},
        {.number = IORING_OP_POLL_REMOVE, .name = "POLL_REMOVE"},
        {.number = IORING_OP_SYNC_FILE_RANGE, .name = "SYNC_FILE_RANGE", .failure = Failure::no_file, .worker = Worker::always},
        {.number = IORING_OP_SENDMSG, .name = "SENDMSG", .bytes = Bytes::message, .selected = Selected::sets_length,
         .failure = Failure::not_all_waited_for, .ioprio = Ioprio::transfer},
        {.number = IORING_OP_RECVMSG, .name = "RECVMSG", .bytes = Bytes::message, .selected = Selected::sets_length,
         .failure = Failure::not_all_waited_for, .multishot = {Field::ioprio, IORING_RECV_MULTISHOT}, .ioprio = Ioprio::transfer},
        {.number = IORING_OP_TIMEOUT, .name = "TIMEOUT", .failure = Failure::not_expired,
         .multishot = {Field::op_flags, timeout_multishot}, .flags = OpFlags::timeout},
        {.number = IORING_OP_TIMEOUT_REMOVE, .name = "TIMEOUT_REMOVE", .flags = OpFlags::timeout},
        {.number = IORING_OP_ACCEPT, .name = "ACCEPT", .multishot = {Field::ioprio, IORING_ACCEPT_MULTISHOT},
         .ioprio = Ioprio::accept, .makes_file = true},
        {.number = IORING_OP_ASYNC_CANCEL, .name = "ASYNC_CANCEL", .flags = OpFlags::cancel},
        {.number = IORING_OP_LINK_TIMEOUT, .name = "LINK_TIMEOUT", .belongs_to_previous = true, .flags = OpFlags::timeout},
        {.number = IORING_OP_CONNECT, .name = "CONNECT"},
        {.number = IORING_OP_FALLOCATE, .name = "FALLOCATE", .failure = Failure::no_file, .worker = Worker::always},
        {.number = IORING_OP_OPENAT, .name = "OPENAT", .makes_file = true, .worker = Worker::by_flags},
        {.number = IORING_OP_CLOSE, .name = "CLOSE"},
        {.number = IORING_OP_FILES_UPDATE, .name = "FILES_UPDATE"},
        {.number = IORING_OP_STATX, .name = "STATX", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_READ, .name = "READ", .bytes = Bytes::length, .selected = Selected::sets_length_0,
         .failure = Failure::not_all, .continues = true, .at_offset = true},
        {.number = IORING_OP_WRITE, .name = "WRITE", .bytes = Bytes::length, .failure = Failure::not_all, .continues = true,
         .at_offset = true},
        {.number = IORING_OP_FADVISE, .name = "FADVISE", .worker = Worker::by_advice},
        {.number = IORING_OP_MADVISE, .name = "MADVISE", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_SEND, .name = "SEND", .bytes = Bytes::length, .failure = Failure::not_all_waited_for,
         .continues = true, .ioprio = Ioprio::transfer},
        {.number = IORING_OP_RECV, .name = "RECV", .bytes = Bytes::length, .failure = Failure::not_all_waited_for,
         .continues = true, .multishot = {Field::ioprio, IORING_RECV_MULTISHOT}, .ioprio = Ioprio::transfer},
        {.number = IORING_OP_OPENAT2, .name = "OPENAT2", .makes_file = true, .worker = Worker::by_how},
        {.number = IORING_OP_EPOLL_CTL, .name = "EPOLL_CTL"},
        {.number = IORING_OP_SPLICE, .name = "SPLICE", .bytes = Bytes::spliced, .failure = Failure::not_all,
         .flags = OpFlags::splice, .worker = Worker::always},
        {.number = IORING_OP_PROVIDE_BUFFERS, .name = "PROVIDE_BUFFERS", .buffer = Buffer::group},
        {.number = IORING_OP_REMOVE_BUFFERS, .name = "REMOVE_BUFFERS", .buffer = Buffer::group},
        {.number = IORING_OP_TEE, .name = "TEE", .bytes = Bytes::spliced, .failure = Failure::not_all, .flags = OpFlags::splice, .worker = Worker::always},
        {.number = IORING_OP_SHUTDOWN, .name = "SHUTDOWN", .failure = Failure::no_file, .worker = Worker::always},
        {.number = IORING_OP_RENAMEAT, .name = "RENAMEAT", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_UNLINKAT, .name = "UNLINKAT", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_MKDIRAT, .name = "MKDIRAT", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_SYMLINKAT, .name = "SYMLINKAT", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_LINKAT, .name = "LINKAT", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_MSG_RING, .name = "MSG_RING"},
        {.number = IORING_OP_FSETXATTR, .name = "FSETXATTR", .failure = Failure::no_file, .worker = Worker::always},
        {.number = IORING_OP_SETXATTR, .name = "SETXATTR", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_FGETXATTR, .name = "FGETXATTR", .failure = Failure::no_file, .worker = Worker::always},
        {.number = IORING_OP_GETXATTR, .name = "GETXATTR", .failure = Failure::none, .worker = Worker::always},
        {.number = IORING_OP_SOCKET, .name = "SOCKET", .makes_file = true},
        {.number = IORING_OP_URING_CMD, .name = "URING_CMD", .multishot = {Field::op_flags, cmd_multishot},
         .may_be_long = true},
        {.number = IORING_OP_SEND_ZC, .name = "SEND_ZC", .bytes = Bytes::length, .failure = Failure::not_all_waited_for,
         .ioprio = Ioprio::transfer},
        {.number = IORING_OP_SENDMSG_ZC, .name = "SENDMSG_ZC", .bytes = Bytes::message, .selected = Selected::sets_length,
         .failure = Failure::not_all_waited_for, .ioprio = Ioprio::transfer},
        {.number = IORING_OP_READ_MULTISHOT, .name = "READ_MULTISHOT", .multishot = {Field::always}},
        {.number = IORING_OP_WAITID, .name = "WAITID"},
        {.number = IORING_OP_FUTEX_WAIT, .name = "FUTEX_WAIT"},
        {.number = IORING_OP_FUTEX_WAKE, .name = "FUTEX_WAKE"},
        {.number = IORING_OP_FUTEX_WAITV, .name = "FUTEX_WAITV"},
        {.number = IORING_OP_FIXED_FD_INSTALL, .name = "FIXED_FD_INSTALL"},
        {.number = IORING_OP_FTRUNCATE, .name = "FTRUNCATE", .failure = Failure::no_file, .worker = Worker::always},
        {.number = IORING_OP_BIND, .name = "BIND"},
        {.number = IORING_OP_LISTEN, .name = "LISTEN"},
        {.number = 58, .name = "RECV_ZC", .multishot = {Field::ioprio, IORING_RECV_MULTISHOT}, .ioprio = Ioprio::transfer},
        {.number = 59, .name = "EPOLL_WAIT"},
        {.number = op_readv_fixed, .name = "READV_FIXED", .bytes = Bytes::vectors, .failure = Failure::not_all,
         .buffer = Buffer::registered},
        {.number = op_writev_fixed, .name = "WRITEV_FIXED", .bytes = Bytes::vectors, .failure = Failure::not_all,
         .buffer = Buffer::registered},
        {.number = 62, .name = "PIPE", .makes_file = true},
        {.number = 63, .name = "NOP128"},
        {.number = 64, .name = "URING_CMD128", .multishot = {Field::op_flags, cmd_multishot}, .may_be_long = true},
    });
}();
// clang-format on
static_assert([] {
    for (std::size_t i = 0; i < opcodes.size(); i++) {
        if (opcodes.at(i).number != i) return false;
    }
    return true;
}());
inline constexpr Opcode unknown_opcode{};

// Returns what is known of an opcode: nothing if the table lacks it.
[[nodiscard]] constexpr const Opcode& opcode_of(unsigned number) noexcept {
    return number < opcodes.size() ? opcodes[number] : unknown_opcode;
}

// Returns the name of an IORING_OP_, as in the UAPI. Returns an empty text for an opcode that the table lacks.
[[nodiscard]] constexpr std::string_view opcode_name(unsigned opcode) noexcept { return opcode_of(opcode).name; }

// Returns a table of all numbers, with true for opcodes with a property.
template <class Property>
[[nodiscard]] consteval std::array<bool, 256> opcodes_with(const Property& property) {
    std::array<bool, 256> with{};
    for (const Opcode& opcode : opcodes) with.at(opcode.number) = property(opcode);
    return with;
}

// Returns whether the kernel hands a request to a worker thread without trying it first. Reads an openat2's open_how.
[[nodiscard]] inline bool always_on_worker(const io_uring_sqe& sqe) noexcept {
    constexpr std::uint64_t may_change = O_TRUNC | O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
    if ((sqe.flags & IOSQE_ASYNC) != 0) return true;
    switch (opcode_of(sqe.opcode).worker) {
        case Opcode::Worker::if_it_blocks: return false;
        case Opcode::Worker::always: return true;
        case Opcode::Worker::by_advice:
            return sqe.fadvise_advice != POSIX_FADV_NORMAL && sqe.fadvise_advice != POSIX_FADV_RANDOM &&
                   sqe.fadvise_advice != POSIX_FADV_SEQUENTIAL;
        case Opcode::Worker::by_flags: return (sqe.open_flags & may_change) != 0;
        case Opcode::Worker::by_how: {
            const auto* const how = reinterpret_cast<const open_how*>(sqe.addr2);
            return how != nullptr && (how->flags & may_change) != 0;
        }
    }
    return false;
}

// Returns the number of bytes in vectors, or the highest number if that is less.
[[nodiscard]] inline std::uint64_t bytes_of(const iovec* vectors, std::size_t count) noexcept {
    constexpr std::uint64_t most = ~std::uint64_t{0};
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; vectors != nullptr && i < count; i++)
        bytes = vectors[i].iov_len > most - bytes ? most : bytes + vectors[i].iov_len;
    return bytes;
}

// Returns the number of bytes that a request is to transfer: 0 if its operation transfers none. Reads the request's vectors.
[[nodiscard]] inline std::uint64_t bytes_of(const io_uring_sqe& sqe) noexcept {
    switch (opcode_of(sqe.opcode).bytes) {
        case Opcode::Bytes::none: return 0;
        case Opcode::Bytes::length:
        case Opcode::Bytes::spliced: return sqe.len;
        case Opcode::Bytes::vectors: return bytes_of(reinterpret_cast<const iovec*>(sqe.addr), sqe.len);
        case Opcode::Bytes::message: {
            const auto* message = reinterpret_cast<const msghdr*>(sqe.addr);
            return message == nullptr ? 0 : bytes_of(message->msg_iov, message->msg_iovlen);
        }
    }
    return 0;
}

[[nodiscard]] inline bool is_multishot(const io_uring_sqe& sqe, const Opcode& opcode) noexcept {
    switch (opcode.multishot.field) {
        case Opcode::Field::never: return false;
        case Opcode::Field::always: return true;
        case Opcode::Field::ioprio: return (sqe.ioprio & opcode.multishot.bit) != 0;
        case Opcode::Field::len: return (sqe.len & opcode.multishot.bit) != 0;
        case Opcode::Field::op_flags: return (sqe.timeout_flags & opcode.multishot.bit) != 0;
    }
    return false;
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
    const Opcode& opcode = opcode_of(sqe.opcode);
    if (opcode.belongs_to_previous)
        return "IORING_OP_LINK_TIMEOUT: it belongs to a request in front of it, and this loop submits each by itself.";
    if (is_multishot(sqe, opcode)) return "a multishot request: it completes any number of times, and a slot comes back once.";
    if (opcode.may_be_long && long_sqes)
        return "IORING_OP_URING_CMD or IORING_OP_URING_CMD128 on a ring with long SQEs: 64 bytes are all that a slot holds.";
    return nullptr;
}

// The opcodes that unschedulable() may refuse.
inline constexpr auto may_be_unschedulable = opcodes_with([](const Opcode& opcode) {
    return opcode.belongs_to_previous || opcode.may_be_long || opcode.multishot.field != Opcode::Field::never;
});

}  // namespace ringstep::inline v0::detail
