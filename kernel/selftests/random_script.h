/* SPDX-License-Identifier: GPL-2.0 */
/* The script that a random call leaves in a ring's memory region, and that the loop in random_calls.bpf.o follows. */
#ifndef RINGSTEP_SELFTESTS_RANDOM_SCRIPT_H
#define RINGSTEP_SELFTESTS_RANDOM_SCRIPT_H

#include <linux/types.h>

/* What one instruction of a script does with its arguments. Other numbers do nothing. */
enum script_what {
	SCRIPT_SUBMIT,	     /* submits a[0] requests */
	SCRIPT_REGION,	     /* asks for region a[0], with one of the sizes that a[1] chooses, and writes to its last byte */
	SCRIPT_REAP,	     /* takes up to a[0] completions, 64 at most */
	SCRIPT_WAIT,	     /* waits until there are a[0] completions more than were taken */
	SCRIPT_WAIT_AT,	     /* waits for the position a[0] of the CQ */
	SCRIPT_TIMEOUT,	     /* sets the flags a[0] and the timeout, a[1] nanoseconds */
	SCRIPT_BUSY_POLL,    /* polls for a[0] nanoseconds, shifted to the left by the last six bits of a[1] */
	SCRIPT_READ_BUFFER,  /* reads a[1] bytes of the registered buffer a[0], from a[2] on */
	SCRIPT_WRITE_BUFFER, /* writes there */
	SCRIPT_RETURN,	     /* ends the step with a[0], which need not be one of the two values that are allowed */
	SCRIPT_HEAD,	     /* sets the head of the CQ to a[0] */
	SCRIPT_RUN_WORK,     /* runs at least a[0] pieces of deferred work */
	SCRIPT_KINDS,
};

struct script_instruction {
	__u32 what;
	__u32 a[3];
};

#define SCRIPT_LENGTH 16
#define SCRIPT_DATA 256

struct script {
	__u32 turns; /* counts the turns */
	__u32 most;  /* the loop stops in this turn */
	struct script_instruction instruction[SCRIPT_LENGTH];
	__u8 data[SCRIPT_DATA];
};

#endif
