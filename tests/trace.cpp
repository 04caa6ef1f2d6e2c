// SPDX-License-Identifier: MIT
// What RINGSTEP_TRACE=1 says of requests and completions.
#include <ringstep/detail/trace.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cerrno>
#include <fstream>
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
          "READ file slot 0, len 512, off 4608, addr 0x7f0000001000, user_data 0x2a, FIXED_FILE, IO_LINK, BUFFER_SELECT");

    sqe = {};
    sqe.fd = -1;
    CHECK(describe(sqe) == "NOP, len 0, off 0, addr 0x0, user_data 0x0");
    sqe.opcode = 200;
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
    CHECK(describe(sqe) == "opcode 200, len 0, off 0, addr 0x0, user_data 0x0, CQE_SKIP_SUCCESS");
}

TEST_CASE("A completion reads as a line") {
    io_uring_cqe cqe{};
    cqe.user_data = 42;
    cqe.res = 512;
    CHECK(describe(cqe) == "user_data 0x2a: 512");
    cqe.flags = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE | (9U << IORING_CQE_BUFFER_SHIFT);
    CHECK(describe(cqe) == "user_data 0x2a: 512, buffer 9, more to come");
    cqe.flags = IORING_CQE_F_NOTIF;
    CHECK(describe(cqe) == "user_data 0x2a: 512, notification");
    cqe.flags = 0;
    cqe.res = -EIO;
    CHECK(describe(cqe) == "user_data 0x2a: Input/output error (errno 5)");
}
