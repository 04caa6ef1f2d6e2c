/* SPDX-License-Identifier: MIT */
/* State of the loop "kernel_only". */
#pragma once

#include <linux/types.h>

struct kernel_only {
	__u64 in_map;
	__u64 task;
	__u64 locked;
	__u64 version;
};
