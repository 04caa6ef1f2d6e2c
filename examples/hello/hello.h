/* SPDX-License-Identifier: MIT */
/* What the application and its loop share. One struct, compiled by both sides. */
#pragma once

struct hello {
	__u64 countdown; /* nops still to be submitted; the application sets it */
	__u64 in_flight; /* nops submitted and not yet completed */
	__u64 completed;
};
