/* SPDX-License-Identifier: MIT */
/*
 * A server in one function. The author says how the bytes of a connection are cut into frames, and what to do with a frame. The loop accepts
 * connections, receives, calls the function, sends the answers in order, and closes.
 *
 *	#include "kv.h"				// RINGSTEP_SERVER_STATE(kv_server, …): see <ringstep/c/net/server.h>
 *	#define RINGSTEP_SERVER_TYPE struct kv_server
 *	#include <ringstep/net/server.bpf.h>
 *
 *	RINGSTEP_SERVER(kv, .frames = RINGSTEP_LINES(512))
 *	{
 *		if (ringstep_bytes_are(*frame.bytes, frame.at, frame.end, "PING")) {
 *			ringstep_reply(conn, "+PONG\r\n");
 *			return RINGSTEP_KEEP;
 *		}
 *		return RINGSTEP_CLOSE;
 *	}
 *
 * In the body, `frame` is the frame, `conn` the connection, `state` the author's own part of the state, and `server` the whole of it.
 * - The bytes of the frame are (*frame.bytes)[frame.at] to (*frame.bytes)[frame.end - 1], an array for the functions of <ringstep/bytes.bpf.h>. They
 *   are valid until the function returns.
 * - conn->own is the author's own part of the connection. It is zero when the connection is new.
 * - ringstep_reply() and its relatives add to the output of the connection, which the loop sends when there are no more frames to handle.
 *
 * The function returns
 * - RINGSTEP_KEEP: go on with the next frame.
 * - RINGSTEP_CLOSE: send what was replied, then close. What the peer sends from now on is thrown away.
 * - RINGSTEP_FINISH: send what was replied, then close the sending side only. Frames are handled until the peer closes, too.
 * - RINGSTEP_RESET: close at once, without sending what was replied and is not sent yet.
 * - RINGSTEP_LATER: the application gets the frame, and answers it (ServerLoop::take()). Frames behind it wait until then. Needs `.later = 1`.
 *
 * What holds:
 * - Answers go out in the order of the frames, whatever a send takes of them.
 * - A frame is handled only when there is room for its answer: `.reply` bytes. While the peer does not read, its frames wait, and with more than
 *   RINGSTEP_SERVER_HOLDS buffers held for it the loop stops receiving from it. It goes on when the output has been sent.
 * - When the peer has closed its sending side, the frames that came before are answered, and then the connection is closed. A frame that is not complete
 *   is dropped (counters.cut).
 * - A connection that is closed by the server sends its FIN at once. It is then received from, and what comes is thrown away, until the peer closes
 *   or the limit `linger` has passed. Otherwise the kernel would send a reset, which may overtake the last answer.
 * - A slot is free again when no request of its connection is in flight and its file is closed. Its number is not used before that.
 * - If all slots are taken, a connection that comes then is closed at once (counters.refused). Further ones wait in the queue of the listening socket
 *   until a slot is free.
 * - Receives that find no buffer wait for one, in the order in which they found none. If peers that do not read hold all buffers, the one that
 *   has been blocked for longest is closed after the limit `starve` (counters.evicted).
 */
#ifndef RINGSTEP_NET_SERVER_BPF_H
#define RINGSTEP_NET_SERVER_BPF_H

#ifndef RINGSTEP_SERVER_TYPE
#error "Before you include this file, define RINGSTEP_SERVER_TYPE: the struct that RINGSTEP_SERVER_STATE() has declared"
#endif

#include <ringstep/loop.bpf.h>
#include <ringstep/timer.bpf.h>

#include <ringstep/bytes.bpf.h>
#include <ringstep/c/net/server.h>
#include <ringstep/list.bpf.h>
#include <ringstep/mailbox.bpf.h>
#include <ringstep/net/buffer_ring.bpf.h>
#include <ringstep/wheel.bpf.h>

/* The most frames that one turn handles. The next turn, which follows at once, goes on. */
#ifndef RINGSTEP_SERVER_FRAMES
#define RINGSTEP_SERVER_FRAMES 64
#endif
/* The most messages of the application, timers, and connections that a drain looks at, in one turn. */
#define RINGSTEP_SERVER_BATCH 64
/* While so many buffers are held for a connection, the loop does not receive from it. */
#define RINGSTEP_SERVER_HOLDS 4

/* What the author's function returns. */
enum ringstep_verdict {
	RINGSTEP_KEEP = 0,
	RINGSTEP_CLOSE = 1,
	RINGSTEP_FINISH = 2,
	RINGSTEP_RESET = 3,
	RINGSTEP_LATER = 4,
};

/* Lines of up to `most` bytes that end with LF, or with CR LF. The frame has neither. */
#define RINGSTEP_LINES(longest) {.kind = RINGSTEP_FRAMING_LINES, .most = (longest)}
/*
 * Frames with a length in front, which is `bytes` wide (1 to 8), begins at `place` of the frame, and has its highest byte first if `network` is 1.
 * A frame has `more` bytes more than its length says. The frame is all of that, the length included.
 */
#define RINGSTEP_PREFIXED(longest, place, bytes, network, more)                                                                \
	{.kind = RINGSTEP_FRAMING_PREFIX,                                                                                      \
	 .most = (longest),                                                                                                    \
	 .offset = (place),                                                                                                    \
	 .width = (bytes),                                                                                                     \
	 .big = (network),                                                                                                     \
	 .added = (more)}
/* Frames of always the same size. */
#define RINGSTEP_FIXED(size) {.kind = RINGSTEP_FRAMING_FIXED, .most = (size)}

/* As the application says before the loop runs: ringstep_server.framing. */
#define RINGSTEP_FRAMES_OF_STATE {.kind = RINGSTEP_FRAMING_STATE}

/* The options of RINGSTEP_SERVER(). */
struct ringstep_server_options {
	struct ringstep_framing frames;
	__u32 reply; /* the most bytes that one call of the function replies; 0: half of the output */
	__u32 later; /* 1: the application takes part. It gets frames by RINGSTEP_LATER, and is told of connections */
	__u32 tells; /* 1: the function is also called for a frame that is too long, with frame.too_long and no bytes; the connection is then closed */
};

/* The state of the server. */
typedef RINGSTEP_SERVER_TYPE ringstep_server_state;

#define RINGSTEP__SERVER ((ringstep_server_state *)0)
#define RINGSTEP__SERVER_MASK ringstep_mask(RINGSTEP__SERVER->connections)
#define RINGSTEP__SERVER_MOST (RINGSTEP__SERVER_MASK + 1)
#define RINGSTEP__SERVER_NOWHERE (-0x7fffffff - 1) /* a listener that no server has: an accept from it is ended */
#define RINGSTEP__CHUNK_MASK ringstep_mask(RINGSTEP__SERVER->buffers.bytes)
#define RINGSTEP__CHUNK_SIZE ((__u32)sizeof(RINGSTEP__SERVER->buffers.bytes[0]))
#define RINGSTEP__OUTPUT_SIZE ((__u32)sizeof(RINGSTEP__SERVER->connections[0].output))
_Static_assert(RINGSTEP__SERVER_MOST <= RINGSTEP_SERVER_MOST, "a server has 16384 connections at most");
_Static_assert(RINGSTEP__CHUNK_MASK > RINGSTEP__SERVER_MASK,
	       "a server needs more chunks than connections: each has one of its own");

/* A connection in the state of the server. */
typedef __typeof__(RINGSTEP__SERVER->connections[0]) ringstep_server_connection;

/* What the author's function gets. */
struct ringstep_frame {
	__typeof__(&RINGSTEP__SERVER->buffers.bytes[0]) bytes; /* the array that the frame lies in */
	__u32 at;					       /* the position of its first byte */
	__u32 end;					       /* the position behind its last byte */
	__u32 length;					       /* end - at */
	__u32 too_long; /* it was too long, and there are no bytes. Only with `.tells = 1` */
	__u32 place;	/* the number of the chunk that they are in */
	__u32 slot;	/* the number of the connection */
};

static const struct ringstep_server_options ringstep__server_options;

#define RINGSTEP__SERVER_REPLY (ringstep__server_options.reply ? ringstep__server_options.reply : RINGSTEP__OUTPUT_SIZE / 2)

/* Returns how the stream is cut into frames. To the compiler, that is a constant, unless the state says it. */
static __always_inline const struct ringstep_framing *ringstep__framing(const ringstep_server_state *state)
{
	return ringstep__server_options.frames.kind == RINGSTEP_FRAMING_STATE ? &state->server.framing
									      : &ringstep__server_options.frames;
}

static __always_inline __u32 ringstep__frame_most(const ringstep_server_state *state)
{
	const __u32 most = ringstep__framing(state)->most;

	return most < RINGSTEP__CHUNK_SIZE ? most : RINGSTEP__CHUNK_SIZE;
}

/* Notes where the output ends now. Something that did not fit was not written: the connection fails. */
static __always_inline void ringstep__replied(struct ringstep_connection *link, __u64 before, __u64 end, bool any)
{
	if (unlikely(end == before && any)) {
		link->flags |= RINGSTEP_CONNECTION_FAILED;
		link->error = -90; /* EMSGSIZE */
	}
	link->out_end = (__u32)end;
}

/* Replies with a string literal of up to 64 bytes. */
#define ringstep_reply(conn, literal)                                                                                          \
	({                                                                                                                     \
		ringstep_server_connection *const ringstep__conn = (conn);                                                     \
		const __u64 ringstep__before = ringstep__conn->link.out_end;                                                   \
                                                                                                                               \
		ringstep__replied(&ringstep__conn->link, ringstep__before,                                                     \
				  ringstep_bytes_write(ringstep__conn->output, ringstep__before, literal),                     \
				  sizeof(literal) > 1);                                                                        \
	})

/* Replies with the bytes from `at` to `end` of an array. */
#define ringstep_reply_bytes(conn, array, at, end)                                                                             \
	({                                                                                                                     \
		ringstep_server_connection *const ringstep__conn = (conn);                                                     \
		const __u64 ringstep__before = ringstep__conn->link.out_end;                                                   \
		const __u64 ringstep__from = (at), ringstep__to = (end);                                                       \
                                                                                                                               \
		ringstep__replied(                                                                                             \
			&ringstep__conn->link, ringstep__before,                                                               \
			ringstep_bytes_copy(ringstep__conn->output, ringstep__before, array, ringstep__from, ringstep__to),    \
			ringstep__from < ringstep__to && ringstep__from < sizeof(array));                                      \
	})

/* Replies with a number as an unsigned decimal. */
#define ringstep_reply_number(conn, number)                                                                                    \
	({                                                                                                                     \
		ringstep_server_connection *const ringstep__conn = (conn);                                                     \
		const __u64 ringstep__before = ringstep__conn->link.out_end;                                                   \
                                                                                                                               \
		ringstep__replied(&ringstep__conn->link, ringstep__before,                                                     \
				  ringstep_bytes_print(ringstep__conn->output, ringstep__before, number), true);               \
	})

#include <ringstep/net/server/step.bpf.h>

/*
 * Defines the server `name`. The body of its function follows. See the top of this file. The verifier follows the function once, apart from
 * the rest of the loop.
 */
#define RINGSTEP_SERVER(name, ...)                                                                                             \
	static const struct ringstep_server_options ringstep__server_options = {__VA_ARGS__};                                  \
	static __always_inline int name##_on_frame(RINGSTEP_SERVER_TYPE *server, __typeof__(&RINGSTEP__SERVER->own) state,     \
						   ringstep_server_connection *conn, struct ringstep_frame frame);             \
	ringstep_apart int name##_frame(RINGSTEP_SERVER_TYPE *server ringstep_arg_nonnull, __u32 slot, __u32 too_long)         \
	{                                                                                                                      \
		/* The verifier wants all arguments, also those that the author's function does not look at. */                \
		barrier_var(server);                                                                                           \
		barrier_var(slot);                                                                                             \
		barrier_var(too_long);                                                                                         \
		return name##_on_frame(server, &server->own, &server->connections[slot & RINGSTEP__SERVER_MASK],               \
				       ringstep__server_frame(server, slot, too_long));                                        \
	}                                                                                                                      \
	RINGSTEP_LOOP(name, RINGSTEP_SERVER_TYPE)                                                                              \
	{                                                                                                                      \
		__s64 limit = ringstep_limit(RINGSTEP_SERVER_FRAMES);                                                          \
                                                                                                                               \
		ringstep__server_begin(turn, state);                                                                           \
		ringstep_while_at_most (limit, state->server.ready.count) {                                                    \
			const __u32 slot = ringstep_list_first(&state->server.ready, state->connections);                      \
			int next = RINGSTEP__SERVER_NEXT(state, slot);                                                         \
                                                                                                                               \
			if (next == RINGSTEP__NEXT_FRAME) {                                                                    \
				next = ringstep__server_handled(state, slot, name##_frame(state, slot, 0));                    \
				if (next != RINGSTEP__NEXT_NONE)                                                               \
					continue;                                                                              \
			}                                                                                                      \
			if (next == RINGSTEP__NEXT_TOO_LONG && ringstep__server_options.tells)                                 \
				name##_frame(state, slot, 1);                                                                  \
			ringstep__server_rest(turn, state, slot, next);                                                        \
		}                                                                                                              \
		return ringstep__server_end(turn, state, ringstep_limit_reached(limit) && state->server.ready.count);          \
	}                                                                                                                      \
	static __always_inline int name##_on_frame(RINGSTEP_SERVER_TYPE *server __attribute__((unused)),                       \
						   __typeof__(&RINGSTEP__SERVER->own) state __attribute__((unused)),           \
						   ringstep_server_connection *conn __attribute__((unused)),                   \
						   struct ringstep_frame frame __attribute__((unused)))

#endif /* RINGSTEP_NET_SERVER_BPF_H */
