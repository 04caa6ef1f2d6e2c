/* SPDX-License-Identifier: MIT */
#error "<bpf/bpf_tracing.h> is of use in the kernel only: do without, or declare the loop KERNEL_ONLY in ringstep_add_loop()"
