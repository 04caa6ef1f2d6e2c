/* SPDX-License-Identifier: MIT */
/* The state of the loop frames, which hands the frames of its connections to the application. */
#ifndef RINGSTEP_LOOPS_FRAMES_H
#define RINGSTEP_LOOPS_FRAMES_H

#include <ringstep/c/net/server.h>

#ifndef RINGSTEP_FRAMES_CONNECTIONS	 /* the tests of steps have smaller states */
#define RINGSTEP_FRAMES_CONNECTIONS 1024 /* connections at most */
#define RINGSTEP_FRAMES_CHUNKS 2048	 /* chunks, one for each connection included */
#endif
#define RINGSTEP_FRAMES_SIZE 4096    /* bytes of a chunk, and of the longest frame */
#define RINGSTEP_FRAMES_OUTPUT 16384 /* bytes of output for each connection */

/* The loop has nothing of its own. */
struct ringstep_frames_own {
	__u64 __reserved;
};

/* The state of the loop. */
RINGSTEP_SERVER_STATE(ringstep_frames, struct ringstep_frames_own, struct ringstep_frames_own, RINGSTEP_FRAMES_CONNECTIONS,
		      RINGSTEP_FRAMES_CHUNKS, RINGSTEP_FRAMES_SIZE, RINGSTEP_FRAMES_OUTPUT);

#endif /* RINGSTEP_LOOPS_FRAMES_H */
