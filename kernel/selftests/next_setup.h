/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of kernel/next begin with, and what they share. */
#ifndef RINGSTEP_SELFTESTS_NEXT_SETUP_H
#define RINGSTEP_SELFTESTS_NEXT_SETUP_H

#include "next_plan.h"
#include "setup.h"

#include <sys/uio.h>

/* The values of enum iou_loop_flags. */
enum {
	F_TIMEOUT = 1,
	F_TIMEOUT_ABS = 2,
	F_TIMED_OUT = 4,
};

/* Nanoseconds. */
#define MS 1000000ULL

/* Skips the test if the kernel lacks one of these features (NEXT_…). */
void need_next(unsigned features);

/*
 * Opens a ring with `flags` besides LOOP_RING, adds an empty next_plan, and attaches the loop in next.bpf.o. Skips the test if the kernel lacks one
 * of the features (NEXT_…). end_setup() undoes all of it.
 */
void make_next_setup(struct setup *setup, unsigned features, unsigned flags);
/* Like make_next_setup(), with other sizes. */
void make_next_setup_with(struct setup *setup, unsigned features, unsigned sq_entries, unsigned cq_entries, unsigned flags);

/* Empties the plan, results included. */
void clear_plan(struct setup *setup);

/* Runs the loop for this number of turns, the first of which ends with `wait`. Returns what enter() returns. */
int run_wait(struct setup *setup, unsigned turns, struct next_wait wait);

void register_buffers(struct setup *setup, const struct iovec *buffers, unsigned count);

/* Lets a step copy from a buffer to the plan's data, or the other way. Returns what the kfunc returned. */
int copy_once(struct setup *setup, struct next_copy copy);

/* Returns a byte that depends on `at`, and the byte at `at` in memory that fill() has filled. */
__u8 pattern(size_t at);
void fill(__u8 *memory, size_t size);

/* Returns how many of the plan's first `count` bytes of data differ from the pattern that begins at `first`. */
size_t count_wrong(const struct setup *setup, size_t first, size_t count);

#endif
