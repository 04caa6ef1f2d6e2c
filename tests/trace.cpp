// SPDX-License-Identifier: MIT
// What RINGSTEP_TRACE=1 says of requests and completions.
#include <ringstep/detail/trace.hpp>

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

using ringstep::detail::describe;
using ringstep::detail::opcode_name;

namespace {

// The names in a header's enum of opcodes, in order, so each at its number. The last one only ends the list.
std::vector<std::string> opcodes_of(const std::string& header) {
    std::vector<std::string> names;
    std::ifstream file(header);
    bool inside = false;
    for (std::string line; std::getline(file, line);) {
        constexpr std::string_view prefix = "\tIORING_OP_";
        if (line.starts_with("enum io_uring_op {")) inside = true;
        if (inside && line.starts_with("}")) break;
        if (!inside || !line.starts_with(prefix)) continue;
        REQUIRE(line.find('=') == std::string::npos);
        names.push_back(line.substr(prefix.size(), line.find(',') - prefix.size()));
    }
    REQUIRE(!names.empty());
    REQUIRE(names.back() == "LAST");
    names.pop_back();
    return names;
}

}  // namespace

TEST_CASE("Opcodes have the names of the UAPI") {
    for (const std::string header : {"/usr/include/linux/io_uring.h", "/usr/include/liburing/io_uring.h"}) {
        const std::vector<std::string> names = opcodes_of(header);
        CHECK(names.size() > IORING_OP_LISTEN);
        for (unsigned number = 0; number < names.size(); number++) {
            INFO(header << ", number " << number);
            CHECK(opcode_name(number) == names[number]);
        }
    }
    CHECK(opcode_name(255).empty());
}

TEST_CASE("A request reads as a line") {
    io_uring_sqe sqe{};
    sqe.opcode = IORING_OP_READ;
    sqe.fd = 3;
    sqe.len = 512;
    sqe.off = 4608;
    sqe.addr = 0x7f00'0000'1000;
    sqe.user_data = 42;
    CHECK(describe(sqe) == "READ fd 3, len 512, off 4608, addr 0x7f0000001000, user_data 0x2a");

    sqe.flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_BUFFER_SELECT;
    sqe.fd = 0;
    CHECK(describe(sqe) ==
          "READ file slot 0, len 512, off 4608, addr 0x7f0000001000, user_data 0x2a, buffer group 0, FIXED_FILE, IO_LINK, "
          "BUFFER_SELECT");

    sqe = {};
    sqe.fd = -1;
    CHECK(describe(sqe) == "NOP, len 0, off 0, addr 0x0, user_data 0x0");
    sqe.opcode = 200;
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
    CHECK(describe(sqe) == "opcode 200, len 0, off 0, addr 0x0, user_data 0x0, CQE_SKIP_SUCCESS");
}

namespace {

// How liburing's helper fills it in, without what every line has.
template <class Prepare>
std::string line_of(Prepare&& prepare) {
    io_uring_sqe sqe{};
    prepare(&sqe);
    const std::string line = describe(sqe);
    const std::string common = ", len " + std::to_string(sqe.len) + ", off " +
                               (sqe.off == ~0ULL ? "-1" : std::to_string(sqe.off)) + ", addr " +
                               ringstep::detail::hex(sqe.addr) + ", user_data 0x0";
    const std::size_t at = line.find(common);
    REQUIRE(at != std::string::npos);
    return line.substr(0, at) + " |" + line.substr(at + common.size());
}

}  // namespace

TEST_CASE("Slots of the file table are told from descriptors") {
    CHECK(line_of([](auto* sqe) { io_uring_prep_close(sqe, 0); }) == "CLOSE fd 0 |");
    CHECK(line_of([](auto* sqe) { io_uring_prep_close_direct(sqe, 7); }) == "CLOSE file slot 7 |");
    CHECK(line_of([](auto* sqe) { io_uring_prep_close_direct(sqe, 0); }) == "CLOSE file slot 0 |");
    CHECK(line_of([](auto* sqe) { io_uring_prep_openat(sqe, AT_FDCWD, "x", O_CREAT | O_CLOEXEC, 0); }) ==
          "OPENAT AT_FDCWD |, op flags 0x80040");
    CHECK(line_of([](auto* sqe) { io_uring_prep_openat_direct(sqe, 4, "x", O_RDONLY, 0, 3); }) ==
          "OPENAT fd 4 |, into file slot 3");
    CHECK(line_of([](auto* sqe) { io_uring_prep_openat_direct(sqe, 4, "x", O_RDONLY, 0, IORING_FILE_INDEX_ALLOC); }) ==
          "OPENAT fd 4 |, into a free file slot");
    CHECK(line_of([](auto* sqe) { io_uring_prep_accept_direct(sqe, 4, nullptr, nullptr, 0, 0); }) ==
          "ACCEPT fd 4 |, into file slot 0");
    CHECK(line_of([](auto* sqe) { io_uring_prep_socket_direct(sqe, AF_UNIX, SOCK_STREAM, 0, 9, 0); }) ==
          "SOCKET fd 1 |, into file slot 9");
    CHECK(line_of([](auto* sqe) { io_uring_prep_splice(sqe, 3, -1, 4, -1, 10, 0); }) == "SPLICE fd 4 |, from fd 3");
    CHECK(line_of([](auto* sqe) { io_uring_prep_splice(sqe, 3, -1, 4, -1, 10, SPLICE_F_FD_IN_FIXED | SPLICE_F_MOVE); }) ==
          "SPLICE fd 4 |, from file slot 3, splice flags 0x1");
    CHECK(line_of([](auto* sqe) { io_uring_prep_cancel_fd(sqe, 5, IORING_ASYNC_CANCEL_FD_FIXED | IORING_ASYNC_CANCEL_ALL); }) ==
          "ASYNC_CANCEL file slot 5 |, ALL, FD, FD_FIXED");
}

TEST_CASE("Multishot requests, buffer groups and registered buffers are named") {
    CHECK(line_of([](auto* sqe) { io_uring_prep_multishot_accept(sqe, 4, nullptr, nullptr, SOCK_NONBLOCK); }) ==
          "ACCEPT fd 4 |, multishot, op flags 0x800");
    CHECK(line_of([](auto* sqe) { io_uring_prep_multishot_accept_direct(sqe, 4, nullptr, nullptr, 0); }) ==
          "ACCEPT fd 4 |, into a free file slot, multishot");
    CHECK(line_of([](auto* sqe) {
              io_uring_prep_recv_multishot(sqe, 4, nullptr, 0, MSG_WAITALL);
              sqe->flags = IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE;
              sqe->buf_group = 12;
          }) == "RECV file slot 4 |, multishot, op flags 0x100, buffer group 12, FIXED_FILE, BUFFER_SELECT");
    CHECK(line_of([](auto* sqe) {
              io_uring_prep_recvmsg_multishot(sqe, 4, nullptr, 0);
              sqe->ioprio |= IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_BUNDLE;
          }) == "RECVMSG fd 4 |, POLL_FIRST, multishot, BUNDLE");
    CHECK(line_of([](auto* sqe) { io_uring_prep_poll_add(sqe, 4, POLLIN); }) == "POLL_ADD fd 4 |, events 0x1");
    CHECK(line_of([](auto* sqe) { io_uring_prep_poll_multishot(sqe, 4, POLLIN); }) == "POLL_ADD fd 4 |, events 0x1, multishot");
    CHECK(line_of([](auto* sqe) {
              io_uring_prep_timeout(sqe, nullptr, 0, IORING_TIMEOUT_MULTISHOT | IORING_TIMEOUT_BOOTTIME);
          }) == "TIMEOUT |, BOOTTIME, multishot");
    CHECK(line_of([](auto* sqe) { io_uring_prep_read_fixed(sqe, 4, nullptr, 10, 0, 6); }) ==
          "READ_FIXED fd 4 |, registered buffer 6");
    CHECK(line_of([](auto* sqe) { io_uring_prep_send_zc_fixed(sqe, 4, nullptr, 10, 0, 0, 2); }) ==
          "SEND_ZC fd 4 |, FIXED_BUF, registered buffer 2");
    CHECK(line_of([](auto* sqe) { io_uring_prep_provide_buffers(sqe, nullptr, 10, 4, 8, 0); }) ==
          "PROVIDE_BUFFERS fd 4 |, buffer group 8");
    CHECK(line_of([](auto* sqe) {
              io_uring_prep_write(sqe, 4, nullptr, 10, ~0ULL);
              sqe->personality = 2;
              sqe->flags = 0x80;
          }) == "WRITE fd 4 |, personality 2, flags 0x80");
}

TEST_CASE("docs/debugging.md has the words of the trace") {
    std::ifstream file(RINGSTEP_SOURCE_DIR "/docs/debugging.md");
    const std::string document{std::istreambuf_iterator<char>(file), {}};
    std::string lines = line_of([](auto* sqe) { io_uring_prep_close_direct(sqe, 7); });
    lines += line_of([](auto* sqe) { io_uring_prep_openat_direct(sqe, 4, "x", O_RDONLY, 0, 3); });
    lines += line_of([](auto* sqe) {
        io_uring_prep_multishot_accept_direct(sqe, 4, nullptr, nullptr, 0);
        io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
        sqe->buf_group = 12;
    });
    lines += line_of([](auto* sqe) { io_uring_prep_read_fixed(sqe, 4, nullptr, 10, 0, 6); });
    for (const std::string words : {"CLOSE file slot 7", "into file slot 3", "into a free file slot", "multishot",
                                    "buffer group 12", "registered buffer 6"}) {
        INFO(words);
        CHECK(document.find("`" + words + "`") != std::string::npos);
        CHECK(lines.find(words) != std::string::npos);
    }
}

TEST_CASE("A completion reads as a line") {
    io_uring_cqe cqe{};
    cqe.user_data = 42;
    cqe.res = 512;
    CHECK(describe(cqe) == "user_data 0x2a: 512");
    cqe.flags = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE | (9U << IORING_CQE_BUFFER_SHIFT);
    CHECK(describe(cqe) == "user_data 0x2a: 512, buffer 9, more to come");
    cqe.flags = IORING_CQE_F_BUFFER | IORING_CQE_F_SOCK_NONEMPTY | (1U << 4) | (9U << IORING_CQE_BUFFER_SHIFT);
    CHECK(describe(cqe) == "user_data 0x2a: 512, buffer 9, more in the socket, the buffer goes on");
    cqe.flags = IORING_CQE_F_NOTIF;
    CHECK(describe(cqe) == "user_data 0x2a: 512, notification");
    cqe.flags = 0;
    cqe.res = -EIO;
    CHECK(describe(cqe) == "user_data 0x2a: Input/output error (errno 5)");
}
