// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Accepts connections, cuts what they send into frames, and hands each frame to the application. The application's answer goes out when the
 * frame is answered, and then the next frame of that connection is handed out.
 *
 * The longest step handles 32 completions, each of which may begin a connection and clear its 19 words. It handles 64 messages and 64 expired
 * timers, and looks at 64 sends. It handles 64 frames: for each, it searches and copies two buffers of 4096 bytes by blocks of 16 bytes, and
 * gives back 64 buffers. It starts 64 receives again, and a drain looks at 64 connections. That makes 70,848 iterations, with 260 submits at most.
 */
#include <ringstep/c/loops/frames.h>

#define RINGSTEP_SERVER_TYPE struct ringstep_frames
#include <ringstep/net/server.bpf.h>

RINGSTEP_SERVER(frames, .frames = RINGSTEP_FRAMES_OF_STATE, .later = 1)
{
	return RINGSTEP_LATER;
}
