/* SPDX-License-Identifier: MIT */
/*
 * The kernel's part of the kit. In the kernel, the step is a struct_ops program.
 *
 * Types of the loop interface carry a flavour, the ___ringstep suffix, which libbpf ignores when it looks for the kernel's own types. So a
 * vmlinux.h may come from any kernel, with or without loops.
 */
#ifndef RINGSTEP_TARGET_KERNEL_BPF_H
#define RINGSTEP_TARGET_KERNEL_BPF_H

#include <ringstep/types.bpf.h>

#ifndef __VMLINUX_H__
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0) /* the version of the headers; bpf_for() of libbpf needs this type */
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

/* The layout of the regions. The application fills it in before the load, and then it is frozen, so the verifier sees constants. */
extern const volatile struct ringstep_geometry ringstep_geometry;

enum ringstep__region {
	RINGSTEP__REGION_MEM = 0,
	RINGSTEP__REGION_CQ = 1,
	RINGSTEP__REGION_SQ = 2,
};

/* The ring, as a handle. Linux 7.1 calls it io_ring_ctx and later kernels call it iou_ctx. libbpf compares only the kinds of the types. */
struct iou_ctx___ringstep {};

struct iou_loop_params___ringstep {
	__u32 cq_wait_idx;
	/* No released kernel has these; see kernel/next. */
	__u32 flags;
	__u64 timeout_ns;
	/* The kernel has 64 bits, and libbpf makes the access as wide. With 64 here, Linux 6.12 verifies some loops no longer. */
	__u32 busy_poll_ns;
} __attribute__((preserve_access_index)) /* the field is found by name when the program is loaded */;

enum iou_loop_flags___ringstep {
	IOU_LOOP_TIMEOUT___ringstep = 1,
	IOU_LOOP_TIMEOUT_ABS___ringstep = 2,
};

struct io_uring_bpf_ops___ringstep {
	int (*loop_step)(struct iou_ctx___ringstep *ctx, struct iou_loop_params___ringstep *params);
	__u32 ring_fd;
};

extern int bpf_io_uring_submit_sqes___ringstep(struct iou_ctx___ringstep *ctx, __u32 count) __ksym;
extern __u8 *bpf_io_uring_get_region___ringstep(struct iou_ctx___ringstep *ctx, __u32 id, const __u64 rdwr_buf_size) __ksym;

/*
 * Keeps clang from moving accesses through this pointer out of the branch that it is used in. Work for a rare branch should not be done in every
 * turn. And the verifier refuses a program that can reach an access to a field which the kernel does not have.
 */
#define ringstep__not_in_advance(pointer) asm volatile("" : "+r"(pointer))

/* The ring, for functions called in a turn, and the other data that a turn needs from its engine. */
typedef struct iou_ctx___ringstep ringstep__ring;
struct ringstep__engine {
	ringstep__ring *ring;
	struct iou_loop_params___ringstep *params;
	__u32 cq_wait_idx; /* as in the parameters, which get it when the call ends */
};

#define ringstep__geometry(turn) ringstep_geometry
#define ringstep__geometry_of(ring) ringstep_geometry

static __always_inline void ringstep__engine_of(struct ringstep__engine *engine, ringstep__ring *ring)
{
	engine->ring = ring;
}

/* Submits the first `count` claimed SQEs to the kernel. Returns how many it took, or a negative errno. */
static __always_inline int ringstep__submit_sqes(struct ringstep__engine *engine, __u32 count)
{
	return bpf_io_uring_submit_sqes___ringstep(engine->ring, count);
}

static __always_inline void ringstep__set_wait(struct ringstep__engine *engine, __u32 cq_index)
{
	engine->cq_wait_idx = cq_index;
}

struct task_struct___ringstep {
	void *task_works;
} __attribute__((preserve_access_index));

/*
 * Returns true if the task has work that it puts off until it leaves the kernel. That is the last part of closing a file. The file was
 * closed by a request of the loop, or was already closed and then lost its last user, a request. Linux 7.1 to 7.3 let a loop sleep
 * without doing this work, but do it between two turns without a sleep.
 */
static __always_inline bool ringstep__work_pending(const struct ringstep__engine *engine)
{
	(void)engine;
	return ((struct task_struct___ringstep *)bpf_get_current_task_btf())->task_works;
}

/* The list of deferred work in the kernel's struct io_ring_ctx. It is a queue since Linux 7.3. It was two stacks before, and one in Linux 6.12. */
struct ringstep__node {
	void *next;
};
struct io_ring_ctx___ringstep_queue {
	struct {
		struct ringstep__node *tail;
		struct ringstep__node stub;
	} work_list;
} __attribute__((preserve_access_index));
struct io_ring_ctx___ringstep_stacks {
	struct {
		struct ringstep__node *first;
	} work_llist, retry_llist;
} __attribute__((preserve_access_index));
struct io_ring_ctx___ringstep_stack {
	struct {
		struct ringstep__node *first;
	} work_llist;
} __attribute__((preserve_access_index));
extern void *bpf_rdonly_cast(const void *pointer, __u32 type) __ksym;

/*
 * Returns true if the ring or the task has work that the kernel does only between two calls of the program, such as completing a receive for
 * which data has arrived. If a run ends without another call, this work remains undone. The function also returns true if the kernel keeps the
 * work in a place that the kit does not know.
 */
static __always_inline bool ringstep__kernel_owes_work(const struct ringstep__engine *engine)
{
	if (bpf_core_field_exists(struct io_ring_ctx___ringstep_queue, work_list)) {
		const struct io_ring_ctx___ringstep_queue *ring =
			bpf_rdonly_cast(engine->ring, bpf_core_type_id_kernel(struct io_ring_ctx___ringstep_queue));

		if (ring->work_list.tail != &ring->work_list.stub)
			return true;
	} else if (bpf_core_field_exists(struct io_ring_ctx___ringstep_stacks, retry_llist)) {
		const struct io_ring_ctx___ringstep_stacks *ring =
			bpf_rdonly_cast(engine->ring, bpf_core_type_id_kernel(struct io_ring_ctx___ringstep_stacks));

		if (ring->work_llist.first || ring->retry_llist.first)
			return true;
	} else if (bpf_core_field_exists(struct io_ring_ctx___ringstep_stack, work_llist)) {
		const struct io_ring_ctx___ringstep_stack *ring =
			bpf_rdonly_cast(engine->ring, bpf_core_type_id_kernel(struct io_ring_ctx___ringstep_stack));

		if (ring->work_llist.first)
			return true;
	} else {
		return true;
	}
	return ringstep__work_pending(engine);
}

extern int bpf_io_uring_run_work___ringstep(struct iou_ctx___ringstep *ctx, __u32 min) __ksym __weak;

/* Returns whether the kernel can do the ring's deferred work during a call (kernel/next). The value is a constant when the program is loaded. */
static __always_inline bool ringstep__can_run_work(void)
{
	return bpf_ksym_exists(bpf_io_uring_run_work___ringstep);
}

/*
 * Lets the kernel do some of the ring's deferred work, such as completing a receive whose data has arrived. The kernel does at least `min`
 * pieces of it, or all if there are fewer. Returns how many completions are in the CQ, or a negative number if the call should end. A
 * wake-up makes it return a negative number, so no wake-up gets lost. Call it only where ringstep__can_run_work() returns true.
 */
static __always_inline int ringstep__run_work(const struct ringstep__engine *engine, __u32 min)
{
	return bpf_io_uring_run_work___ringstep(engine->ring, min);
}

/*
 * True if the verifier can follow a loop around the loops of a step. A verifier that has this type knows which states belong to a loop, and soon
 * finds that they repeat. The verifier of Linux 6.12 does not have it, and reaches its limit with such a loop around gate's step, so each call
 * makes one turn there. The value is a constant when the program is loaded.
 */
struct bpf_scc_info___ringstep {};
#define RINGSTEP__VERIFIER_NESTS_LOOPS bpf_core_type_exists(struct bpf_scc_info___ringstep)

#define RINGSTEP__IS_VERIFIED true
/* True if a walk over completions may submit. The verifier of Linux 6.12 reaches its limit with that in large loops on unusual rings. */
#define RINGSTEP__WALK_MAY_SUBMIT(turn) ((turn)->usual || RINGSTEP__VERIFIER_NESTS_LOOPS)
#define RINGSTEP__WAKES_IN_CQ false
/* Returns false, because loops in the kernel are woken up without a completion. */
static __always_inline bool ringstep__swallow_wake(const struct ringstep__engine *engine, const __u8 *cqe)
{
	(void)engine;
	(void)cqe;
	return false;
}

/* Returns false, because the CQ never contains a wake-up. */
static __always_inline bool ringstep__wakes_pending(const struct ringstep__engine *engine)
{
	(void)engine;
	return false;
}

/*
 * True if a wait with a deadline needs a request, because the kernel's loops cannot wait with a timeout. No released kernel can; see
 * timer.bpf.h. It is a constant when the program is loaded, because the kernel's BTF decides it.
 */
#define RINGSTEP__TIMER_IS_A_REQUEST                                                                                           \
	(!bpf_core_enum_value_exists(enum iou_loop_flags___ringstep, IOU_LOOP_TIMEOUT_ABS___ringstep))
static __always_inline void ringstep__set_deadline(struct ringstep__engine *engine, __u64 deadline)
{
	/* The kernel clears the flags after each wait. The deadline and the timeout use the ring's clock, CLOCK_MONOTONIC. */
	struct iou_loop_params___ringstep *params = engine->params;

	if (RINGSTEP__TIMER_IS_A_REQUEST || deadline == RINGSTEP_NO_DEADLINE)
		return;
	ringstep__not_in_advance(params);
	params->timeout_ns = deadline;
	params->flags = IOU_LOOP_TIMEOUT___ringstep | IOU_LOOP_TIMEOUT_ABS___ringstep;
}

/* Lets the wait at the end of the turn begin with up to `nanoseconds` of busy polling, if the kernel can do that. See napi.bpf.h. */
static __always_inline void ringstep__set_busy_poll(struct ringstep__engine *engine, __u32 nanoseconds)
{
	struct iou_loop_params___ringstep *params = engine->params;

	if (!bpf_core_field_exists(struct iou_loop_params___ringstep, busy_poll_ns))
		return;
	ringstep__not_in_advance(params);
	params->busy_poll_ns = nanoseconds;
}

/* Forgets how the last turn wanted to wait, if the next one follows without a wait. The kernel does so after each wait. */
static __always_inline void ringstep__forget_wait(struct ringstep__engine *engine)
{
	struct iou_loop_params___ringstep *params = engine->params;

	if (!RINGSTEP__TIMER_IS_A_REQUEST) {
		ringstep__not_in_advance(params);
		params->flags = 0;
	}
	ringstep__set_busy_poll(engine, 0);
}

/* Returns true if the engine does the submit at the end of a step together with the wait. The kernel does not. */
static __always_inline bool ringstep__submits_at_end(struct ringstep__engine *engine)
{
	(void)engine;
	return false;
}

/* The kernel runs steps and completes requests in one task, so the words that they share need no ordering. */
#define ringstep__ring_load(word) (*(word))
#define ringstep__ring_store(word, value) (*(word) = (value))

/*
 * Read and write a field of the state that another thread of the application reads or writes while the loop runs. The application uses
 * RegionView::load() and RegionView::store(). Whoever reads the stored value also sees everything that the step has written before it.
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

/* A store before a full barrier */
#define ringstep__store_fully(field, value) ((void)__sync_lock_test_and_set(field, value))

#define RINGSTEP__TRACE(turn, ...) ((void)(turn)) /* the kernel does not trace */

/*
 * Returns 0, of which the verifier knows nothing: to it, the difference of two pointers is any number. A count that begins as a known
 * number has another known number in each iteration of a loop, so no two iterations look alike. A count to which this zero was added
 * has no known number in any of them. Unlike a field of a region, a local variable keeps its value whatever other threads write.
 */
static __always_inline __u64 ringstep__unknown_zero(void)
{
	__u64 zero;

	asm volatile("%0 = r10\n\t%0 -= r10" : "=r"(zero));
	return zero;
}

/*
 * Returns `number`, of which the verifier of Linux 6.12 then knows nothing any more. It costs no instruction on x86-64 and arm64: the number
 * is "converted" to the byte order that it has.
 */
static __always_inline __u32 ringstep__forget(__u32 number)
{
	__u64 wide = number;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	asm("%0 = le64 %0" : "+r"(wide));
#else
	asm("%0 = be64 %0" : "+r"(wide));
#endif
	return (__u32)wide;
}

/*
 * Returns one less than `count`. When a constant is added to a register, the verifier remembers how the register relates to its old value. Two
 * states with different relations count as different, so the verifier would follow the loop again. It forgets the relation when a second
 * constant is added.
 */
static __always_inline __s64 ringstep__one_less(__s64 count)
{
	asm volatile("%0 += 1\n\t%0 += -2" : "+r"(count));
	return count;
}

/* Part of the condition of a C loop. It becomes false only at the kernel's limits; see ringstep_while(). */
#if __clang_major__ >= 19
#define ringstep__may_goto(label) asm volatile goto("may_goto %l[" #label "]" :: ::label)
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ringstep__may_goto(label)                                                                                              \
	asm volatile goto("1: .byte 0xe5; .byte 0; .long ((%l[" #label "] - 1b - 8) / 8) & 0xffff; .short 0" :: ::label)
#else
#define ringstep__may_goto(label)                                                                                              \
	asm volatile goto("1: .byte 0xe5; .byte 0; .long (((%l[" #label "] - 1b - 8) / 8) & 0xffff) << 16; .short 0" :: ::label)
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
 * Marks a function that the verifier follows only once, regardless of its calls and their arguments. This keeps the verifier's work small
 * in a large loop. The verifier knows only the types of the arguments. Numbers may have any value. Pointers must point to structs of the
 * state or to an SQE, and must be marked with ringstep_arg_nonnull. The function must return a number, and cannot take the turn.
 *
 * Example: ringstep_apart int take(struct my_state *state ringstep_arg_nonnull, __u32 slot)
 */
#define ringstep_apart __noinline
#define ringstep_arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))

#endif /* RINGSTEP_TARGET_KERNEL_BPF_H */
