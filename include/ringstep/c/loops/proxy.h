/* SPDX-License-Identifier: MIT */
/* The state of the loop proxy, which passes bytes between its clients and a few upstreams. */
#ifndef RINGSTEP_LOOPS_PROXY_H
#define RINGSTEP_LOOPS_PROXY_H

#include <ringstep/c/blocks/wheel.h>
#include <ringstep/c/identity.h>
#include <ringstep/c/sockets.h>

#ifndef RINGSTEP_PROXY_CONNECTIONS     /* the tests of steps have smaller states */
#define RINGSTEP_PROXY_CONNECTIONS 512 /* clients at most */
#endif
#define RINGSTEP_PROXY_BUFFER 32768 /* bytes on their way, for each direction of a client */
#define RINGSTEP_PROXY_UPSTREAMS 16 /* upstreams at most */

/* How the proxy chooses an upstream for a client. */
enum ringstep_proxy_balance {
	RINGSTEP_PROXY_ROUND_ROBIN = 0,	      /* one after the other */
	RINGSTEP_PROXY_LEAST_CONNECTIONS = 1, /* the one with the fewest open connections */
	RINGSTEP_PROXY_CLIENT_ADDRESS = 2,    /* the same one for all clients with the same address */
};

/*
 * The requests of a client and its upstream. Each is in flight once at most. The number of one is the part of its user_data,
 * and its bit in ringstep_proxy_pair.in_flight. A transfer belongs to a half: half 0 brings bytes from the client to the
 * upstream, half 1 brings them back.
 */
enum ringstep_proxy_part {
	RINGSTEP_PROXY_RECEIVE = 0,  /* of half 0; that of half 1 is the next number */
	RINGSTEP_PROXY_SEND = 2,     /* of half 0; that of half 1 is the next number */
	RINGSTEP_PROXY_SHUTDOWN = 4, /* of half 0, at the upstream; that of half 1 is the next number */
	RINGSTEP_PROXY_SOCKET = 6,   /* the upstream's socket is made */
	RINGSTEP_PROXY_CONNECT = 7,
	RINGSTEP_PROXY_RESET = 8,  /* of the client; that of the upstream is the next number */
	RINGSTEP_PROXY_CLOSE = 10, /* of the client; that of the upstream is the next number */
	RINGSTEP_PROXY_CANCEL =
		12, /* of the client; that of the upstream is the next number. Of kind RINGSTEP_IDENTITY_HELPER */
	RINGSTEP_PROXY_PROMPT = 14, /* TCP_NODELAY is set for the upstream's socket */
	RINGSTEP_PROXY_ACCEPT = 63, /* of the proxy, not of a client */
};

/* The bits of struct ringstep_proxy_pair.flags */
enum ringstep_proxy_flag {
	RINGSTEP_PROXY_MADE = 1 << 0,	   /* the upstream's socket is in its slot */
	RINGSTEP_PROXY_READY = 1 << 1,	   /* it can connect */
	RINGSTEP_PROXY_CONNECTED = 1 << 2, /* the upstream has accepted */
	RINGSTEP_PROXY_LATE = 1 << 3,	   /* the time to connect is over */
	RINGSTEP_PROXY_BROKEN = 1 << 4,	   /* one of the streams was cut, so no end of a stream may be passed on */
	RINGSTEP_PROXY_FAILED = 1 << 5,	   /* both sockets are to be closed at once */
	RINGSTEP_PROXY_CANCELLED = 1 << 6, /* what is in flight was cancelled, and has not ended yet */
	RINGSTEP_PROXY_CLOSING = 1 << 7,   /* the sockets are being closed */
	RINGSTEP_PROXY_RESETTING = 1 << 8, /* the connections were reset */
	RINGSTEP_PROXY_MISSED = 1 << 9,	   /* a cancellation has found nothing, and is tried again when the timer expires */
};

/* One direction. Bytes are received into its buffer, and all of them are sent before it receives again. */
struct ringstep_proxy_half {
	__u32 begin; /* the first byte of the buffer that was not sent */
	__u32 end;   /* the end of the bytes in the buffer */
	__u32 eof;   /* no more bytes come */
	__u32 shut;  /* the end of the stream was passed on */
	__u32 dry;   /* nothing more was there to be received, so a receive waits for data first */
	__u32 __reserved;
};

/* A client and its upstream. All of it is the loop's. */
struct ringstep_proxy_pair {
	__u64 identity;	  /* of this use of the slot; 0: it is free */
	__u32 flags;	  /* enum ringstep_proxy_flag */
	__u32 in_flight;  /* a bit for each enum ringstep_proxy_part */
	__u32 generation; /* counts the uses of the slot */
	__u32 hash;	  /* of the client's address */
	__u32 upstream;	  /* one more than the number of the upstream; 0: none */
	__u32 tried;	  /* a bit for each upstream that was tried */
	__u32 attempts;	  /* upstreams that were tried */
	__s32 error;	  /* the errno, negative, for which it has failed; 0: none */
	__u64 active;	  /* when bytes last went anywhere; all times are of CLOCK_MONOTONIC, in nanoseconds */
	__u64 deadline;	  /* until when the upstream has to accept */
	struct ringstep_proxy_half halves[2];
};

/* What the proxy has counted of an upstream. */
struct ringstep_proxy_upstream_counters {
	__u64 open;	   /* connections, those that are being made included */
	__u64 connections; /* connections that it has accepted */
	__u64 failures;	   /* attempts to connect that have failed */
	__u64 timed_out;   /* those of them whose time was over */
	__u64 left_out;	   /* how often it was left out for a time */
	__u64 broken;	   /* connections that ended with an error */
	__u64 sent;	   /* bytes from clients */
	__u64 received;	   /* bytes for clients */
};

/* An upstream. */
struct ringstep_proxy_upstream {
	/* application -> loop */
	union ringstep_socket_address address;
	__u32 length; /* of the address */
	__u32 most;   /* connections at most; 0: no limit */
	__u32 off;    /* not 0: it gets no more connections */
	/* the loop's own */
	__u32 fails;	 /* attempts to connect that have failed since the last one that has not */
	__u64 out_until; /* it is left out until then */
	/* loop -> application */
	struct ringstep_proxy_upstream_counters counters;
};

/* What a proxy has counted. */
struct ringstep_proxy_counters {
	__u64 accepted;	 /* clients */
	__u64 closed;	 /* clients */
	__u64 refused;	 /* clients that were closed at once, because there were as many as allowed */
	__u64 retried;	 /* attempts to connect on another upstream */
	__u64 unserved;	 /* clients for which no upstream was found */
	__u64 failed;	 /* clients whose connection was cut by an error of either side */
	__u64 timed_out; /* clients that were closed because nothing was sent or received for too long */
	__u64 foreign;	 /* stale completions */
};

/* Why a proxy ended: LoopExit::code */
enum ringstep_proxy_code {
	/* all connections are closed after a drain; if the listening socket has failed, the code is its -errno instead */
	RINGSTEP_PROXY_DRAINED = 0,
};

/* The state of the loop. */
struct ringstep_proxy {
	/* application -> loop */
	__u64 identity;	    /* ringstep_identity_of_loop() */
	__s32 listener;	    /* the descriptor of the listening socket; negative: none */
	__u32 first_slot;   /* of the registered files: clients, and behind RINGSTEP_PROXY_CONNECTIONS of them the upstreams */
	__u32 balance;	    /* enum ringstep_proxy_balance */
	__u32 attempts;	    /* upstreams to try for one client */
	__u32 failures;	    /* an upstream with so many failures in a row is left out for a time; 0: none is */
	__u32 most;	    /* clients at most */
	__u32 refuse;	    /* not 0: clients beyond that are closed at once. Otherwise they wait to be accepted */
	__u32 header;	    /* not 0: upstreams get a header of the PROXY protocol, version 2 */
	__u64 connect_time; /* an upstream has to accept within so many nanoseconds */
	__u64 idle_time;    /* clients are closed after so many nanoseconds without a byte in either direction; 0: no limit */
	__u64 out_time;	    /* how long an upstream is left out, in nanoseconds */
	__u64 drain_limit;  /* how long a drain may take, in nanoseconds; 0: no limit */
	__u32 drain;	    /* not 0: accept no more, and end when all clients are closed */
	__u32 upstream_count;
	__u32 prompt;	   /* not 0: set TCP_NODELAY for the sockets to upstreams */
	__u32 closes_late; /* not 0: the kernel may close the file of an emptied slot late, so both streams are ended before */
	union ringstep_socket_address listener_address;

	/* loop -> application */
	__u64 counts;  /* requests in flight, as ringstep_requests.counts has them */
	__u32 cancels; /* cancellations in flight */
	__u32 open;    /* clients */
	struct ringstep_proxy_counters counters;

	/* the loop's own */
	__u64 now;	      /* the time of this turn */
	__u64 accept_again;   /* when to accept again after an error, or to cancel the accept again; 0: at once */
	__u64 drain_deadline; /* of the drain in progress */
	__u32 accepting;     /* 1: an accept is in flight, 2: it was cancelled, 3: that has found nothing, and is tried again */
	__u32 draining;	     /* 1: a drain is in progress, 2: its time is up */
	__u32 walked;	     /* clients that the drain has looked at */
	__s32 listen_error;  /* of the accept, negative; 0: none */
	__s32 accepts_from;  /* the listening socket of the accept in flight */
	__u32 next;	     /* the upstream whose turn it is */
	__u64 best_score;    /* while an upstream is chosen: the lowest score so far */
	__u32 best;	     /* one more than the number of the upstream with that score; 0: none */
	__u32 client_length; /* of the address of the client that is being accepted */
	__u32 one;	     /* the value of TCP_NODELAY */
	__u32 __reserved;
	union ringstep_socket_address client; /* the address of the client that is being accepted */
	union ringstep_socket_address nobody; /* connecting a socket to it resets the connection */

	struct ringstep_proxy_upstream upstreams[RINGSTEP_PROXY_UPSTREAMS];
	struct ringstep_wheel wheel;
	struct ringstep_wheel_timer timers[RINGSTEP_PROXY_CONNECTIONS];
	struct ringstep_proxy_pair pairs[RINGSTEP_PROXY_CONNECTIONS];
	__u8 buffers[2 * RINGSTEP_PROXY_CONNECTIONS][RINGSTEP_PROXY_BUFFER]; /* of each half of each pair */
};

#endif /* RINGSTEP_LOOPS_PROXY_H */
