/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that is out of reach of what happens to the memory beside it. */
#ifndef RINGSTEP_SELFTESTS_GUARDED_H
#define RINGSTEP_SELFTESTS_GUARDED_H

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Maps `size` bytes that are shared with all processes that this one forks: those of a file from its first byte on, or new ones if `fd` is -1.
 * There is a page on either side that nobody can read or write, so a request that goes beyond the end of other memory fails, and does not
 * change these bytes. Returns MAP_FAILED and sets errno if it fails.
 */
static inline void *map_guarded(size_t size, int fd)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded = (size + page - 1) / page * page;
	char *const around = mmap(NULL, rounded + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *memory;

	if (around == MAP_FAILED)
		return MAP_FAILED;
	memory =
		mmap(around + page, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (memory == MAP_FAILED)
		munmap(around, rounded + 2 * page);
	return memory;
}

#endif
