/* SPDX-License-Identifier: MIT */
/*
 * Selects the target of a loop: the kernel if the compiler targets BPF, otherwise a process. Both targets define one small set of types
 * and functions, which the rest of the kit uses.
 */
#ifndef RINGSTEP_TARGET_BPF_H
#define RINGSTEP_TARGET_BPF_H

#ifdef __bpf__
#include <ringstep/target/kernel.bpf.h>
#else
#include <ringstep/target/user.bpf.h>
#endif

#endif /* RINGSTEP_TARGET_BPF_H */
