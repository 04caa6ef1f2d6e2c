/* SPDX-License-Identifier: MIT */
/* The state of the loop http, which answers some requests by itself, some of them with files, and hands the others to the application. */
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

#define RINGSTEP_HTTP_FILES 1024    /* files at most */
#define RINGSTEP_HTTP_FILE_CHAIN 64 /* files at most whose paths have the same lowest bits of the hash */
#define RINGSTEP_HTTP_FILE_PATH 256 /* bytes of the longest path of a file */
#define RINGSTEP_HTTP_FILE_TEXT 512 /* bytes of the fields that are sent with a file */
#define RINGSTEP_HTTP_LISTS 4	    /* fields If-None-Match and If-Match of a request that are looked at */
#define RINGSTEP_HTTP_TAGS 64	    /* tags in each of them that are looked at */

#define RINGSTEP_HTTP_NAMES 64 /* bytes of the names of months and days in a date */
#define RINGSTEP_HTTP_DATE 64  /* bytes for the field Date */

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

/*
 * A file that the loop sends. The application writes it while the loop does not run. The file is in the registered file slot
 * with the same number, counted from ringstep_http_own.first_file.
 */
struct ringstep_http_file {
	__u64 hash; /* ringstep_hash() of the path */
	__u64 size; /* bytes of the file */
	__u32 next; /* one more than the number of another file whose path has the same lowest bits of the hash; 0: none */
	__u32 path_length;
	__u32 tag; /* where the text has the value of ETag */
	__u32 tag_end;
	__u32 modified; /* where the text has the value of Last-Modified */
	__u32 modified_end;
	__u32 common;	   /* bytes of the text that are also sent with the status 304 */
	__u32 text_length; /* bytes of the text */
	__u32 users;	   /* written by the loop: connections that it is being sent to */
	__u32 in_use;	   /* the application's own: enum ringstep_http_file_use */
	__u8 path[RINGSTEP_HTTP_FILE_PATH];
	__u8 text[RINGSTEP_HTTP_FILE_TEXT]; /* fields */
};

/* What a place for a file is used for. */
enum ringstep_http_file_use {
	RINGSTEP_HTTP_FILE_FREE = 0,
	RINGSTEP_HTTP_FILE_USED = 1,
	RINGSTEP_HTTP_FILE_RETIRED = 2, /* no path leads to it, but connections may still need it */
};

/* The loop's own part of the state. */
struct ringstep_http_own {
	/* application -> loop */
	__u64 longest_body;
	__u32 reach;	  /* the answer for a path is at most so many places behind the one that its hash names */
	__u32 files;	  /* how many files there are */
	__u32 first_file; /* the registered file slot of file 0 */
	__u32 dates;	  /* answers of the loop have a Date */
	__u64 tai_ahead;  /* CLOCK_TAI is so many nanoseconds ahead of CLOCK_REALTIME */

	/* loop -> application */
	__u64 answered; /* requests that the loop has answered */
	__u64 refused;	/* requests that were malformed, too long, or not supported */
	__u32 fence;	/* has no meaning: the loop writes it where it needs a full barrier */
	__u32 __reserved_loop;
	__u64 broken; /* files that could not be read, or were shorter than announced */

	/* the loop's own */
	__u64 date_until; /* of CLOCK_MONOTONIC: when to make a new date */

	__u8 names[RINGSTEP_HTTP_NAMES]; /* the names of the months, then those of the days, three letters each */
	__u8 date[RINGSTEP_HTTP_DATE];	 /* the field Date, with the end of its line */
	struct ringstep_http_answer answers[RINGSTEP_HTTP_ANSWERS];
	__u32 paths
		[RINGSTEP_HTTP_FILES]; /* by the lowest bits of the hash: one more than the number of the first file; 0: none */
	struct ringstep_http_file file[RINGSTEP_HTTP_FILES];
};

/* The bits of struct ringstep_http_transfer.flags */
enum ringstep_http_transfer_flag {
	RINGSTEP_HTTP_NONE_MATCH = 1 << 0,     /* the request has an If-None-Match */
	RINGSTEP_HTTP_NONE_MATCHED = 1 << 1,   /* which lists the file's tag */
	RINGSTEP_HTTP_SAME_DATE = 1 << 2,      /* the request has an If-Modified-Since, which is the file's Last-Modified */
	RINGSTEP_HTTP_MATCH = 1 << 3,	       /* the request has an If-Match */
	RINGSTEP_HTTP_MATCHED = 1 << 4,	       /* which lists the file's tag */
	RINGSTEP_HTTP_RANGE_IGNORED = 1 << 5,  /* the request has several Range, or an If-Range that is not the file's tag */
	RINGSTEP_HTTP_TRANSFER_BEGUN = 1 << 6, /* the head of the answer is a part of the output */
	RINGSTEP_HTTP_TRANSFER_LAST = 1 << 7,  /* close behind it */
};

/* A file that is being sent. */
struct ringstep_http_transfer {
	__u64 offset; /* the next byte to read */
	__u64 left;   /* bytes to read */
	__u32 file;   /* one more than the number of the file; 0: none is being sent */
	__u32 at;     /* where the output has the bytes of the read in flight */
	__u32 flags;  /* enum ringstep_http_transfer_flag */
	__u32 range;  /* of the request: one more than the number of the field Range; 0: none */
	__u32 number; /* of the file that the request is for */
	__u32 __reserved;
};

/* The loop's own part of a connection. */
struct ringstep_http_connection {
	struct ringstep_http_request request;
	struct ringstep_http_transfer transfer;
};

/* The state of the loop. */
RINGSTEP_SERVER_STATE(ringstep_http, struct ringstep_http_own, struct ringstep_http_connection, RINGSTEP_HTTP_CONNECTIONS,
		      RINGSTEP_HTTP_CHUNKS, RINGSTEP_HTTP_SIZE, RINGSTEP_HTTP_OUTPUT);

#endif /* RINGSTEP_LOOPS_HTTP_H */
