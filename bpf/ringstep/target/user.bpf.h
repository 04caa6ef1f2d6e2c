/* SPDX-License-Identifier: MIT */
/*
 * The user engine's part of the kit. In a process, the step is an ordinary C function, and the engine calls io_uring_enter(2).
 *
 * This file includes no header of the C library, because a vmlinux.h may have been included before.
 */
#ifndef RINGSTEP_TARGET_USER_BPF_H
#define RINGSTEP_TARGET_USER_BPF_H

#include <ringstep/types.bpf.h>

#include <ringstep/c/user.h>

/* --- Replaces <bpf/bpf_helpers.h> ------------------------------------------------------------------------------------------ */

#undef __always_inline
#ifdef __OPTIMIZE__
#define __always_inline inline __attribute__((always_inline))
#else
#define __always_inline inline __attribute__((unused)) /* so that a debugger can step through it */
#endif
#undef __noinline
#define __noinline __attribute__((noinline))
#undef __weak
#define __weak __attribute__((weak))
#undef __hidden
#define __hidden __attribute__((visibility("hidden")))
#undef SEC
#define SEC(name)
#undef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#ifndef container_of
#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
#endif
#ifndef likely
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#endif
#undef barrier
#define barrier() asm volatile("" ::: "memory")
#undef barrier_var
#define barrier_var(variable) asm volatile("" : "+r"(variable))

#ifndef RINGSTEP__ITERATION /* tests count the iterations of each step */
#define RINGSTEP__ITERATION() ((void)0)
#define RINGSTEP__STEP_BEGINS() ((void)0)
#endif

/*
 * Like bpf_for() of libbpf: it counts in ints, evaluates the bounds again each time, and does nothing if the range is too long for the
 * kernel.
 */
static inline __attribute__((unused)) int ringstep__for_end(int start, int end)
{
	return (__s64)end - start > 8 << 20 ? start : end;
}
#define bpf_for(i, start, end)                                                                                                 \
	for (int ringstep__i = (int)(start), ringstep__end = ringstep__for_end(ringstep__i, (int)(end));                       \
	     ringstep__i < ringstep__end && ((i) = (__typeof__(i))ringstep__i, (i) >= (start) && (i) < (end));                 \
	     RINGSTEP__ITERATION(), ringstep__i++)
#define bpf_repeat(count)                                                                                                      \
	for (int ringstep__i = 0, ringstep__end = ringstep__for_end(0, (int)(count)); ringstep__i < ringstep__end;             \
	     RINGSTEP__ITERATION(), ringstep__i++)

struct ringstep__timespec {
	long seconds;
	long nanoseconds;
};
/* Functions of the C library and of liburing, under the kit's own names to avoid conflicts. */
extern int ringstep__clock_gettime(int clock, struct ringstep__timespec *time) __asm__("clock_gettime");
extern int ringstep__nanosleep(const struct ringstep__timespec *time, void *rest) __asm__("nanosleep");
extern int ringstep__dprintf(int fd, const char *format, ...) __asm__("dprintf") __attribute__((format(printf, 2, 3)));
extern int ringstep__io_uring_enter2(unsigned int fd, unsigned int to_submit, unsigned int min_complete, unsigned int flags,
				     void *argument, __SIZE_TYPE__ size) __asm__("io_uring_enter2");

static inline __attribute__((unused)) __u64 ringstep__clock_ns(int clock)
{
	struct ringstep__timespec now;

	ringstep__clock_gettime(clock, &now);
	return (__u64)now.seconds * 1000000000 + (__u64)now.nanoseconds;
}

/*
 * Marks functions that exist only for BPF programs. A loop that uses them must be declared with KERNEL_ONLY in ringstep_add_loop().
 * The attribute has no effect in GCC before 12 and clang before 14, where the linker reports an error that says less.
 */
#define RINGSTEP__KERNEL_ONLY                                                                                                  \
	__attribute__((unavailable("it exists in the kernel only: do without, or declare the loop KERNEL_ONLY in "             \
				   "ringstep_add_loop(), and it will have no user engine")))
#undef __ksym
#define __ksym RINGSTEP__KERNEL_ONLY
#undef __kconfig
#define __kconfig RINGSTEP__KERNEL_ONLY

/* The macros of a map's definition. Every map has an __uint(). */
#define __uint(name, value)                                                                                                    \
	_Static_assert(0, "BPF maps exist in the kernel only: do without, or declare the loop KERNEL_ONLY in "                 \
			  "ringstep_add_loop(), and it will have no user engine")
#define __ulong(name, value) __u64 name
#define __type(name, value) __typeof__(value) *name
#define __array(name, value) __typeof__(value) *name[]

#ifdef ___BPF_FUNC_MAPPER /* in <linux/bpf.h>: the names of all helpers */
#define ringstep__kernel_only_helper(helper, ...) extern void *bpf_##helper() RINGSTEP__KERNEL_ONLY;
___BPF_FUNC_MAPPER(ringstep__kernel_only_helper)
#undef ringstep__kernel_only_helper
#endif

/* The helpers that the user engine also has. bpf_printk() writes to stderr, with printf's formats but not the kernel's own (%pI4 …). */
#define bpf_ktime_get_ns() ringstep__clock_ns(1 /* CLOCK_MONOTONIC */)
#define bpf_ktime_get_boot_ns() ringstep__clock_ns(7 /* CLOCK_BOOTTIME */)
#define bpf_ktime_get_tai_ns() ringstep__clock_ns(11 /* CLOCK_TAI */)
#undef bpf_printk
#define bpf_printk(format, ...) ringstep__dprintf(2, format "\n", ##__VA_ARGS__)

/* --- Needed by the kit ----------------------------------------------------------------------------------------------------- */

typedef struct ringstep_user ringstep__ring;
struct ringstep__engine {
	ringstep__ring *ring;
	struct ringstep_geometry geometry; /* a copy, which no write to the regions can change in the compiler's eyes */
	__u32 cq_wait_idx;		   /* as in struct iou_loop_params; keeps its value from one turn to the next */
	__u32 wanted;			   /* ringstep_user.wanted when the turn began */
	bool special;			   /* the run is traced or needs barriers, unlike most runs */
	bool owes;			   /* the engine must submit at the end of the turn */
	__u32 may_spare;		   /* how many more turns may follow without an io_uring_enter() in between */
	__u64 deadline;			   /* the deadline of the wait at the end of the turn, or RINGSTEP_NO_DEADLINE */
};

#define ringstep__geometry(turn) ((turn)->engine.geometry)
#define ringstep__geometry_of(ring) ((ring)->geometry)

/* The kernel writes these words from other processors, and reads what the process has written before them. */
#define ringstep__ring_load(word) __atomic_load_n(word, __ATOMIC_ACQUIRE)
#define ringstep__ring_store(word, value) __atomic_store_n(word, value, __ATOMIC_RELEASE)

#define ringstep_load(field) __atomic_load_n(field, __ATOMIC_ACQUIRE)
#define ringstep_store(field, value) __atomic_store_n(field, value, __ATOMIC_RELEASE)
/* A store before a full barrier */
#define ringstep__store_fully(field, value)                                                                                    \
	do {                                                                                                                   \
		__atomic_store_n(field, value, __ATOMIC_SEQ_CST);                                                              \
		RINGSTEP__BARRIER_AFTER_STORE;                                                                                 \
	} while (0)
#ifdef __x86_64__
#define RINGSTEP__BARRIER_AFTER_STORE ((void)0) /* the store is one */
#else
#define RINGSTEP__BARRIER_AFTER_STORE __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#ifndef RINGSTEP__MOST_ITERATIONS
#define RINGSTEP__MOST_ITERATIONS (8U << 20) /* as in the kernel */
#endif
#define ringstep__may_loop (RINGSTEP__ITERATION(), true) /* the walk over completions ends by itself */
#define ringstep__while(condition)                                                                                             \
	for (__u32 ringstep__iterations = 0; (condition) && ringstep__iterations < RINGSTEP__MOST_ITERATIONS;                  \
	     RINGSTEP__ITERATION(), ringstep__iterations++)

static __always_inline __u64 ringstep__unknown_zero(void)
{
	return 0; /* there is no verifier */
}

#define ringstep__forget(number) (number)

/* There is no verifier, so the compiler decides what it inlines. */
#define ringstep_apart static __attribute__((unused))
#define ringstep_arg_nonnull

#define ringstep__not_in_advance(pointer) ((void)(pointer))

static __attribute__((cold, noinline, unused)) void
ringstep__trace(const struct ringstep_user *user, enum ringstep_trace_kind kind, __u32 first, __u32 count, int result)
{
	const struct ringstep_trace_event event = {.kind = kind, .first = first, .count = count, .result = result};

	user->trace(user, &event);
}

#define RINGSTEP__TRACE(turn, ...)                                                                                             \
	do {                                                                                                                   \
		if ((turn)->engine.special && unlikely((turn)->engine.ring->trace))                                            \
			ringstep__trace((turn)->engine.ring, __VA_ARGS__);                                                     \
	} while (0)

#define RINGSTEP__ENTER_EXT_ARG (1U << 3) /* IORING_ENTER_EXT_ARG */

#ifndef RINGSTEP__ENTER /* tests may replace it */
#define RINGSTEP__ENTER ringstep__io_uring_enter
#endif

/* Makes the system call directly on x86-64 and arm64. liburing's function would add a few nanoseconds to about 180 for a nop. */
static __always_inline int ringstep__io_uring_enter(__u32 ring, __u32 to_submit, __u32 min_complete, __u32 flags)
{
#if defined(__x86_64__) && !defined(__ILP32__)
	register unsigned long flags_register __asm__("r10") = flags;
	register unsigned long argument __asm__("r8") = 0;
	register unsigned long size __asm__("r9") = 0;
	long result = 426;

	__asm__ volatile("syscall"
			 : "+a"(result)
			 : "D"((unsigned long)ring), "S"((unsigned long)to_submit), "d"((unsigned long)min_complete),
			   "r"(flags_register), "r"(argument), "r"(size)
			 : "rcx", "r11", "memory");
	return (int)result;
#elif defined(__aarch64__) && !defined(__ILP32__)
	register unsigned long number __asm__("x8") = 426;
	register unsigned long x0 __asm__("x0") = ring;
	register unsigned long x1 __asm__("x1") = to_submit;
	register unsigned long x2 __asm__("x2") = min_complete;
	register unsigned long x3 __asm__("x3") = flags;
	register unsigned long x4 __asm__("x4") = 0;
	register unsigned long x5 __asm__("x5") = 0;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(number), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return (int)x0;
#else
	return ringstep__io_uring_enter2(ring, to_submit, min_complete, flags, (void *)0, 0);
#endif
}

/* Calls io_uring_enter(2). Returns its result, or a negative errno. */
static __always_inline int ringstep__enter(struct ringstep_user *user, __u32 to_submit, __u32 min_complete, __u32 flags)
{
	user->enters++;
	return RINGSTEP__ENTER(user->ring_fd, to_submit, min_complete, flags | user->enter_flags);
}

#ifndef RINGSTEP__ENTER_FOR /* tests may replace it */
#define RINGSTEP__ENTER_FOR ringstep__io_uring_enter_for
#endif

/* Calls io_uring_enter(2), and waits for up to `nanoseconds`. Returns its result, or a negative errno: -ETIME after that time. */
static __attribute__((noinline, unused)) int ringstep__io_uring_enter_for(__u32 ring, __u32 to_submit, __u32 min_complete,
									  __u32 flags, __u64 nanoseconds)
{
	const __s64 time[2] = {(__s64)(nanoseconds / 1000000000), (__s64)(nanoseconds % 1000000000)};
	/* struct io_uring_getevents_arg: no signal mask, and a struct __kernel_timespec */
	const __u64 argument[3] = {0, 0, (__u64)(unsigned long)time};

	return ringstep__io_uring_enter2(ring, to_submit, min_complete, flags | RINGSTEP__ENTER_EXT_ARG, (void *)argument,
					 sizeof(argument));
}

static __always_inline int ringstep__enter_for(struct ringstep_user *user, __u32 to_submit, __u32 min_complete, __u32 flags,
					       __u64 nanoseconds)
{
	user->enters++;
	return RINGSTEP__ENTER_FOR(user->ring_fd, to_submit, min_complete, flags | user->enter_flags, nanoseconds);
}

static __always_inline void ringstep__engine_of(struct ringstep__engine *engine, ringstep__ring *ring)
{
	engine->ring = ring;
	engine->geometry = ring->geometry;
	engine->cq_wait_idx = 0;
	engine->wanted = 0;
	engine->special = true;
	engine->owes = false;
	engine->may_spare = 0;
	engine->deadline = RINGSTEP_NO_DEADLINE;
}

static __always_inline int ringstep__submit_sqes(struct ringstep__engine *engine, __u32 count)
{
	return ringstep__enter(engine->ring, count, 0, 0);
}

static __always_inline void ringstep__set_wait(struct ringstep__engine *engine, __u32 cq_index)
{
	engine->cq_wait_idx = cq_index;
}

#define RINGSTEP__IS_VERIFIED false
#define RINGSTEP__WALK_MAY_SUBMIT(turn) false /* the engine submits at the end of the turn */
#define RINGSTEP__WAKES_IN_CQ true
/* Returns true if the current completion is a wake-up. Then counts it as seen, and the caller must drop it. */
static __always_inline bool ringstep__swallow_wake(struct ringstep__engine *engine, const __u8 *cqe)
{
	if (likely(*(const __u64 *)cqe != engine->ring->wake_tag))
		return false;
	engine->ring->wakes_seen++;
	return true;
}

/* Returns true if the CQ may contain a wake-up now. */
static __always_inline bool ringstep__wakes_pending(const struct ringstep__engine *engine)
{
	return unlikely(ringstep_load(&engine->ring->wakes_sent) != engine->ring->wakes_seen);
}

/* A wait with a deadline needs no request, because io_uring_enter() takes a timeout. */
#define RINGSTEP__TIMER_IS_A_REQUEST false
static __always_inline void ringstep__set_deadline(struct ringstep__engine *engine, __u64 deadline)
{
	/* A deadline that no clock reaches counts as none, so that the time left is never too large for the kernel. */
	engine->deadline = deadline > RINGSTEP__LAST_DEADLINE ? RINGSTEP_NO_DEADLINE : deadline;
}

/* Does nothing, because io_uring_enter() polls before each wait by itself. */
static __always_inline void ringstep__set_busy_poll(struct ringstep__engine *engine, __u32 nanoseconds)
{
	(void)engine;
	(void)nanoseconds;
}

/* Returns true: the kernel does its deferred work in io_uring_enter(), which comes after the step. */
static __always_inline bool ringstep__kernel_owes_work(const struct ringstep__engine *engine)
{
	(void)engine;
	return true;
}

/* Returns true, because one io_uring_enter() submits and waits. */
static __always_inline bool ringstep__submits_at_end(struct ringstep__engine *engine)
{
	engine->owes = true;
	return true;
}

#endif /* RINGSTEP_TARGET_USER_BPF_H */
