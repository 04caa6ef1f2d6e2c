/* SPDX-License-Identifier: MIT */
/* The state of the loop "dns", a responder for a table of names. */
#pragma once

#include <ringstep/c/net/buffer_ring.h>
#include <ringstep/c/sockets.h>

#define DNS_ENTRIES 2048 /* a power of two */
#define DNS_PROBES 64	 /* places where a name may be */
#define DNS_NAME 256	 /* a name has 255 bytes at most, with the lengths of its labels and the last 0 */
#define DNS_BUFFERS 256
#define DNS_BUFFER 1024

/* An address record, as it lies in an answer. Numbers are in network order. */
struct dns_record {
	__u16 name; /* where the name is: that of the question */
	__u16 type;
	__u16 record_class;
	__u32 ttl;
	__u16 length; /* of the address */
	__u8 address[16];
} __attribute__((packed));

/* A name and its addresses. The application writes them before the loop runs. */
struct dns_entry {
	__u32 length; /* of the name; 0: the entry is free */
	__u32 has_ipv4;
	__u32 has_ipv6;
	__u32 ttl;	     /* in network order */
	__u8 name[DNS_NAME]; /* labels, each behind its length, and a 0 */
	__u8 ipv4[16];	     /* the first four */
	__u8 ipv6[16];
};

/* A datagram in its buffer, as a multishot recvmsg puts it there. Its answer is made in its place. */
struct dns_datagram {
	struct ringstep_recvmsg_header header;
	struct ringstep_ipv6_address peer; /* or one of IPv4, which is shorter */
	/* the message begins here */
	__u8 id[2];
	__u8 flags;
	__u8 more_flags;
	__u16 questions; /* these four are in network order */
	__u16 answers;
	__u16 authorities;
	__u16 additional;
	/* the question follows */
};

/* What the answer in a buffer is sent by. The application fills in the addresses. */
struct dns_send {
	struct ringstep_message message;
	struct ringstep_iovec part;
};

/* Each datagram counts as received, and then as one of the next six. */
struct dns_counters {
	__u64 received;
	__u64 answered;	 /* with an address */
	__u64 empty;	 /* answered: the name has no such record */
	__u64 refused;	 /* answered: no such name, or something else than addresses of the Internet was asked for */
	__u64 malformed; /* answered by a header that says so */
	__u64 ignored;	 /* not answered: too short, an answer itself, or from port 0 */
	__u64 truncated; /* not answered: longer than a buffer */
	__u64 unsent;	 /* answers that could not be sent */
	__u64 starved;	 /* how often a receive has ended since all buffers were in use */
};

struct dns {
	/* set by the application */
	__s32 socket;
	__u32 draining; /* end when all that was received is answered */
	__u64 seed;	/* of the hash */
	/* the loop's */
	__u32 receiving;  /* a receive is in flight */
	__u32 cancelled;  /* its cancellation was submitted, too */
	__u32 cancelling; /* and has not completed */
	__u32 sending;	  /* answers in flight */
	__s32 failed;	  /* the negative errno of a receive */
	__u32 at;	  /* cursor */
	__u64 hash;	  /* of the name that is looked for */
	struct dns_counters counters;
	union {
		__u8 bytes[DNS_NAME];
		__u64 words[DNS_NAME / 8];
	} name; /* which is looked for */
	union {
		struct dns_record record;
		__u8 bytes[32];
	} answer;
	struct ringstep_message receive;
	struct dns_entry entries[DNS_ENTRIES];
	struct dns_send sends[DNS_BUFFERS]; /* by the number of the buffer */
	struct {
		RINGSTEP_BUFFER_RING(DNS_BUFFERS, DNS_BUFFER);
	} buffers;
};
