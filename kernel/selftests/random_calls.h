/* SPDX-License-Identifier: GPL-2.0 */
/* Random calls of everything that loops are made of. */
#ifndef RINGSTEP_SELFTESTS_RANDOM_CALLS_H
#define RINGSTEP_SELFTESTS_RANDOM_CALLS_H

#include "random_episode.h"
#include "ring.h"

enum {
	RINGS = 4,
	THREADS = 3,
	FIRST_RING = 200, /* the descriptor of the first ring; loops know theirs */

	EPISODE_NOT_BEGUN = 2, /* what the process of an episode ends with if it lacks a file, a thread or a timer */
};

/* What has succeeded, in memory that all processes share. */
struct counts {
	unsigned long episodes, not_begun, calls, rings, mapped, regions, attached, detached, entered, turns, submitted;
};
extern struct counts *counts;

/* A loop for each ring, which whoever runs episodes has loaded for its descriptor. */
extern struct loop loops[RINGS];
/* The offsets in the queues of the rings, which are the same for all of them. The SQ's array is left out: rings have none, or it is never filled. */
extern struct io_uring_params offsets;

/* Makes the calls of an episode, in three threads, and ends this process. */
_Noreturn void run_episode(const struct episode *episode);

#endif
