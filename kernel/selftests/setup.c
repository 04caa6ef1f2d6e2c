// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "setup.h"

#include <errno.h>

void make_setup(struct setup *setup)
{
	make_setup_with(setup, 8, 16, 0);
}

void make_setup_with(struct setup *setup, unsigned sq_entries, unsigned cq_entries, unsigned flags)
{
	NEED(open_ring(&setup->ring, sq_entries, cq_entries, LOOP_RING | flags));
	NEED(add_plan(&setup->ring));
	NEED(add_loop(&setup->loop, &setup->ring));
}

void make_setup_at(struct setup *setup, struct plan *plan, unsigned flags)
{
	struct region_desc desc = {.size = 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = (__u64)(uintptr_t)plan};

	NEED(open_ring(&setup->ring, 8, 16, LOOP_RING | flags));
	setup->ring.plan = plan;
	NEED(register_region(setup->ring.fd, &desc));
	NEED(add_loop(&setup->loop, &setup->ring));
}

void end_setup(struct setup *setup)
{
	free_loop(&setup->loop);
	close_ring(&setup->ring);
}

int enter(struct setup *setup)
{
	return sys_enter(setup->ring.fd, 0, 0, IORING_ENTER_GETEVENTS);
}

int run_plan(struct setup *setup, struct plan plan)
{
	*setup->ring.plan = plan;
	return enter(setup);
}

struct plan stop_in_turn(unsigned turn)
{
	return (struct plan){.last_turn = turn, .last_result = 1};
}

struct plan submit_and_reap(unsigned count)
{
	return (struct plan){.submit = count, .submit_turns = 1, .reap = PLAN_MAX_REAPED, .wait = 1, .stop_after = count};
}

int any_ring(void)
{
	struct io_uring_params params = {};
	const int fd = sys_setup(8, &params);

	NEED(fd);
	return fd;
}

void check_refused(const char *object, const char *program, int ring_fd)
{
	const int status = load_refused(object, program, ring_fd);

	if (status == -EACCES || status == -EINVAL)
		return;
	fprintf(stderr, "%s: ", program);
	report(__FILE__, __LINE__, "load", status, -EACCES);
}
