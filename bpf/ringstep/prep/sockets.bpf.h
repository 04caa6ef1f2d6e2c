/* SPDX-License-Identifier: MIT */
/*
 * Requests on sockets. The types of addresses, messages and vectors in a state are in <ringstep/c/sockets.h>.
 *
 * Include <ringstep/prep.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_PREP_SOCKETS_BPF_H
#define RINGSTEP_PREP_SOCKETS_BPF_H

#include <ringstep/prep/base.bpf.h>

/* Two fields of 32 bits that lie behind each other, as one word. */
static __always_inline __u64 ringstep__two_words(__u32 first, __u32 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u64)second << 32;
#else
	return (__u64)first << 32 | second;
#endif
}

static __always_inline void ringstep_prep_recv(struct io_uring_sqe *sqe, __s32 sockfd, __u64 buf, __u32 len, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_RECV, sockfd, buf, len, 0);
	sqe->msg_flags = flags;
}

/* Completes once for each arrival, with IORING_CQE_F_MORE while the request continues. Call ringstep_sqe_set_buf_group() after it. */
static __always_inline void ringstep_prep_recv_multishot(struct io_uring_sqe *sqe, __s32 sockfd, __u64 buf, __u32 len,
							 __u32 flags)
{
	ringstep_prep_recv(sqe, sockfd, buf, len, flags);
	sqe->ioprio |= IORING_RECV_MULTISHOT;
}

static __always_inline void ringstep_prep_send(struct io_uring_sqe *sqe, __s32 sockfd, __u64 buf, __u32 len, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_SEND, sockfd, buf, len, 0);
	sqe->msg_flags = flags;
}

/*
 * Sends the buffers of a group, as many as there are, but no more than `len` bytes (0: no limit). res is the number of bytes. Call
 * ringstep_sqe_set_buf_group() after it. Linux 6.10 or later.
 */
static __always_inline void ringstep_prep_send_bundle(struct io_uring_sqe *sqe, __s32 sockfd, __u32 len, __u32 flags)
{
	ringstep_prep_send(sqe, sockfd, 0, len, flags);
	sqe->ioprio |= IORING_RECVSEND_BUNDLE;
}

/*
 * Sends to an address: call it after ringstep_prep_send() or ringstep_prep_send_zc(). `dest_addr` is the user address of a struct sockaddr
 * (union ringstep_socket_address of <ringstep/c/sockets.h>).
 */
static __always_inline void ringstep_prep_send_set_addr(struct io_uring_sqe *sqe, __u64 dest_addr, __u16 addr_len)
{
	sqe->addr2 = dest_addr;
	sqe->addr_len = addr_len;
}

/* Completes twice: with the result (IORING_CQE_F_MORE), and later with the notification (IORING_CQE_F_NOTIF) that `buf` is free again. */
static __always_inline void ringstep_prep_send_zc(struct io_uring_sqe *sqe, __s32 sockfd, __u64 buf, __u32 len, __u32 flags,
						  __u32 zc_flags)
{
	ringstep__prep(sqe, IORING_OP_SEND_ZC, sockfd, buf, len, 0);
	sqe->msg_flags = flags;
	sqe->ioprio = (__u16)zc_flags;
}

/* Like ringstep_prep_send_zc(), from the registered buffer `buf_index`. */
static __always_inline void ringstep_prep_send_zc_fixed(struct io_uring_sqe *sqe, __s32 sockfd, __u64 buf, __u32 len,
							__u32 flags, __u32 zc_flags, __u16 buf_index)
{
	ringstep_prep_send_zc(sqe, sockfd, buf, len, flags, zc_flags);
	sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
	sqe->buf_index = buf_index;
}

/* `msg` is the user address of a struct msghdr (struct ringstep_message of <ringstep/c/sockets.h>). */
static __always_inline void ringstep_prep_recvmsg(struct io_uring_sqe *sqe, __s32 fd, __u64 msg, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_RECVMSG, fd, msg, 1, 0);
	sqe->msg_flags = flags;
}

/*
 * Completes once for each message, with IORING_CQE_F_MORE while the request continues. Call ringstep_sqe_set_buf_group() after it. Of the
 * struct msghdr at `msg`, the kernel uses only the lengths of name and control data: the message is in the buffer, behind a header
 * (struct ringstep_recvmsg_header of <ringstep/c/sockets.h>).
 */
static __always_inline void ringstep_prep_recvmsg_multishot(struct io_uring_sqe *sqe, __s32 fd, __u64 msg, __u32 flags)
{
	ringstep_prep_recvmsg(sqe, fd, msg, flags);
	sqe->ioprio |= IORING_RECV_MULTISHOT;
}

static __always_inline void ringstep_prep_sendmsg(struct io_uring_sqe *sqe, __s32 fd, __u64 msg, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_SENDMSG, fd, msg, 1, 0);
	sqe->msg_flags = flags;
}

/* Completes twice, like ringstep_prep_send_zc(). */
static __always_inline void ringstep_prep_sendmsg_zc(struct io_uring_sqe *sqe, __s32 fd, __u64 msg, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_SENDMSG_ZC, fd, msg, 1, 0);
	sqe->msg_flags = flags;
}

/* `addr` and `addrlen` are the user addresses of a struct sockaddr and of its length, or 0. */
static __always_inline void ringstep_prep_accept(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u64 addrlen, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_ACCEPT, fd, addr, 0, addrlen);
	sqe->accept_flags = flags;
}

/* Accepts into a slot of the registered file table. With IORING_FILE_INDEX_ALLOC, the kernel picks a free slot; res is its number. */
static __always_inline void ringstep_prep_accept_direct(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u64 addrlen,
							__u32 flags, __u32 file_index)
{
	ringstep_prep_accept(sqe, fd, addr, addrlen, flags);
	ringstep__set_target_fixed_file(sqe, file_index);
}

/* Completes once for each connection, with IORING_CQE_F_MORE while the request continues. */
static __always_inline void ringstep_prep_multishot_accept(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u64 addrlen,
							   __u32 flags)
{
	ringstep_prep_accept(sqe, fd, addr, addrlen, flags);
	sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
}

/* Accepts each connection into a free slot of the registered file table; res is its number, or -ENFILE if no slot is free. */
static __always_inline void ringstep_prep_multishot_accept_direct(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u64 addrlen,
								  __u32 flags)
{
	ringstep_prep_multishot_accept(sqe, fd, addr, addrlen, flags);
	ringstep__set_target_fixed_file(sqe, IORING_FILE_INDEX_ALLOC);
}

static __always_inline void ringstep_prep_connect(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u32 addrlen)
{
	ringstep__prep(sqe, IORING_OP_CONNECT, fd, addr, 0, addrlen);
}

/* Makes a socket; res is its descriptor. `domain` and `type`: RINGSTEP_AF_ and RINGSTEP_SOCK_ of <ringstep/c/sockets.h>. `flags` must be 0. */
static __always_inline void ringstep_prep_socket(struct io_uring_sqe *sqe, __s32 domain, __s32 type, __u32 protocol,
						 __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_SOCKET, domain, 0, protocol, (__u64)(__s64)type);
	sqe->rw_flags = flags;
}

/* Makes a socket in a slot of the registered file table. With IORING_FILE_INDEX_ALLOC, the kernel picks a free slot; res is its number. */
static __always_inline void ringstep_prep_socket_direct(struct io_uring_sqe *sqe, __s32 domain, __s32 type, __u32 protocol,
							__u32 file_index, __u32 flags)
{
	ringstep_prep_socket(sqe, domain, type, protocol, flags);
	ringstep__set_target_fixed_file(sqe, file_index);
}

static __always_inline void ringstep_prep_socket_direct_alloc(struct io_uring_sqe *sqe, __s32 domain, __s32 type,
							      __u32 protocol, __u32 flags)
{
	ringstep_prep_socket_direct(sqe, domain, type, protocol, IORING_FILE_INDEX_ALLOC, flags);
}

/* Binds a socket to the address at the user address `addr`. Linux 6.11 or later. */
static __always_inline void ringstep_prep_bind(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u32 addrlen)
{
	ringstep__prep(sqe, 56 /* IORING_OP_BIND, Linux 6.11 */, fd, addr, 0, addrlen);
}

/* Makes a socket accept connections. Linux 6.11 or later. */
static __always_inline void ringstep_prep_listen(struct io_uring_sqe *sqe, __s32 fd, __u32 backlog)
{
	ringstep__prep(sqe, 57 /* IORING_OP_LISTEN, Linux 6.11 */, fd, 0, backlog, 0);
}

static __always_inline void ringstep_prep_shutdown(struct io_uring_sqe *sqe, __s32 fd, __u32 how)
{
	ringstep__prep(sqe, IORING_OP_SHUTDOWN, fd, 0, how, 0);
}

/*
 * A command to a socket: getsockopt(2) or setsockopt(2), with `cmd_op` of enum ringstep_socket_command, or the bytes that wait in its queues.
 * `optval` is the user address of the option's value. Linux 6.7 or later. In Linux 7.1 and 7.2, loops in the kernel must not submit it: see
 * docs/kernels.md.
 */
static __always_inline void ringstep_prep_cmd_sock(struct io_uring_sqe *sqe, __u32 cmd_op, __s32 fd, __u32 level, __u32 optname,
						   __u64 optval, __u32 optlen)
{
	ringstep__prep(sqe, IORING_OP_URING_CMD, fd, ringstep__two_words(level, optname), 0, ringstep__two_words(cmd_op, 0));
	sqe->file_index = optlen;
	sqe->addr3 = optval;
}

#endif /* RINGSTEP_PREP_SOCKETS_BPF_H */
