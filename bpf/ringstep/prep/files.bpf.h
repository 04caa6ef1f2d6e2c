/* SPDX-License-Identifier: MIT */
/*
 * Requests on files.
 *
 * Include <ringstep/prep.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_PREP_FILES_BPF_H
#define RINGSTEP_PREP_FILES_BPF_H

#include <ringstep/prep/base.bpf.h>

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

/* `iovecs` is the user address of an array of struct iovec (struct ringstep_iovec of <ringstep/c/sockets.h>). */
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

/* An offset of -1 means the file's own position, as with splice(2). The offset of a pipe must be -1. */
static __always_inline void ringstep_prep_splice(struct io_uring_sqe *sqe, __s32 fd_in, __s64 off_in, __s32 fd_out,
						 __s64 off_out, __u32 nbytes, __u32 splice_flags)
{
	ringstep__prep(sqe, IORING_OP_SPLICE, fd_out, (__u64)off_in, nbytes, (__u64)off_out);
	sqe->splice_fd_in = fd_in;
	sqe->splice_flags = splice_flags;
}

static __always_inline void ringstep_prep_unlinkat(struct io_uring_sqe *sqe, __s32 dfd, __u64 path, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_UNLINKAT, dfd, path, 0, 0);
	sqe->unlink_flags = flags;
}

#endif /* RINGSTEP_PREP_FILES_BPF_H */
