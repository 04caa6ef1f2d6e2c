/* SPDX-License-Identifier: MIT */
/*
 * What the kit stands on in the kernel, where the step is a struct_ops program.
 *
 * Types of the loop interface carry a flavour (the ___ringstep suffix, which libbpf ignores when it looks for the kernel's
 * own): so it does not matter which kernel a vmlinux.h came from, or whether that kernel has loops.
 */
#ifndef RINGSTEP_TARGET_KERNEL_BPF_H
#define RINGSTEP_TARGET_KERNEL_BPF_H

#include <ringstep/types.bpf.h>

#ifndef __VMLINUX_H__
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0) /* of the headers; what bpf_for() of libbpf stands on */
struct bpf_iter_num {
	__u64 __opaque[1];
} __attribute__((aligned(8)));
#endif
#endif

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>

#ifndef likely /* not in every libbpf */
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#endif

/* Where things lie. Filled in by the application before the load, then frozen: constants to the verifier. */
extern const volatile struct ringstep_geometry ringstep_geometry;

enum ringstep__region {
	RINGSTEP__REGION_MEM = 0,
	RINGSTEP__REGION_CQ = 1,
	RINGSTEP__REGION_SQ = 2,
};

/* The ring, as loops see it: a handle to pass on. 7.1 calls it io_ring_ctx, later kernels iou_ctx; libbpf compares kinds. */
struct iou_ctx___ringstep {};

struct iou_loop_params___ringstep {
	__u32 cq_wait_idx;
	/* no release has these, see kernel/next */
	__u32 flags;
	__u64 timeout_ns;
	__u32 busy_poll_us;
} __attribute__((preserve_access_index)) /* the field is found by name when the program is loaded */;

enum iou_loop_flags___ringstep {
	IOU_LOOP_F_TIMEOUT___ringstep = 1,
	IOU_LOOP_F_TIMEOUT_ABS___ringstep = 2,
};

struct io_uring_bpf_ops___ringstep {
	int (*loop_step)(struct iou_ctx___ringstep *ctx, struct iou_loop_params___ringstep *params);
	__u32 ring_fd;
};

extern int bpf_io_uring_submit_sqes___ringstep(struct iou_ctx___ringstep *ctx, __u32 count) __ksym;
extern __u8 *bpf_io_uring_get_region___ringstep(struct iou_ctx___ringstep *ctx, __u32 id, const __u64 rdwr_buf_size) __ksym;

/* The ring, for what is called in a turn, and what else a turn needs of its engine. */
typedef struct iou_ctx___ringstep ringstep__ring;
struct ringstep__engine {
	ringstep__ring *ring;
	struct iou_loop_params___ringstep *params;
};

#define ringstep__geometry(turn) ringstep_geometry
#define ringstep__geometry_of(ring) ringstep_geometry

static __always_inline void ringstep__engine_of(struct ringstep__engine *engine, ringstep__ring *ring)
{
	engine->ring = ring;
}

/* Hands the first count claimed SQEs to the kernel; how many it took, or a negative errno. */
static __always_inline int ringstep__submit_sqes(struct ringstep__engine *engine, __u32 count)
{
	return bpf_io_uring_submit_sqes___ringstep(engine->ring, count);
}

static __always_inline void ringstep__set_wait(struct ringstep__engine *engine, __u32 cq_index)
{
	engine->params->cq_wait_idx = cq_index;
}

struct task_struct___ringstep {
	void *task_works;
} __attribute__((preserve_access_index));

/*
 * Whether the task has work to do that it puts off until it leaves the kernel: the last of closing a file, whoever closed it. That is
 * a request of the loop's, or a request that was the last user of a file that somebody had closed before. Linux 7.1 to 7.3 let a loop
 * fall asleep without doing it; between two turns that do not sleep, they do it.
 */
static __always_inline bool ringstep__work_pending(const struct ringstep__engine *engine)
{
	(void)engine;
	return ((struct task_struct___ringstep *)bpf_get_current_task_btf())->task_works;
}

/* Loops in the kernel are woken up without a completion. */
static __always_inline bool ringstep__is_wake(const struct ringstep__engine *engine, const __u8 *cqe)
{
	(void)engine;
	(void)cqe;
	return false;
}

/* Whether one may be among the completions that are in the CQ just now. */
static __always_inline bool ringstep__wakes_pending(const struct ringstep__engine *engine)
{
	(void)engine;
	return false;
}

/*
 * A wait with a deadline: a request for kernels that know of none by themselves, which is all that have been released. See
 * timer.bpf.h. Constants when the program is loaded: the kernel's BTF has the flag or has it not.
 */
#define RINGSTEP__TIMER_IS_A_REQUEST                                                                                           \
	(!bpf_core_enum_value_exists(enum iou_loop_flags___ringstep, IOU_LOOP_F_TIMEOUT_ABS___ringstep))
static __always_inline void ringstep__set_deadline(struct ringstep__engine *engine, __u64 deadline)
{
	/* The kernel clears the flags after each wait. The clock of both is the ring's, CLOCK_MONOTONIC. */
	if (RINGSTEP__TIMER_IS_A_REQUEST || deadline == RINGSTEP_NO_DEADLINE)
		return;
	engine->params->timeout_ns = deadline;
	engine->params->flags = bpf_core_enum_value(enum iou_loop_flags___ringstep, IOU_LOOP_F_TIMEOUT___ringstep) |
				bpf_core_enum_value(enum iou_loop_flags___ringstep, IOU_LOOP_F_TIMEOUT_ABS___ringstep);
}

/* Polls the network's devices before the wait at the end of the turn, for so long at most, where the kernel has that. See napi.bpf.h. */
static __always_inline void ringstep__set_busy_poll(struct ringstep__engine *engine, __u32 microseconds)
{
	if (bpf_core_field_exists(struct iou_loop_params___ringstep, busy_poll_us))
		engine->params->busy_poll_us = microseconds;
}

/* Whether the submit at the end of a step is the engine's business, together with the waiting. */
static __always_inline bool ringstep__submits_at_end(struct ringstep__engine *engine)
{
	(void)engine;
	return false;
}

/* The kernel runs steps and completes requests in one task: the words that they share need no ordering. */
#define ringstep__ring_load(word) (*(word))
#define ringstep__ring_store(word, value) (*(word) = (value))

/*
 * A field of the state that the application reads or writes while the loop runs, on another thread: by RegionView::load() and
 * store() there, by these two here. A value that is stored comes after all that the step has written before it.
 *
 * Example: ringstep_store(&state->done, state->done + 1);
 */
#define ringstep_load(field)                                                                                                   \
	({                                                                                                                     \
		__typeof__(*(field)) ringstep__value = *(const volatile __typeof__(*(field)) *)(field);                        \
		asm volatile("" ::: "memory");                                                                                 \
		ringstep__value;                                                                                               \
	})
#define ringstep_store(field, value)                                                                                           \
	({                                                                                                                     \
		asm volatile("" ::: "memory");                                                                                 \
		*(volatile __typeof__(*(field)) *)(field) = (value);                                                           \
	})

#define RINGSTEP__TRACE(turn, ...) ((void)(turn)) /* the kernel has nowhere to print to */

/* Part of a loop's condition. Always true in practice: see ringstep_while() for the kernel's limits. */
#if __clang_major__ >= 19
#define ringstep__may_goto(label) asm volatile goto("may_goto %l[" #label "]" ::::label)
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ringstep__may_goto(label)                                                                                              \
	asm volatile goto("1: .byte 0xe5; .byte 0; .long ((%l[" #label "] - 1b - 8) / 8) & 0xffff; .short 0" ::::label)
#else
#define ringstep__may_goto(label)                                                                                              \
	asm volatile goto("1: .byte 0xe5; .byte 0; .long (((%l[" #label "] - 1b - 8) / 8) & 0xffff) << 16; .short 0" ::::label)
#endif

#define ringstep__may_loop                                                                                                     \
	({                                                                                                                     \
		__label__ ringstep__spent, ringstep__done;                                                                     \
		bool ringstep__more = true;                                                                                    \
		ringstep__may_goto(ringstep__spent);                                                                           \
		goto ringstep__done;                                                                                           \
	ringstep__spent:                                                                                                       \
		ringstep__more = false;                                                                                        \
	ringstep__done:;                                                                                                       \
		ringstep__more;                                                                                                \
	})

#define ringstep__while(condition) while ((condition) && ringstep__may_loop)

/*
 * A function that the verifier follows once, however often and with whatever it is called: in a loop that does much, that is what keeps
 * the verifier's work small. It knows of the arguments nothing but their types: numbers are any, pointers are to structs of the state, or
 * to an SQE, and are marked with ringstep_arg_nonnull. It returns a number, and cannot have the turn.
 *
 * Example: ringstep_apart int take(struct my_state *state ringstep_arg_nonnull, __u32 slot)
 */
#define ringstep_apart __noinline
#define ringstep_arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))

/* Keeps clang from working out in advance, in every turn, what only a rare branch needs. */
#define ringstep__not_in_advance(pointer) asm volatile("" : "+r"(pointer))

#endif /* RINGSTEP_TARGET_KERNEL_BPF_H */
