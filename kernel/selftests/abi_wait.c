// SPDX-License-Identifier: GPL-2.0
/* Waiting for completions, and completions for which the CQ has no room. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void *write_later(void *arg)
{
	sleep_ms(200);
	return (void *)write(*(int *)arg, "x", 1);
}

static void wait_for_a_completion(void)
{
	struct setup setup;
	pthread_t thread;
	int pipes[2];
	char byte = 0;

	NEED(pipe(pipes));
	make_setup(&setup);
	fill_read(&setup.ring, pipes[0], &byte, 0);
	pthread_create(&thread, NULL, write_later, &pipes[1]);
	CHECK_EQ(run_plan(&setup, submit_and_reap(1)), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(setup.ring.plan->last_res, 1);
	CHECK_EQ(byte, 'x');
	/* The loop slept. A loop that does not sleep takes thousands of turns in that time. */
	CHECK(setup.ring.plan->turns < 20);
	end_setup(&setup);
}

/* The last part of closing a file is task work. A loop that waits for its effect must let the task work run. */
static void wait_for_own_close(void)
{
	struct setup setup;
	struct io_uring_sqe *sqe;
	int pipes[2];
	char byte;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 do not look for task work before they sleep");
	NEED(pipe(pipes));
	make_setup(&setup);
	fill_read(&setup.ring, pipes[0], &byte, 1);
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_CLOSE;
	sqe->fd = pipes[1];
	sqe->user_data = 2;
	/* Waits for both at once, because the first completion alone must not end the wait. */
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 2, .submit_turns = 1, .reap = 8, .wait = 2, .stop_after = 2}), 0);
	CHECK_EQ(setup.ring.plan->last_res, 0); /* the end of the pipe */
	CHECK_EQ(setup.ring.plan->last_user_data, 1);
	end_setup(&setup);
}

/* What a loop and another thread share: the loop's plan, and an event that brings task work to the task of the loop. */
struct events {
	volatile struct plan *plan;
	struct ring *ring; /* where completions of the event arrive */
	int fd;
	volatile bool ended; /* io_uring_enter() has returned */
	unsigned attempts;
	unsigned most_turns; /* how many turns a loop has taken at most after it was told to wait */
};

static void cause_task_work(struct events *events)
{
	const __u64 one = 1;

	NEED(write(events->fd, &one, sizeof(one)));
	*(volatile unsigned *)events->ring->cq_head = *(volatile unsigned *)events->ring->cq_tail;
}

/* More turns than a loop takes before it sleeps. */
#define MANY_TURNS 100

/* Returns how many turns the loop takes until it sleeps, or more than MANY_TURNS if it does not. */
static unsigned turns_until_asleep(const volatile struct plan *plan)
{
	const struct timespec moment = {.tv_nsec = 50000};
	const unsigned first = plan->turns;
	unsigned before = first, turns;

	/* One look is not enough: a loop also stands still while the host does not run its virtual processor. */
	for (int still = 0; still < 3 && before - first <= MANY_TURNS; before = turns) {
		nanosleep(&moment, NULL);
		turns = plan->turns;
		still = turns == before ? still + 1 : 0;
	}
	return before - first;
}

/*
 * The other thread. It queues task work while the loop goes round and round, tells the loop to wait, and counts its turns until it sleeps. It
 * repeats this for 6 seconds, or until the loop does not sleep.
 */
static void *race_with_task_work(void *arg)
{
	struct events *events = arg;
	const long end = milliseconds() + 6000;

	do {
		unsigned turns = events->plan->turns;

		/* Wakes the loop, and waits until it takes turns. The first time, run_plan() sets its plan before that. */
		events->plan->wait = 0;
		cause_task_work(events);
		while (events->plan->turns - turns < 3 && !events->ended)
			sched_yield();
		cause_task_work(events);
		events->plan->wait = 1;
		turns = turns_until_asleep(events->plan);
		if (turns > events->most_turns)
			events->most_turns = turns;
		events->attempts++;
	} while (milliseconds() < end && events->most_turns <= MANY_TURNS && !events->ended);
	events->plan->last_turn = 1;
	cause_task_work(events);
	return NULL;
}

/*
 * task_work_add() with TWA_SIGNAL queues the work first and sets TIF_NOTIFY_SIGNAL afterwards. If the loop runs the work in between, the flag
 * stays set with no work left. The loop has to clear it, because a task with this flag cannot sleep.
 */
static void sleeps_after_task_work(void)
{
	struct setup setup;
	struct ring other;
	struct events events = {.ring = &other};
	struct io_uring_sqe *sqe;
	pthread_t thread;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 do not take the flag away");
	make_setup(&setup);
	/* A ring without deferred task work uses TWA_SIGNAL. */
	NEED(open_ring(&other, 8, 16, IORING_SETUP_NO_SQARRAY));
	NEED(events.fd = eventfd(0, 0));
	sqe = next_sqe(&other);
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = events.fd;
	sqe->poll32_events = POLLIN;
	sqe->len = IORING_POLL_ADD_MULTI;
	CHECK_EQ(sys_enter(other.fd, 1, 0, 0), 1);
	events.plan = setup.ring.plan;
	pthread_create(&thread, NULL, race_with_task_work, &events);
	/* The thread sets last_turn. */
	CHECK_EQ(run_plan(&setup, (struct plan){.last_result = 1}), 0);
	events.ended = true;
	pthread_join(thread, NULL);
	fprintf(stderr, "%u attempts, at most %u turns\n", events.attempts, events.most_turns);
	CHECK(events.most_turns <= MANY_TURNS);
	close(events.fd);
	close_ring(&other);
	end_setup(&setup);
}

static void overflow_loses_nothing(void)
{
	struct setup setup;
	const struct plan *plan;

	/* 60 completions arrive in a CQ of 4, and the loop takes one in each turn. */
	make_setup_with(&setup, 4, 4, IORING_SETUP_SQ_REWIND);
	plan = setup.ring.plan;
	for (unsigned i = 0; i < 4; i++)
		setup.ring.sqes[i] = (struct io_uring_sqe){.user_data = 7};
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 4, .submit_turns = 15, .reap = 1, .wait = 1, .stop_after = 60}), 0);
	CHECK_EQ(plan->submitted, 60);
	CHECK_EQ(plan->reaped, 60);
	CHECK_EQ(plan->user_data_sum, 60 * 7);
	CHECK_EQ(*setup.ring.cq_overflow, 0);

	/* They arrive in order. */
	fill_nops(&setup.ring, 4, 1);
	*setup.ring.sq_tail = 0;
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 4, .submit_turns = 1, .reap = 1, .stop_after = 4}), 0);
	CHECK_EQ(plan->order_errors, 0);
	end_setup(&setup);
}

const struct test wait_tests[] = {
	TEST(wait_for_a_completion),
	TEST(wait_for_own_close),
	TEST(sleeps_after_task_work),
	TEST(overflow_loses_nothing),
	END_OF_TESTS,
};
