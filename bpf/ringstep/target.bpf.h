/* SPDX-License-Identifier: MIT */
/*
 * What a loop is compiled for: the kernel, if the compiler targets BPF, and a process otherwise. Each offers the same few
 * things, on which the rest of the kit stands.
 */
#ifndef RINGSTEP_TARGET_BPF_H
#define RINGSTEP_TARGET_BPF_H

#ifdef __bpf__
#include <ringstep/target/kernel.bpf.h>
#else
#include <ringstep/target/user.bpf.h>
#endif

#endif /* RINGSTEP_TARGET_BPF_H */
