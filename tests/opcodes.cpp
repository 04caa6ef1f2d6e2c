// SPDX-License-Identifier: MIT
// What the library knows of each opcode, written down once more and compared.
#include <ringstep/detail/opcodes.hpp>
#include <ringstep/detail/trace.hpp>
#include <ringstep/loops/link.hpp>
#include <ringstep/loops/pace.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

/// Memory that reads as an array of two vectors (30 + 2 bytes) and as a message with two vectors (7 + 8 bytes).
class VectorsOrMessage {
public:
    VectorsOrMessage() {
        const std::array<iovec, 2> outer{{{.iov_base = nullptr, .iov_len = 30}, {.iov_base = inner_.data(), .iov_len = 2}}};
        static_assert(sizeof outer <= sizeof bytes_ && sizeof(msghdr) <= sizeof bytes_);
        static_assert(offsetof(msghdr, msg_iov) == sizeof(iovec) && offsetof(msghdr, msg_iovlen) == sizeof(iovec) + 8);
        std::memcpy(bytes_.data(), outer.data(), sizeof outer);
    }
    [[nodiscard]] std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(bytes_.data()); }

private:
    std::array<iovec, 2> inner_{{{.iov_base = nullptr, .iov_len = 7}, {.iov_base = nullptr, .iov_len = 8}}};
    alignas(msghdr) std::array<std::byte, 64> bytes_{};
};

const VectorsOrMessage memory;

io_uring_sqe request(unsigned opcode) {
    io_uring_sqe sqe{};
    sqe.opcode = static_cast<__u8>(opcode);
    sqe.len = 2;
    sqe.off = 5;
    sqe.addr = memory.address();
    return sqe;
}

using Change = void (*)(io_uring_sqe&);
const std::vector<std::pair<std::string_view, Change>> changes{
    {"select", [](io_uring_sqe& sqe) { sqe.flags = IOSQE_BUFFER_SELECT; }},
    {"select, len 0",
     [](io_uring_sqe& sqe) {
         sqe.flags = IOSQE_BUFFER_SELECT;
         sqe.len = 0;
     }},
    {"all", [](io_uring_sqe& sqe) { sqe.msg_flags = MSG_WAITALL; }},
    {"all, select",
     [](io_uring_sqe& sqe) {
         sqe.msg_flags = MSG_WAITALL;
         sqe.flags = IOSQE_BUFFER_SELECT;
     }},
    {"off -1", [](io_uring_sqe& sqe) { sqe.off = ~std::uint64_t{0}; }},
    {"len 4G, addr 0",
     [](io_uring_sqe& sqe) {
         sqe.len = ~0U;
         sqe.addr = 0;
     }},
    {"all, addr 0",
     [](io_uring_sqe& sqe) {
         sqe.msg_flags = MSG_WAITALL;
         sqe.addr = 0;
     }},
    {"ETIME_SUCCESS", [](io_uring_sqe& sqe) { sqe.timeout_flags = IORING_TIMEOUT_ETIME_SUCCESS; }},
};

std::string rule_of(const io_uring_sqe& sqe) {
    constexpr std::array names{"NEGATIVE", "EXACTLY", "AT_LEAST", "SILENT", "FILE", "EXPIRES"};
    const ringstep::detail::LinkRule rule = ringstep::detail::link_rule(sqe);
    return std::string(names.at(rule.rule)) + " " + std::to_string(rule.bytes) + (rule.can_continue ? " continues" : "") +
           (rule.moves_offset ? " moves" : "");
}

/// How many bytes it counts as, when the kernel says that it has failed, and what a change to it makes of that.
std::string rules_of(unsigned opcode) {
    const std::string plain = rule_of(request(opcode));
    std::string said;
    if (const std::uint64_t bytes = ringstep::Pace::bytes_of(request(opcode)); bytes != 0)
        said = "counts " + std::to_string(bytes) + "; ";
    said += plain;
    for (const auto& [name, change] : changes) {
        io_uring_sqe sqe = request(opcode);
        change(sqe);
        if (const std::string rule = rule_of(sqe); rule != plain) said.append("; ").append(name).append(": ").append(rule);
    }
    return said;
}

/// What makes it a request that no loop can schedule: a bit, a ring with long SQEs, or nothing at all.
std::string refusals_of(unsigned opcode) {
    std::string said;
    const auto look = [&](std::string_view name, bool long_sqes, const std::function<void(io_uring_sqe&)>& change) {
        io_uring_sqe sqe = request(opcode);
        change(sqe);
        if (ringstep::detail::unschedulable(sqe, 0, long_sqes) == nullptr) return;
        CHECK(ringstep::detail::may_be_unschedulable.at(opcode));
        said.append(said.empty() ? "" : ", ").append(name);
    };
    look("always", false, [](io_uring_sqe&) {});
    if (!said.empty()) return said;
    look("long", true, [](io_uring_sqe&) {});
    for (unsigned bit = 0; bit < 16; bit++) {
        look("ioprio " + std::to_string(bit), false, [&](io_uring_sqe& sqe) { sqe.ioprio = static_cast<__u16>(1U << bit); });
        look("len " + std::to_string(bit), false, [&](io_uring_sqe& sqe) { sqe.len |= 1U << bit; });
        look("flags " + std::to_string(bit), false, [&](io_uring_sqe& sqe) { sqe.timeout_flags = 1U << bit; });
    }
    CHECK(said.empty() != ringstep::detail::may_be_unschedulable.at(opcode));
    return said;
}

/// What the trace says behind the fields that all requests have.
std::string traced(unsigned opcode) {
    io_uring_sqe sqe = request(opcode);
    sqe.fd = 3;
    sqe.len = 0x3f;
    sqe.addr = 0;
    sqe.ioprio = 0x3f;
    sqe.timeout_flags = 0x800000ff;
    sqe.file_index = 4;
    sqe.buf_index = 9;
    const std::string line = ringstep::detail::describe(sqe);
    constexpr std::string_view common = ", len 63, off 5, addr 0x0, user_data 0x0";
    const std::size_t at = line.find(common);
    REQUIRE(at != std::string::npos);
    return line.substr(at + common.size());
}

// clang-format off: a table
// The rules of requests that fail with any error, and of others.
constexpr std::string_view error = "NEGATIVE 0";
constexpr std::string_view no_file = "FILE 0";
constexpr std::string_view silent = "SILENT 0";
constexpr std::string_view transfer = "counts 2; EXACTLY 2 continues moves; select: EXACTLY 2 moves; select, len 0: EXACTLY 0 moves; "
    "all, select: EXACTLY 2 moves; off -1: EXACTLY 2 continues; "
    "len 4G, addr 0: EXACTLY 2147479552 continues moves";
constexpr std::string_view read = "counts 2; EXACTLY 2 continues moves; select: EXACTLY 2 moves; select, len 0: NEGATIVE 0; "
    "all, select: EXACTLY 2 moves; off -1: EXACTLY 2 continues; "
    "len 4G, addr 0: EXACTLY 2147479552 continues moves";
constexpr std::string_view vectors = "counts 32; EXACTLY 32; select, len 0: EXACTLY 0; len 4G, addr 0: EXACTLY 0; all, addr 0: EXACTLY 0";
constexpr std::string_view readv = "counts 32; EXACTLY 32; select: NEGATIVE 0; select, len 0: NEGATIVE 0; all, select: NEGATIVE 0; "
    "len 4G, addr 0: EXACTLY 0; all, addr 0: EXACTLY 0";
constexpr std::string_view splice = "counts 2; EXACTLY 2; select, len 0: EXACTLY 0; len 4G, addr 0: EXACTLY 4294967295";
constexpr std::string_view send = "counts 2; NEGATIVE 2 continues; select: NEGATIVE 2; select, len 0: NEGATIVE 0; "
    "all: AT_LEAST 2 continues; all, select: AT_LEAST 2; len 4G, addr 0: NEGATIVE 2147479552 continues; "
    "all, addr 0: AT_LEAST 2 continues";
constexpr std::string_view send_zc = "counts 2; NEGATIVE 2; select, len 0: NEGATIVE 0; all: AT_LEAST 2; all, select: AT_LEAST 2; "
    "len 4G, addr 0: NEGATIVE 2147479552; all, addr 0: AT_LEAST 2";
constexpr std::string_view message = "counts 15; NEGATIVE 0; all: AT_LEAST 15";
constexpr std::string_view timeout = "NEGATIVE 0; ETIME_SUCCESS: EXPIRES 0";

// What the trace says.
constexpr std::string_view plain = ", ioprio 0x3f, op flags 0x800000ff";
constexpr std::string_view new_file = ", into file slot 3, ioprio 0x3f, op flags 0x800000ff";
constexpr std::string_view socket_flags = ", POLL_FIRST, multishot, FIXED_BUF, REPORT_USAGE, BUNDLE, ioprio 0x20, op flags 0x800000ff, registered buffer 9";
constexpr std::string_view timeout_flags = ", ioprio 0x3f, ABS, UPDATE, BOOTTIME, REALTIME, LINK_UPDATE, ETIME_SUCCESS, multishot, timeout flags 0x80000080";
constexpr std::string_view splice_flags = ", from file slot 4, ioprio 0x3f, splice flags 0xff";
constexpr std::string_view registered = ", ioprio 0x3f, op flags 0x800000ff, registered buffer 9";
constexpr std::string_view group = ", ioprio 0x3f, op flags 0x800000ff, buffer group 9";

struct Known {
    std::string_view name, rules, refused, traced;
};
constexpr std::array known = std::to_array<Known>({
    {"NOP", error, "", plain},
    {"READV", readv, "", plain},
    {"WRITEV", vectors, "", plain},
    {"FSYNC", no_file, "", plain},
    {"READ_FIXED", transfer, "", registered},
    {"WRITE_FIXED", transfer, "", registered},
    {"POLL_ADD", error, "len 0", ", ioprio 0x3f, events 0x800000ff, multishot, UPDATE_EVENTS, UPDATE_USER_DATA, LEVEL, poll flags 0x30"},
    {"POLL_REMOVE", error, "", plain},
    {"SYNC_FILE_RANGE", no_file, "", plain},
    {"SENDMSG", message, "", socket_flags},
    {"RECVMSG", message, "ioprio 1", socket_flags},
    {"TIMEOUT", timeout, "flags 6", timeout_flags},
    {"TIMEOUT_REMOVE", error, "", timeout_flags},
    {"ACCEPT", error, "ioprio 0", ", into file slot 3, multishot, ioprio 0x3e, op flags 0x800000ff"},
    {"ASYNC_CANCEL", error, "", ", ioprio 0x3f, ALL, FD, ANY, FD_FIXED, USERDATA, OP, cancel flags 0x800000c0"},
    {"LINK_TIMEOUT", error, "always", timeout_flags},
    {"CONNECT", error, "", plain},
    {"FALLOCATE", no_file, "", plain},
    {"OPENAT", error, "", new_file},
    {"CLOSE", error, "", plain},
    {"FILES_UPDATE", error, "", plain},
    {"STATX", silent, "", plain},
    {"READ", read, "", plain},
    {"WRITE", transfer, "", plain},
    {"FADVISE", error, "", plain},
    {"MADVISE", silent, "", plain},
    {"SEND", send, "", socket_flags},
    {"RECV", send, "ioprio 1", socket_flags},
    {"OPENAT2", error, "", new_file},
    {"EPOLL_CTL", error, "", plain},
    {"SPLICE", splice, "", splice_flags},
    {"PROVIDE_BUFFERS", error, "", group},
    {"REMOVE_BUFFERS", error, "", group},
    {"TEE", splice, "", splice_flags},
    {"SHUTDOWN", no_file, "", plain},
    {"RENAMEAT", silent, "", plain},
    {"UNLINKAT", silent, "", plain},
    {"MKDIRAT", silent, "", plain},
    {"SYMLINKAT", silent, "", plain},
    {"LINKAT", silent, "", plain},
    {"MSG_RING", error, "", plain},
    {"FSETXATTR", no_file, "", plain},
    {"SETXATTR", silent, "", plain},
    {"FGETXATTR", no_file, "", plain},
    {"GETXATTR", silent, "", plain},
    {"SOCKET", error, "", new_file},
    {"URING_CMD", error, "long, flags 1", plain},
    {"SEND_ZC", send_zc, "", socket_flags},
    {"SENDMSG_ZC", message, "", socket_flags},
    {"READ_MULTISHOT", error, "always", plain},
    {"WAITID", error, "", plain},
    {"FUTEX_WAIT", error, "", plain},
    {"FUTEX_WAKE", error, "", plain},
    {"FUTEX_WAITV", error, "", plain},
    {"FIXED_FD_INSTALL", error, "", plain},
    {"FTRUNCATE", no_file, "", plain},
    {"BIND", error, "", plain},
    {"LISTEN", error, "", plain},
    {"RECV_ZC", error, "ioprio 1", socket_flags},
    {"EPOLL_WAIT", error, "", plain},
    {"READV_FIXED", vectors, "", registered},
    {"WRITEV_FIXED", vectors, "", registered},
    {"PIPE", error, "", new_file},
    {"NOP128", error, "", plain},
    {"URING_CMD128", error, "long, flags 1", plain},
});
// clang-format on

}  // namespace

TEST_CASE("Every opcode of liburing is in the table, and the table says of it what the kernel does") {
    CHECK(ringstep::detail::opcodes.size() == known.size());
    REQUIRE(known.size() >= IORING_OP_LAST);
    for (unsigned opcode = 0; opcode < known.size(); opcode++) {
        CAPTURE(opcode, known.at(opcode).name);
        CHECK(ringstep::detail::opcode_name(opcode) == known.at(opcode).name);
        CHECK(rules_of(opcode) == known.at(opcode).rules);
        CHECK(refusals_of(opcode) == known.at(opcode).refused);
        CHECK(traced(opcode) == known.at(opcode).traced);
        // Whoever has no rule is not asked for one.
        const bool has_rule = known.at(opcode).rules != error || opcode == IORING_OP_LINK_TIMEOUT;
        CHECK(ringstep::detail::has_link_rule.at(opcode) == has_rule);
    }
}

TEST_CASE("An opcode that the table lacks has no name, any error makes it fail, and no loop refuses it") {
    for (unsigned opcode = known.size(); opcode < 256; opcode++) {
        CAPTURE(opcode);
        CHECK(ringstep::detail::opcode_name(opcode).empty());
        CHECK(rules_of(opcode) == error);
        CHECK(refusals_of(opcode).empty());
        CHECK(traced(opcode) == plain);
        CHECK_FALSE(ringstep::detail::has_link_rule.at(opcode));
    }
    CHECK(ringstep::detail::opcode_name(256).empty());
    CHECK(ringstep::detail::opcode_name(~0U).empty());
}
