// SPDX-License-Identifier: MIT
// The kit's prep helpers write, byte for byte, what liburing's write.
#include "kit/prep_kit.h"

#include <liburing.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

void* pointer(std::uint64_t address) { return reinterpret_cast<void*>(address); }

bool prep_by_liburing(int which, io_uring_sqe* s, const prep_arguments& a) {
    auto* const text = static_cast<const char*>(pointer(a.address));
    const auto name = [](std::uint64_t address) { return static_cast<sockaddr*>(pointer(address)); };
    const auto length_of_name = [](std::uint64_t address) { return static_cast<socklen_t*>(pointer(address)); };
    const auto flags = static_cast<int>(a.flags);
    const auto length = static_cast<int>(a.length);
    const auto more = static_cast<int>(a.more);
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
        case 38:
            io_uring_prep_rw(static_cast<std::uint8_t>(a.small), s, a.fd, pointer(a.address), a.length, a.offset);
            return true;
        case 39: io_uring_prep_accept_direct(s, a.fd, name(a.address), length_of_name(a.address2), flags, a.small); return true;
        case 40:
            io_uring_prep_accept_direct(s, a.fd, name(a.address), length_of_name(a.address2), flags, IORING_FILE_INDEX_ALLOC);
            return true;
        case 41:
            io_uring_prep_multishot_accept_direct(s, a.fd, name(a.address), length_of_name(a.address2), flags);
            return true;
        case 42: io_uring_prep_socket(s, a.fd, length, more, a.flags); return true;
        case 43: io_uring_prep_socket_direct(s, a.fd, length, more, a.small, a.flags); return true;
        case 44: io_uring_prep_socket_direct(s, a.fd, length, more, IORING_FILE_INDEX_ALLOC, a.flags); return true;
        case 45: io_uring_prep_socket_direct_alloc(s, a.fd, length, more, a.flags); return true;
        case 46: io_uring_prep_bind(s, a.fd, name(a.address), a.length); return true;
        case 47: io_uring_prep_listen(s, a.fd, length); return true;
        case 48: io_uring_prep_cmd_sock(s, flags, a.fd, more, length, pointer(a.address), a.small); return true;
        case 49: io_uring_prep_recvmsg_multishot(s, a.fd, static_cast<msghdr*>(pointer(a.address)), a.flags); return true;
        case 50: io_uring_prep_send_bundle(s, a.fd, a.length, flags); return true;
        case 51: io_uring_prep_sendmsg_zc(s, a.fd, static_cast<msghdr*>(pointer(a.address)), a.flags); return true;
        case 52:
            io_uring_prep_send_zc_fixed(s, a.fd, pointer(a.address), a.length, flags, a.more & 0xffffU, a.small);
            return true;
        case 53:
            io_uring_prep_send(s, a.fd, pointer(a.address), a.length, flags);
            io_uring_prep_send_set_addr(s, name(a.address2), a.small);
            return true;
        case 54: io_uring_prep_msg_ring_fd(s, a.fd, a.fd2, a.small, a.offset, a.flags); return true;
        case 55: io_uring_prep_msg_ring_fd(s, a.fd, a.fd2, -1, a.offset, a.flags); return true;
        case 56: io_uring_prep_msg_ring_fd_alloc(s, a.fd, a.fd2, a.offset, a.flags); return true;
        case 57: io_uring_prep_fixed_fd_install(s, a.fd, a.flags); return true;
        case 58: io_uring_prep_files_update(s, static_cast<int*>(pointer(a.address)), a.length, a.fd2); return true;
        case 59: io_uring_prep_poll_remove(s, a.offset); return true;
        case 60: io_uring_prep_poll_update(s, a.offset, a.address, a.more, a.flags); return true;
        case 61:
            io_uring_prep_timeout_update(s, static_cast<__kernel_timespec*>(pointer(a.address)), a.offset, a.flags);
            return true;
        case 62:
            io_uring_prep_provide_buffers(s, pointer(a.address), length, a.fd, a.small, static_cast<std::uint16_t>(a.more));
            return true;
        case 63: io_uring_prep_remove_buffers(s, a.fd, a.small); return true;
        case 64:
            // liburing 2.10 has io_uring_prep_epoll_wait(), which does this.
            io_uring_prep_rw(59, s, a.fd, pointer(a.address), a.length, 0);
            s->rw_flags = flags;
            return true;
        case 65:
            io_uring_prep_futex_wait(s, static_cast<std::uint32_t*>(pointer(a.address)), a.offset, a.address2, a.more, a.flags);
            return true;
        case 66:
            io_uring_prep_futex_wake(s, static_cast<std::uint32_t*>(pointer(a.address)), a.offset, a.address2, a.more, a.flags);
            return true;
        case 67: io_uring_prep_futex_waitv(s, static_cast<futex_waitv*>(pointer(a.address)), a.length, a.flags); return true;
        case 68:
            io_uring_prep_waitid(s, static_cast<idtype_t>(a.length), static_cast<id_t>(a.fd),
                                 static_cast<siginfo_t*>(pointer(a.address)), more, a.flags);
            return true;
        default: return false;
    }
}

// All fields of an SQE, each by one of its names.
struct Field {
    const char* name;
    std::size_t at, size;
};
#define FIELD(name) {#name, offsetof(io_uring_sqe, name), sizeof io_uring_sqe{}.name}
constexpr Field fields[] = {FIELD(opcode),      FIELD(flags),      FIELD(ioprio),   FIELD(fd),        FIELD(off),
                            FIELD(addr),        FIELD(len),        FIELD(rw_flags), FIELD(user_data), FIELD(buf_index),
                            FIELD(personality), FIELD(file_index), FIELD(addr3),    FIELD(__pad2)};
#undef FIELD
static_assert([] {
    std::size_t end = 0;
    for (const Field& field : fields) {
        if (field.at != end) return false;
        end += field.size;
    }
    return end == sizeof(io_uring_sqe);
}());

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
        {.fd = 0,
         .fd2 = INT32_MIN,
         .address = 0x8000000000000000,
         .address2 = UINT64_MAX,
         .offset = 0x8000000000000000,
         .length = 0x80000000,
         .flags = 0x80000000,
         .more = 0x80000000,
         .small = 0x8000},
        {.fd = 1, .fd2 = 2, .address = 3, .address2 = 4, .offset = 5, .length = 6, .flags = 7, .more = 8, .small = 9},
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
            for (const auto& [field, at, size] : fields) {
                INFO("field " << field);
                CHECK(std::memcmp(reinterpret_cast<char*>(&ours) + at, reinterpret_cast<char*>(&theirs) + at, size) == 0);
            }
        }
        CHECK(which == 69);
    }
}
