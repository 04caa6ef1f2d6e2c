// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "coverage.h"

#include "guarded.h"

#include <linux/kcov.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KCOV "/sys/kernel/debug/kcov"

enum {
	NOTED = 1 << 16, /* places that the kernel notes for a thread until they are taken */
	BITS = 1 << 27,	 /* the kernel's text begins at a multiple of this plus 16 MiB, and is smaller */
	WORD = 64,
};

/* Shared by all processes. A place has the bit of its address; the kernel's text is smaller than the set, so no two share one. */
static struct places {
	unsigned count;
	uint64_t base; /* what all addresses have in common: the bits above those that BITS has */
	uint64_t word[BITS / WORD];
} *places;

/* What the kernel has noted for this thread: how many, and then their addresses. */
static __thread uint64_t *noted;

bool coverage_prepare(void)
{
	if (access(KCOV, R_OK | W_OK))
		return false;
	places = map_guarded(sizeof(*places), -1);
	if (places == MAP_FAILED)
		places = NULL;
	return places != NULL;
}

void coverage_begin(void)
{
	int fd;

	noted = NULL;
	if (!places)
		return;
	fd = open(KCOV, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	/* The mapping keeps the file when the descriptor is closed. */
	if (ioctl(fd, KCOV_INIT_TRACE, NOTED) == 0) {
		void *const memory = map_guarded(NOTED * sizeof(*noted), fd);

		if (memory != MAP_FAILED && ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC) == 0)
			noted = memory;
	}
	close(fd);
}

void coverage_take(void)
{
	uint64_t count;

	if (!noted)
		return;
	count = __atomic_load_n(&noted[0], __ATOMIC_RELAXED);
	for (uint64_t i = 1; i <= count && i < NOTED; i++) {
		const uint64_t address = noted[i], bit = address % BITS, mask = 1ULL << bit % WORD;
		uint64_t *const word = &places->word[bit / WORD];

		if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask)
			continue;
		if (!(__atomic_fetch_or(word, mask, __ATOMIC_RELAXED) & mask))
			__atomic_add_fetch(&places->count, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&places->base, address - bit, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&noted[0], 0, __ATOMIC_RELAXED);
}

unsigned coverage_count(void)
{
	return places ? __atomic_load_n(&places->count, __ATOMIC_RELAXED) : 0;
}

int coverage_write(const char *path)
{
	FILE *const file = fopen(path, "we");
	int status;

	if (!file)
		return -errno;
	for (uint64_t bit = 0; places && bit < BITS; bit++)
		if (places->word[bit / WORD] & 1ULL << bit % WORD)
			fprintf(file, "%llx\n", (unsigned long long)(places->base + bit));
	status = ferror(file) ? -EIO : 0;
	return fclose(file) && !status ? -errno : status;
}
