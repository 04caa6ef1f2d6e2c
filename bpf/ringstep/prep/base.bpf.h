/* SPDX-License-Identifier: MIT */
/*
 * Parts of an SQE that all requests have, copies of SQEs, and requests of any kind.
 *
 * Include <ringstep/prep.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_PREP_BASE_BPF_H
#define RINGSTEP_PREP_BASE_BPF_H

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

/*
 * Fills in an SQE whose fields follow the layout of a read or a write, for operations without a function of their own. The arguments
 * have the order of liburing's io_uring_prep_rw().
 *
 * Example: ringstep_prep_rw(62, sqe, -1, ringstep_address(turn, state->ends), 0, 0); // IORING_OP_PIPE, Linux 6.16
 */
static __always_inline void ringstep_prep_rw(__u8 opcode, struct io_uring_sqe *sqe, __s32 fd, __u64 addr, __u32 len,
					     __u64 offset)
{
	ringstep__prep(sqe, opcode, fd, addr, len, offset);
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

#endif /* RINGSTEP_PREP_BASE_BPF_H */
