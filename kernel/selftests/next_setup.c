// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "next_setup.h"

#include <string.h>

void need_next(unsigned features)
{
	if (features & ~next_features())
		SKIP("this kernel lacks what kernel/next adds, or a part of it");
}

void make_next_setup(struct setup *setup, unsigned features, unsigned flags)
{
	make_next_setup_with(setup, features, 8, 16, flags);
}

void make_next_setup_with(struct setup *setup, unsigned features, unsigned sq_entries, unsigned cq_entries, unsigned flags)
{
	need_next(features);
	NEED(open_ring(&setup->ring, sq_entries, cq_entries, LOOP_RING | flags));
	NEED(add_region(&setup->ring, sizeof(*setup->ring.next_plan)));
	NEED(load_loop_from(&setup->loop, &setup->ring, "next.bpf.o"));
	NEED(attach_loop(&setup->loop));
}

void clear_plan(struct setup *setup)
{
	memset(setup->ring.next_plan, 0, sizeof(*setup->ring.next_plan));
}

int run_wait(struct setup *setup, unsigned turns, struct next_wait wait)
{
	clear_plan(setup);
	setup->ring.next_plan->turns_wanted = turns;
	setup->ring.next_plan->wait[0] = wait;
	return enter(setup);
}

void register_buffers(struct setup *setup, const struct iovec *buffers, unsigned count)
{
	NEED(sys_register(setup->ring.fd, IORING_REGISTER_BUFFERS, buffers, count));
}

int copy_once(struct setup *setup, struct next_copy copy)
{
	struct next_plan *plan = setup->ring.next_plan;

	plan->copies = 1;
	plan->copy[0] = copy;
	plan->turns = 0;
	plan->turns_wanted = 1;
	CHECK_EQ(enter(setup), 0);
	return plan->copy[0].result;
}

__u8 pattern(size_t at)
{
	return (__u8)(at * 7 + at / 256 * 13 + at / 65536 * 31);
}

void fill(__u8 *memory, size_t size)
{
	for (size_t i = 0; i < size; i++)
		memory[i] = pattern(i);
}

size_t count_wrong(const struct setup *setup, size_t first, size_t count)
{
	size_t wrong = 0;

	for (size_t at = 0; at < count; at++)
		wrong += setup->ring.next_plan->data[at] != pattern(first + at);
	return wrong;
}
