// SPDX-License-Identifier: GPL-2.0
/* The tasks that carry out a step's requests: the one that runs the loop, and workers of io-wq. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <linux/capability.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A request has the capabilities of the task that runs the loop, although a BPF program submits it. */
static void no_capabilities_from_bpf(void)
{
	struct setup setup;
	struct io_uring_sqe *sqe;
	int mark = 1, sock;

	if (lacks(703))
		SKIP("before 7.3, the kernel takes the request for a call by BPF");
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	NEED(sock);
	make_setup(&setup);
	drop_capabilities(1ULL << CAP_NET_ADMIN | 1ULL << CAP_NET_RAW);
	CHECK_EQ(setsockopt(sock, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ? -errno : 0, -EPERM);
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = sock;
	sqe->cmd_op = SOCKET_URING_OP_SETSOCKOPT;
	sqe->level = SOL_SOCKET;
	sqe->optname = SO_MARK;
	sqe->optlen = sizeof(mark);
	sqe->optval = (__u64)(uintptr_t)&mark;
	CHECK_EQ(run_plan(&setup, submit_and_reap(1)), 0);
	CHECK_EQ(setup.ring.plan->last_res, -EPERM);
	close_ring(&setup.ring);
}

/* A step runs with migration disabled. The workers that its requests start must not inherit that. */
static void workers_may_migrate(void)
{
	struct setup setup;
	struct workers workers;

	if (lacks(ONLY_IN_OURS))
		SKIP("in kernels up to 7.3, workers inherit from the step that migration is disabled");
	make_setup(&setup);
	for (__u64 i = 1; i <= 4; i++) {
		struct io_uring_sqe *sqe = next_sqe(&setup.ring);

		sqe->flags = IOSQE_ASYNC;
		sqe->user_data = i;
	}
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 4, .submit_turns = 1, .reap = 8, .wait = 4, .stop_after = 4}), 0);
	CHECK_EQ(setup.ring.plan->user_data_sum, 10);
	NEED(look_at_workers(&workers));
	CHECK(workers.all > 0);
	CHECK_EQ(workers.pinned, 0);
	end_setup(&setup);
}

/*
 * A worker takes the ring's lock to look up the registered file that it splices from. In later kernels, it also takes the lock for the
 * requests that may be linked to the one that it has carried out: if the end of a link was not submitted with it, the link goes to a worker.
 * A step that polls for the results must not keep the lock.
 */
static void workers_get_the_lock(void)
{
	__u32 most_workers[2] = {1, 1};
	struct setup setup;
	int from[2], to[2];

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 do not release the ring's lock");
	NEED(pipe(from));
	NEED(pipe(to));
	make_setup(&setup);
	NEED(sys_register(setup.ring.fd, IORING_REGISTER_FILES, from, 1));
	/* The task starts workers between two turns, and every kernel releases the lock for that. So only the first request starts a worker. */
	NEED(sys_register(setup.ring.fd, IORING_REGISTER_IOWQ_MAX_WORKERS, most_workers, 2));
	for (unsigned int i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = next_sqe(&setup.ring);

		sqe->opcode = IORING_OP_SPLICE;
		sqe->splice_fd_in = 0;
		sqe->splice_flags = SPLICE_F_FD_IN_FIXED;
		sqe->splice_off_in = ~0ULL;
		sqe->fd = to[1];
		sqe->off = ~0ULL;
		sqe->len = 1;
		NEED(write(from[1], "x", 1));
		CHECK_EQ(run_plan(&setup,
				  (struct plan){.submit = 1, .submit_turns = 1, .reap = 8, .stop_after = 1, .wait = i == 0}),
			 0);
		CHECK_EQ(setup.ring.plan->last_res, 1);
	}

	fill_nops(&setup.ring, 3, 1);
	for (unsigned int i = 4; i < 7; i++)
		setup.ring.sqes[i].flags = IOSQE_IO_LINK;
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 1, .submit_turns = 3, .reap = 8, .stop_after = 3}), 0);
	CHECK_EQ(setup.ring.plan->user_data_sum, 6);
	end_setup(&setup);
}

const struct test tasks_tests[] = {
	TEST(no_capabilities_from_bpf),
	TEST(workers_may_migrate),
	TEST(workers_get_the_lock),
	END_OF_TESTS,
};
