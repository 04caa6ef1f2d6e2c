// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Accepts connections, cuts what they send into frames, and hands each frame to the application. The application's answer goes out when the
 * frame is answered, and then the next frame of that connection is handed out.
 *
 * The longest step: 32 completions, of which each may begin a connection and clear its 31 words, 64 messages, 64 timers, 64 frames, 64
 * receives that begin again, and 64 connections that a drain looks at. For each frame, two buffers of 4096 bytes are searched and copied by
 * blocks of 16 bytes, or 64 buffers are given back. That makes 100,000 iterations, with 192 submits at most.
 */
#include <ringstep/c/loops/frames.h>

#define RINGSTEP_SERVER_TYPE struct ringstep_frames
#include <ringstep/net/server.bpf.h>

RINGSTEP_SERVER(frames, .frames = RINGSTEP_FRAMES_OF_STATE, .later = 1)
{
	return RINGSTEP_LATER;
}
