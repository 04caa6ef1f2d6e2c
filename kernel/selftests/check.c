// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "check.h"
#include "ring.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int failures;

void report(const char *file, int line, const char *what, long got, long expected)
{
	fprintf(stderr, "%s:%d: %s is %ld, expected %ld\n", file, line, what, got, expected);
	failures++;
}

bool lacks(int number)
{
	if (getenv("RINGSTEP_SELFTEST_ALL"))
		return false;
	return !kernel_is_ours() && (number == ONLY_IN_OURS || kernel_number() < number);
}

void sleep_ms(long ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool sleeps_in(pid_t task, const char *function)
{
	char path[64], line[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/wchan", task);
	file = fopen(path, "r");
	if (file && !fgets(line, sizeof(line), file))
		line[0] = 0;
	if (file)
		fclose(file);
	return strncmp(line, function, strlen(function)) == 0;
}

void drop_capabilities(__u64 dropped)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	NEED(syscall(SYS_capget, &header, data));
	data[0].effective &= ~(__u32)dropped;
	data[1].effective &= ~(__u32)(dropped >> 32);
	data[0].permitted = data[0].effective;
	data[1].permitted = data[1].effective;
	NEED(syscall(SYS_capset, &header, data));
}

void *pages(size_t count)
{
	void *memory = mmap(NULL, count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(memory == MAP_FAILED ? -1 : 0);
	return memory;
}

/* For libbpf: prints nothing, unless RINGSTEP_SELFTEST_VERBOSE is set. */
static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	if (getenv("RINGSTEP_SELFTEST_VERBOSE"))
		return vfprintf(stderr, format, args);
	(void)level;
	return 0;
}

/* Runs a test in a process of its own, with a time limit. Kills the processes that it leaves behind. Returns its result. */
static int run(const struct test *test, unsigned seconds)
{
	const pid_t child = fork();
	int status;

	if (child < 0) {
		perror("fork");
		return FAILED;
	}
	if (child == 0) {
		setpgid(0, 0);
		alarm(seconds);
		test->run();
		exit(failures ? FAILED : PASSED);
	}
	waitpid(child, &status, 0);
	kill(-child, SIGKILL);
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "%s: ended by signal %d%s\n", test->name, WTERMSIG(status),
			WTERMSIG(status) == SIGALRM ? ", because it reached its time limit" : "");
		return FAILED;
	}
	return WEXITSTATUS(status) == PASSED || WEXITSTATUS(status) == SKIPPED ? WEXITSTATUS(status) : FAILED;
}

/* Returns true if `names` has the name, or has no names at all. */
static bool wanted(const char *name, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return count == 0;
}

static void list(const struct test *const *groups)
{
	for (; *groups; groups++)
		for (const struct test *test = *groups; test->name; test++)
			printf("%s\n", test->name);
}

static int count_wanted(const struct test *const *groups, int count, char **names)
{
	int found = 0;

	for (; *groups; groups++)
		for (const struct test *test = *groups; test->name; test++)
			found += wanted(test->name, count, names);
	return found;
}

int run_tests(const struct test *const *groups, int argc, char **argv)
{
	const char *time = getenv("RINGSTEP_SELFTEST_SECONDS");
	int counts[5] = {}, number = 0;
	const int names = argc > 2 ? argc - 2 : 0;

	if (argc > 2 && strcmp(argv[2], "--list") == 0) {
		list(groups);
		return 0;
	}
	if (argc > 1)
		object_folder = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(silent);
	printf("TAP version 13\n1..%d\n", count_wanted(groups, names, argv + 2));
	for (; *groups; groups++) {
		for (const struct test *test = *groups; test->name; test++) {
			int result;

			if (!wanted(test->name, names, argv + 2))
				continue;
			result = run(test, time ? (unsigned)atoi(time) : 150);
			counts[result]++;
			printf("%s %d %s%s\n", result == FAILED ? "not ok" : "ok", ++number, test->name,
			       result == SKIPPED ? " # SKIP" : "");
		}
	}
	printf("# Totals: pass:%d fail:%d xfail:0 xpass:0 skip:%d error:0\n", counts[PASSED], counts[FAILED], counts[SKIPPED]);
	if (counts[FAILED] || number == 0)
		return FAILED;
	return counts[PASSED] ? PASSED : SKIPPED;
}
