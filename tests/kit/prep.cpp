// SPDX-License-Identifier: MIT
// The kit's prep helpers write, byte for byte, what liburing's write.
#include "kit/prep_kit.h"

#include <liburing.h>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <cstring>

namespace {

void* pointer(std::uint64_t address) { return reinterpret_cast<void*>(address); }

bool prep_by_liburing(int which, io_uring_sqe* s, const prep_arguments& a) {
    auto* const text = static_cast<const char*>(pointer(a.address));
    switch (which) {
        case 0: io_uring_prep_nop(s); return true;
        case 1: io_uring_prep_read(s, a.fd, pointer(a.address), a.length, a.offset); return true;
        case 2: io_uring_prep_write(s, a.fd, pointer(a.address), a.length, a.offset); return true;
        case 3: io_uring_prep_read_fixed(s, a.fd, pointer(a.address), a.length, a.offset, a.small); return true;
        case 4: io_uring_prep_write_fixed(s, a.fd, pointer(a.address), a.length, a.offset, a.small); return true;
        case 5: io_uring_prep_readv(s, a.fd, static_cast<iovec*>(pointer(a.address)), a.length, a.offset); return true;
        case 6: io_uring_prep_writev(s, a.fd, static_cast<iovec*>(pointer(a.address)), a.length, a.offset); return true;
        case 7: io_uring_prep_read_multishot(s, a.fd, a.length, a.offset, a.small); return true;
        case 8: io_uring_prep_fsync(s, a.fd, a.flags); return true;
        case 9: io_uring_prep_sync_file_range(s, a.fd, a.length, a.offset, static_cast<int>(a.flags)); return true;
        case 10: io_uring_prep_fallocate(s, a.fd, static_cast<int>(a.flags), a.offset, a.length); return true;
        case 11: io_uring_prep_fadvise(s, a.fd, a.offset, a.length, static_cast<int>(a.flags)); return true;
        case 12: io_uring_prep_openat(s, a.fd, text, static_cast<int>(a.flags), a.more); return true;
        case 13: io_uring_prep_openat_direct(s, a.fd, text, static_cast<int>(a.flags), a.more, a.small); return true;
        case 14: io_uring_prep_close(s, a.fd); return true;
        case 15: io_uring_prep_close_direct(s, a.small); return true;
        case 16:
            io_uring_prep_statx(s, a.fd, text, static_cast<int>(a.flags), a.more,
                                static_cast<struct statx*>(pointer(a.address2)));
            return true;
        case 17: io_uring_prep_recv(s, a.fd, pointer(a.address), a.length, static_cast<int>(a.flags)); return true;
        case 18: io_uring_prep_recv_multishot(s, a.fd, pointer(a.address), a.length, static_cast<int>(a.flags)); return true;
        case 19: io_uring_prep_send(s, a.fd, pointer(a.address), a.length, static_cast<int>(a.flags)); return true;
        case 20: io_uring_prep_send_zc(s, a.fd, pointer(a.address), a.length, static_cast<int>(a.flags), a.small); return true;
        case 21: io_uring_prep_recvmsg(s, a.fd, static_cast<msghdr*>(pointer(a.address)), a.flags); return true;
        case 22: io_uring_prep_sendmsg(s, a.fd, static_cast<msghdr*>(pointer(a.address)), a.flags); return true;
        case 23:
            io_uring_prep_accept(s, a.fd, static_cast<sockaddr*>(pointer(a.address)),
                                 static_cast<socklen_t*>(pointer(a.address2)), static_cast<int>(a.flags));
            return true;
        case 24:
            io_uring_prep_multishot_accept(s, a.fd, static_cast<sockaddr*>(pointer(a.address)),
                                           static_cast<socklen_t*>(pointer(a.address2)), static_cast<int>(a.flags));
            return true;
        case 25: io_uring_prep_connect(s, a.fd, static_cast<sockaddr*>(pointer(a.address)), a.length); return true;
        case 26: io_uring_prep_shutdown(s, a.fd, static_cast<int>(a.length)); return true;
        case 27: io_uring_prep_poll_add(s, a.fd, a.flags); return true;
        case 28: io_uring_prep_poll_multishot(s, a.fd, a.flags); return true;
        case 29: io_uring_prep_timeout(s, static_cast<__kernel_timespec*>(pointer(a.address)), a.length, a.flags); return true;
        case 30: io_uring_prep_timeout_remove(s, a.offset, a.flags); return true;
        case 31: io_uring_prep_link_timeout(s, static_cast<__kernel_timespec*>(pointer(a.address)), a.flags); return true;
        case 32: io_uring_prep_cancel64(s, a.offset, static_cast<int>(a.flags)); return true;
        case 33: io_uring_prep_cancel_fd(s, a.fd, a.flags); return true;
        case 34:
            io_uring_prep_splice(s, a.fd, static_cast<std::int64_t>(a.offset), a.fd2, static_cast<std::int64_t>(a.address),
                                 a.length, a.flags);
            return true;
        case 35: io_uring_prep_msg_ring(s, a.fd, a.length, a.address, a.flags); return true;
        case 36: io_uring_prep_unlinkat(s, a.fd, text, static_cast<int>(a.flags)); return true;
        case 37:
            io_uring_prep_openat_direct(s, a.fd, text, static_cast<int>(a.flags), a.more, IORING_FILE_INDEX_ALLOC);
            return true;
        default: return false;
    }
}

}  // namespace

TEST_CASE("Every prep helper writes what liburing's writes, over whatever was there") {
    const prep_arguments cases[] = {
        {.fd = 7,
         .fd2 = 9,
         .address = 0x7f1234567890,
         .address2 = 0x7f0987654320,
         .offset = 0x123456789abcdef0,
         .length = 0x87654321,
         .flags = 0x5a5a5,
         .more = 0x644,
         .small = 0x1234},
        {.fd = -1,
         .fd2 = -1,
         .address = 0,
         .address2 = 0,
         .offset = UINT64_MAX,
         .length = 0,
         .flags = 0,
         .more = 0,
         .small = 0},
        {.fd = INT32_MAX,
         .fd2 = 0,
         .address = UINT64_MAX,
         .address2 = 1,
         .offset = 1,
         .length = UINT32_MAX,
         .flags = 0x7fffffff,
         .more = UINT32_MAX,
         .small = UINT16_MAX},
    };
    for (const auto& arguments : cases) {
        int which = 0;
        for (;; which++) {
            io_uring_sqe ours{};
            io_uring_sqe theirs{};
            std::memset(&ours, 0xa5, sizeof ours);
            INFO("helper number " << which);
            const bool known = prep_by_liburing(which, &theirs, arguments);
            CHECK(known == (prep_by_kit(which, &ours, &arguments) != 0));
            if (!known) break;
            CHECK(std::memcmp(&ours, &theirs, sizeof ours) == 0);
        }
        CHECK(which == 38);
    }
}
