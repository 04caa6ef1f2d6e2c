/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that a write beyond the end of other memory cannot reach. */
#ifndef RINGSTEP_SELFTESTS_GUARDED_H
#define RINGSTEP_SELFTESTS_GUARDED_H

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Maps `size` bytes, which this process shares with all processes that it forks. They are the first bytes of the file `fd`, or new memory if `fd`
 * is -1. The pages before and behind them can be neither read nor written. So a request that runs over the end of its own memory fails there,
 * and does not overwrite these bytes. Returns MAP_FAILED and sets errno if it fails.
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
