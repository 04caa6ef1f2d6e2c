// SPDX-License-Identifier: GPL-2.0
/* Running the ring's deferred work from within a step. */
#define _GNU_SOURCE
#include "next.h"
#include "next_setup.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A nop that completes by deferred work: a flag of nop_flags that the installed headers may lack. */
#define NOP_TW (1U << 4)

enum {
	MANY = 128,  /* SQEs and half the CQEs of the larger rings */
	ROUNDS = 64, /* turns and runs of deferred work after which the kernel wants the step to return */
};

static void fill_deferred(struct setup *setup, unsigned count)
{
	const unsigned first = *setup->ring.sq_tail & (setup->ring.params.sq_entries - 1);

	fill_nops(&setup->ring, count, 1);
	for (unsigned i = 0; i < count; i++)
		setup->ring.sqes[(first + i) & (setup->ring.params.sq_entries - 1)].rw_flags = NOP_TW;
}

/* Lets one turn submit and run deferred work `times` times. Then the loop stops, in its second turn. */
static void run_once(struct setup *setup, unsigned submit, unsigned times, unsigned min)
{
	struct next_plan *plan = setup->ring.next_plan;

	clear_plan(setup);
	plan->submit = submit;
	plan->work = times;
	plan->work_min = min;
	plan->turns_wanted = 2;
	CHECK_EQ(enter(setup), 0);
	CHECK_EQ(plan->turns, 2);
}

/* Lets the loop take a few turns, between which the kernel runs what deferred work is left. */
static void run_left_over(struct setup *setup, unsigned turns)
{
	clear_plan(setup);
	setup->ring.next_plan->turns_wanted = turns;
	CHECK_EQ(enter(setup), 0);
}

/* Whatever the timer's tick or another task wants of the loop makes the kernel refuse, and then the next attempt is as good. */
#define TRIES 20

static void deferred_work_runs_in_a_step(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_next_setup(&setup, NEXT_RUN_WORK, 0);
	plan = setup.ring.next_plan;
	for (int tries = 0; tries < TRIES; tries++) {
		fill_deferred(&setup, 3);
		run_once(&setup, 3, 2, 1);
		if (!plan->again)
			break;
	}
	CHECK_EQ(plan->work_result[0], 3);
	CHECK_EQ(plan->ready[0], 3);
	CHECK_EQ(plan->work_result[1], 3);
	CHECK_EQ(plan->ready[1], 3);
	CHECK_EQ(plan->reaped, 3);
	CHECK_EQ(plan->last_res, 0);
	end_setup(&setup);
}

static void nothing_to_run(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_next_setup(&setup, NEXT_RUN_WORK, 0);
	plan = setup.ring.next_plan;
	for (int tries = 0; tries < TRIES; tries++) {
		run_once(&setup, 0, 4, ~0U);
		if (!plan->again)
			break;
	}
	CHECK_EQ(plan->worked, 4);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(plan->work_result[i], 0);
	end_setup(&setup);
}

/* The step's own send makes the receive complete, which the loop would do between two turns. */
static void receive_completes_in_a_step(void)
{
	struct setup setup;
	struct next_plan *plan;
	struct io_uring_sqe *sqe;
	int sockets[2];
	char byte;

	make_next_setup(&setup, NEXT_RUN_WORK, 0);
	plan = setup.ring.next_plan;
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	for (int tries = 0; tries < TRIES; tries++) {
		byte = 0;
		sqe = next_sqe(&setup.ring);
		sqe->opcode = IORING_OP_RECV;
		sqe->fd = sockets[0];
		sqe->addr = (__u64)(uintptr_t)&byte;
		sqe->len = 1;
		sqe = next_sqe(&setup.ring);
		sqe->opcode = IORING_OP_SEND;
		sqe->fd = sockets[1];
		sqe->addr = (__u64)(uintptr_t)"a";
		sqe->len = 1;
		run_once(&setup, 2, 1, 1);
		CHECK_EQ(byte, 'a');
		if (!plan->again)
			break;
	}
	CHECK_EQ(plan->work_result[0], 2);
	CHECK_EQ(plan->ready[0], 2);
	CHECK_EQ(plan->reaped, 2);
	close(sockets[0]);
	close(sockets[1]);
	end_setup(&setup);
}

/* One call runs 20 pieces, or as many as are wanted up to 64, and leaves the rest for later. */
static void one_run_is_bounded(void)
{
	static const struct {
		unsigned min;
		int ready[3];
	} cases[] = {
		{0, {20, 40, 60}},
		{7, {20, 40, 60}},
		{30, {30, 60, 90}},
		{~0U, {64, 100, 100}},
	};
	struct setup setup;
	struct next_plan *plan;

	make_next_setup_with(&setup, NEXT_RUN_WORK, MANY, 2 * MANY, 0);
	plan = setup.ring.next_plan;
	for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
		struct io_uring_cqe cqe;

		for (int tries = 0; tries < TRIES; tries++) {
			/* What the last attempt has left. */
			run_left_over(&setup, 8);
			while (take_cqe(&setup.ring, &cqe))
				;
			fill_deferred(&setup, 100);
			run_once(&setup, 100, 3, cases[at].min);
			if (!plan->again)
				break;
		}
		for (int i = 0; i < 3; i++)
			CHECK_EQ(plan->work_result[i], cases[at].ready[i]);
	}
	end_setup(&setup);
}

/* A step that goes on calling is refused at last, and has its rounds again after it has returned. */
static void rounds_are_bounded(void)
{
	struct setup setup;
	struct next_plan *plan;
	bool reached = false;

	make_next_setup(&setup, NEXT_RUN_WORK, 0);
	plan = setup.ring.next_plan;
	for (int tries = 0; tries < TRIES && !reached; tries++) {
		clear_plan(&setup);
		plan->work = NEXT_MOST_WORK;
		plan->turns_wanted = 4;
		CHECK_EQ(enter(&setup), 0);
		CHECK(plan->most_in_a_turn <= ROUNDS);
		CHECK_EQ(plan->worked + plan->again, 3 * NEXT_MOST_WORK);
		reached = plan->worked == 3 * ROUNDS;
	}
	CHECK(reached);

	/* Turns count, too: with two calls in each, the 64 rounds are over between the two calls of turn 22. The calls alone are only 60. */
	clear_plan(&setup);
	plan->work = 2;
	plan->turns_wanted = 31;
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->worked + plan->again, 60);
	CHECK(plan->again >= 1);
	CHECK(plan->worked >= 45);
	end_setup(&setup);
}

static void ignore(int signal)
{
	(void)signal;
}

/* A step that never returns to the loop for long hears about a signal. */
static void signal_is_reported(void)
{
	/* Again and again: the first signal may come before the loop has begun. */
	const struct itimerspec soon = {.it_value.tv_nsec = 20000000, .it_interval.tv_nsec = 20000000};
	/* SIGALRM is the test's time limit. */
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	const struct sigaction action = {.sa_handler = ignore};
	struct setup setup;
	struct next_plan *plan;
	bool seen = false;
	timer_t timer;

	make_next_setup(&setup, NEXT_RUN_WORK, 0);
	plan = setup.ring.next_plan;
	NEED(sigaction(SIGUSR1, &action, NULL));
	NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
	for (int tries = 0; tries < 50 && !seen; tries++) {
		clear_plan(&setup);
		plan->work = NEXT_MOST_WORK;
		NEED(timer_settime(timer, 0, &soon, NULL));
		CHECK_EQ(enter(&setup), -EINTR);
		seen = plan->interrupted;
	}
	timer_delete(timer);
	CHECK(seen);
	end_setup(&setup);
}

/* The last part of closing a file is task work, for which the step has to return. */
static void task_work_comes_first(void)
{
	struct setup setup;
	struct next_plan *plan;
	struct io_uring_sqe *sqe;
	int pipes[2];
	char byte;

	make_next_setup(&setup, NEXT_RUN_WORK, 0);
	plan = setup.ring.next_plan;
	NEED(pipe2(pipes, O_NONBLOCK));
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_CLOSE;
	sqe->fd = pipes[1];
	fill_deferred(&setup, 1);
	plan->submit = 2;
	plan->submit_turns = 1;
	plan->work = 1;
	plan->turns_wanted = 3;
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->work_result[0], -EAGAIN);
	CHECK_EQ(plan->ready[0], 1); /* that of the close */
	CHECK_EQ(read(pipes[0], &byte, 1), 0);
	CHECK_EQ(plan->reaped, 2);
	close(pipes[0]);
	end_setup(&setup);
}

/* Completions for which the CQ had no room come first, too. */
static void overflow_comes_first(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_next_setup_with(&setup, NEXT_RUN_WORK, 8, 8, 0);
	plan = setup.ring.next_plan;
	for (int tries = 0; tries < TRIES; tries++) {
		clear_plan(&setup);
		fill_nops(&setup.ring, 8, 1);
		plan->submit = 8;
		plan->submit_turns = 2;
		plan->work = 1;
		plan->leave = 3;
		plan->turns_wanted = 6;
		/* The second submission has a place in the SQ, as the first is taken by then; nops again. */
		*setup.ring.sq_tail += 8;
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(plan->reaped, 16);
		if (plan->again == 3)
			break;
	}
	CHECK_EQ(plan->work_result[0], 8);
	CHECK_EQ(plan->work_result[1], -EAGAIN);
	CHECK_EQ(plan->work_result[2], -EAGAIN);
	CHECK_EQ(plan->work_result[3], -EAGAIN);
	CHECK_EQ(plan->work_result[4], 0);
	end_setup(&setup);
}

/* The head is user space's, so the number of completions is limited to what the CQ holds. */
static void wrong_head(void)
{
	struct setup setup;
	struct next_plan *plan;
	unsigned head;

	make_next_setup(&setup, NEXT_RUN_WORK, 0);
	plan = setup.ring.next_plan;
	head = *setup.ring.cq_head;
	for (int tries = 0; tries < TRIES; tries++) {
		clear_plan(&setup);
		plan->leave = 2;
		plan->work = 1;
		plan->wait[0].count = 0x10000000; /* so that the loop does not wait */
		plan->turns_wanted = 2;
		*setup.ring.cq_head = head - 0x80000001U;
		CHECK_EQ(enter(&setup), 0);
		*setup.ring.cq_head = head;
		if (!plan->again)
			break;
	}
	CHECK_EQ(plan->work_result[0], 16);
	end_setup(&setup);
}

const struct test work_tests[] = {
	TEST(deferred_work_runs_in_a_step),
	TEST(nothing_to_run),
	TEST(receive_completes_in_a_step),
	TEST(one_run_is_bounded),
	TEST(rounds_are_bounded),
	TEST(signal_is_reported),
	TEST(task_work_comes_first),
	TEST(overflow_comes_first),
	TEST(wrong_head),
	END_OF_TESTS,
};
