/* SPDX-License-Identifier: MIT */
/* The table of the servers that bench-network compares, and the state of those that are loops. All sizes are powers of two. */
#pragma once

#include <ringstep/c/net/server.h>

#define NETWORK_ENTRIES 64
#define NETWORK_PROBES 16
#define NETWORK_KEY 32

#define NETWORK_STATE(name, value_size, connections, chunks, chunk, output)                                                    \
	struct name##_entry {                                                                                                  \
		__u32 key_length; /* 0: the entry is free */                                                                   \
		__u32 value_length;                                                                                            \
		__u8 key[NETWORK_KEY];                                                                                         \
		__u8 value[value_size];                                                                                        \
	};                                                                                                                     \
	struct name {                                                                                                          \
		__u64 seed; /* of the hash */                                                                                  \
		__u64 hash; /* of the key that is looked for */                                                                \
		struct name##_entry entries[NETWORK_ENTRIES];                                                                  \
	};                                                                                                                     \
	struct name##_connection {                                                                                             \
		__u64 __reserved;                                                                                              \
	};                                                                                                                     \
	RINGSTEP_SERVER_STATE(name##_server, struct name, struct name##_connection, connections, chunks, chunk, output)
