/* SPDX-License-Identifier: MIT */
/*
 * Functions that fill in SQEs. They have liburing's names (ringstep_ instead of io_uring_) and argument order. Each sets the whole SQE,
 * with flags and user_data zero, so call the ringstep_sqe_set_ helpers afterwards. Addresses are user space addresses, as integers. A loop
 * gets addresses from the application, through the state, or from ringstep_address().
 */
#ifndef RINGSTEP_PREP_BPF_H
#define RINGSTEP_PREP_BPF_H

#include <ringstep/prep/base.bpf.h>
#include <ringstep/prep/files.bpf.h>
#include <ringstep/prep/rings.bpf.h>
#include <ringstep/prep/sockets.bpf.h>
#include <ringstep/prep/waits.bpf.h>

#endif /* RINGSTEP_PREP_BPF_H */
