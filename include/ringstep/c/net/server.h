/* SPDX-License-Identifier: MIT */
/*
 * The state of a server: its connections, the buffers that bytes come in, and what each connection has to send. The loop is
 * one function that gets a frame and a connection (ringstep/net/server.bpf.h). The C++ side is ServerLoop (ringstep/net/server.hpp).
 *
 *	struct kv { … };		// the author's own: once
 *	struct kv_connection { … };	// the author's own: for each connection
 *
 *	RINGSTEP_SERVER_STATE(kv_server, struct kv, struct kv_connection,
 *			      1024,	// connections at most
 *			      2048,	// chunks: buffers of the server, one for each connection included
 *			      2048,	// bytes of a chunk, and so of the longest frame
 *			      16384);	// bytes of output that wait for a slow peer, for each connection
 *
 * All four numbers are powers of two. A server takes the memory for all of its connections when it begins.
 */
#ifndef RINGSTEP_NET_SERVER_H
#define RINGSTEP_NET_SERVER_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/mailbox.h>
#include <ringstep/c/blocks/wheel.h>
#include <ringstep/c/identity.h>
#include <ringstep/c/net/buffer_ring.h>

/* The requests of a connection. Each is in flight once at most. The number of one is the part of its user_data. */
enum ringstep_connection_part {
	RINGSTEP_CONNECTION_RECEIVE = 0,
	RINGSTEP_CONNECTION_SEND = 1,
	RINGSTEP_CONNECTION_SHUTDOWN = 2,
	RINGSTEP_CONNECTION_CLOSE = 3,
	RINGSTEP_CONNECTION_CANCEL = 4, /* of kind RINGSTEP_IDENTITY_HELPER */
	RINGSTEP_CONNECTION_READ = 5,	/* of a file that is sent; only servers that send files have it */
	RINGSTEP_SERVER_ACCEPT = 63,	/* of the server, not of a connection */
};

/* The bits of struct ringstep_connection.flags */
enum ringstep_connection_flag {
	RINGSTEP_CONNECTION_EOF = 1 << 0,	 /* the peer sends no more */
	RINGSTEP_CONNECTION_CLOSING = 1 << 1,	 /* it is to be closed when its output has been sent */
	RINGSTEP_CONNECTION_FINISHING = 1 << 2,	 /* its sending side is to be closed when its output has been sent */
	RINGSTEP_CONNECTION_SHUT = 1 << 3,	 /* its sending side was closed */
	RINGSTEP_CONNECTION_DISCARDING = 1 << 4, /* what the peer still sends is thrown away */
	RINGSTEP_CONNECTION_FAILED = 1 << 5,	 /* it is to be closed without more output */
	RINGSTEP_CONNECTION_LATER = 1 << 6,    /* the application has a frame of it, and will answer; or a file is being sent */
	RINGSTEP_CONNECTION_PAUSED = 1 << 7,   /* the application wants no more frames of it for now */
	RINGSTEP_CONNECTION_BLOCKED = 1 << 8,  /* no frame is handled before there is room for the answer */
	RINGSTEP_CONNECTION_READY = 1 << 9,    /* it is in the list of those to look at */
	RINGSTEP_CONNECTION_STARVED = 1 << 10, /* it is in the list of those that wait for a buffer */
	RINGSTEP_CONNECTION_WAITING = 1 << 11, /* it is in the list of those that hold buffers and are blocked */
	RINGSTEP_CONNECTION_CANCELLED = 1 << 12, /* what is in flight was cancelled, and has not ended yet */
	RINGSTEP_CONNECTION_MISSED = 1 << 13, /* a cancellation has found nothing, and is tried again when the timer expires */
	RINGSTEP_CONNECTION_FLUSHING = 1 << 14, /* the application waits until the output that it has written was sent */
	RINGSTEP_CONNECTION_TOLD = 1 << 15,	/* the application was told that it has failed, while it has a frame of it */
	RINGSTEP_CONNECTION_SLOW = 1 << 16,	/* its send was not over at once, and has a limit of time */
};

/* What the library keeps for a connection. All of it is the loop's; the application reads it. */
struct ringstep_connection {
	__u64 identity;	  /* of this use of the slot; 0: it is free */
	__u32 flags;	  /* enum ringstep_connection_flag */
	__u32 in_flight;  /* a bit for each enum ringstep_connection_part */
	__u32 out_begin;  /* the first byte of the output that was not sent */
	__u32 out_end;	  /* the end of the output */
	__u32 partial;	  /* bytes of a frame that is not complete, in the connection's own chunk */
	__u32 held;	  /* buffers with bytes that were not looked at */
	__u32 held_first; /* one more than the number of the first of them; 0: none */
	__u32 held_last;  /* one more than the number of the last of them; 0: none */
	__u32 kept;	  /* one more than the number of the buffer with the frame that the application has; 0: none */
	__u32 generation; /* counts the uses of the slot */
	__s32 error;	  /* the errno, negative, for which it has failed; 0: none */
	__u32 __reserved;
	struct ringstep_list_link ready;   /* of ringstep_server.ready */
	struct ringstep_list_link starved; /* of ringstep_server.starved */
	struct ringstep_list_link waiting; /* of ringstep_server.waiting */
	__u64 active; /* when bytes last came or went; all times are of CLOCK_MONOTONIC, in nanoseconds, and 0 if no limit needs them */
	__u64 partial_since; /* when the frame that is not complete began; 0 without a limit of time for frames */
	__u64 output_since;  /* with RINGSTEP_CONNECTION_SLOW: when the step saw that the send was not over at once */
	__u64 shut_since;    /* with RINGSTEP_CONNECTION_DISCARDING: when that began */
	__u64 waiting_since; /* when it was blocked */
	__u64 received;	     /* bytes */
	__u64 sent;	     /* bytes */
	__u64 frames;	     /* frames handled */
};

/* Bytes of a chunk that a connection has received and not looked at. */
struct ringstep_server_held {
	__u32 next; /* one more than the number of the next chunk of the connection; 0: none */
	__u32 at;
	__u32 end;
	__u32 __reserved;
};

/* What the application wants of a connection. It sends a message only if `asked` was 0, so there is one such message at most.
 */
struct ringstep_server_wish {
	__u32 asked; /* a message is on its way */
	__u32 close; /* close when the output has been sent: as ringstep_server_frame.handed; 0: no */
	__u32 pause; /* hand out no more frames: as ringstep_server_frame.handed; 0: do */
	__u32 flush; /* the output is being flushed, so the application must not append to it: as ringstep_server_frame.handed; 0: it may */
	__u32 nudge; /* counts the nudges that were asked for. One more is asked for only if `taken` is the same */
	__u32 told;  /* written by the loop: the last of them that it has told the application of */
	__u32 taken; /* the last of them that the application has taken */
	__u32 __reserved;
};

/* A frame that the application has. */
struct ringstep_server_frame {
	__u32 place; /* its chunk */
	__u32 at;
	__u32 end;
	__u32 handed; /* one more than the generation of its connection (RINGSTEP_SERVER_GENERATION); 0: it is answered */
};

/* Why a server ended: LoopExit::code */
enum ringstep_server_code {
	/* all connections are closed after a drain; if the listening socket has failed, the code is its -errno instead */
	RINGSTEP_SERVER_DRAINED = 0,
	RINGSTEP_SERVER_BATCH_READY = 1, /* as many events are there to be taken as were asked for */
};

/* The kinds of framing */
enum ringstep_framing_kind {
	RINGSTEP_FRAMING_LINES = 0,
	RINGSTEP_FRAMING_PREFIX = 1,
	RINGSTEP_FRAMING_FIXED = 2,
	RINGSTEP_FRAMING_STATE = 3, /* as ringstep_server.framing says */
};

/* How a stream is cut into frames. */
struct ringstep_framing {
	__u32 kind;   /* enum ringstep_framing_kind */
	__u32 most;   /* bytes of the longest frame. It must fit into a chunk, with the end of its line */
	__u32 offset; /* with a prefix: where the length is */
	__u32 width;  /* with a prefix: bytes of the length, 1 to 8 */
	__u32 big;    /* with a prefix: the length has its highest byte first */
	__u32 added;  /* with a prefix: what the length does not count */
};

/* Limits that the application sets before the loop first runs, and does not change after that. Times are in nanoseconds, and 0 is none. */
struct ringstep_server_limits {
	__u64 idle;   /* a connection is closed after so long without a byte */
	__u64 read;   /* a frame must be complete so long after its first byte */
	__u64 write;  /* output must move within this time */
	__u64 linger; /* after its sending side was closed, a connection waits so long for the peer to close */
	__u64 starve; /* while others have no buffers, a connection may hold some for so long although its peer does not read */
};

/* What a server has counted. */
struct ringstep_server_counters {
	__u64 accepted;	  /* connections */
	__u64 closed;	  /* connections */
	__u64 refused;	  /* connections that were closed at once, because all slots were taken */
	__u64 frames;	  /* frames handled */
	__u64 received;	  /* bytes */
	__u64 sent;	  /* bytes */
	__u64 failed;	  /* connections that were reset, or had another error */
	__u64 cut;	  /* connections that ended in the middle of a frame */
	__u64 too_long;	  /* frames that were longer than allowed */
	__u64 overflowed; /* answers that were longer than the function had promised */
	__u64 timed_out;  /* connections closed because of a limit of time */
	__u64 evicted;	  /* connections closed because of ringstep_server_limits.starve */
	__u64 starved;	  /* receives that found no buffer */
	__u64 blocked;	  /* how often a connection had to wait until its peer reads */
	__u64 foreign;	  /* stale completions */
};

/* The number of sends that the loop remembers until it looks whether they are over. A power of two */
#define RINGSTEP_SERVER_BEGUN 1024

/* The library's part of the state of a server. */
struct ringstep_server {
	/* application -> loop */
	__u64 identity;	  /* ringstep_identity_of_loop() */
	__s32 listener;	  /* the descriptor of the listening socket; negative: none */
	__u32 first_slot; /* of the registered files: that of connection 0 */
	struct ringstep_server_limits limits;
	struct ringstep_framing framing; /* for servers that let the application say it */
	__u64 drain_limit;		 /* how long a drain may take, in nanoseconds; 0: no limit */
	__u32 drain;	   /* not 0: accept no more, and close each connection when all of its frames have been answered */
	__u32 batch;	   /* end when so many events are there to be taken; 0: do not */
	__u32 closes_late; /* not 0: the kernel may close the file of an emptied slot late, so the end of the stream is sent before */
	__u32 __reserved_application;

	/* loop -> application */
	__u64 counts;  /* requests in flight, as ringstep_requests.counts has them */
	__u32 cancels; /* cancellations in flight */
	__u32 open;    /* connections */
	struct ringstep_server_counters counters;

	/* the loop's own */
	__u64 now;	      /* the time of this turn; 0 if no limit of time needs it */
	__u64 accept_again;   /* when to accept again after an error, or to cancel the accept again; 0: at once */
	__u64 drain_deadline; /* of the drain in progress */
	__u32 accepting;    /* 1: an accept is in flight, 2: it was cancelled, 3: that has found nothing, and is tried again */
	__u32 draining;	    /* 1: a drain is in progress, 2: its time is up */
	__u32 walked;	    /* connections that the drain has looked at */
	__s32 listen_error; /* of the accept, negative; 0: none */
	__s32 accepts_from; /* the listening socket of the accept in flight */
	__u32 sends;	    /* sends in flight without RINGSTEP_CONNECTION_SLOW. Only with a limit of time for sends */
	__u32 begun_first;  /* counts the sends that were looked at again. Only with a limit of time for sends */
	__u32 begun_last;   /* counts the sends that have begun. Only with a limit of time for sends */
	__u32 __reserved_loop;
	__u16 begun[RINGSTEP_SERVER_BEGUN]; /* the slots of the connections of the sends between the two */
	struct ringstep_list ready;
	struct ringstep_list starved;
	struct ringstep_list waiting;
	__u32 frame_place; /* the frame that is being handled: its chunk */
	__u32 frame_at;
	__u32 frame_end;
	__u32 frame_give; /* one more than the number of the chunk to give back when the frame was handled; 0: none */
};

/* Messages between a server and its application have a kind, the generation of a connection, and its slot. */
#define RINGSTEP_SERVER_KIND_SHIFT 28U	     /* where the kind begins */
#define RINGSTEP_SERVER_GENERATION_SHIFT 16U /* where the generation begins */
#define RINGSTEP_SERVER_GENERATION 0xfffU    /* bits of a generation */
#define RINGSTEP_SERVER_SLOT 0xffffU	     /* bits of a slot */

/* Kinds of messages to the loop */
enum ringstep_server_message {
	RINGSTEP_SERVER_ANSWERED = 0,	    /* the frame is answered: go on */
	RINGSTEP_SERVER_ANSWERED_CLOSE = 1, /* the frame is answered: send, then close */
	RINGSTEP_SERVER_WISH = 2,	    /* look at struct ringstep_server_wish */
	RINGSTEP_SERVER_FLUSH = 3,	    /* send what was replied so far, and tell when that is done */
};

/* Kinds of messages to the application */
enum ringstep_server_event {
	RINGSTEP_SERVER_OPENED = 0, /* there is a new connection */
	RINGSTEP_SERVER_FRAME = 1,  /* the application has to answer a frame */
	RINGSTEP_SERVER_CLOSED = 2, /* the connection is gone */
	RINGSTEP_SERVER_ROOM = 3,   /* what was flushed has been sent, and the output is empty */
	RINGSTEP_SERVER_BROKEN = 4, /* the connection has failed while the application has a frame of it */
	RINGSTEP_SERVER_NUDGED = 5, /* some thread wants that the application looks at the connection */
};

/* The largest number of connections */
#define RINGSTEP_SERVER_MOST 16384

/*
 * The state of a server with these types and sizes, `struct name`. The author's own parts are `own` of the state and `own` of
 * each connection. See the top of this file.
 */
#define RINGSTEP_SERVER_STATE(name, own_type, connection_type, most, chunks, chunk_size, output_size)                          \
	struct name {                                                                                                          \
		struct ringstep_server server;                                                                                 \
		struct ringstep_mailbox mailbox;                                                                               \
		own_type own;                                                                                                  \
		struct ringstep_wheel wheel;                                                                                   \
		struct ringstep_wheel_timer timers[most];                                                                      \
		__u64 inbox[4 * (most)];                                                                                       \
		__u32 outbox[8 * (most)];                                                                                      \
		struct ringstep_server_frame frames[most]; /* those that the application has */                                \
		struct ringstep_server_wish wishes[most];                                                                      \
		struct ringstep_server_held held[chunks];                                                                      \
		struct {                                                                                                       \
			RINGSTEP_BUFFER_RING(chunks, chunk_size);                                                              \
		} buffers;                                                                                                     \
		struct {                                                                                                       \
			struct ringstep_connection link;                                                                       \
			connection_type own __attribute__((aligned(8)));                                                       \
			__u8 output[output_size] __attribute__((aligned(8)));                                                  \
		} connections[most];                                                                                           \
	}

#endif /* RINGSTEP_NET_SERVER_H */
