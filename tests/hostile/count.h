/* SPDX-License-Identifier: MIT */
/* What a loop whose steps are measured calls: goes in front of it. tests/hostile/loops.cpp has the functions. */
#ifndef HOSTILE_COUNT_H
#define HOSTILE_COUNT_H

extern void hostile_step_begins(void);
extern void hostile_iteration(void);
extern int hostile_enter(unsigned int fd, unsigned int to_submit, unsigned int min_complete, unsigned int flags);
extern int hostile_enter_for(unsigned int fd, unsigned int to_submit, unsigned int min_complete, unsigned int flags,
			     unsigned long long nanoseconds);

#define RINGSTEP__STEP_BEGINS() hostile_step_begins()
#define RINGSTEP__ITERATION() hostile_iteration()
#define RINGSTEP__ENTER hostile_enter
#define RINGSTEP__ENTER_FOR hostile_enter_for

#endif /* HOSTILE_COUNT_H */
