// SPDX-License-Identifier: GPL-2.0
/*
 * The interface of loops, by system calls alone: what is refused and how, what io_uring_enter() returns, how a loop ends, and that
 * nothing stays behind. It is the same for all kernels that have it, so these tests pass in those that came with it as well.
 *
 * Usage: abi OBJECTS [TEST…]      runs all tests, or those named
 *        abi OBJECTS --list
 * OBJECTS is the folder with step.bpf.o, refused.bpf.o and proprietary.bpf.o. Has to be run as root.
 */
#define _GNU_SOURCE
#include "check.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A ring, a plan, a loop on it. */
struct setup {
	struct ring ring;
	struct loop loop;
};

static void make_setup(struct setup *setup, unsigned entries, unsigned cq_entries, unsigned flags)
{
	NEED(open_ring(&setup->ring, entries, cq_entries, flags));
	NEED(add_plan(&setup->ring));
	NEED(add_loop(&setup->loop, &setup->ring));
}

static int enter(struct setup *setup)
{
	return sys_enter(setup->ring.fd, 0, 0, IORING_ENTER_GETEVENTS);
}

/* --- Attaching: refusals --------------------------------------------------------------------------------------------------------- */

static int attach_to(unsigned flags)
{
	struct ring ring;
	struct loop loop;
	int status;

	NEED(open_ring(&ring, 8, 16, flags));
	NEED(load_loop(&loop, &ring));
	status = attach_loop(&loop);
	free_loop(&loop);
	close_ring(&ring);
	return status;
}

static void attach_needs_deferred_taskrun(void)
{
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY), -EOPNOTSUPP);
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SINGLE_ISSUER), -EOPNOTSUPP);
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_COOP_TASKRUN), -EOPNOTSUPP);
	CHECK_EQ(attach_to(LOOP_RING), 0);
	CHECK_EQ(attach_to(LOOP_RING & ~IORING_SETUP_NO_SQARRAY), 0);
	CHECK_EQ(attach_to(LOOP_RING | IORING_SETUP_SQ_REWIND), 0);
}

static void attach_refuses_polling(void)
{
	CHECK_EQ(attach_to(LOOP_RING | IORING_SETUP_IOPOLL), -EOPNOTSUPP);
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQPOLL), -EOPNOTSUPP);
}

static void attach_needs_a_ring(void)
{
	struct setup setup;
	struct ring wrong;
	int pipes[2];

	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	wrong = setup.ring;
	wrong.fd = 1000;
	NEED(load_loop(&setup.loop, &wrong));
	CHECK_EQ(attach_loop(&setup.loop), -EBADF);
	free_loop(&setup.loop);

	NEED(pipe(pipes));
	wrong.fd = pipes[0];
	NEED(load_loop(&setup.loop, &wrong));
	CHECK_EQ(attach_loop(&setup.loop), -EOPNOTSUPP);
	free_loop(&setup.loop);
}

static void a_ring_has_one_loop(void)
{
	struct setup setup;
	struct loop second;

	make_setup(&setup, 8, 16, LOOP_RING);
	NEED(load_loop(&second, &setup.ring));
	CHECK_EQ(attach_loop(&second), -EBUSY);
	detach_loop(&setup.loop);
	CHECK_EQ(attach_loop(&second), 0);
	setup.ring.plan->last_turn = 1;
	setup.ring.plan->last_result = 1;
	CHECK_EQ(enter(&setup), 0);
	free_loop(&second);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void a_loop_has_one_ring(void)
{
	struct setup setup;
	struct bpf_link *second;

	make_setup(&setup, 8, 16, LOOP_RING);
	/* The same ring: busy, for either reason. */
	second = bpf_map__attach_struct_ops(setup.loop.map);
	CHECK_EQ(second ? 0 : -errno, -EBUSY);

	/* The same map, its ring_fd now the name of another ring. In 7.1 up to 7.1.4 that is a hole, not to be tried. */
	if (!lacks(702)) {
		struct ring other;

		NEED(open_ring(&other, 8, 16, LOOP_RING));
		NEED(dup2(other.fd, setup.ring.fd));
		second = bpf_map__attach_struct_ops(setup.loop.map);
		CHECK_EQ(second ? 0 : -errno, -EBUSY);
	}
	free_loop(&setup.loop);
}

static void attach_again_after_detach(void)
{
	struct setup setup;

	make_setup(&setup, 8, 16, LOOP_RING);
	setup.ring.plan->last_turn = 1;
	setup.ring.plan->last_result = 1;
	for (int i = 1; i <= 3; i++) {
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(setup.ring.plan->turns, i);
		detach_loop(&setup.loop);
		/* Without a loop it is an ordinary ring. */
		fill_nops(&setup.ring, 1, 1);
		CHECK_EQ(sys_enter(setup.ring.fd, 1, 1, IORING_ENTER_GETEVENTS), 1);
		CHECK_EQ(setup.ring.plan->turns, i);
		NEED(attach_loop(&setup.loop));
	}
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void disabled_ring(void)
{
	struct setup setup;

	make_setup(&setup, 8, 16, LOOP_RING | IORING_SETUP_R_DISABLED);
	setup.ring.plan->last_turn = 1;
	setup.ring.plan->last_result = 1;
	CHECK_EQ(enter(&setup), -EBADFD);
	CHECK_EQ(setup.ring.plan->turns, 0);
	NEED(sys_register(setup.ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	CHECK_EQ(enter(&setup), 0);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* --- Loading: refusals ----------------------------------------------------------------------------------------------------------- */

static void verifier_refuses(void)
{
	static const char *const programs[] = {
		"write_far_past_params", "write_across_far_end", "write_past_params", "write_across_end", "write_before_params", "read_ring",
		"write_ring",        "read_third_argument", "write_argument",      "region_not_checked",
		"read_past_region",  "size_not_constant",   "not_a_ring",          "submit_without_sleep",
	};
	struct ring ring;

	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	CHECK_EQ(load_refused("refused.bpf.o", "harmless", ring.fd), 0);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		int status;

		if (kernel_is_next() && (strcmp(programs[i], "write_past_params") == 0 || strcmp(programs[i], "write_across_end") == 0))
			continue;
		/* Before 7.2 a program can look into it. */
		if (lacks(702) && strcmp(programs[i], "read_ring") == 0)
			continue;
		status = load_refused("refused.bpf.o", programs[i], ring.fd);
		if (status != -EACCES && status != -EINVAL) {
			fprintf(stderr, "%s: ", programs[i]);
			report(__FILE__, __LINE__, "load", status, -EACCES);
		}
	}
	CHECK_EQ(load_refused("proprietary.bpf.o", "harmless", ring.fd), -EINVAL);
}

static void load_needs_capabilities(void)
{
	struct ring ring;

	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	drop_capabilities(1ULL << CAP_SYS_ADMIN | 1ULL << CAP_BPF);
	CHECK_EQ(load_refused("refused.bpf.o", "harmless", ring.fd), -EPERM);
}

/* --- What io_uring_enter() returns ----------------------------------------------------------------------------------------------- */

static void return_values(void)
{
	static const struct {
		int step, enter;
	} cases[] = {{1, 0}, {2, -EINVAL}, {-1, -EINVAL}, {-EINTR, -EINVAL}, {0x10000, -EINVAL}};
	struct setup setup;

	make_setup(&setup, 8, 16, LOOP_RING);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(setup.ring.plan, 0, sizeof(*setup.ring.plan));
		setup.ring.plan->last_turn = 3;
		setup.ring.plan->last_result = cases[i].step;
		CHECK_EQ(enter(&setup), cases[i].enter);
		CHECK_EQ(setup.ring.plan->turns, 3);
	}
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void enter_does_nothing_else(void)
{
	struct setup setup;
	struct io_uring_cqe cqe;

	make_setup(&setup, 8, 16, LOOP_RING);
	fill_nops(&setup.ring, 4, 1);
	setup.ring.plan->last_turn = 2;
	setup.ring.plan->last_result = 1;
	/* Four are ready, and nothing would ever end the wait for eight. */
	CHECK_EQ(sys_enter(setup.ring.fd, 4, 8, IORING_ENTER_GETEVENTS), 0);
	CHECK_EQ(*setup.ring.sq_head, 0);
	CHECK(!take_cqe(&setup.ring, &cqe));
	free_loop(&setup.loop);
	CHECK_EQ(sys_enter(setup.ring.fd, 4, 4, IORING_ENTER_GETEVENTS), 4);
	for (__u64 i = 1; i <= 4; i++) {
		CHECK(take_cqe(&setup.ring, &cqe));
		CHECK_EQ(cqe.user_data, i);
	}
	close_ring(&setup.ring);
}

static void *enter_in_thread(void *setup)
{
	return (void *)(long)enter(setup);
}

static long enter_from_other_thread(struct setup *setup)
{
	pthread_t thread;
	void *result;

	pthread_create(&thread, NULL, enter_in_thread, setup);
	pthread_join(thread, &result);
	return (long)result;
}

static void another_task(void)
{
	struct setup setup;

	make_setup(&setup, 8, 16, LOOP_RING);
	setup.ring.plan->last_turn = 1;
	setup.ring.plan->last_result = 1;
	CHECK_EQ(enter_from_other_thread(&setup), -EEXIST);
	CHECK_EQ(setup.ring.plan->turns, 0);
	CHECK_EQ(enter(&setup), 0);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void *enable_and_enter(void *arg)
{
	struct setup *setup = arg;
	const int status = sys_register(setup->ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	return (void *)(long)(status ? status : enter(setup));
}

/* The first thing that a thread ever does with io_uring is to run a loop that submits. */
static void first_enter_of_a_task(void)
{
	struct setup setup;
	pthread_t thread;
	void *result;

	if (lacks(703))
		SKIP("before 7.3 the task is not known to the ring then");
	make_setup(&setup, 8, 16, LOOP_RING | IORING_SETUP_R_DISABLED);
	fill_nops(&setup.ring, 4, 1);
	*setup.ring.plan = (struct plan){.submit = 4, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 4};
	pthread_create(&thread, NULL, enable_and_enter, &setup);
	pthread_join(thread, &result);
	CHECK_EQ((long)result, 0);
	CHECK_EQ(setup.ring.plan->reaped, 4);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* --- Submitting and waiting ------------------------------------------------------------------------------------------------------ */

static void submit_by_the_rules(void)
{
	struct setup setup;
	struct plan *plan;

	make_setup(&setup, 8, 16, LOOP_RING);
	plan = setup.ring.plan;

	/* Nothing there, and nothing asked for. */
	*plan = (struct plan){.submit = 4, .submit_turns = 1, .submit_result = 99, .last_turn = 1, .last_result = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submit_result, 0);
	fill_nops(&setup.ring, 3, 1);
	*plan = (struct plan){.submit = 0, .submit_turns = 1, .submit_result = 99, .last_turn = 1, .last_result = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submit_result, 0);
	CHECK_EQ(*setup.ring.sq_head, 0);

	/* More than there are; then fewer. */
	*plan = (struct plan){.submit = 1000, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 3};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submit_result, 3);
	CHECK_EQ(*setup.ring.sq_head, 3);
	CHECK_EQ(plan->user_data_sum, 6);
	fill_nops(&setup.ring, 4, 1);
	*plan = (struct plan){.submit = 3, .submit_turns = 2, .reap = 8, .wait = 1, .stop_after = 4};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submitted, 4);
	CHECK_EQ(*setup.ring.sq_head, *setup.ring.sq_tail);

	/* A bad SQE: its error is in its completion, and it ends the submission. */
	next_sqe(&setup.ring)->opcode = 255;
	fill_nops(&setup.ring, 1, 1);
	*plan = (struct plan){.submit = 2, .submit_turns = 1, .reap = 1, .wait = 1, .stop_after = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submit_result, 1);
	CHECK_EQ(plan->last_res, -EINVAL);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void rewind_takes_the_first_ones(void)
{
	struct setup setup;
	struct plan *plan;

	make_setup(&setup, 8, 16, LOOP_RING | IORING_SETUP_SQ_REWIND);
	plan = setup.ring.plan;
	for (unsigned i = 0; i < 8; i++) {
		memset(&setup.ring.sqes[i], 0, sizeof(setup.ring.sqes[i]));
		setup.ring.sqes[i].user_data = i + 1;
	}
	/* Three turns with two each: 1, 2, 1, 2, 1, 2. */
	*plan = (struct plan){.submit = 2, .submit_turns = 3, .reap = 8, .wait = 1, .stop_after = 6};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submitted, 6);
	CHECK_EQ(plan->user_data_sum, 9);
	/* Not more than the SQ has. */
	*plan = (struct plan){.submit = 1000, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 8};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submit_result, 8);
	CHECK_EQ(plan->user_data_sum, 36);
	CHECK_EQ(*setup.ring.sq_head, 0);
	CHECK_EQ(*setup.ring.sq_tail, 0);
	free_loop(&setup.loop);

	/*
	 * The same without a loop. The second request waits for the first one, which takes a count of requests that goes on from one
	 * submission to the next. In 6.12 the third may overtake it, as both are left to workers.
	 */
	setup.ring.sqes[1].flags = IOSQE_IO_DRAIN;
	for (int i = 0; i < 3; i++) {
		struct io_uring_cqe cqes[3] = {};

		CHECK_EQ(sys_enter(setup.ring.fd, 3, 3, IORING_ENTER_GETEVENTS), 3);
		for (int j = 0; j < 3; j++)
			CHECK(take_cqe(&setup.ring, &cqes[j]));
		CHECK_EQ(cqes[0].user_data, 1);
		CHECK_EQ(cqes[1].user_data + cqes[2].user_data, 5);
	}
	close_ring(&setup.ring);
}

static int setup_with(unsigned flags)
{
	struct io_uring_params params = {.flags = flags};
	const int fd = sys_setup(8, &params);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static void rewind_flags(void)
{
	CHECK_EQ(setup_with(IORING_SETUP_SQ_REWIND), -EINVAL);
	CHECK_EQ(setup_with(IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQPOLL), -EINVAL);
	CHECK_EQ(setup_with(IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY), 0);
	CHECK_EQ(setup_with(1U << 31), -EINVAL);
}

static void *write_later(void *arg)
{
	sleep_ms(200);
	return (void *)write(*(int *)arg, "x", 1);
}

static void wait_for_a_completion(void)
{
	struct setup setup;
	struct io_uring_sqe *sqe;
	pthread_t thread;
	int pipes[2];
	char byte = 0;

	NEED(pipe(pipes));
	make_setup(&setup, 8, 16, LOOP_RING);
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = pipes[0];
	sqe->addr = (__u64)(uintptr_t)&byte;
	sqe->len = 1;
	*setup.ring.plan = (struct plan){.submit = 1, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 1};
	pthread_create(&thread, NULL, write_later, &pipes[1]);
	CHECK_EQ(enter(&setup), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(setup.ring.plan->last_res, 1);
	CHECK_EQ(byte, 'x');
	/* It slept: a loop that does not takes thousands of turns in that time. */
	CHECK(setup.ring.plan->turns < 20);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* What closes a file puts the last of it off as task work. A wait that depends on that has to let it run. */
static void wait_for_own_close(void)
{
	struct setup setup;
	struct io_uring_sqe *sqe;
	int pipes[2];
	char byte;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 go to sleep without having looked");
	NEED(pipe(pipes));
	make_setup(&setup, 8, 16, LOOP_RING);
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = pipes[0];
	sqe->addr = (__u64)(uintptr_t)&byte;
	sqe->len = 1;
	sqe->user_data = 1;
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_CLOSE;
	sqe->fd = pipes[1];
	sqe->user_data = 2;
	/* For both at once: the first of them alone must not end the wait. */
	*setup.ring.plan = (struct plan){.submit = 2, .submit_turns = 1, .reap = 8, .wait = 2, .stop_after = 2};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->last_res, 0); /* the end of the pipe */
	CHECK_EQ(setup.ring.plan->last_user_data, 1);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void overflow_loses_nothing(void)
{
	struct setup setup;
	struct plan *plan;

	/* 60 completions in a CQ of 4, taken one in a turn. */
	make_setup(&setup, 4, 4, LOOP_RING | IORING_SETUP_SQ_REWIND);
	plan = setup.ring.plan;
	for (unsigned i = 0; i < 4; i++)
		setup.ring.sqes[i] = (struct io_uring_sqe){.user_data = 7};
	*plan = (struct plan){.submit = 4, .submit_turns = 15, .reap = 1, .wait = 1, .stop_after = 60};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->submitted, 60);
	CHECK_EQ(plan->reaped, 60);
	CHECK_EQ(plan->user_data_sum, 60 * 7);
	CHECK_EQ(*setup.ring.cq_overflow, 0);

	/* In order. */
	fill_nops(&setup.ring, 4, 1);
	*setup.ring.sq_tail = 0;
	*plan = (struct plan){.submit = 4, .submit_turns = 1, .reap = 1, .stop_after = 4};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->order_errors, 0);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* A request acts for the task, with its capabilities, even though a BPF program submits it. */
static void no_capabilities_from_bpf(void)
{
	struct setup setup;
	struct io_uring_sqe *sqe;
	int mark = 1, sock;

	if (lacks(703))
		SKIP("before 7.3 it is taken for a call by BPF");
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	NEED(sock);
	make_setup(&setup, 8, 16, LOOP_RING);
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
	*setup.ring.plan = (struct plan){.submit = 1, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->last_res, -EPERM);
	close_ring(&setup.ring);
}

/* A step runs with migration disabled. The workers that its requests need are started meanwhile, and must not believe they are, too. */
static void workers_may_migrate(void)
{
	struct setup setup;
	struct workers workers;

	if (lacks(ONLY_IN_OURS))
		SKIP("there workers take that over from the step");
	make_setup(&setup, 8, 16, LOOP_RING);
	for (__u64 i = 1; i <= 4; i++) {
		struct io_uring_sqe *sqe = next_sqe(&setup.ring);

		sqe->flags = IOSQE_ASYNC;
		sqe->user_data = i;
	}
	*setup.ring.plan = (struct plan){.submit = 4, .submit_turns = 1, .reap = 8, .wait = 4, .stop_after = 4};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->user_data_sum, 10);
	NEED(look_at_workers(&workers));
	CHECK(workers.all > 0);
	CHECK_EQ(workers.pinned, 0);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/*
 * A worker takes the ring's lock to look up the registered file that it splices from, and, in later kernels, for what may be linked to the
 * request that it has carried out: a link whose end was not submitted with it goes to a worker. A step that polls for what comes of that
 * must not keep the lock.
 */
static void workers_get_the_lock(void)
{
	__u32 most_workers[2] = {1, 1};
	struct setup setup;
	int from[2], to[2];

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 do not let go of the ring's lock");
	NEED(pipe(from));
	NEED(pipe(to));
	make_setup(&setup, 8, 16, LOOP_RING);
	NEED(sys_register(setup.ring.fd, IORING_REGISTER_FILES, from, 1));
	/* The task starts workers between two turns, and any kernel drops the lock for that: here is one, which the first request starts. */
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
		*setup.ring.plan = (struct plan){.submit = 1, .submit_turns = 1, .reap = 8, .stop_after = 1, .wait = i == 0};
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(setup.ring.plan->last_res, 1);
	}

	fill_nops(&setup.ring, 3, 1);
	for (unsigned int i = 4; i < 7; i++)
		setup.ring.sqes[i].flags = IOSQE_IO_LINK;
	*setup.ring.plan = (struct plan){.submit = 1, .submit_turns = 3, .reap = 8, .stop_after = 3};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->user_data_sum, 6);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* --- Ending ---------------------------------------------------------------------------------------------------------------------- */

static void on_alarm(int signal)
{
	(void)signal;
}

static void alarm_in(long ms)
{
	const struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART, not that it would matter */
	const struct itimerspec time = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
	timer_t timer;

	sigaction(SIGALRM, &action, NULL);
	NEED(timer_create(CLOCK_MONOTONIC, NULL, &timer));
	NEED(timer_settime(timer, 0, &time, NULL));
}

static void signal_ends_a_sleep(void)
{
	struct setup setup;

	make_setup(&setup, 8, 16, LOOP_RING);
	setup.ring.plan->wait = 1;
	alarm_in(200);
	CHECK_EQ(enter(&setup), -EINTR);
	CHECK(setup.ring.plan->turns >= 1);

	/* And it goes on where it was. */
	fill_nops(&setup.ring, 1, 1);
	*setup.ring.plan = (struct plan){.submit = 1, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 1};
	CHECK_EQ(enter(&setup), 0);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void signal_ends_a_loop_that_never_sleeps(void)
{
	struct setup setup;

	make_setup(&setup, 8, 16, LOOP_RING);
	alarm_in(200);
	CHECK_EQ(enter(&setup), -EINTR);
	CHECK(setup.ring.plan->turns > 100);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void kill_ends_it(bool sleeping)
{
	struct setup setup;
	int status;
	pid_t child;

	child = fork();
	if (child == 0) {
		make_setup(&setup, 8, 16, LOOP_RING);
		setup.ring.plan->wait = sleeping;
		enter(&setup);
		_exit(0);
	}
	sleep_ms(1500);
	CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void kill_ends_a_sleep(void)
{
	kill_ends_it(true);
}

static void kill_ends_a_loop_that_never_sleeps(void)
{
	kill_ends_it(false);
}

struct detacher {
	struct loop *loop;
	int wake_fd;
};

static void *detach_later(void *arg)
{
	struct detacher *detacher = arg;

	sleep_ms(300);
	detach_loop(detacher->loop);
	if (detacher->wake_fd >= 0)
		NEED(write(detacher->wake_fd, "x", 1));
	return NULL;
}

static void detach_under_a_sleep(void)
{
	struct setup setup;
	struct detacher detacher;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	pthread_t thread;
	int pipes[2];
	char byte;

	NEED(pipe(pipes));
	make_setup(&setup, 8, 16, LOOP_RING);
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = pipes[0];
	sqe->addr = (__u64)(uintptr_t)&byte;
	sqe->len = 1;
	sqe->user_data = 5;
	*setup.ring.plan = (struct plan){.submit = 1, .submit_turns = 1, .reap = 8, .wait = 1};
	detacher = (struct detacher){.loop = &setup.loop, .wake_fd = pipes[1]};
	pthread_create(&thread, NULL, detach_later, &detacher);
	CHECK_EQ(enter(&setup), -EFAULT);
	pthread_join(thread, NULL);
	CHECK_EQ(setup.ring.plan->reaped, 0);
	/* The completion is there for whoever comes next. */
	CHECK_EQ(sys_enter(setup.ring.fd, 0, 1, IORING_ENTER_GETEVENTS), 0);
	CHECK(take_cqe(&setup.ring, &cqe));
	CHECK_EQ(cqe.user_data, 5);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void detach_from_a_loop_that_never_sleeps(void)
{
	struct setup setup;
	struct detacher detacher;
	pthread_t thread;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 do not let go of the ring's lock");
	make_setup(&setup, 8, 16, LOOP_RING);
	detacher = (struct detacher){.loop = &setup.loop, .wake_fd = -1};
	pthread_create(&thread, NULL, detach_later, &detacher);
	CHECK_EQ(enter(&setup), -EFAULT);
	pthread_join(thread, NULL);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void close_ring_before_loop(void)
{
	struct setup setup;

	for (int i = 0; i < 10; i++) {
		make_setup(&setup, 8, 16, LOOP_RING);
		setup.ring.plan->last_turn = 1;
		setup.ring.plan->last_result = 1;
		CHECK_EQ(enter(&setup), 0);
		close_ring(&setup.ring);
		if (i & 1)
			sleep_ms(100); /* the ring is freed later, by a worker */
		free_loop(&setup.loop);
	}
}

static void *close_now(void *arg)
{
	close_ring(arg);
	return NULL;
}

/* Both ends at the same time, from two threads. */
static void close_and_detach_race(void)
{
	struct setup setup;
	pthread_t thread;

	for (int i = 0; i < 50; i++) {
		make_setup(&setup, 8, 16, LOOP_RING);
		pthread_create(&thread, NULL, close_now, &setup.ring);
		free_loop(&setup.loop);
		pthread_join(thread, NULL);
	}
}

/* Who exits with a loop on his ring, links and all, leaves nothing that hangs. */
static void exit_with_all_open(void)
{
	for (int i = 0; i < 10; i++) {
		const pid_t child = fork();
		int status;

		if (child == 0) {
			struct setup setup;

			make_setup(&setup, 8, 16, LOOP_RING);
			setup.ring.plan->last_turn = 1;
			setup.ring.plan->last_result = 1;
			_exit(enter(&setup) ? FAILED : PASSED);
		}
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK_EQ(status, 0);
	}
}

static void attach_and_detach_cycles(void)
{
	const char *wanted = getenv("RINGSTEP_SELFTEST_CYCLES");
	const int cycles = wanted ? atoi(wanted) : 200;
	struct setup setup;

	/* The program once, the link each time; and each tenth time all of it. */
	make_setup(&setup, 8, 16, LOOP_RING);
	for (int i = 0; i < cycles && !failures; i++) {
		detach_loop(&setup.loop);
		if (i % 10 == 9) {
			free_loop(&setup.loop);
			close_ring(&setup.ring);
			munmap(setup.ring.plan, 4096);
			make_setup(&setup, 8, 16, LOOP_RING);
		} else {
			NEED(attach_loop(&setup.loop));
		}
		*setup.ring.plan = (struct plan){.submit = 2, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 2};
		fill_nops(&setup.ring, 2, 1);
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(setup.ring.plan->user_data_sum, 3);
	}
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* --- Regions --------------------------------------------------------------------------------------------------------------------- */

static int any_ring(void)
{
	struct io_uring_params params = {};
	const int fd = sys_setup(8, &params);

	NEED(fd);
	return fd;
}

static int try_region(struct region_desc desc)
{
	const int fd = any_ring();
	const int status = register_region(fd, &desc);

	close(fd);
	return status;
}

static void region_refusals(void)
{
	void *memory = pages(4);
	const __u64 user = (__u64)(uintptr_t)memory;
	const int fd = any_ring();
	struct region_desc desc = {.size = 4096};
	struct region_registration registration = {.desc = (__u64)(uintptr_t)&desc};

	/* The call. */
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, NULL, 1), -EINVAL);
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 0), -EINVAL);
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 2), -EINVAL);
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, (void *)16, 1), -EFAULT);
	registration.desc = 16;
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EFAULT);
	registration.desc = (__u64)(uintptr_t)&desc;
	registration.flags = 2;
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EINVAL);
	registration.flags = 1; /* wait arguments: only in a ring that is disabled, and not at all in our kernels */
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EINVAL);
	registration.flags = 0;
	registration.reserved[1] = 1;
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EINVAL);
	close(fd);

	/* The region. */
	CHECK_EQ(try_region((struct region_desc){.size = 0}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 100}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = 2}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .id = 1}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .mmap_offset = 4096}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .reserved = {0, 0, 0, 1}}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .user_addr = user}), -EFAULT);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER}), -EFAULT);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = user + 8}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 1ULL << 60}), -E2BIG);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = -4096ULL}), -EOVERFLOW);
	/* Neither memory that is not there nor memory that must not be written. */
	munmap((char *)memory + 4096, 4096);
	CHECK_EQ(try_region((struct region_desc){.size = 3 * 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = user}), -EFAULT);
	mprotect(memory, 4096, PROT_READ);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = user}), -EFAULT);
}

static void region_once(void)
{
	const int fd = any_ring();
	struct region_desc desc = {.size = 4096};

	CHECK_EQ(register_region(fd, &desc), 0);
	desc = (struct region_desc){.size = 4096};
	CHECK_EQ(register_region(fd, &desc), -EBUSY);
	close(fd);
}

/* A descriptor that cannot be written back to: nothing is registered. */
static void region_needs_its_answer(void)
{
	const int fd = any_ring();
	struct region_desc *desc = pages(1);

	desc->size = 4096;
	mprotect(desc, 4096, PROT_READ);
	CHECK_EQ(register_region(fd, desc), -EFAULT);
	mprotect(desc, 4096, PROT_READ | PROT_WRITE);
	CHECK_EQ(register_region(fd, desc), 0);
	close(fd);
}

static void kernel_region_is_mapped(void)
{
	struct setup setup;
	struct region_desc desc = {.size = 16 * 4096};
	char *memory, *again;

	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	/* Not there yet. */
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, PARAM_REGION_OFFSET) == MAP_FAILED);
	NEED(register_region(setup.ring.fd, &desc));
	CHECK_EQ(desc.mmap_offset, PARAM_REGION_OFFSET);
	memory = mmap(NULL, desc.size, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, (off_t)desc.mmap_offset);
	NEED(memory == MAP_FAILED ? -errno : 0);
	again = mmap(NULL, desc.size, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, (off_t)desc.mmap_offset);
	NEED(again == MAP_FAILED ? -errno : 0);
	for (size_t i = 0; i < desc.size; i++)
		if (memory[i])
			report(__FILE__, __LINE__, "memory[i]", memory[i], 0);
	memory[desc.size - 1] = 'y';
	CHECK_EQ(again[desc.size - 1], 'y');

	/* The loop sees the same memory. */
	setup.ring.plan = (struct plan *)memory;
	NEED(add_loop(&setup.loop, &setup.ring));
	*setup.ring.plan = (struct plan){.last_turn = 5, .last_result = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(((struct plan *)again)->turns, 5);

	/* It outlives the ring as long as it is mapped. */
	free_loop(&setup.loop);
	close_ring(&setup.ring);
	sleep_ms(100);
	CHECK_EQ(memory[desc.size - 1], 'y');
	munmap(memory, desc.size);
	munmap(again, desc.size);
}

static void user_region_is_not_mapped(void)
{
	struct setup setup;

	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	NEED(add_plan(&setup.ring));
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, PARAM_REGION_OFFSET) == MAP_FAILED);
	close_ring(&setup.ring);
}

/* The pages are the kernel's as long as the ring is there, whatever the application does with its addresses. */
static void user_region_is_pinned(void)
{
	struct setup setup;

	make_setup(&setup, 8, 16, LOOP_RING);
	*setup.ring.plan = (struct plan){.last_turn = 1, .last_result = 1};
	munmap(setup.ring.plan, 4096);
	CHECK_EQ(enter(&setup), 0);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

static void missing_regions(void)
{
	struct setup setup;
	struct ring pretended;

	/* No MEM region: the step gets NULL and stops. */
	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	NEED(add_loop(&setup.loop, &setup.ring));
	CHECK_EQ(enter(&setup), 0);
	free_loop(&setup.loop);

	/* Larger than they are, by one byte. */
	NEED(add_plan(&setup.ring));
	pretended = setup.ring;
	pretended.rings_size++;
	NEED(add_loop(&setup.loop, &pretended));
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->cq_missing, 1);
	free_loop(&setup.loop);
	pretended = setup.ring;
	pretended.sqes_size++;
	NEED(add_loop(&setup.loop, &pretended));
	*setup.ring.plan = (struct plan){.last_turn = 1, .last_result = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->cq_missing, 0);
	CHECK_EQ(setup.ring.plan->sq_missing, 1);
	free_loop(&setup.loop);

	/* Exactly as large. */
	NEED(add_loop(&setup.loop, &setup.ring));
	*setup.ring.plan = (struct plan){.last_turn = 1, .last_result = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->cq_missing + setup.ring.plan->sq_missing, 0);

	/* The SQ by its number; and none that there is, by numbers of all sizes. */
	for (unsigned i = 0; i < 5; i++) {
		static const __u32 numbers[] = {2, 3, 4, 1000, ~0U};

		*setup.ring.plan = (struct plan){.last_turn = 1, .last_result = 1, .other_region = numbers[i]};
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(setup.ring.plan->other_region_found, i == 0);
	}
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* Large queues are not of contiguous memory. */
static void large_queues(void)
{
	struct setup setup;
	unsigned done = 0;

	make_setup(&setup, 4096, 65536, LOOP_RING);
	for (unsigned i = 0; i < 20; i++) {
		fill_nops(&setup.ring, 4096, 1);
		*setup.ring.plan = (struct plan){.submit = 4096, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 4096};
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(setup.ring.plan->order_errors, 0);
		done += setup.ring.plan->reaped;
	}
	CHECK_EQ(done, 20 * 4096);
	free_loop(&setup.loop);
	close_ring(&setup.ring);
}

/* Rings whose memory is the application's. */
static void queues_of_user_memory(void)
{
	struct setup setup = {};
	struct ring *ring = &setup.ring;
	struct io_uring_params *params = &ring->params;

	ring->rings = pages(1);
	ring->sqes = pages(1);
	ring->rings_size = ring->sqes_size = 4096;
	params->flags = LOOP_RING | IORING_SETUP_NO_MMAP;
	params->cq_entries = 16;
	params->cq_off.user_addr = (__u64)(uintptr_t)ring->rings;
	params->sq_off.user_addr = (__u64)(uintptr_t)ring->sqes;
	ring->fd = sys_setup(8, params);
	NEED(ring->fd);
	ring->sq_head = (unsigned *)(ring->rings + params->sq_off.head);
	ring->sq_tail = (unsigned *)(ring->rings + params->sq_off.tail);
	ring->cq_head = (unsigned *)(ring->rings + params->cq_off.head);
	ring->cq_tail = (unsigned *)(ring->rings + params->cq_off.tail);
	NEED(add_plan(ring));
	NEED(add_loop(&setup.loop, ring));
	fill_nops(ring, 5, 1);
	*ring->plan = (struct plan){.submit = 5, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 5};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(ring->plan->user_data_sum, 15);
	free_loop(&setup.loop);
	close_ring(ring);
}

/* --- Accounting ------------------------------------------------------------------------------------------------------------------ */

static int ring_with_region(size_t page_count, bool user, int *fd)
{
	struct region_desc desc = {.size = page_count * 4096};

	if (user) {
		desc.flags = MEM_REGION_TYPE_USER;
		desc.user_addr = (__u64)(uintptr_t)pages(page_count);
	}
	*fd = any_ring();
	return register_region(*fd, &desc);
}

/* What a user may lock is used up to the last page, refused beyond, and given back when the ring is closed. */
static void memory_is_accounted(void)
{
	const struct rlimit limit = {.rlim_cur = 64 * 4096, .rlim_max = 64 * 4096};
	const size_t free_pages = 64;
	int first, second;

	if (lacks(702))
		SKIP("in 7.1 the queues count as well");
	NEED(setrlimit(RLIMIT_MEMLOCK, &limit));
	/* A user that nobody else is, so that all that is locked is ours. */
	NEED(syscall(SYS_setresuid, 54321, 54321, 54321));
	for (int i = 0; i < 6; i++) {
		CHECK(EVENTUALLY(ring_with_region(free_pages, i & 1, &first) == 0 || (close(first), false)));
		CHECK_EQ(ring_with_region(1, false, &second), -ENOMEM);
		close(second);
		CHECK_EQ(ring_with_region(1, true, &second), -ENOMEM);
		close(second);
		close(first);
		CHECK_EQ(ring_with_region(free_pages + 1, i & 1, &first), -ENOMEM);
		close(first);
	}
}

/* Who may lock what he likes is not counted. */
static void memory_of_the_privileged_is_not(void)
{
	const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
	int fd;

	NEED(setrlimit(RLIMIT_MEMLOCK, &limit));
	CHECK_EQ(ring_with_region(64, false, &fd), 0);
	close(fd);
	CHECK_EQ(ring_with_region(64, true, &fd), 0);
	close(fd);
}

/* --- Running them ---------------------------------------------------------------------------------------------------------------- */

static const struct test tests[] = {
	TEST(attach_needs_deferred_taskrun),
	TEST(attach_refuses_polling),
	TEST(attach_needs_a_ring),
	TEST(a_ring_has_one_loop),
	TEST(a_loop_has_one_ring),
	TEST(attach_again_after_detach),
	TEST(disabled_ring),
	TEST(verifier_refuses),
	TEST(load_needs_capabilities),
	TEST(return_values),
	TEST(enter_does_nothing_else),
	TEST(another_task),
	TEST(first_enter_of_a_task),
	TEST(submit_by_the_rules),
	TEST(rewind_takes_the_first_ones),
	TEST(rewind_flags),
	TEST(wait_for_a_completion),
	TEST(wait_for_own_close),
	TEST(overflow_loses_nothing),
	TEST(no_capabilities_from_bpf),
	TEST(workers_may_migrate),
	TEST(workers_get_the_lock),
	TEST(signal_ends_a_sleep),
	TEST(signal_ends_a_loop_that_never_sleeps),
	TEST(kill_ends_a_sleep),
	TEST(kill_ends_a_loop_that_never_sleeps),
	TEST(detach_under_a_sleep),
	TEST(detach_from_a_loop_that_never_sleeps),
	TEST(close_ring_before_loop),
	TEST(close_and_detach_race),
	TEST(exit_with_all_open),
	TEST(attach_and_detach_cycles),
	TEST(region_refusals),
	TEST(region_once),
	TEST(region_needs_its_answer),
	TEST(kernel_region_is_mapped),
	TEST(user_region_is_not_mapped),
	TEST(user_region_is_pinned),
	TEST(missing_regions),
	TEST(large_queues),
	TEST(queues_of_user_memory),
	TEST(memory_is_accounted),
	TEST(memory_of_the_privileged_is_not),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
