// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Accepts connections, cuts what they send into frames, and hands each frame to the application. The application's answer goes out when the
 * frame is answered, and then the next frame of that connection is handed out.
 *
 * The longest step: 32 completions, of which each may begin a connection and clear its 19 words. 64 messages, and 64 timers, of which each is found
 * and handled. 64 frames, for each of which two buffers of 4096 bytes are searched and copied by blocks of 16 bytes, and 64 buffers are given back.
 * 64 receives that begin again, and 64 connections that a drain looks at. That makes 70,784 iterations, with 260 submits at most.
 */
#include <ringstep/c/loops/frames.h>

#define RINGSTEP_SERVER_TYPE struct ringstep_frames
#include <ringstep/net/server.bpf.h>

RINGSTEP_SERVER(frames, .frames = RINGSTEP_FRAMES_OF_STATE, .later = 1)
{
	return RINGSTEP_LATER;
}
