/* SPDX-License-Identifier: MIT */
/*
 * Requests that wait for something: readiness, time, a futex, a child, events of an epoll instance. And requests that end others.
 *
 * Include <ringstep/prep.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_PREP_WAITS_BPF_H
#define RINGSTEP_PREP_WAITS_BPF_H

#include <ringstep/prep/base.bpf.h>

/* Flags of a futex, for ringstep_prep_futex_wait() and ringstep_prep_futex_wake(). */
#define RINGSTEP_FUTEX_U32 2U	       /* FUTEX2_SIZE_U32: the size of the word, the only one that kernels have */
#define RINGSTEP_FUTEX_PRIVATE 128U    /* FUTEX2_PRIVATE: only threads of this process use it */
#define RINGSTEP_FUTEX_ANY 0xffffffffU /* FUTEX_BITSET_MATCH_ANY, as `mask`: all that wait */

static __always_inline __u32 ringstep__poll_mask(__u32 poll_mask)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	poll_mask = poll_mask << 16 | poll_mask >> 16;
#endif
	return poll_mask;
}

static __always_inline void ringstep_prep_poll_add(struct io_uring_sqe *sqe, __s32 fd, __u32 poll_mask)
{
	ringstep__prep(sqe, IORING_OP_POLL_ADD, fd, 0, 0, 0);
	sqe->poll32_events = ringstep__poll_mask(poll_mask);
}

static __always_inline void ringstep_prep_poll_multishot(struct io_uring_sqe *sqe, __s32 fd, __u32 poll_mask)
{
	ringstep_prep_poll_add(sqe, fd, poll_mask);
	sqe->len = IORING_POLL_ADD_MULTI;
}

static __always_inline void ringstep_prep_poll_remove(struct io_uring_sqe *sqe, __u64 user_data)
{
	ringstep__prep(sqe, IORING_OP_POLL_REMOVE, -1, user_data, 0, 0);
}

/*
 * Changes the poll with `old_user_data`: its events with IORING_POLL_UPDATE_EVENTS in `flags`, its user_data with
 * IORING_POLL_UPDATE_USER_DATA.
 */
static __always_inline void ringstep_prep_poll_update(struct io_uring_sqe *sqe, __u64 old_user_data, __u64 new_user_data,
						      __u32 poll_mask, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_POLL_REMOVE, -1, old_user_data, flags, new_user_data);
	sqe->poll32_events = ringstep__poll_mask(poll_mask);
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

/* Gives the timeout with this user_data another time: `ts`, the user address of a struct __kernel_timespec. */
static __always_inline void ringstep_prep_timeout_update(struct io_uring_sqe *sqe, __u64 ts, __u64 user_data, __u32 flags)
{
	ringstep__prep(sqe, IORING_OP_TIMEOUT_REMOVE, -1, user_data, 0, ts);
	sqe->timeout_flags = flags | IORING_TIMEOUT_UPDATE;
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

/*
 * Completes when another thread wakes the futex at the user address `futex`, or with -EAGAIN if the word there is not `val`. Linux 6.7 or
 * later. `flags` must be 0.
 *
 * Example: ringstep_prep_futex_wait(sqe, word, 0, RINGSTEP_FUTEX_ANY, RINGSTEP_FUTEX_U32 | RINGSTEP_FUTEX_PRIVATE, 0);
 */
static __always_inline void ringstep_prep_futex_wait(struct io_uring_sqe *sqe, __u64 futex, __u64 val, __u64 mask,
						     __u32 futex_flags, __u32 flags)
{
	ringstep__prep(sqe, 51 /* IORING_OP_FUTEX_WAIT, Linux 6.7 */, (__s32)futex_flags, futex, 0, val);
	sqe->addr3 = mask;
	sqe->rw_flags = flags;
}

/* Wakes up to `val` of those that wait for a futex; res is how many. Linux 6.7 or later. */
static __always_inline void ringstep_prep_futex_wake(struct io_uring_sqe *sqe, __u64 futex, __u64 val, __u64 mask,
						     __u32 futex_flags, __u32 flags)
{
	ringstep__prep(sqe, 52 /* IORING_OP_FUTEX_WAKE, Linux 6.7 */, (__s32)futex_flags, futex, 0, val);
	sqe->addr3 = mask;
	sqe->rw_flags = flags;
}

/* Waits for one of several futexes; res is its index. `futexes` is the user address of an array of struct futex_waitv. Linux 6.7 or later. */
static __always_inline void ringstep_prep_futex_waitv(struct io_uring_sqe *sqe, __u64 futexes, __u32 nr_futex, __u32 flags)
{
	ringstep__prep(sqe, 53 /* IORING_OP_FUTEX_WAITV, Linux 6.7 */, 0, futexes, nr_futex, 0);
	sqe->rw_flags = flags;
}

/* Waits for a child process, like waitid(2). `infop` is the user address of a siginfo_t, or 0. Linux 6.7 or later. `flags` must be 0. */
static __always_inline void ringstep_prep_waitid(struct io_uring_sqe *sqe, __u32 idtype, __s32 id, __u64 infop, __u32 options,
						 __u32 flags)
{
	ringstep__prep(sqe, 50 /* IORING_OP_WAITID, Linux 6.7 */, id, 0, idtype, infop);
	sqe->file_index = options;
	sqe->rw_flags = flags;
}

/*
 * Waits for events of an epoll instance; res is their number. `events` is the user address of `maxevents` struct epoll_event. Linux 6.15 or
 * later. `flags` must be 0.
 */
static __always_inline void ringstep_prep_epoll_wait(struct io_uring_sqe *sqe, __s32 fd, __u64 events, __u32 maxevents,
						     __u32 flags)
{
	ringstep__prep(sqe, 59 /* IORING_OP_EPOLL_WAIT, Linux 6.15 */, fd, events, maxevents, 0);
	sqe->rw_flags = flags;
}

#endif /* RINGSTEP_PREP_WAITS_BPF_H */
