// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What the kit promises for both engines, used once. */
#include <ringstep/loop.bpf.h>

#include "both_worlds.h"

RINGSTEP_LOOP(both_worlds, struct both_worlds)
{
	struct io_uring_cqe *cqe;
	__u64 i;
	int n;

	ringstep_for_each_cqe(turn, cqe) {
		state->reading = 0;
		if (cqe->res < 0 || cqe->user_data != state->rounds + 1)
			return ringstep_stop(turn, -1);
		state->rounds++;
	}
	if (state->rounds == 2)
		return ringstep_stop(turn, 0);
	if (state->reading)
		return ringstep_wait(turn, 1);

	state->sum_for = state->last_for = state->empty_for = state->sum_repeat = state->sum_while = 0;
	bpf_for(i, 3, state->count) {
		state->sum_for += i;
		state->last_for = i;
	}
	bpf_for(i, 5, 5)
		state->empty_for++;
	bpf_for(i, 0, (8 << 20) + 1) /* one more than the kernel allows */
		state->empty_for++;
	state->sum_negative = 0;
	bpf_for(n, -2, 1)
		state->sum_negative += n;
	state->shrinking = 10;
	bpf_for(i, 0, state->shrinking)
		state->shrinking--;
	bpf_repeat(7)
		state->sum_repeat++;
	ringstep_while (state->sum_while < state->count)
		state->sum_while++;

	state->now = bpf_ktime_get_ns();
	state->since_boot = bpf_ktime_get_boot_ns();
	state->international = bpf_ktime_get_tai_ns();
	state->later = bpf_ktime_get_ns();

	state->added = 40;
	state->before_add = __sync_fetch_and_add(&state->added, 2);
	state->ored = 1;
	__sync_fetch_and_or(&state->ored, 6);
	state->anded = 7;
	__sync_fetch_and_and(&state->anded, 6);
	state->xored = 7;
	__sync_fetch_and_xor(&state->xored, 5);
	state->swapped = 1;
	state->before_swap = __sync_lock_test_and_set(&state->swapped, 2);
	state->compared = 1;
	__sync_val_compare_and_swap(&state->compared, 1, 3);

	ringstep_store(&state->stored, state->rounds + 100);
	state->loaded = ringstep_load(&state->stored);
	state->offset = offsetof(struct both_worlds, rounds);
	state->address = ringstep_address(turn, &state->rounds);
	if (unlikely(!state->count))
		barrier();
	bpf_printk("both worlds: round %llu", state->rounds);

	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_nop(sqe);
	ringstep_sqe_set_data64(sqe, state->rounds + 1);
	state->reading = 1;
	return ringstep_submit_and_wait(turn, 1);
}
