/* SPDX-License-Identifier: GPL-2.0 */
/* What most tests begin with: a ring with a plan, and a loop that follows the plan. Each function here ends the test if it fails. */
#ifndef RINGSTEP_SELFTESTS_SETUP_H
#define RINGSTEP_SELFTESTS_SETUP_H

#include "check.h"
#include "ring.h"

struct setup {
	struct ring ring;
	struct loop loop;
};

/* Opens a ring of 8 SQEs and 16 CQEs, adds an empty plan, and attaches the loop in step.bpf.o. */
void make_setup(struct setup *setup);
/* Like make_setup(), with other sizes, and with `flags` besides LOOP_RING. */
void make_setup_with(struct setup *setup, unsigned sq_entries, unsigned cq_entries, unsigned flags);
/* Like make_setup(), with `flags` besides LOOP_RING, and with the plan in this page, which other processes may see. */
void make_setup_at(struct setup *setup, struct plan *plan, unsigned flags);
void end_setup(struct setup *setup);

/* Runs the loop: calls io_uring_enter() and returns its result, or a negative errno. */
int enter(struct setup *setup);
/* Gives the loop this plan, without results of an earlier one, and runs it. Returns what enter() returns. */
int run_plan(struct setup *setup, struct plan plan);

/* Returns a plan to do nothing, and to stop in this turn. Turns are counted from 1. */
struct plan stop_in_turn(unsigned turn);
/* Returns a plan to submit `count` requests at once, and to stop when all of them have completed. */
struct plan submit_and_reap(unsigned count);

/* Opens a ring without a loop, and returns its file descriptor. */
int any_ring(void);

/* Reports a failure unless the verifier refuses this program of an object. */
void check_refused(const char *object, const char *program, int ring_fd);

#endif
