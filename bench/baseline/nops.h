/* SPDX-License-Identifier: MIT */
/*
 * Nops by a loop that is written by hand over liburing and libbpf, without ringstep: what the library has to be as good as. The
 * state is shared with the programs; the functions are the loader, for the benchmarks.
 */
#ifndef RINGSTEP_BENCH_BASELINE_NOPS_H
#define RINGSTEP_BENCH_BASELINE_NOPS_H

#include <linux/types.h>

/* The MEM region. */
struct nops_state {
	__u64 total; /* set by the application: nops to run */
	__u64 depth; /* set by the application: in flight at once */
	__u64 turns;
	__u64 submitted;
	__u64 completed;
	__u64 failed; /* of the completed: out of order or with an error */
	__s64 error;  /* a submit that the kernel did not take whole */

	/* Of full.bpf.c alone: */
	__u32 stop;	  /* set by anybody: end before the next turn */
	__u32 claimed;	  /* SQEs filled in and not yet taken */
	__u64 taken;	  /* SQEs that the kernel took */
	__u64 reaped;	  /* completions seen, */
	__u64 unfinished; /* and of these the ones that announced more */
};

/* A ring's layout, set before the load. */
struct nops_geometry {
	__u32 cq_size; /* bytes of the CQ region */
	__u32 sq_size; /* bytes of the SQ region */
	__u32 cq_head;
	__u32 cq_tail;
	__u32 cq_mask;
	__u32 cqes;
	__u32 sq_mask;
};

#ifdef __cplusplus
extern "C" {
#endif

enum nops_variant {
	NOPS_LEAN,  /* nops.bpf.c */
	NOPS_FULL,  /* full.bpf.c: can all that ringstep's loops can */
	NOPS_NAIVE, /* naive.bpf.c: depth 1 only */
};

struct nops_loop;

/* A ring of that many SQEs with the loop on it. NULL with errno set if that fails. */
struct nops_loop *nops_loop_open(enum nops_variant variant, unsigned int sq_entries, unsigned int cq_entries);
void nops_loop_close(struct nops_loop *loop);

/* Starts the state afresh; then nops_loop_run() enters the kernel once. 0, or -errno. */
struct nops_state *nops_loop_reset(struct nops_loop *loop, __u64 total, __u64 depth);
int nops_loop_run(struct nops_loop *loop);

#ifdef __cplusplus
}
#endif

#endif /* RINGSTEP_BENCH_BASELINE_NOPS_H */
