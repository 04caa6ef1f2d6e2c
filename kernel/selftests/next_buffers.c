// SPDX-License-Identifier: GPL-2.0
/* Registered buffers of user memory. */
#define _GNU_SOURCE
#include "next.h"
#include "next_setup.h"
#include "next_large.h"

#include <sys/mman.h>

#include <errno.h>
#include <string.h>

/* Reads and writes parts of a buffer, and checks that each access reaches the whole part and nothing around it. */
static void check_access(struct setup *setup, __u32 index, __u8 *memory, size_t size)
{
	static const __u32 lengths[] = {0, 1, 2, 16, 100, 4095, 4096, 4097, NEXT_DATA};

	fill(memory, size);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const __u32 length = lengths[i];
		const __u64 offsets[] = {0, 1, 4000, 4095, 4096, 4097, size / 2 - 8, size - length};

		for (size_t k = 0; k < sizeof(offsets) / sizeof(offsets[0]); k++) {
			const __u64 offset = offsets[k];
			size_t wrong = 0;

			if (length > size || offset > size - length)
				continue;
			memset(setup->ring.next_plan->data, 0xee, NEXT_DATA);
			CHECK_EQ(copy_once(setup, (struct next_copy){.index = index, .offset = offset, .length = length}), 0);
			for (__u32 at = 0; at < NEXT_DATA; at++)
				wrong += setup->ring.next_plan->data[at] != (at < length ? pattern(offset + at) : 0xee);
			CHECK_EQ(wrong, 0);

			memset(setup->ring.next_plan->data, 0x11, NEXT_DATA);
			CHECK_EQ(copy_once(setup,
					   (struct next_copy){.index = index, .offset = offset, .length = length, .write = 1}),
				 0);
			for (size_t at = offset < 8192 ? 0 : offset - 8192; at < size && at < offset + length + 8192; at++)
				wrong += memory[at] != (at - offset < length ? 0x11 : pattern(at));
			CHECK_EQ(wrong, 0);
			for (__u32 at = 0; at < length; at++)
				memory[offset + at] = pattern(offset + at);
		}
	}
	for (size_t at = 0; at < size; at++)
		CHECK(memory[at] == pattern(at) || (at = size - 1, false));
}

static void read_and_write_buffers(void)
{
	struct setup setup;
	__u8 *memory = pages(16), *odd = pages(4) + 123;
	const struct iovec buffers[] = {{.iov_base = memory, .iov_len = 16 * 4096}, {.iov_base = odd, .iov_len = 9000}};

	make_next_setup(&setup, NEXT_BUFFERS, 0);
	register_buffers(&setup, buffers, 2);
	check_access(&setup, 0, memory, 16 * 4096);
	check_access(&setup, 1, odd, 9000);
	end_setup(&setup);
}

/* Returns how many bytes of this process's memory are in huge pages, or -1. */
static long in_huge_pages(void)
{
	FILE *const file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long kilobytes = -1;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "AnonHugePages: %ld kB", &kilobytes) == 1)
			break;
	if (file)
		fclose(file);
	return kilobytes < 0 ? -1 : kilobytes * 1024;
}

/* The kernel keeps a huge page as one piece. The buffer begins and ends within such pieces. */
static void buffers_of_large_pages(void)
{
	const size_t huge = 2 << 20;
	struct setup setup;
	__u8 *memory = pages(4 * huge / 4096);
	struct iovec buffer;

	memory += huge - (uintptr_t)memory % huge;
	madvise(memory, 2 * huge, MADV_HUGEPAGE);
	memset(memory, 1, 2 * huge);
	buffer = (struct iovec){.iov_base = memory + 5000, .iov_len = huge + 3 * 4096 + 77};
	make_next_setup(&setup, NEXT_BUFFERS, 0);
	register_buffers(&setup, &buffer, 1);
	check_access(&setup, 0, buffer.iov_base, buffer.iov_len);
	if (in_huge_pages() < 2 * (long)huge && !failures)
		SKIP("there were no huge pages, so only single pages have been tested");
	end_setup(&setup);
}

/* A copy is limited to LARGE_COPY bytes. */
static void copies_are_limited(void)
{
	struct large_copies *copies;
	struct setup setup;
	const struct iovec buffer = {.iov_base = pages(LARGE_COPY / 4096 + 1), .iov_len = LARGE_COPY + 4096};

	need_next(NEXT_BUFFERS);
	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	NEED(add_region(&setup.ring, sizeof(*copies)));
	copies = (struct large_copies *)setup.ring.region;
	register_buffers(&setup, &buffer, 1);
	NEED(load_loop_from(&setup.loop, &setup.ring, "next_large.bpf.o"));
	NEED(attach_loop(&setup.loop));
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(copies->turns, 1);
	CHECK_EQ(copies->largest_read, 0);
	CHECK_EQ(copies->larger_read, -E2BIG);
	CHECK_EQ(copies->largest_write, 0);
	CHECK_EQ(copies->larger_write, -E2BIG);
	end_setup(&setup);
}

static void buffer_refusals(void)
{
	struct setup setup;
	__u8 *memory = pages(2);
	struct iovec buffers[] = {{.iov_base = memory, .iov_len = 5000}, {}};
	static const struct {
		struct next_copy copy;
		int result;
	} cases[] = {
		{{.index = 0, .offset = 4992, .length = 8}, 0},
		{{.index = 0, .offset = 5000, .length = 0}, 0},
		{{.index = 0, .offset = 4992, .length = 9}, -ERANGE},
		{{.index = 0, .offset = 5001, .length = 0}, -ERANGE},
		{{.index = 0, .offset = 0, .length = 5001}, -ERANGE},
		{{.index = 0, .offset = ~0ULL, .length = 8}, -ERANGE},
		{{.index = 0, .offset = ~0ULL - 7, .length = 8}, -ERANGE},
		{{.index = 0, .offset = 1ULL << 63, .length = 8}, -ERANGE},
		{{.index = 1, .offset = 0, .length = 8}, -ENOENT},
		{{.index = 2, .offset = 0, .length = 8}, -ENOENT},
		{{.index = ~0U, .offset = 0, .length = 8}, -ENOENT},
	};

	make_next_setup(&setup, NEXT_BUFFERS, 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.length = 8}), -ENOENT);
	register_buffers(&setup, buffers, 2);
	fill(memory, 8192);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (__u32 write = 0; write < 2; write++) {
			struct next_copy copy = cases[i].copy;
			size_t wrong = 0;

			copy.write = write;
			memset(setup.ring.next_plan->data, 0xee, NEXT_DATA);
			CHECK_EQ(copy_once(&setup, copy), cases[i].result);
			if (cases[i].result == 0) {
				fill(memory, 8192);
				continue;
			}
			/* A refused copy copies nothing, not even a part. */
			for (size_t at = 0; at < NEXT_DATA; at++)
				wrong += setup.ring.next_plan->data[at] != 0xee || memory[at] != pattern(at);
			CHECK_EQ(wrong, 0);
		}
	}
	NEED(sys_register(setup.ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	CHECK_EQ(copy_once(&setup, (struct next_copy){.length = 8}), -ENOENT);
	end_setup(&setup);
}

/* The process has unmapped the memory, and only the ring holds it. */
static void buffer_that_user_space_does_not_see(void)
{
	struct setup setup;
	__u8 *memory = pages(4);
	const struct iovec buffer = {.iov_base = memory, .iov_len = 4 * 4096};
	size_t wrong = 0;

	make_next_setup(&setup, NEXT_BUFFERS, 0);
	register_buffers(&setup, &buffer, 1);
	fill(memory, 4 * 4096);
	NEED(munmap(memory, 4 * 4096));
	CHECK_EQ(copy_once(&setup, (struct next_copy){.offset = 4000, .length = 5000}), 0);
	CHECK_EQ(count_wrong(&setup, 4000, 5000), 0);
	memset(setup.ring.next_plan->data, 0x11, NEXT_DATA);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.offset = 4090, .length = 100, .write = 1}), 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.offset = 4000, .length = 5000}), 0);
	for (size_t at = 0; at < 5000; at++)
		wrong += setup.ring.next_plan->data[at] != (at - 90 < 100 ? 0x11 : pattern(4000 + at));
	CHECK_EQ(wrong, 0);
	end_setup(&setup);
}

const struct test buffers_tests[] = {
	TEST(read_and_write_buffers),
	TEST(buffers_of_large_pages),
	TEST(copies_are_limited),
	TEST(buffer_refusals),
	TEST(buffer_that_user_space_does_not_see),
	END_OF_TESTS,
};
