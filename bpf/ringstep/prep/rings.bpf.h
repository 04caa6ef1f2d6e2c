/* SPDX-License-Identifier: MIT */
/*
 * Requests on the ring itself, on its registered files and provided buffers, and on other rings.
 *
 * Include <ringstep/prep.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_PREP_RINGS_BPF_H
#define RINGSTEP_PREP_RINGS_BPF_H

#include <ringstep/prep/base.bpf.h>

static __always_inline void ringstep_prep_msg_ring(struct io_uring_sqe *sqe, __s32 fd, __u32 len, __u64 data, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_MSG_RING, fd, 0, len, data);
	sqe->msg_ring_flags = flags;
}

/*
 * Puts a file of this ring's table, from the slot `source_fd`, into the slot `target_fd` of the table of the ring `fd`. The other ring gets a
 * completion with `data`, unless `flags` has IORING_MSG_RING_CQE_SKIP. With IORING_FILE_INDEX_ALLOC as `target_fd`, the kernel picks a free
 * slot; res is its number.
 */
static __always_inline void ringstep_prep_msg_ring_fd(struct io_uring_sqe *sqe, __s32 fd, __s32 source_fd, __u32 target_fd,
						      __u64 data, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_MSG_RING, fd, 1 /* IORING_MSG_SEND_FD, Linux 6.0 */, 0, data);
	sqe->addr3 = (__u64)(__s64)source_fd;
	ringstep__set_target_fixed_file(sqe, target_fd);
	sqe->msg_ring_flags = flags;
}

static __always_inline void ringstep_prep_msg_ring_fd_alloc(struct io_uring_sqe *sqe, __s32 fd, __s32 source_fd, __u64 data,
							    __u32 flags)
{
	ringstep_prep_msg_ring_fd(sqe, fd, source_fd, IORING_FILE_INDEX_ALLOC, data, flags);
}

/* Makes an ordinary descriptor of the registered file in slot `fd`; res is the descriptor. `flags`: 0 or IORING_FIXED_FD_NO_CLOEXEC. */
static __always_inline void ringstep_prep_fixed_fd_install(struct io_uring_sqe *sqe, __s32 fd, __u32 flags)
{
	ringstep__prep(sqe, 54 /* IORING_OP_FIXED_FD_INSTALL, Linux 6.8 */, fd, 0, 0, 0);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->rw_flags = flags;
}

/*
 * Changes `nr_fds` slots of the registered file table, from the slot `offset` on. `fds` is the user address of an array of descriptors, where
 * -1 empties a slot. With IORING_FILE_INDEX_ALLOC as `offset`, the kernel picks free slots and writes their numbers into the array.
 */
static __always_inline void ringstep_prep_files_update(struct io_uring_sqe *sqe, __u64 fds, __u32 nr_fds, __s32 offset)
{
	ringstep__prep(sqe, IORING_OP_FILES_UPDATE, -1, fds, nr_fds, (__u64)(__s64)offset);
}

/*
 * Gives `nr` buffers of `len` bytes each, one behind the other from the user address `addr` on, to the group `bgid`. They get numbers from
 * `bid` on. A ring of provided buffers costs less.
 */
static __always_inline void ringstep_prep_provide_buffers(struct io_uring_sqe *sqe, __u64 addr, __u32 len, __s32 nr, __u16 bgid,
							  __u16 bid)
{
	ringstep__prep(sqe, IORING_OP_PROVIDE_BUFFERS, nr, addr, len, bid);
	sqe->buf_group = bgid;
}

/* Takes up to `nr` buffers out of the group `bgid`; res is how many. */
static __always_inline void ringstep_prep_remove_buffers(struct io_uring_sqe *sqe, __s32 nr, __u16 bgid)
{
	ringstep__prep(sqe, IORING_OP_REMOVE_BUFFERS, nr, 0, 0, 0);
	sqe->buf_group = bgid;
}

#endif /* RINGSTEP_PREP_RINGS_BPF_H */
