// SPDX-License-Identifier: GPL-2.0
/* Waiting with a timeout. */
#define _GNU_SOURCE
#include "next.h"
#include "next_setup.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* A number that the installed headers may lack. */
#define REGISTER_CLOCK 29

/* Fills in a request that completes after a time. The plan must submit it. */
static void request_after(struct setup *setup, __u64 nanoseconds)
{
	static struct __kernel_timespec time;
	struct io_uring_sqe *sqe = next_sqe(&setup->ring);

	time = (struct __kernel_timespec){.tv_nsec = (long long)nanoseconds};
	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->fd = -1;
	sqe->addr = (__u64)(uintptr_t)&time;
	sqe->len = 1;
	setup->ring.next_plan->submit = 1;
}

static __u64 now_by(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (__u64)time.tv_sec * 1000000000 + (__u64)time.tv_nsec;
}

static __u64 now(void)
{
	return now_by(CLOCK_MONOTONIC);
}

static void relative_timeout(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_next_setup(&setup, NEXT_TIMEOUTS, 0);
	plan = setup.ring.next_plan;
	CHECK_EQ(run_wait(&setup, 2, (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 20 * MS}), 0);
	CHECK_EQ(plan->turns, 2);
	CHECK_EQ(plan->flags[0], 0);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	CHECK(plan->began[1] - plan->began[0] >= 20 * MS);

	/* A timeout of 0. */
	CHECK_EQ(run_wait(&setup, 2, (struct next_wait){.flags = F_TIMEOUT, .count = 1}), 0);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	end_setup(&setup);
}

static void absolute_timeout(void)
{
	struct setup setup;
	struct next_plan *plan;
	struct next_wait wait;

	make_next_setup(&setup, NEXT_TIMEOUTS, 0);
	plan = setup.ring.next_plan;
	wait = (struct next_wait){.flags = F_TIMEOUT | F_TIMEOUT_ABS, .count = 1, .timeout_ns = 20 * MS, .from_now = 1};
	CHECK_EQ(run_wait(&setup, 2, wait), 0);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	CHECK(plan->began[1] >= plan->until[0]);

	/* Times of the application's clock: a moment ahead, the beginning of time, and a moment ago. */
	for (int i = 0; i < 3; i++) {
		wait = (struct next_wait){.flags = F_TIMEOUT | F_TIMEOUT_ABS, .count = 1};
		wait.timeout_ns = i == 0 ? now() + 5 * MS : i == 1 ? 0 : now();
		CHECK_EQ(run_wait(&setup, 2, wait), 0);
		CHECK_EQ(plan->flags[1], F_TIMED_OUT);
		CHECK(plan->began[1] >= wait.timeout_ns);
	}
	end_setup(&setup);
}

/* A ring may have another clock. The two clocks differ only if the machine has been suspended, so this shows only that timeouts work. */
static void timeouts_by_another_clock(void)
{
	struct {
		__u32 clockid;
		__u32 resv[3];
	} clock = {.clockid = CLOCK_BOOTTIME};
	struct next_wait wait = {.flags = F_TIMEOUT, .count = 1, .timeout_ns = 20 * MS};
	struct setup setup;
	struct next_plan *plan;

	make_next_setup(&setup, NEXT_TIMEOUTS, 0);
	plan = setup.ring.next_plan;
	NEED(sys_register(setup.ring.fd, REGISTER_CLOCK, &clock, 0));
	for (int i = 0; i < 2; i++) {
		const __u64 until = now_by(CLOCK_BOOTTIME) + 20 * MS;

		if (i == 1) {
			wait.flags |= F_TIMEOUT_ABS;
			wait.timeout_ns = until;
		}
		CHECK_EQ(run_wait(&setup, 2, wait), 0);
		CHECK_EQ(plan->flags[1], F_TIMED_OUT);
		CHECK(now_by(CLOCK_BOOTTIME) >= until);
	}
	end_setup(&setup);
}

/* A completion ends a wait whose timeout is longer than any clock can represent. */
static void completion_before_timeout(void)
{
	static const struct {
		__u32 flags;
		__u64 timeout;
	} far[] = {
		{F_TIMEOUT, 1000 * 1000 * MS},
		{F_TIMEOUT, ~0ULL},
		{F_TIMEOUT, ~0ULL >> 1},
		{F_TIMEOUT | F_TIMEOUT_ABS, ~0ULL},
		{F_TIMEOUT | F_TIMEOUT_ABS, ~0ULL >> 1},
		{F_TIMEOUT, 1ULL << 63},
	};
	struct setup setup;
	struct next_plan *plan;

	make_next_setup(&setup, NEXT_TIMEOUTS, 0);
	plan = setup.ring.next_plan;
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		clear_plan(&setup);
		plan->stop_after = 1;
		request_after(&setup, 10 * MS);
		for (int turn = 0; turn < NEXT_TURNS; turn++)
			plan->wait[turn] = (struct next_wait){.flags = far[i].flags, .count = 1, .timeout_ns = far[i].timeout};
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(plan->reaped, 1);
		CHECK_EQ(plan->last_res, -ETIME);
		CHECK_EQ(plan->flags[1] | plan->flags[2], 0);
	}
	end_setup(&setup);
}

struct late_write {
	const volatile struct next_plan *plan;
	int fd;
};

static void *write_after_two_turns(void *argument)
{
	const struct late_write *late = argument;

	CHECK(EVENTUALLY(late->plan->turns >= 2));
	sleep_ms(20);
	CHECK_EQ(write(late->fd, "x", 1), 1);
	return NULL;
}

/* The second wait has no timeout, although the step left the parameters of the first wait as they were. */
static void timeout_is_for_one_wait(void)
{
	struct late_write late;
	struct setup setup;
	struct next_plan *plan;
	pthread_t writer;
	int pipes[2];
	char byte;

	make_next_setup(&setup, NEXT_TIMEOUTS, 0);
	plan = setup.ring.next_plan;
	plan->stop_after = 1;
	NEED(pipe(pipes));
	fill_read(&setup.ring, pipes[0], &byte, 1);
	plan->submit = 1;
	late = (struct late_write){.plan = plan, .fd = pipes[1]};
	NEED(pthread_create(&writer, NULL, write_after_two_turns, &late));
	plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 10 * MS};
	for (int turn = 1; turn < NEXT_TURNS; turn++)
		plan->wait[turn] = (struct next_wait){.leave_flags = 1, .count = 1};
	CHECK_EQ(enter(&setup), 0);
	pthread_join(writer, NULL);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	CHECK_EQ(plan->flags[2], 0);
	CHECK_EQ(plan->reaped, 1);

	/* A timeout has no effect on a turn that does not wait. */
	clear_plan(&setup);
	plan->turns_wanted = 3;
	plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 0, .timeout_ns = 1000 * 1000 * MS};
	plan->wait[1] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 5 * MS};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->flags[1], 0);
	CHECK_EQ(plan->flags[2], F_TIMED_OUT);
	end_setup(&setup);
}

static void unknown_flags(void)
{
	static const __u32 wrong[] = {8, 1U << 31, F_TIMEOUT_ABS, F_TIMEOUT | 8};
	struct setup setup;
	struct next_plan *plan;

	make_next_setup(&setup, NEXT_TIMEOUTS, 0);
	plan = setup.ring.next_plan;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		CHECK_EQ(run_wait(&setup, 3, (struct next_wait){.flags = wrong[i]}), -EINVAL);
		CHECK_EQ(plan->turns, 1);
	}
	/* The flag that the kernel sets does no harm. */
	CHECK_EQ(run_wait(&setup, 2, (struct next_wait){.flags = F_TIMED_OUT}), 0);
	CHECK_EQ(plan->flags[1], 0);
	end_setup(&setup);
}

static void nothing(int signal_number)
{
	(void)signal_number;
}

/* What another thread does to a loop that waits. */
struct disturbance {
	pthread_t thread;
	struct setup *setup;
};

/* Waits until the first turn of the loop has begun, and a little longer. A signal or a detach after that ends the loop in or after this turn. */
static void wait_for_a_turn(const struct setup *setup)
{
	const volatile struct next_plan *plan = setup->ring.next_plan;

	CHECK(EVENTUALLY(plan->turns >= 1));
	sleep_ms(50);
}

static void *signal_later(void *argument)
{
	const struct disturbance *disturbance = argument;

	wait_for_a_turn(disturbance->setup);
	pthread_kill(disturbance->thread, SIGUSR1);
	return NULL;
}

static void signal_before_timeout(void)
{
	const struct sigaction action = {.sa_handler = nothing};
	struct setup setup;
	struct disturbance disturbance = {.thread = pthread_self(), .setup = &setup};
	pthread_t other;

	make_next_setup(&setup, NEXT_TIMEOUTS, 0);
	sigaction(SIGUSR1, &action, NULL);
	pthread_create(&other, NULL, signal_later, &disturbance);
	CHECK_EQ(run_wait(&setup, 2, (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 1000 * 1000 * MS}),
		 -EINTR);
	CHECK_EQ(setup.ring.next_plan->turns, 1);
	pthread_join(other, NULL);
	end_setup(&setup);
}

static void *detach_soon(void *argument)
{
	const struct disturbance *disturbance = argument;

	wait_for_a_turn(disturbance->setup);
	detach_loop(&disturbance->setup->loop);
	return NULL;
}

static void detach_before_timeout(void)
{
	struct setup setup;
	struct disturbance disturbance = {.setup = &setup};
	pthread_t other;
	int tries = 0, result;
	__u32 turns;

	/* On a busy machine, the time may be up before the other thread has detached the loop. */
	do {
		make_next_setup(&setup, NEXT_TIMEOUTS, 0);
		pthread_create(&other, NULL, detach_soon, &disturbance);
		/* Detaching wakes nobody. The loop finds out when the time is up. */
		result = run_wait(&setup, 2, (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 4000 * MS});
		turns = setup.ring.next_plan->turns;
		pthread_join(other, NULL);
		end_setup(&setup);
	} while (turns == 2 && ++tries < 5);
	CHECK_EQ(result, -EFAULT);
	CHECK_EQ(turns, 1);
}

const struct test timeout_tests[] = {
	TEST(relative_timeout),		 TEST(absolute_timeout),	TEST(timeouts_by_another_clock),
	TEST(completion_before_timeout), TEST(timeout_is_for_one_wait), TEST(unknown_flags),
	TEST(signal_before_timeout),	 TEST(detach_before_timeout),	END_OF_TESTS,
};
