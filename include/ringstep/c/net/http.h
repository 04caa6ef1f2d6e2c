/* SPDX-License-Identifier: MIT */
/*
 * A request of HTTP/1.1 as the loop has parsed it. The parser is ringstep/net/http/parse.bpf.h.
 *
 * All positions count from the first byte of the frame that has the head. A frame has a head, and the body behind it if both
 * fit.
 */
#ifndef RINGSTEP_NET_HTTP_H
#define RINGSTEP_NET_HTTP_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define RINGSTEP_HTTP_SIZE 8192	   /* bytes of the longest head, and of a head with its body in one frame */
#define RINGSTEP_HTTP_FIELDS 64	   /* header fields of a request at most */
#define RINGSTEP_HTTP_TOKENS 16	   /* names in the values of Connection at most, for each of those fields */
#define RINGSTEP_HTTP_CHUNK 256	   /* bytes of a chunk's extensions at most */
#define RINGSTEP_HTTP_DIGITS 15	   /* digits of a chunk's size at most */
#define RINGSTEP_HTTP_TRAILER 4096 /* bytes of all trailers at most */

/* The bits of struct ringstep_http_request.flags */
enum ringstep_http_flag {
	RINGSTEP_HTTP_STARTED = 1 << 0,	     /* there is a request line */
	RINGSTEP_HTTP_COMPLETE = 1 << 1,     /* the head is complete */
	RINGSTEP_HTTP_EMPTY_LINE = 1 << 2,   /* an empty line came in front of it */
	RINGSTEP_HTTP_1_0 = 1 << 3,	     /* the version is HTTP/1.0 */
	RINGSTEP_HTTP_HOST = 1 << 4,	     /* there is a Host */
	RINGSTEP_HTTP_LENGTH = 1 << 5,	     /* there is a Content-Length */
	RINGSTEP_HTTP_CHUNKED = 1 << 6,	     /* the body comes in chunks */
	RINGSTEP_HTTP_CLOSE = 1 << 7,	     /* Connection: close */
	RINGSTEP_HTTP_KEEP_ALIVE = 1 << 8,   /* Connection: keep-alive */
	RINGSTEP_HTTP_CONTINUE = 1 << 9,     /* Expect: 100-continue */
	RINGSTEP_HTTP_HEAD_METHOD = 1 << 10, /* the method is HEAD */
	RINGSTEP_HTTP_GET_METHOD = 1 << 11,  /* the method is GET */
	RINGSTEP_HTTP_MORE = 1 << 12,	     /* of the frame: more of the body follows in further frames */
};

/* What the parser expects next. */
enum ringstep_http_phase {
	RINGSTEP_HTTP_IN_HEAD = 0,
	RINGSTEP_HTTP_IN_LENGTH = 1,	    /* a body whose length is known: `left` */
	RINGSTEP_HTTP_IN_SIZE = 2,	    /* the first digit of a chunk's size */
	RINGSTEP_HTTP_IN_DIGITS = 3,	    /* further digits */
	RINGSTEP_HTTP_IN_EXTENSION = 4,	    /* behind the digits */
	RINGSTEP_HTTP_IN_SIZE_LF = 5,	    /* the end of the line */
	RINGSTEP_HTTP_IN_CHUNK = 6,	    /* bytes of a chunk: `left` */
	RINGSTEP_HTTP_IN_CHUNK_CR = 7,	    /* the end of the chunk */
	RINGSTEP_HTTP_IN_CHUNK_LF = 8,	    /* the end of the chunk */
	RINGSTEP_HTTP_IN_TRAILER = 9,	    /* the begin of a trailer, or of the empty line behind the last one */
	RINGSTEP_HTTP_IN_TRAILER_LINE = 10, /* a trailer */
	RINGSTEP_HTTP_IN_TRAILER_LF = 11,   /* the end of a trailer */
	RINGSTEP_HTTP_IN_LAST_LF = 12,	    /* the end of all */
	RINGSTEP_HTTP_IN_END = 13,	    /* nothing: the body is complete */
};

/* A field of the head. Neither name nor value have white space around them. */
struct ringstep_http_field {
	__u16 name;
	__u16 name_end;
	__u16 value;
	__u16 value_end;
};

/* A request. The loop writes it; the application reads it while it has a frame of that connection. */
struct ringstep_http_request {
	__u32 flags;	  /* enum ringstep_http_flag */
	__u32 status;	  /* the status to refuse it with; 0: it is well-formed so far */
	__u32 phase;	  /* enum ringstep_http_phase */
	__u32 fields;	  /* how many there are */
	__u32 head;	  /* of the frame: bytes of the head, which the body follows; 0: the frame has more of the body */
	__u32 line;	  /* the begin of the line that is not complete */
	__u32 looked;	  /* bytes that were looked at; of a complete head: its length */
	__u32 digits;	  /* of the size of a chunk; bytes of its extensions or of the trailers */
	__u32 filled;	  /* bytes of the frame that are put together */
	__u16 method;	  /* the method begins here */
	__u16 method_end; /* and ends here */
	__u16 target;
	__u16 path_end; /* where the target has its question mark, or its end */
	__u16 target_end;
	__u16 __reserved;
	__u64 left; /* of the body, or of the chunk: bytes that are still to come */
	__u64 body; /* the length of the body: all of it, or as far as the sizes of its chunks are known */
	struct ringstep_http_field field[RINGSTEP_HTTP_FIELDS];
};

/* Returns 1 if the connection stays open after this request, as far as the client has a say in it. */
static inline int ringstep_http_keeps(__u32 flags)
{
	if (flags & RINGSTEP_HTTP_CLOSE)
		return 0;
	return !(flags & RINGSTEP_HTTP_1_0) || flags & RINGSTEP_HTTP_KEEP_ALIVE ? 1 : 0;
}

#endif /* RINGSTEP_NET_HTTP_H */
