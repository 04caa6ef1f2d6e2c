// SPDX-License-Identifier: GPL-2.0
/*
 * Control groups throttle a task on its way back to user mode. A loop may be on its way for hours, so it must let itself be throttled meanwhile.
 *
 * Each test makes a control group, runs a loop in there in a child process, and removes the group.
 */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* Returns true if a word is in the first line of a file. */
static bool has_word(const char *folder, const char *name, const char *word)
{
	char path[256], line[256] = "", *rest = line, *next;
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	if (file && fgets(line, sizeof(line), file)) {
		while ((next = strsep(&rest, " \n")))
			found |= strcmp(next, word) == 0;
	}
	if (file)
		fclose(file);
	return found;
}

/* A control group of a test's own. */
struct group {
	char path[64];
	char added[32]; /* what to write to cgroup.subtree_control afterwards, for the controllers that were not used before */
};

static void need_controller(const char *name)
{
	if (!has_word(GROUPS, "cgroup.controllers", name))
		SKIP("a controller is missing in " GROUPS);
}

static void use_controller(struct group *group, const char *name)
{
	const size_t used = strlen(group->added);
	char text[16];

	if (has_word(GROUPS, "cgroup.subtree_control", name))
		return;
	snprintf(text, sizeof(text), "+%s", name);
	NEED(write_file(GROUPS, "cgroup.subtree_control", text));
	snprintf(group->added + used, sizeof(group->added) - used, "-%s ", name);
}

static void make_group(struct group *group)
{
	snprintf(group->path, sizeof(group->path), GROUPS "/selftest-%d", getpid());
	NEED(mkdir(group->path, 0700) ? -errno : 0);
}

/* Kills the child in the group, and removes the group. */
static void remove_group(const struct group *group, pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	CHECK(EVENTUALLY(rmdir(group->path) == 0));
	if (group->added[0])
		CHECK_EQ(write_file(GROUPS, "cgroup.subtree_control", group->added), 0);
}

/* Checks that the child is inside the loop, and has not been in user mode since it entered it. */
static void check_still_runs(const volatile struct plan *plan, pid_t child)
{
	const unsigned turns = plan->turns;

	CHECK(EVENTUALLY(plan->turns > turns));
	CHECK_EQ(waitpid(child, NULL, WNOHANG), 0);
}

/* Allocates a page for a plan that a child process sees, too. */
static struct plan *shared_plan(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	NEED(page == MAP_FAILED ? -errno : 0);
	return page;
}

/*
 * Charges 4 MiB to the control group of this process. A small process may have charged less than the 64 pages by which memory_high_throttles
 * lowers the limit. There is no swap, so the kernel cannot reclaim this memory.
 */
static void charge_memory(void)
{
	const size_t size = 4 << 20;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(memory == MAP_FAILED ? -errno : 0);
	memset(memory, 1, size);
}

/*
 * The child process: joins the group and runs a loop whose plan the parent sees. Without a plan, the loop does nothing and never waits. If it
 * submits, the completions find no room in the CQ and are not taken.
 */
static void never_wait(const char *group, struct plan *plan)
{
	struct setup setup;

	NEED(write_file(group, "cgroup.procs", "0"));
	charge_memory();
	make_setup_at(&setup, plan, IORING_SETUP_SQ_REWIND);
	memset(setup.ring.sqes, 0, 8 * sizeof(*setup.ring.sqes));
	exit(enter(&setup) ? FAILED : PASSED);
}

/*
 * A task that has charged more memory than memory.high allows is throttled, and memory.events counts how often. For up to 64 pages, the allocator
 * leaves that for the way back to user mode; for more, it throttles at once. The overflown completions here take about 30 pages, for which 64 are
 * charged.
 */
static void memory_high_throttles(void)
{
	enum { TURNS = 320, EACH = 8 };
	volatile struct plan *plan = shared_plan();
	struct group group = {};
	char high[32];
	long before, current;
	pid_t child;

	if (lacks(ONLY_IN_OURS))
		SKIP("a loop of kernels up to 7.3 is throttled when it has ended");
	need_controller("memory");
	use_controller(&group, "memory");
	make_group(&group);
	child = fork();
	if (child == 0)
		never_wait(group.path, (struct plan *)plan);
	CHECK(EVENTUALLY(plan->turns > 1000));

	/* It is in the loop by now, and all that it had to allocate it has. */
	current = number_in(group.path, "memory.current", NULL);
	CHECK(current > 64 * 4096);
	snprintf(high, sizeof(high), "%ld", current - 64 * 4096);
	NEED(write_file(group.path, "memory.high", high));
	before = number_in(group.path, "memory.events", "high");
	CHECK(before >= 0);
	plan->submit = EACH;
	plan->submit_turns = TURNS;
	CHECK(EVENTUALLY(plan->submit_turns == 0));
	CHECK(EVENTUALLY(plan->submitted == TURNS * EACH));
	CHECK(EVENTUALLY(number_in(group.path, "memory.events", "high") > before));
	check_still_runs(plan, child);
	remove_group(&group, child);
}

/*
 * The group may use 5 % of a processor. Newer kernels throttle by task work, on the way back to user mode. A loop runs task work between two turns, in
 * released kernels, too.
 */
static void cpu_max_throttles(void)
{
	volatile struct plan *plan = shared_plan();
	struct group group = {};
	long used, begin;
	pid_t child;

	need_controller("cpu");
	use_controller(&group, "cpu");
	make_group(&group);
	child = fork();
	if (child == 0)
		never_wait(group.path, (struct plan *)plan);
	CHECK(EVENTUALLY(plan->turns > 1000));

	NEED(write_file(group.path, "cpu.max", "5000 100000"));
	CHECK(EVENTUALLY(number_in(group.path, "cpu.stat", "nr_throttled") > 1));
	begin = milliseconds();
	used = number_in(group.path, "cpu.stat", "usage_usec");
	sleep_ms(2000);
	used = number_in(group.path, "cpu.stat", "usage_usec") - used;
	/* Without a limit, it is all of the time, so a quarter is far from both. */
	CHECK(used < (milliseconds() - begin) * 1000 / 4);
	check_still_runs(plan, child);
	remove_group(&group, child);
}

#define BLOCK_DEVICES "/sys/kernel/config/nullb"

/* Makes a block device of 64 MiB in memory. Writes its name into `name`. Skips the test if the kernel has no null_blk that can do so. */
static void make_block_device(char *folder, size_t folder_size, char *name, size_t name_size)
{
	/* A configfs that is mounted here goes with this process. */
	NEED(unshare(CLONE_NEWNS) ? -errno : 0);
	NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -errno : 0);
	/* Either command may fail: null_blk or configfs may be part of the kernel, and configfs may be mounted already. */
	if (access(BLOCK_DEVICES, F_OK) &&
	    (system("modprobe -q null_blk nr_devices=0; mount -t configfs none /sys/kernel/config 2>/dev/null") < 0 ||
	     access(BLOCK_DEVICES, F_OK)))
		SKIP("there is no null_blk");
	snprintf(folder, folder_size, BLOCK_DEVICES "/selftest-%d", getpid());
	if (mkdir(folder, 0700))
		SKIP("null_blk cannot be configured");
	NEED(write_file(folder, "memory_backed", "1"));
	NEED(write_file(folder, "size", "64"));
	NEED(write_file(folder, "power", "1"));
	snprintf(name, name_size, "/dev/%s", strrchr(folder, '/') + 1);
	CHECK(EVENTUALLY(access(name, F_OK) == 0));
}

static void remove_block_device(const char *folder)
{
	CHECK_EQ(write_file(folder, "power", "0"), 0);
	CHECK_EQ(rmdir(folder), 0);
}

/* Makes a device of 64 MiB the one to swap to. */
static void swap_to(const char *device)
{
	struct {
		char boot_sector[1024];
		__u32 version, last_page, bad_pages;
		char rest[4096 - 1024 - 3 * 4 - 10];
		char magic[10];
	} __attribute__((packed)) header = {.version = 1, .last_page = (64 << 20) / 4096 - 1, .magic = "SWAPSPACE2"};
	const int fd = open(device, O_WRONLY);

	_Static_assert(sizeof(header) == 4096, "the header is the first page");
	NEED(fd);
	CHECK_EQ(write(fd, &header, sizeof(header)), sizeof(header));
	CHECK_EQ(fsync(fd), 0);
	close(fd);
	/* Before all others. */
	NEED(swapon(device, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK) ? -errno : 0);
}

enum { SWAPPED = 4 << 20 };

/*
 * A thread of the child process: swaps memory out, again and again, so that its control group has used up what it may write for minutes to come. In
 * between, it takes away the page that the loop reads to.
 */
static void *swap_memory_out(void *page)
{
	char *memory = mmap(NULL, SWAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(memory == MAP_FAILED ? -errno : 0);
	for (;;) {
		memset(memory, 1, SWAPPED);
		NEED(madvise(memory, SWAPPED, MADV_PAGEOUT) ? -errno : 0);
		NEED(madvise(memory, SWAPPED, MADV_DONTNEED) ? -errno : 0);
		NEED(madvise(page, 4096, MADV_DONTNEED) ? -errno : 0);
	}
	return NULL;
}

/* The child process: joins the group and runs a loop whose plan the parent sees. Each turn reads zeros to a page. */
static void read_zeros(const char *group, struct plan *plan)
{
	struct setup setup;
	pthread_t thread;
	char *page = pages(1);
	const int zeros = open("/dev/zero", O_RDONLY);

	NEED(zeros);
	NEED(write_file(group, "cgroup.procs", "0"));
	make_setup_at(&setup, plan, IORING_SETUP_SQ_REWIND);
	fill_read(&setup.ring, zeros, page, 1);
	*plan = (struct plan){.submit = 1, .submit_turns = ~0U, .reap = PLAN_MAX_REAPED};
	pthread_create(&thread, NULL, swap_memory_out, page);
	exit(enter(&setup) ? FAILED : PASSED);
}

/*
 * blk-iocost lets a group write 4 KiB in a second here, and the group swaps out megabytes. Swapping must not wait, so the group gets into debt, and
 * each of its tasks that takes another page has to sleep for it before it goes back to user mode.
 */
static void io_cost_throttles(void)
{
	volatile struct plan *plan = shared_plan();
	struct group group = {};
	char folder[64], device[32], line[256];
	struct stat status;
	pid_t child;

	if (lacks(ONLY_IN_OURS))
		SKIP("a loop of kernels up to 7.3 is throttled when it has ended");
	/* lockdep stops after its first report. It would then find nothing in the locks of loops. */
	if (kernel_number() > 612 && access("/proc/lockdep", F_OK) == 0)
		SKIP("blk-iocost of this kernel takes locks in an order that lockdep reports");
	if (access(GROUPS "/io.cost.qos", W_OK))
		SKIP("there is no blk-iocost in " GROUPS);
	need_controller("io");
	need_controller("memory");
	make_block_device(folder, sizeof(folder), device, sizeof(device));
	swap_to(device);
	use_controller(&group, "io");
	use_controller(&group, "memory");
	make_group(&group);
	NEED(stat(device, &status) ? -errno : 0);
	snprintf(line, sizeof(line),
		 "%u:%u ctrl=user model=linear rbps=4096 rseqiops=1 rrandiops=1 wbps=4096 wseqiops=1 wrandiops=1",
		 major(status.st_rdev), minor(status.st_rdev));
	NEED(write_file(GROUPS, "io.cost.model", line));
	snprintf(line, sizeof(line), "%u:%u enable=1 ctrl=user min=100 max=100", major(status.st_rdev), minor(status.st_rdev));
	NEED(write_file(GROUPS, "io.cost.qos", line));

	child = fork();
	if (child == 0)
		read_zeros(group.path, (struct plan *)plan);
	CHECK(EVENTUALLY(plan->turns > 100));
	CHECK(EVENTUALLY(sleeps_in(child, "blkcg_maybe_throttle")));
	check_still_runs(plan, child);
	remove_group(&group, child);
	NEED(swapoff(device) ? -errno : 0);
	remove_block_device(folder);
}

const struct test throttle_tests[] = {
	TEST(memory_high_throttles),
	TEST(cpu_max_throttles),
	TEST(io_cost_throttles),
	END_OF_TESTS,
};
