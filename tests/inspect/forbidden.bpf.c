// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What the inspection of loops refuses, one thing for each CASE. The verifier accepts all of it from a privileged process, because its
 * concern is that the kernel's memory stays whole. A line "//! case: text" is followed by what the inspection has to say; OK: nothing.
 */
#include <ringstep/loop.bpf.h>

#include "forbidden.h"

#define HIDE(variable) asm volatile("" : "+r"(variable))

#if CASE == 7 || CASE == 8
struct task_struct___forbidden {
	int pid;
	void *stack;
} __attribute__((preserve_access_index));
#endif

#if CASE == 12 || CASE == 13
static __noinline int forbidden_put(struct forbidden *state, __u64 value)
{
	state->words[2] = value;
	return 0;
}
#endif

#if CASE == 14
static __noinline int forbidden_take_out(__u64 *out, struct forbidden *state)
{
	*out = (__u64)&state->words[3];
	return 0;
}
#endif

#if CASE == 22
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
#endif

#if CASE == 23
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} forbidden_numbers SEC(".maps");
#endif

#if CASE == 35
static const volatile __u32 forbidden_table[4] = {1, 2, 3, 4};
#endif

/* What is said of a case stands on one line. */
/* clang-format off */
RINGSTEP_LOOP(forbidden, struct forbidden)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe)
		state->count++;
#if CASE == 0 //! 0: OK
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);
	__u32 i;

	ringstep_prep_read(sqe, 0, ringstep_address(turn, &state->words[1]), 8, 0);
	bpf_for(i, 0, state->count)
		state->words[i & 15] += bpf_ktime_get_ns();
	ringstep_submit(turn);
#elif CASE == 1	 //! 1: leak: it stores the kernel's address of a region in the memory region
	state->words[0] = (__u64)state;
#elif CASE == 2	 //! 2: leak: it stores the kernel's address of a region in the SQ region
	struct io_uring_sqe *sqe = (struct io_uring_sqe *)turn->sq;

	sqe->addr = (__u64)state->words; /* instead of ringstep_address() */
#elif CASE == 3	 //! 3: leak: it stores the kernel's address of a region in a region
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	sqe->addr = (__u64)sqe;
#elif CASE == 4	 //! 4: leak: it stores an address of the stack in the memory region
	__u64 local = state->words[1];

	asm volatile("" : "+m"(local));
	state->words[0] = (__u64)&local;
#elif CASE == 5	 //! 5: leak: it stores a kernel pointer in the memory region
	state->words[0] = (__u64)bpf_get_current_task_btf();
#elif CASE == 6	 //! 6: leak: it stores a kernel pointer in the memory region
	state->words[0] = (__u64)turn->engine.ring;
#elif CASE == 7	 //! 7: leak: it stores a number made of kernel addresses or kernel data in the memory region
	state->words[0] = (__u64)((struct task_struct___forbidden *)bpf_get_current_task_btf())->pid;
#elif CASE == 8	 //! 8: leak: it stores a number made of kernel addresses or kernel data in the memory region
	state->words[0] = (__u64)((struct task_struct___forbidden *)bpf_get_current_task_btf())->stack;
#elif CASE == 9	 //! 9: leak: it stores a number made of kernel addresses or kernel data in the memory region
	state->words[0] = ((__u64)turn->sq - (__u64)state) ^ 0x1234;
#elif CASE == 10 //! 10: leak: it stores a number made of kernel addresses or kernel data in the memory region
	state->index = (__u32)(__u64)state;
#elif CASE == 11 //! 11: leak: it stores a number made of kernel addresses or kernel data in the memory region
	state->words[0] = (__u64)turn->sq - (__u64)state;
#elif CASE == 12 //! 12: leak: it stores the kernel's address of a region in the memory region
	forbidden_put(state, (__u64)turn->cq);
#elif CASE == 13 //! 13: OK
	forbidden_put(state, (__u64)&state->words[4] - (__u64)state);
#elif CASE == 14 //! 14: leak: it stores the kernel's address of a region in the memory region
	__u64 out;

	forbidden_take_out(&out, state);
	state->words[0] = out;
#elif CASE == 15 //! 15: leak: it stores the kernel's address of a region in the memory region
	__u64 kept[2] = {0, (__u64)state};

	asm volatile("" : "+m"(kept));
	state->words[0] = kept[1];
#elif CASE == 16 //! 16: leak: it stores the kernel's address of a region in the memory region
	__sync_fetch_and_add(&state->words[0], (__u64)state);
#elif CASE == 17 //! 17: leak: it stores the kernel's address of a region in the memory region
	state->words[1] = __sync_lock_test_and_set(&state->words[0], (__u64)state);
#elif CASE == 18 //! 18: leak: it stores the address of a map in the memory region
	state->words[0] = (__u64)&ringstep_geometry;
#elif CASE == 19 //! 19: uninit: it stores stack memory that it may not have written in the memory region
	__u64 words[4] __attribute__((uninitialized));

	if (state->count)
		words[2] = 1;
	asm volatile("" : "+m"(words[2]));
	state->words[0] = words[2];
#elif CASE == 20 //! 20: OK
	__u64 words[4];

	if (state->count)
		words[2] = 1;
	asm volatile("" : "+m"(words));
	state->words[0] = words[2];
#elif CASE == 21 //! 21: call: it calls bpf_get_prandom_u32(), which is not on the list of calls
	state->index = bpf_get_prandom_u32();
#elif CASE == 22 //! 22: call: it calls the kfunc bpf_rcu_read_unlock(), which is not on the list of calls
	bpf_rcu_read_lock();
	state->count++;
	bpf_rcu_read_unlock();
#elif CASE == 23 //! 23: call: it uses the map forbidden_numbers, which lives outside of the three regions
	const __u32 key = 0;
	__u64 *number = bpf_map_lookup_elem(&forbidden_numbers, &key);

	if (number)
		++*number;
#elif CASE == 24 //! 24: leak: it prints a kernel pointer
	bpf_printk("%llx", (__u64)state);
#elif CASE == 25 //! 25: call: it calls bpf_trace_printk(), which is not on the list of calls
	bpf_printk("%u", state->count);
#elif CASE == 30 //! 30: index: it writes to a place that a number in a region decides, and no mask bounds it
	__u32 index = state->index;

	HIDE(index);
	if (index < 16)
		state->words[index] = 1;
#elif CASE == 31 //! 31: index: it reads a place that a number in a region decides, and no mask bounds it
	__u32 index = *turn->head;

	HIDE(index);
	if (index < 16)
		state->sum += *(__u64 *)(turn->cq + ringstep_geometry.cqes + index * 16);
#elif CASE ==                                                                                                                  \
	32 //! 32: index: it writes to a place that a number in a region decides, and the mask lets it be up to 368 bytes behind the state
	state->words[state->index & 63] = 1; /* within the page, which is all that the verifier asks for */
#elif CASE == 33 //! 33: OK
	state->words[state->index & 15] = 1;
	state->sum += state->words[state->words[2] % 16];
	state->sum += *(__u64 *)(turn->cq + ringstep_geometry.cqes + ((*turn->head & ringstep_geometry.cq_mask) << 4));
#elif CASE == 36 //! 36: OK
	__u8 bytes[8] = {0};
	__u32 i;

	bpf_for(i, 0, 8) {
		__u64 place = state->index + i, room, mask;

		barrier_var(place);
		if (place >= 64)
			break;
		room = 63 - place;
		barrier_var(room);
		mask = ~((__s64)room >> 63);
		barrier_var(mask);
		place &= mask;
		bytes[i & 7] = ((__u8 *)state)[place];
	}
	asm volatile("" : "+m"(bytes));
	state->sum += bytes[3];
	state->words[state->index & 15]++;
#elif CASE == 34 //! 34: index: it writes to a place that a number in a region decides, and no mask bounds it
	__u32 i;

	bpf_for(i, 0, state->count) {
		HIDE(i);
		if (i < 16)
			state->words[i] = 1;
	}
#elif CASE == 35 //! 35: index: it reads a place that a number in a region decides, and no mask bounds it
	__u32 index = state->index;

	HIDE(index);
	if (index < 4)
		state->sum += forbidden_table[index];
#endif
	return ringstep_stop(turn, 0);
}
/* clang-format on */
