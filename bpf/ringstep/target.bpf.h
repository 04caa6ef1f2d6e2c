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

/*
 * Reads a field of a region once. The application may change it at any time, and the compiler may otherwise read it again between a check
 * and the use of what was checked.
 */
#define ringstep__read_once(field) (*(const volatile __typeof__(*(field)) *)(field))

#endif /* RINGSTEP_TARGET_BPF_H */
