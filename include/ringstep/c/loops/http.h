/* SPDX-License-Identifier: MIT */
/* The state of the loop http, which answers some requests by itself and hands the others to the application. */
#ifndef RINGSTEP_LOOPS_HTTP_H
#define RINGSTEP_LOOPS_HTTP_H

#include <ringstep/c/net/http.h>
#include <ringstep/c/net/server.h>

#ifndef RINGSTEP_HTTP_CONNECTIONS     /* the tests of steps have smaller states */
#define RINGSTEP_HTTP_CONNECTIONS 512 /* connections at most */
#define RINGSTEP_HTTP_CHUNKS 1024     /* chunks of RINGSTEP_HTTP_SIZE bytes, one for each connection included */
#endif
#define RINGSTEP_HTTP_OUTPUT 65536 /* bytes of output for each connection */
#define RINGSTEP_HTTP_REPLY 61440  /* bytes of the longest answer */
#define RINGSTEP_HTTP_ANSWERS 256  /* paths that the loop answers at most */
#define RINGSTEP_HTTP_PATH 128	   /* bytes of the longest of these paths */
#define RINGSTEP_HTTP_ANSWER 8192  /* bytes of the longest of these answers */

/*
 * The answer for a path. The application writes the bytes that are not in use, and then raises the version by one: the loop
 * uses bytes[version & 1]. If the version has changed when it has copied them, it copies again.
 */
struct ringstep_http_answer {
	__u64 hash;    /* ringstep_hash() of the path */
	__u32 version; /* 0: this place was never used */
	__u32 path_length;
	struct {
		__u32 head;   /* status line and fields, without the empty line; 0: the application answers */
		__u32 length; /* head and body */
	} size[2];
	__u8 path[RINGSTEP_HTTP_PATH];
	__u8 bytes[2][RINGSTEP_HTTP_ANSWER];
};

/* The loop's own part of the state. */
struct ringstep_http_own {
	/* application -> loop */
	__u64 longest_body;
	__u32 reach; /* the answer for a path is at most so many places behind the one that its hash names */
	__u32 __reserved;

	/* loop -> application */
	__u64 answered; /* requests that the loop has answered */
	__u64 refused;	/* requests that were malformed, too long, or not supported */
	__u32 fence;	/* has no meaning: the loop writes it where it needs a full barrier */
	__u32 __reserved_loop;

	struct ringstep_http_answer answers[RINGSTEP_HTTP_ANSWERS];
};

/* The loop's own part of a connection. */
struct ringstep_http_connection {
	struct ringstep_http_request request;
};

/* The state of the loop. */
RINGSTEP_SERVER_STATE(ringstep_http, struct ringstep_http_own, struct ringstep_http_connection, RINGSTEP_HTTP_CONNECTIONS,
		      RINGSTEP_HTTP_CHUNKS, RINGSTEP_HTTP_SIZE, RINGSTEP_HTTP_OUTPUT);

#endif /* RINGSTEP_LOOPS_HTTP_H */
