// SPDX-License-Identifier: GPL-2.0
/*
 * Lets every allocation and every copy from and to user memory fail, one at a time, in each call that loops need. The call must fail with an
 * errno that says so, or do without; a second try must succeed; and nothing may leak.
 *
 *     kernel-selftests-injection FOLDER [TEST…]
 *
 * It needs a kernel with fault injection, as the debugging kernels are. There, `fail-nth` in /proc makes the nth thing fail that can fail in a
 * thread (Documentation/fault-injection). Each call is made again and again, with n = 1, 2, 3 and so on, until nothing has failed in it.
 */
#define _GNU_SOURCE
#include "setup.h"

#include <sys/mman.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	MOST_FAULTS = 2000, /* more than any of these calls has */
	ROUNDS = 10,
};

#define DEBUG_FOLDER "/sys/kernel/debug/"

static int fail_nth_fd;

static bool write_text(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	const bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

/* Makes the nth thing fail that can fail in this thread from now on. */
static void begin_to_fail(unsigned nth)
{
	char text[16];
	const int length = snprintf(text, sizeof(text), "%u", nth);

	NEED(pwrite(fail_nth_fd, text, (size_t)length, 0));
}

/* Ends that. Returns whether something has failed. */
static bool end_to_fail(void)
{
	char left[16] = "";
	/* These two calls copy, too, so they may be what fails. Then nothing else has failed before. */
	const ssize_t got = pread(fail_nth_fd, left, sizeof(left) - 1, 0);

	while (pwrite(fail_nth_fd, "0", 1, 0) < 0)
		NEED(errno == EFAULT ? 0 : -errno);
	return got > 0 && atoi(left) == 0;
}

/* Turns injection on for all kinds of allocations, without a message for each. */
static bool prepare_injection(void)
{
	static const char *const kinds[] = {"failslab", "fail_page_alloc", "fail_usercopy"};
	static const char *const settings[][2] = {
		{"verbose", "0"}, {"ignore-gfp-wait", "N"}, {"ignore-gfp-highmem", "N"}, {"min-order", "0"}};
	char path[128];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]); k++) {
			snprintf(path, sizeof(path), DEBUG_FOLDER "%s/%s", kinds[i], settings[k][0]);
			/* Not every kind has every setting. */
			if (!write_text(path, settings[k][1]) && k == 0)
				return false;
		}
	}
	return true;
}

static void need_injection(void)
{
	if (!prepare_injection())
		SKIP("the kernel has no fault injection");
	fail_nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	NEED(fail_nth_fd);
}

static bool says_so(int result)
{
	return result == -ENOMEM || result == -EFAULT || result == -EAGAIN || result == -ENOBUFS;
}

/*
 * Calls `act` with every fault. `restore`, if there is one, gets its result after each call, without a fault, and makes everything as it was before
 * the call. It does all of that several times. What a call allocates depends a little on what was freed before, so one round may miss a fault. And
 * kmemleak overlooks a leaked object if some word in memory happens to look like its address; it hardly overlooks all of several objects.
 */
static void with_every_fault(const char *name, int (*act)(void), void (*restore)(int result))
{
	unsigned faults = 0, failed = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned nth = 0;
		bool injected;
		int result;

		do {
			begin_to_fail(++nth);
			result = act();
			injected = end_to_fail();
			if (result < 0) {
				failed++;
				if (!says_so(result) || !injected)
					report(__FILE__, __LINE__, name, result, -ENOMEM);
			}
			if (restore)
				restore(result);
		} while (injected && nth < MOST_FAULTS);
		faults += nth - 1;
		CHECK(!injected);
		CHECK(nth > 1);
		CHECK(result >= 0);
	}
	printf("# %s: %u faults, %u of which it has failed for\n", name, faults, failed);
}

/* --- What is there before a loop ------------------------------------------------------------------------------------------------------- */

static int act_open(void)
{
	struct io_uring_params params = {.flags = LOOP_RING, .cq_entries = 16};

	return sys_setup(8, &params);
}

static void restore_open(int result)
{
	if (result >= 0)
		close(result);
}

static void rings(void)
{
	with_every_fault("io_uring_setup", act_open, restore_open);
}

static struct ring ring;
static struct region_desc desc;
static char *memory;

enum { REGION_PAGES = 40 };

static int act_region(void)
{
	return register_region(ring.fd, &desc);
}

/* A ring has one region at most. So each call gets a new ring, and a region that could not be registered is registered on the same ring. */
static void renew_ring(int result)
{
	const bool by_user = memory != NULL;

	if (result < 0) {
		desc.mmap_offset = 0;
		CHECK_EQ(register_region(ring.fd, &desc), 0);
	}
	if (!by_user) {
		char *const mapped =
			mmap(NULL, desc.size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, (off_t)desc.mmap_offset);

		CHECK(mapped != MAP_FAILED);
		if (mapped != MAP_FAILED) {
			mapped[desc.size - 1] = 1;
			munmap(mapped, desc.size);
		}
	}
	close_ring(&ring);
	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	desc = (struct region_desc){.size = REGION_PAGES * 4096UL};
	if (by_user) {
		desc.user_addr = (__u64)(uintptr_t)memory;
		desc.flags = MEM_REGION_TYPE_USER;
	}
}

static void regions_of_user_memory(void)
{
	memory = pages(REGION_PAGES);
	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	desc = (struct region_desc){
		.size = REGION_PAGES * 4096UL, .user_addr = (__u64)(uintptr_t)memory, .flags = MEM_REGION_TYPE_USER};
	with_every_fault("a region of user memory", act_region, renew_ring);
}

static void regions_of_the_kernel(void)
{
	memory = NULL;
	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	desc = (struct region_desc){.size = REGION_PAGES * 4096UL};
	with_every_fault("a region of the kernel", act_region, renew_ring);
}

/* --- Loops ------------------------------------------------------------------------------------------------------------------------------ */

static struct setup loop;

static int act_attach(void)
{
	return attach_loop(&loop.loop);
}

static void restore_attach(int result)
{
	if (result < 0)
		CHECK_EQ(attach_loop(&loop.loop), 0);
	CHECK_EQ(run_plan(&loop, stop_in_turn(2)), 0);
	CHECK_EQ(loop.ring.plan->turns, 2);
	detach_loop(&loop.loop);
}

static void attaching(void)
{
	make_setup(&loop);
	detach_loop(&loop.loop);
	with_every_fault("attaching", act_attach, restore_attach);
	end_setup(&loop);
}

static int act_detach(void)
{
	detach_loop(&loop.loop);
	return 0;
}

static void restore_detach(int result)
{
	(void)result;
	CHECK_EQ(run_plan(&loop, stop_in_turn(2)), 0);
	CHECK_EQ(loop.ring.plan->turns, 0);
	CHECK_EQ(attach_loop(&loop.loop), 0);
}

static void detaching(void)
{
	make_setup(&loop);
	with_every_fault("detaching", act_detach, restore_detach);
	end_setup(&loop);
}

/* --- Requests --------------------------------------------------------------------------------------------------------------------------- */

static int pipe_ends[2];
static char bytes[8];
static unsigned long submitted, reaped;

/* A nop, reads that complete at once, and reads that a worker makes. */
static void fill_requests(void)
{
	fill_nops(&loop.ring, 2, 1);
	for (unsigned i = 0; i < 4; i++) {
		fill_read(&loop.ring, pipe_ends[0], &bytes[i], 3 + i);
		if (i % 2)
			loop.ring.sqes[(*loop.ring.sq_tail - 1) & (loop.ring.params.sq_entries - 1)].flags |= IOSQE_ASYNC;
	}
}

static struct plan wanted;

static int act_run(void)
{
	return run_plan(&loop, wanted);
}

/* Submits what the fault has left in the SQ, and takes all completions. */
static void take_all(int result)
{
	struct plan rest = {.submit = 8, .submit_turns = 1, .reap = PLAN_MAX_REAPED, .last_turn = 100, .last_result = 1};
	const char more[8] = {};

	(void)result;
	submitted += loop.ring.plan->submitted;
	reaped += loop.ring.plan->reaped;
	for (int i = 0; i < 20000; i++) {
		CHECK_EQ(run_plan(&loop, rest), 0);
		submitted += loop.ring.plan->submitted;
		reaped += loop.ring.plan->reaped;
		if (*loop.ring.sq_head == *loop.ring.sq_tail && reaped + *loop.ring.cq_overflow == submitted)
			break;
		sleep_ms(1);
	}
	CHECK_EQ(*loop.ring.sq_tail - *loop.ring.sq_head, 0);
	CHECK_EQ(reaped + *loop.ring.cq_overflow, submitted);
	CHECK(write(pipe_ends[1], more, 4) == 4);
	fill_requests();
}

static void run_with_every_fault(const char *name, struct plan plan)
{
	const char first[8] = {};

	wanted = plan;
	NEED(pipe(pipe_ends));
	NEED(write(pipe_ends[1], first, sizeof(first)));
	make_setup_with(&loop, 8, 8, 0);
	fill_requests();
	with_every_fault(name, act_run, take_all);
	end_setup(&loop);
}

static void running(void)
{
	run_with_every_fault(
		"submitting and reaping",
		(struct plan){.submit = 6, .submit_turns = 1, .reap = PLAN_MAX_REAPED, .last_turn = 20, .last_result = 1});
}

/* The CQ has 8 entries, and the loop takes none of them. */
static void overflowing(void)
{
	NEED(pipe(pipe_ends));
	make_setup_with(&loop, 8, 8, 0);
	for (unsigned round = 0; round < 2; round++) {
		fill_nops(&loop.ring, 6, 1);
		CHECK_EQ(run_plan(&loop, (struct plan){.submit = 6, .submit_turns = 1, .last_turn = 1, .last_result = 1}), 0);
		submitted += loop.ring.plan->submitted;
	}
	fill_nops(&loop.ring, 6, 1);
	wanted = (struct plan){.submit = 6, .submit_turns = 1, .last_turn = 2, .last_result = 1};
	with_every_fault("an overflow of the CQ", act_run, take_all);
	end_setup(&loop);
}

static void *write_later(void *unused)
{
	(void)unused;
	sleep_ms(200);
	return (void *)write(pipe_ends[1], "x", 1);
}

/* There is no memory to keep a completion that the CQ has no room for. After that, the loop must still sleep when it waits. */
static void dropped_completion_lets_it_sleep(void)
{
	const struct plan submit_all = {.submit = 8, .submit_turns = 1, .last_turn = 1, .last_result = 1};
	const struct plan reap_all = {.reap = PLAN_MAX_REAPED, .last_turn = 20, .last_result = 1};
	pthread_t thread;
	char byte = 0;

	need_injection();
	NEED(pipe(pipe_ends));
	make_setup_with(&loop, 8, 8, 0);
	fill_nops(&loop.ring, 8, 1);
	CHECK_EQ(run_plan(&loop, submit_all), 0);
	for (unsigned nth = 1; *loop.ring.cq_overflow == 0 && nth < MOST_FAULTS; nth++) {
		if (*loop.ring.sq_head == *loop.ring.sq_tail)
			fill_nops(&loop.ring, 1, 1);
		begin_to_fail(nth);
		(void)run_plan(&loop, submit_all);
		(void)end_to_fail();
	}
	CHECK_EQ(*loop.ring.cq_overflow, 1);
	CHECK_EQ(run_plan(&loop, submit_all), 0);
	CHECK_EQ(run_plan(&loop, reap_all), 0);

	fill_read(&loop.ring, pipe_ends[0], &byte, 2);
	pthread_create(&thread, NULL, write_later, NULL);
	CHECK_EQ(run_plan(&loop, submit_and_reap(1)), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(byte, 'x');
	/* A loop that does not sleep takes thousands of turns in that time. */
	CHECK(loop.ring.plan->turns < 20);
	end_setup(&loop);
}

/* --- Leaks ------------------------------------------------------------------------------------------------------------------------------ */

static void nothing_leaks(void)
{
	static char text[4096];
	int fd;

	if (access(DEBUG_FOLDER "kmemleak", F_OK))
		SKIP("the kernel has no kmemleak");
	/* It tells of nothing that is younger than five seconds, nor of what it has not missed twice. */
	sleep_ms(6000);
	CHECK(write_text(DEBUG_FOLDER "kmemleak", "scan"));
	CHECK(write_text(DEBUG_FOLDER "kmemleak", "scan"));
	fd = open(DEBUG_FOLDER "kmemleak", O_RDONLY | O_CLOEXEC);
	NEED(fd);
	NEED(read(fd, text, sizeof(text) - 1));
	close(fd);
	if (text[0])
		fprintf(stderr, "%s", text);
	CHECK_EQ(text[0], 0);
}

#define INJECTED(name)                                                                                                         \
	static void every_fault_of_##name(void)                                                                                \
	{                                                                                                                      \
		need_injection();                                                                                              \
		name();                                                                                                        \
	}

INJECTED(rings)
INJECTED(regions_of_user_memory)
INJECTED(regions_of_the_kernel)
INJECTED(attaching)
INJECTED(detaching)
INJECTED(running)
INJECTED(overflowing)

static const struct test tests[] = {
	TEST(every_fault_of_rings),
	TEST(every_fault_of_regions_of_user_memory),
	TEST(every_fault_of_regions_of_the_kernel),
	TEST(every_fault_of_attaching),
	TEST(every_fault_of_detaching),
	TEST(every_fault_of_running),
	TEST(every_fault_of_overflowing),
	TEST(dropped_completion_lets_it_sleep),
	TEST(nothing_leaks),
	END_OF_TESTS,
};

int main(int argc, char **argv)
{
	static const struct test *const groups[] = {tests, NULL};

	/* What has leaked before is no fault of these tests. */
	write_text(DEBUG_FOLDER "kmemleak", "scan");
	write_text(DEBUG_FOLDER "kmemleak", "clear");
	return run_tests(groups, argc, argv);
}
