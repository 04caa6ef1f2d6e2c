// SPDX-License-Identifier: MIT
// Messages that wake up loops.
#include <ringstep/detail/waker.hpp>
#include <ringstep/ring.hpp>

#include "ensure.hpp"
#include "child.hpp"

#include <catch2/catch_test_macros.hpp>

#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>
#include <thread>

using ringstep::Ring;
using ringstep::detail::Waker;

TEST_CASE("A message that could not be sent is not sent later, so that counts stay right") {
    Ring ring;
    Waker& waker = Waker::instance();
    bool filtered = false;
    std::uint32_t sent = 99;
    std::thread([&] {
        // For this thread alone.
        filtered = forbid(SYS_io_uring_enter, SECCOMP_RET_ERRNO | EAGAIN);
        if (filtered) sent = waker.post(ring.fd(), 1000, 70);
    }).join();
    if (!filtered) SKIP("no system call filters here");
    CHECK(sent == 0);
    CHECK(waker.post(ring.fd(), 2000, 3) == 3);
    waker.wake(ring.fd());
    CHECK(waker.post(ring.fd(), 3000, 70) == 70);           // more than the waker's SQ holds
    for (unsigned i = 0; i < 20; i++) (void)ring.submit();  // each posts some of them
    std::uint32_t first = 0;
    std::uint32_t second = 0;
    std::uint32_t third = 0;
    for (const ringstep::Completion& completion : ring.cq()) {
        first += completion.user_data == 1000;
        second += completion.user_data == 2000;
        third += completion.user_data == 3000;
    }
    CHECK(first == 0);
    CHECK(second == 3);
    CHECK(third == 70);
}
