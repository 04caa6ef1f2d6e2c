// SPDX-License-Identifier: MIT
// The types of sockets that states have are those of the C library, by layout and by number.
#include <ringstep/c/sockets.h>

#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <catch2/catch_test_macros.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#define SAME_FIELD(ours, our_field, theirs, their_field)                       \
    static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field)); \
    static_assert(sizeof(ours{}.our_field) == sizeof(theirs{}.their_field))

static_assert(sizeof(ringstep_iovec) == sizeof(iovec));
SAME_FIELD(ringstep_iovec, base, iovec, iov_base);
SAME_FIELD(ringstep_iovec, length, iovec, iov_len);

static_assert(sizeof(ringstep_message) == sizeof(msghdr));
SAME_FIELD(ringstep_message, name, msghdr, msg_name);
SAME_FIELD(ringstep_message, name_length, msghdr, msg_namelen);
SAME_FIELD(ringstep_message, vectors, msghdr, msg_iov);
SAME_FIELD(ringstep_message, vector_count, msghdr, msg_iovlen);
SAME_FIELD(ringstep_message, control, msghdr, msg_control);
SAME_FIELD(ringstep_message, control_length, msghdr, msg_controllen);
SAME_FIELD(ringstep_message, flags, msghdr, msg_flags);

static_assert(sizeof(ringstep_ipv4_address) == sizeof(sockaddr_in));
SAME_FIELD(ringstep_ipv4_address, family, sockaddr_in, sin_family);
SAME_FIELD(ringstep_ipv4_address, port, sockaddr_in, sin_port);
SAME_FIELD(ringstep_ipv4_address, address, sockaddr_in, sin_addr);

static_assert(sizeof(ringstep_ipv6_address) == sizeof(sockaddr_in6));
SAME_FIELD(ringstep_ipv6_address, family, sockaddr_in6, sin6_family);
SAME_FIELD(ringstep_ipv6_address, port, sockaddr_in6, sin6_port);
SAME_FIELD(ringstep_ipv6_address, flow, sockaddr_in6, sin6_flowinfo);
SAME_FIELD(ringstep_ipv6_address, address, sockaddr_in6, sin6_addr);
SAME_FIELD(ringstep_ipv6_address, scope, sockaddr_in6, sin6_scope_id);

static_assert(sizeof(ringstep_unix_address) == sizeof(sockaddr_un));
SAME_FIELD(ringstep_unix_address, family, sockaddr_un, sun_family);
SAME_FIELD(ringstep_unix_address, path, sockaddr_un, sun_path);

static_assert(sizeof(ringstep_socket_address) == sizeof(sockaddr_storage));
static_assert(alignof(ringstep_socket_address) == alignof(sockaddr_storage));

static_assert(sizeof(ringstep_recvmsg_header) == sizeof(io_uring_recvmsg_out));
SAME_FIELD(ringstep_recvmsg_header, name_length, io_uring_recvmsg_out, namelen);
SAME_FIELD(ringstep_recvmsg_header, control_length, io_uring_recvmsg_out, controllen);
SAME_FIELD(ringstep_recvmsg_header, payload_length, io_uring_recvmsg_out, payloadlen);
SAME_FIELD(ringstep_recvmsg_header, flags, io_uring_recvmsg_out, flags);

TEST_CASE("Constants of sockets have the C library's values") {
    CHECK(int{RINGSTEP_AF_UNIX} == AF_UNIX);
    CHECK(int{RINGSTEP_AF_INET} == AF_INET);
    CHECK(int{RINGSTEP_AF_INET6} == AF_INET6);
    CHECK(int{RINGSTEP_SOCK_STREAM} == SOCK_STREAM);
    CHECK(int{RINGSTEP_SOCK_DGRAM} == SOCK_DGRAM);
    CHECK(int{RINGSTEP_SOCK_SEQPACKET} == SOCK_SEQPACKET);
    CHECK(int{RINGSTEP_SOCK_NONBLOCK} == SOCK_NONBLOCK);
    CHECK(int{RINGSTEP_SOCK_CLOEXEC} == SOCK_CLOEXEC);
    CHECK(int{RINGSTEP_MSG_PEEK} == MSG_PEEK);
    CHECK(int{RINGSTEP_MSG_CTRUNC} == MSG_CTRUNC);
    CHECK(int{RINGSTEP_MSG_TRUNC} == MSG_TRUNC);
    CHECK(int{RINGSTEP_MSG_DONTWAIT} == MSG_DONTWAIT);
    CHECK(int{RINGSTEP_MSG_WAITALL} == MSG_WAITALL);
    CHECK(int{RINGSTEP_MSG_NOSIGNAL} == MSG_NOSIGNAL);
    CHECK(int{RINGSTEP_MSG_MORE} == MSG_MORE);
    CHECK(int{RINGSTEP_SHUT_RD} == SHUT_RD);
    CHECK(int{RINGSTEP_SHUT_WR} == SHUT_WR);
    CHECK(int{RINGSTEP_SHUT_RDWR} == SHUT_RDWR);
    CHECK(int{RINGSTEP_SOCKET_SIOCINQ} == SOCKET_URING_OP_SIOCINQ);
    CHECK(int{RINGSTEP_SOCKET_SIOCOUTQ} == SOCKET_URING_OP_SIOCOUTQ);
    CHECK(int{RINGSTEP_SOCKET_GETSOCKOPT} == SOCKET_URING_OP_GETSOCKOPT);
    CHECK(int{RINGSTEP_SOCKET_SETSOCKOPT} == SOCKET_URING_OP_SETSOCKOPT);
    CHECK(ringstep_network16(80) == htons(80));
    CHECK(ringstep_network32(0x7f000001) == htonl(0x7f000001));
}

TEST_CASE("A received message is where liburing finds it") {
    alignas(io_uring_recvmsg_out) char buffer[512]{};
    for (const unsigned name : {0U, 16U, 128U}) {
        for (const unsigned control : {0U, 24U, 64U}) {
            msghdr theirs{};
            theirs.msg_namelen = name;
            theirs.msg_controllen = control;
            ringstep_message ours;
            std::memcpy(&ours, &theirs, sizeof ours);
            for (const int result : {-105, 0, 15, 16, 17, 40, 207, 208, 209, 512}) {
                CAPTURE(name, control, result);
                auto* const out = io_uring_recvmsg_validate(buffer, result, &theirs);
                if (out == nullptr) {
                    CHECK(ringstep_recvmsg_payload_length(&ours, result) == 0);
                    continue;
                }
                CHECK(buffer + ringstep_recvmsg_name() == io_uring_recvmsg_name(out));
                CHECK(buffer + ringstep_recvmsg_payload(&ours) == io_uring_recvmsg_payload(out, &theirs));
                CHECK(ringstep_recvmsg_payload_length(&ours, result) == io_uring_recvmsg_payload_length(out, result, &theirs));
                out->controllen = sizeof(cmsghdr);
                CHECK(static_cast<void*>(buffer + ringstep_recvmsg_control(&ours)) ==
                      io_uring_recvmsg_cmsg_firsthdr(out, &theirs));
            }
        }
    }
}
