/* SPDX-License-Identifier: MIT */
/* What a loop that is fuzzed calls in the place of io_uring_enter(): goes in front of it. */
#ifndef FUZZ_ENTER_H
#define FUZZ_ENTER_H

extern int fuzz_enter(unsigned int fd, unsigned int to_submit, unsigned int min_complete, unsigned int flags);

static inline __attribute__((unused)) int fuzz_enter_for(unsigned int fd, unsigned int to_submit, unsigned int min_complete,
							 unsigned int flags, unsigned long long nanoseconds)
{
	(void)nanoseconds;
	return fuzz_enter(fd, to_submit, min_complete, flags);
}

#endif /* FUZZ_ENTER_H */
