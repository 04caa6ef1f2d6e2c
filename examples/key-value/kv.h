// SPDX-License-Identifier: MIT
/* The state of the key-value server: a table of short keys and values. */
#pragma once

#include <ringstep/c/net/server.h>

#define KV_ENTRIES 4096 /* a power of two */
#define KV_PROBES 16	/* places where a key may be */
#define KV_KEY 32
#define KV_VALUE 256

struct kv_entry {
	__u32 key_length; /* 0: the entry is free */
	__u32 value_length;
	__u8 key[KV_KEY];
	__u8 value[KV_VALUE];
};

struct kv {
	__u64 seed; /* of the hash; set by the application */
	__u64 keys;
	__u64 hash; /* of the key that is looked for */
	struct kv_entry entries[KV_ENTRIES];
};

struct kv_connection {
	__u64 commands;
};

RINGSTEP_SERVER_STATE(kv_server, struct kv, struct kv_connection, 1024, 2048, 2048, 16384);
