/* SPDX-License-Identifier: MIT */
/*
 * Functions that fill in SQEs. They have liburing's names (ringstep_ instead of io_uring_) and argument order. Each sets the whole SQE,
 * with flags and user_data zero, so call the ringstep_sqe_set_ helpers afterwards. Addresses are user space addresses, as integers. A loop
 * gets addresses from the application, through the state, or from ringstep_address().
 */
#ifndef RINGSTEP_PREP_BPF_H
#define RINGSTEP_PREP_BPF_H

#include <ringstep/target.bpf.h>
#include <ringstep/types.bpf.h>

static __always_inline void ringstep__prep(struct io_uring_sqe *sqe, __u8 opcode, __s32 fd, __u64 addr, __u32 len, __u64 off)
{
	/* Whole words need eight stores for an SQE; field by field, a dozen would be needed. */
	__u64 *word = (__u64 *)sqe;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	word[0] = opcode | (__u64)(__u32)fd << 32;
	word[3] = len;
#else
	word[0] = (__u64)opcode << 56 | (__u32)fd;
	word[3] = (__u64)len << 32;
#endif
	word[1] = off;
	word[2] = addr;
	word[4] = 0;
	word[5] = 0;
	word[6] = 0;
	word[7] = 0;
}

/* Copies the eight words of a request, as the application prepared them, into an SQE, with another user_data. */
static __always_inline void ringstep_prep_copy(struct io_uring_sqe *sqe, const __u64 *words, __u64 user_data)
{
	__u64 *const to = (__u64 *)sqe;

	_Static_assert(offsetof(struct io_uring_sqe, user_data) == 4 * sizeof(__u64), "the fifth word");
	for (int i = 0; i < 8; i++)
		to[i] = i == 4 ? user_data : words[i];
}

/*
 * Copies 64 bytes into an SQE, from another SQE or from a copy in the state. Use it to make a request again. The second half of a
 * 128-byte SQE is unchanged, and is zero in an SQE that was just claimed.
 *
 * Example: ringstep_sqe_copy(ringstep_get_sqe(turn), &state->requests[i & (REQUESTS - 1)]);
 */
static __always_inline void ringstep_sqe_copy(struct io_uring_sqe *sqe, const void *from)
{
	const __u64 *words = (const __u64 *)from;

	ringstep_prep_copy(sqe, words, words[4]);
}

/* Sets the user_data that the completion of this request will carry. */
static __always_inline void ringstep_sqe_set_data64(struct io_uring_sqe *sqe, __u64 data)
{
	sqe->user_data = data;
}

/* Adds IOSQE_ flags: IOSQE_FIXED_FILE, IOSQE_IO_LINK, IOSQE_ASYNC and so on. */
static __always_inline void ringstep_sqe_set_flags(struct io_uring_sqe *sqe, __u32 flags)
{
	sqe->flags = (__u8)(sqe->flags | flags);
}

/* Sets the provided-buffer group that the kernel picks a buffer from, and IOSQE_BUFFER_SELECT. */
static __always_inline void ringstep_sqe_set_buf_group(struct io_uring_sqe *sqe, __u16 group)
{
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = group;
}

static __always_inline void ringstep__set_target_fixed_file(struct io_uring_sqe *sqe, __u32 file_index)
{
	/* The field is one higher than the slot; 0 means "no slot". */
	sqe->file_index = file_index == IORING_FILE_INDEX_ALLOC ? IORING_FILE_INDEX_ALLOC : file_index + 1;
}

static __always_inline void ringstep_prep_nop(struct io_uring_sqe *sqe)
{
	ringstep__prep(sqe, IORING_OP_NOP, -1, 0, 0, 0);
}

static __always_inline void ringstep_prep_read(struct io_uring_sqe *sqe, __s32 fd, __u64 buf, __u32 nbytes, __u64 offset)
{
	ringstep__prep(sqe, IORING_OP_READ, fd, buf, nbytes, offset);
}

static __always_inline void ringstep_prep_write(struct io_uring_sqe *sqe, __s32 fd, __u64 buf, __u32 nbytes, __u64 offset)
{
	ringstep__prep(sqe, IORING_OP_WRITE, fd, buf, nbytes, offset);
}

static __always_inline void ringstep_prep_read_fixed(struct io_uring_sqe *sqe, __s32 fd, __u64 buf, __u32 nbytes, __u64 offset,
						     __u16 buf_index)
{
	ringstep__prep(sqe, IORING_OP_READ_FIXED, fd, buf, nbytes, offset);
	sqe->buf_index = buf_index;
}

static __always_inline void ringstep_prep_write_fixed(struct io_uring_sqe *sqe, __s32 fd, __u64 buf, __u32 nbytes, __u64 offset,
						      __u16 buf_index)
{
	ringstep__prep(sqe, IORING_OP_WRITE_FIXED, fd, buf, nbytes, offset);
	sqe->buf_index = buf_index;
}

/* `iovecs` is the user address of an array of struct iovec. */
static __always_inline void ringstep_prep_readv(struct io_uring_sqe *sqe, __s32 fd, __u64 iovecs, __u32 nr_vecs, __u64 offset)
{
	ringstep__prep(sqe, IORING_OP_READV, fd, iovecs, nr_vecs, offset);
}

static __always_inline void ringstep_prep_writev(struct io_uring_sqe *sqe, __s32 fd, __u64 iovecs, __u32 nr_vecs, __u64 offset)
{
	ringstep__prep(sqe, IORING_OP_WRITEV, fd, iovecs, nr_vecs, offset);
}

/* Reads into buffers of the group `buf_group`, once for each arrival. `nbytes` must be 0, because each buffer sets its own length. */
static __always_inline void ringstep_prep_read_multishot(struct io_uring_sqe *sqe, __s32 fd, __u32 nbytes, __u64 offset,
							 __u16 buf_group)
{
	ringstep__prep(sqe, 49 /* IORING_OP_READ_MULTISHOT, Linux 6.7 */, fd, 0, nbytes, offset);
	ringstep_sqe_set_buf_group(sqe, buf_group);
}

static __always_inline void ringstep_prep_fsync(struct io_uring_sqe *sqe, __s32 fd, __u32 fsync_flags)
{
	ringstep__prep(sqe, IORING_OP_FSYNC, fd, 0, 0, 0);
	sqe->fsync_flags = fsync_flags;
}

static __always_inline void ringstep_prep_sync_file_range(struct io_uring_sqe *sqe, __s32 fd, __u32 len, __u64 offset,
							  __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_SYNC_FILE_RANGE, fd, 0, len, offset);
	sqe->sync_range_flags = flags;
}

static __always_inline void ringstep_prep_fallocate(struct io_uring_sqe *sqe, __s32 fd, __u32 mode, __u64 offset, __u64 len)
{
	ringstep__prep(sqe, IORING_OP_FALLOCATE, fd, len, mode, offset);
}

static __always_inline void ringstep_prep_fadvise(struct io_uring_sqe *sqe, __s32 fd, __u64 offset, __u32 len, __u32 advice)
{
	ringstep__prep(sqe, IORING_OP_FADVISE, fd, 0, len, offset);
	sqe->fadvise_advice = advice;
}

/* `path` is the user address of a NUL-terminated string. */
static __always_inline void ringstep_prep_openat(struct io_uring_sqe *sqe, __s32 dfd, __u64 path, __u32 flags, __u32 mode)
{
	ringstep__prep(sqe, IORING_OP_OPENAT, dfd, path, mode, 0);
	sqe->open_flags = flags;
}

/* Opens a file into a slot of the registered file table. With IORING_FILE_INDEX_ALLOC, the kernel picks a free slot; res is its number. */
static __always_inline void ringstep_prep_openat_direct(struct io_uring_sqe *sqe, __s32 dfd, __u64 path, __u32 flags,
							__u32 mode, __u32 file_index)
{
	ringstep_prep_openat(sqe, dfd, path, flags, mode);
	ringstep__set_target_fixed_file(sqe, file_index);
}

static __always_inline void ringstep_prep_close(struct io_uring_sqe *sqe, __s32 fd)
{
	ringstep__prep(sqe, IORING_OP_CLOSE, fd, 0, 0, 0);
}

static __always_inline void ringstep_prep_close_direct(struct io_uring_sqe *sqe, __u32 file_index)
{
	ringstep_prep_close(sqe, 0);
	ringstep__set_target_fixed_file(sqe, file_index);
}

/* `statxbuf` is the user address of a struct statx. */
static __always_inline void ringstep_prep_statx(struct io_uring_sqe *sqe, __s32 dfd, __u64 path, __u32 flags, __u32 mask,
						__u64 statxbuf)
{
	ringstep__prep(sqe, IORING_OP_STATX, dfd, path, mask, statxbuf);
	sqe->statx_flags = flags;
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

/* Completes twice: with the result (IORING_CQE_F_MORE), and later with the notification (IORING_CQE_F_NOTIF) that `buf` is free again. */
static __always_inline void ringstep_prep_send_zc(struct io_uring_sqe *sqe, __s32 sockfd, __u64 buf, __u32 len, __u32 flags,
						  __u32 zc_flags)
{
	ringstep__prep(sqe, IORING_OP_SEND_ZC, sockfd, buf, len, 0);
	sqe->msg_flags = flags;
	sqe->ioprio = (__u16)zc_flags;
}

/* `msg` is the user address of a struct msghdr. */
static __always_inline void ringstep_prep_recvmsg(struct io_uring_sqe *sqe, __s32 fd, __u64 msg, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_RECVMSG, fd, msg, 1, 0);
	sqe->msg_flags = flags;
}

static __always_inline void ringstep_prep_sendmsg(struct io_uring_sqe *sqe, __s32 fd, __u64 msg, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_SENDMSG, fd, msg, 1, 0);
	sqe->msg_flags = flags;
}

/* `addr` and `addrlen` are the user addresses of a struct sockaddr and of its length, or 0. */
static __always_inline void ringstep_prep_accept(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u64 addrlen, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_ACCEPT, fd, addr, 0, addrlen);
	sqe->accept_flags = flags;
}

static __always_inline void ringstep_prep_multishot_accept(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u64 addrlen,
							   __u32 flags)
{
	ringstep_prep_accept(sqe, fd, addr, addrlen, flags);
	sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
}

static __always_inline void ringstep_prep_connect(struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u32 addrlen)
{
	ringstep__prep(sqe, IORING_OP_CONNECT, fd, addr, 0, addrlen);
}

static __always_inline void ringstep_prep_shutdown(struct io_uring_sqe *sqe, __s32 fd, __u32 how)
{
	ringstep__prep(sqe, IORING_OP_SHUTDOWN, fd, 0, how, 0);
}

static __always_inline void ringstep_prep_poll_add(struct io_uring_sqe *sqe, __s32 fd, __u32 poll_mask)
{
	ringstep__prep(sqe, IORING_OP_POLL_ADD, fd, 0, 0, 0);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	poll_mask = poll_mask << 16 | poll_mask >> 16;
#endif
	sqe->poll32_events = poll_mask;
}

static __always_inline void ringstep_prep_poll_multishot(struct io_uring_sqe *sqe, __s32 fd, __u32 poll_mask)
{
	ringstep_prep_poll_add(sqe, fd, poll_mask);
	sqe->len = IORING_POLL_ADD_MULTI;
}

/*
 * Completes with -ETIME when the time is up, or with 0 once `count` other completions have arrived. `ts` is the user address of a
 * struct __kernel_timespec. Keep it in the state until the request is submitted, when the kernel copies it.
 */
static __always_inline void ringstep_prep_timeout(struct io_uring_sqe *sqe, __u64 ts, __u32 count, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_TIMEOUT, -1, ts, 1, count);
	sqe->timeout_flags = flags;
}

static __always_inline void ringstep_prep_timeout_remove(struct io_uring_sqe *sqe, __u64 user_data, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_TIMEOUT_REMOVE, -1, user_data, 0, 0);
	sqe->timeout_flags = flags;
}

static __always_inline void ringstep_prep_link_timeout(struct io_uring_sqe *sqe, __u64 ts, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_LINK_TIMEOUT, -1, ts, 1, 0);
	sqe->timeout_flags = flags;
}

static __always_inline void ringstep_prep_cancel64(struct io_uring_sqe *sqe, __u64 user_data, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_ASYNC_CANCEL, -1, user_data, 0, 0);
	sqe->cancel_flags = flags;
}

static __always_inline void ringstep_prep_cancel_fd(struct io_uring_sqe *sqe, __s32 fd, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_ASYNC_CANCEL, fd, 0, 0, 0);
	sqe->cancel_flags = flags | IORING_ASYNC_CANCEL_FD;
}

/* An offset of -1 means the file's own position, as with splice(2). The offset of a pipe must be -1. */
static __always_inline void ringstep_prep_splice(struct io_uring_sqe *sqe, __s32 fd_in, __s64 off_in, __s32 fd_out,
						 __s64 off_out, __u32 nbytes, __u32 splice_flags)
{
	ringstep__prep(sqe, IORING_OP_SPLICE, fd_out, (__u64)off_in, nbytes, (__u64)off_out);
	sqe->splice_fd_in = fd_in;
	sqe->splice_flags = splice_flags;
}

static __always_inline void ringstep_prep_msg_ring(struct io_uring_sqe *sqe, __s32 fd, __u32 len, __u64 data, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_MSG_RING, fd, 0, len, data);
	sqe->msg_ring_flags = flags;
}

static __always_inline void ringstep_prep_unlinkat(struct io_uring_sqe *sqe, __s32 dfd, __u64 path, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_UNLINKAT, dfd, path, 0, 0);
	sqe->unlink_flags = flags;
}

#endif /* RINGSTEP_PREP_BPF_H */
