/* SPDX-License-Identifier: MIT */
/* In the place of libbpf's, where a loop is compiled for user space. */
#include <ringstep/target.bpf.h>
