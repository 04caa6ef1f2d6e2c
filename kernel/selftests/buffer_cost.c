// SPDX-License-Identifier: GPL-2.0
/*
 * What it takes a step to look at bytes of a registered buffer by copying them, as kernel/next lets it, and what bpf_dynptr_read() takes for
 * memory that is in one piece. The latter is the least that a dynptr of registered buffers could take.
 *
 *     kernel-buffer-cost FOLDER
 *
 * FOLDER has buffer_cost.bpf.o. The program prints the nanoseconds of a read in the fastest of several turns. In a machine that was started with
 * `./dev vm --icount`, the clock advances by one nanosecond with each instruction, so the numbers are instructions.
 */
#define _GNU_SOURCE
#include "buffer_cost.h"
#include "next_setup.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { READS = 500, TURNS = 20 };

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Returns the nanoseconds of the fastest turn, for each of its reads. */
static double measure(struct setup *setup, enum cost_way way, __u32 bytes)
{
	struct cost_plan *const plan = setup->ring.region;
	double least = 0;

	for (unsigned i = 0; i < TURNS; i++) {
		double time;

		*plan = (struct cost_plan){.way = way, .bytes = bytes, .reads = READS};
		time = now();
		CHECK_EQ(enter(setup), 0);
		time = (now() - time) / READS;
		CHECK_EQ(plan->failed, 0);
		if (i == 0 || time < least)
			least = time;
	}
	return least;
}

int main(int argc, char **argv)
{
	static const __u32 bytes[] = {16, 64, 512, 4096};
	static const char *const names[COST_WAYS] = {
		[COST_KFUNC] = "bpf_io_uring_read_buffer()",
		[COST_DYNPTR] = "bpf_dynptr_from_mem() and bpf_dynptr_read()",
		[COST_SAME_DYNPTR] = "bpf_dynptr_read()",
		[COST_DYNPTR_SLICE] = "bpf_dynptr_data(), whatever the size",
	};
	struct setup setup = {0};
	struct iovec buffer;

	if (argc != 2) {
		fprintf(stderr, "usage: kernel-buffer-cost FOLDER\n");
		return 2;
	}
	object_folder = argv[1];
	need_next(NEXT_BUFFERS);
	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	NEED(add_region(&setup.ring, sizeof(struct cost_plan)));
	buffer = (struct iovec){.iov_base = pages(1), .iov_len = MOST_BYTES};
	memset(buffer.iov_base, 1, MOST_BYTES);
	register_buffers(&setup, &buffer, 1);
	NEED(load_loop_from(&setup.loop, &setup.ring, "buffer_cost.bpf.o"));
	NEED(attach_loop(&setup.loop));

	printf("%-46s %9s %9s %9s %9s\n", "bytes", "16", "64", "512", "4096");
	for (enum cost_way way = COST_KFUNC; way < COST_WAYS; way++) {
		printf("%-46s", names[way]);
		for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
			printf(" %9.1f", measure(&setup, way, bytes[i]) - measure(&setup, COST_NOTHING, bytes[i]));
		printf("\n");
	}
	return failures ? 1 : 0;
}
