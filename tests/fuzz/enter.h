/* SPDX-License-Identifier: MIT */
/* What a loop that is fuzzed calls: goes in front of it. It enters no kernel, and its steps are measured. */
#ifndef FUZZ_ENTER_H
#define FUZZ_ENTER_H

extern int fuzz_enter(unsigned int fd, unsigned int to_submit, unsigned int min_complete, unsigned int flags);

static inline __attribute__((unused)) int fuzz_enter_for(unsigned int fd, unsigned int to_submit, unsigned int min_complete,
							 unsigned int flags, unsigned long long nanoseconds)
{
	(void)nanoseconds;
	return fuzz_enter(fd, to_submit, min_complete, flags);
}

extern unsigned int fuzz_most_iterations;
extern void fuzz_step_begins(void);
extern void fuzz_iteration(void);

#define RINGSTEP__ENTER fuzz_enter
#define RINGSTEP__ENTER_FOR fuzz_enter_for
#define RINGSTEP__MOST_ITERATIONS fuzz_most_iterations
#define RINGSTEP__STEP_BEGINS() fuzz_step_begins()
#define RINGSTEP__ITERATION() fuzz_iteration()

#endif /* FUZZ_ENTER_H */
