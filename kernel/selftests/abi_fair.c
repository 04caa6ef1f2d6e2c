// SPDX-License-Identifier: GPL-2.0
/* What a task usually does on its way back to user mode, or by sleeping, a loop must do, too: it may do neither for hours. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
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

#define GROUPS "/sys/fs/cgroup"

static int write_file(const char *folder, const char *name, const char *text)
{
	char path[256];
	ssize_t written;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	written = write(fd, text, strlen(text));
	if (written < 0)
		written = -errno;
	close(fd);
	return written < 0 ? (int)written : 0;
}

/* Returns the number behind a word in a file, or the number that the file consists of, or -1. */
static long number_in(const char *folder, const char *name, const char *word)
{
	char path[256], line[256];
	long number = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (!word)
			number = atol(line);
		else if (strncmp(line, word, strlen(word)) == 0 && line[strlen(word)] == ' ')
			number = atol(line + strlen(word));
	}
	if (file)
		fclose(file);
	return number;
}

/* The child process: joins the group and runs a loop whose plan the parent sees. Its completions find no room in the CQ and are not taken. */
static void fill_memory(const char *group, struct plan *plan)
{
	struct setup setup;

	NEED(write_file(group, "cgroup.procs", "0"));
	make_setup_at(&setup, plan, IORING_SETUP_SQ_REWIND);
	memset(setup.ring.sqes, 0, 8 * sizeof(*setup.ring.sqes));
	exit(enter(&setup) ? FAILED : PASSED);
}

/*
 * A task that has charged more memory than memory.high allows is throttled. memory.events counts that. The overflown completions here take about
 * 30 pages, which are charged as 64 at once: more than that the allocator does not leave for the way back to user mode.
 */
static void memory_high_throttles(void)
{
	enum { TURNS = 320, EACH = 8 };
	volatile struct plan *plan = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char group[64], high[32];
	long before, turns;
	pid_t child;
	int status;

	if (lacks(ONLY_IN_OURS))
		SKIP("a loop of kernels up to 7.3 is throttled when it has ended");
	NEED(plan == MAP_FAILED ? -1 : 0);
	if (write_file(GROUPS, "cgroup.subtree_control", "+memory"))
		SKIP("there is no memory controller in " GROUPS);
	snprintf(group, sizeof(group), GROUPS "/selftest-%d", getpid());
	NEED(mkdir(group, 0700) ? -errno : 0);
	child = fork();
	if (child == 0)
		fill_memory(group, (struct plan *)plan);
	CHECK(EVENTUALLY(plan->turns > 1000));

	/* It is in the loop by now, and all that it had to allocate it has. */
	snprintf(high, sizeof(high), "%ld", number_in(group, "memory.current", NULL) - 64 * 4096);
	NEED(write_file(group, "memory.high", high));
	before = number_in(group, "memory.events", "high");
	CHECK(before >= 0);
	plan->submit = EACH;
	plan->submit_turns = plan->turns + TURNS;
	CHECK(EVENTUALLY(plan->turns > plan->submit_turns + 1000));
	CHECK(plan->submitted >= 200 * EACH);
	CHECK(EVENTUALLY(number_in(group, "memory.events", "high") > before));
	turns = plan->turns;
	CHECK(EVENTUALLY((long)plan->turns > turns)); /* it is still in there */
	CHECK_EQ(waitpid(child, &status, WNOHANG), 0);

	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	CHECK(EVENTUALLY(rmdir(group) == 0));
	write_file(GROUPS, "cgroup.subtree_control", "-memory");
}

const struct test fair_tests[] = {
	TEST(rcu_tasks_goes_on),
	TEST(memory_high_throttles),
	END_OF_TESTS,
};
