/* SPDX-License-Identifier: MIT */
/* The struct that the application and its loop share. Both sides compile it. */
#pragma once

struct hello {
	__u64 countdown; /* nops left to submit; the application sets it */
	__u64 in_flight; /* nops submitted and not yet completed */
	__u64 completed;
};
