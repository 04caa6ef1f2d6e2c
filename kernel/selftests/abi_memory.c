// SPDX-License-Identifier: GPL-2.0
/* The memory of regions counts as memory that its user has locked (RLIMIT_MEMLOCK). */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <sys/resource.h>
#include <sys/syscall.h>

#include <errno.h>
#include <unistd.h>

/* Opens a ring in *fd and registers a region of this size, of user memory or of kernel memory. Returns the result of registering. */
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

/* A region may take all the memory that its user may lock, and not a page more. Closing the ring gives the memory back. */
static void memory_is_accounted(void)
{
	const struct rlimit limit = {.rlim_cur = 64 * 4096, .rlim_max = 64 * 4096};
	const size_t free_pages = 64;
	int first, second;

	if (lacks(702))
		SKIP("in 7.1, the queues also count");
	NEED(setrlimit(RLIMIT_MEMLOCK, &limit));
	/* A user without other processes, so that all locked memory is that of this test. */
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

/* The kernel does not count for a task with CAP_IPC_LOCK. */
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

const struct test memory_tests[] = {
	TEST(memory_is_accounted),
	TEST(memory_of_the_privileged_is_not),
	END_OF_TESTS,
};
