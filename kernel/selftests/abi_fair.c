// SPDX-License-Identifier: GPL-2.0
/* What a task usually does by sleeping, a loop that never sleeps must do, too. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void *run_nops(void *arg)
{
	struct setup *setup = arg;

	make_setup_with(setup, 8, 16, IORING_SETUP_SQ_REWIND);
	memset(setup->ring.sqes, 0, sizeof(*setup->ring.sqes)); /* a nop */
	CHECK_EQ(run_plan(setup, (struct plan){.submit = 1, .submit_turns = ~0U, .reap = 8}), 0);
	end_setup(setup);
	return NULL;
}

/* Returns the id of the BTF that a map's object came with. The map holds it until its memory is freed. */
static __u32 btf_of(const struct bpf_map *map)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	NEED(bpf_map_get_info_by_fd(bpf_map__fd(map), &info, &size));
	return info.btf_id;
}

static bool btf_is_gone(__u32 id)
{
	const int fd = bpf_btf_get_fd_by_id(id);

	if (fd >= 0)
		close(fd);
	return fd == -ENOENT;
}

/*
 * The memory of a struct_ops map is freed after a grace period of RCU Tasks, for which every task has to sleep or to report that it is in no
 * trampoline. The limit of 20 seconds is long: such a grace period takes one or two where all tasks do their part.
 */
static void rcu_tasks_goes_on(void)
{
	static struct setup busy;
	struct ring ring;
	struct loop loop;
	pthread_t thread;
	unsigned turns;

	if (lacks(ONLY_IN_OURS))
		SKIP("a loop of kernels up to 7.3 that does not sleep holds up RCU Tasks");
	pthread_create(&thread, NULL, run_nops, &busy);
	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	CHECK(EVENTUALLY(busy.ring.plan && *(volatile unsigned *)&busy.ring.plan->turns > 1000));
	for (int i = 0; i < 2; i++) {
		__u32 id;

		NEED(load_loop(&loop, &ring));
		id = btf_of(loop.map);
		CHECK(!btf_is_gone(id));
		free_loop(&loop);
		CHECK(EVENTUALLY(btf_is_gone(id)));
	}
	turns = *(volatile unsigned *)&busy.ring.plan->turns;
	CHECK(EVENTUALLY(*(volatile unsigned *)&busy.ring.plan->turns > turns)); /* it is still running */
	*(volatile unsigned *)&busy.ring.plan->stop_after = 1;
	pthread_join(thread, NULL);
	close_ring(&ring);
}

const struct test fair_tests[] = {
	TEST(rcu_tasks_goes_on),
	END_OF_TESTS,
};
