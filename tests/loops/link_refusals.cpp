// SPDX-License-Identifier: MIT
// What the loop link does not take.
#include <ringstep/loops/link.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <liburing.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "error_of.hpp"
#include "loops/links.hpp"
#include "loops/requests.hpp"

using links::Chain;
using links::link_timeout_of;
using links::linked;
using requests::nop;
using ringstep::Link;
using ringstep::Ring;
using ringstep::Ticket;

TEST_CASE("What is no chain is refused") {
    Ring ring{{.sq_entries = 1}};
    Link link(ring);
    __kernel_timespec time{};
    const auto why = [&](const auto& push) {
        const ringstep::Error error = error_of(push);
        CHECK(error.error_number() == EINVAL);
        return std::string(error.advice());
    };
    using Catch::Matchers::ContainsSubstring;
    CHECK_THAT(why([&] { link.push(Chain{}); }), ContainsSubstring("empty"));
    CHECK_THAT(why([&] { link.push(Chain{nop(0), nop(1)}); }), ContainsSubstring("ends at its request 0"));
    CHECK_THAT(why([&] { link.push_open(Chain{nop(0)}); }), ContainsSubstring("ends at its request 0"));
    std::array<Ticket, 2> tickets{};
    CHECK_THAT(why([&] { link.push(Chain{nop(0)}, {}, tickets); }), ContainsSubstring("2 elements"));
    CHECK_THAT(why([&] { link.push(Chain{link_timeout_of(time)}); }), ContainsSubstring("in front of it"));
    CHECK_THAT(why([&] { link.push(linked({nop(0), link_timeout_of(time), link_timeout_of(time)})); }),
               ContainsSubstring("two SQ entries"));
    io_uring_sqe sqe = nop(0);
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
    CHECK_THAT(why([&] { link.push(sqe); }), ContainsSubstring("needs the completion"));
    sqe.flags = IOSQE_IO_DRAIN;
    CHECK_THAT(why([&] { link.push(sqe); }), ContainsSubstring("loop drain"));
    CHECK(link.outstanding() == 0);
    CHECK(link.run().ok());
}
