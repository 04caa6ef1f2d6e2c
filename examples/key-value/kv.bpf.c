// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A key-value server. Its commands are lines: PING, GET key, SET key value, DEL key, QUIT. All of it happens in the loop.
 */
#include "kv.h"

#define RINGSTEP_SERVER_TYPE struct kv_server
#include <ringstep/net/server.bpf.h>

/* Returns 1 if an entry has the key that lies between these positions of a chunk. */
ringstep_apart int has_key(struct kv_server *server ringstep_arg_nonnull, __u32 number, __u32 place, __u64 at, __u64 end)
{
	const struct kv_entry *entry = &server->own.entries[number & (KV_ENTRIES - 1)];
	const __u8(*bytes)[2048] = &server->buffers.bytes[place & ringstep_mask(server->buffers.bytes)];

	return entry->key_length == end - at && !ringstep_bytes_compare(entry->key, 0, entry->key_length, *bytes, at, end);
}

/* Returns the number of the entry with this key, or of a free entry for it, or KV_ENTRIES if there is neither. */
ringstep_apart int find(struct kv_server *server ringstep_arg_nonnull, __u32 place, __u64 at, __u64 end)
{
	const __u8(*bytes)[2048] = &server->buffers.bytes[place & ringstep_mask(server->buffers.bytes)];
	int free = KV_ENTRIES;
	__u32 i;

	/* By way of the state: otherwise the verifier would have to know what makes the index. */
	ringstep_store(&server->own.hash, ringstep_bytes_hash(*bytes, at, end, server->own.seed));
	bpf_for(i, 0, KV_PROBES) {
		const __u32 number = ((__u32)ringstep_load(&server->own.hash) + i) & (KV_ENTRIES - 1);

		if (!server->own.entries[number].key_length)
			free = (int)number;
		else if (has_key(server, number, place, at, end))
			return (int)number;
	}
	return free;
}

/* Replies with the value of an entry. */
ringstep_apart int get(struct kv_server *server ringstep_arg_nonnull, __u32 slot, __u32 number)
{
	ringstep_server_connection *conn = &server->connections[slot & ringstep_mask(server->connections)];
	const struct kv_entry *entry = &server->own.entries[number & (KV_ENTRIES - 1)];

	if (number == KV_ENTRIES || !entry->key_length) {
		ringstep_reply(conn, "-NONE\r\n");
		return RINGSTEP_KEEP;
	}
	ringstep_reply(conn, "=");
	ringstep_reply_bytes(conn, entry->value, 0, entry->value_length);
	ringstep_reply(conn, "\r\n");
	return RINGSTEP_KEEP;
}

/* Writes key and value, which lie behind each other in a chunk, into an entry. */
ringstep_apart int set(struct kv_server *server ringstep_arg_nonnull, __u32 number, __u32 place, __u64 key_at_and_end,
		       __u64 end)
{
	struct kv_entry *entry = &server->own.entries[number & (KV_ENTRIES - 1)];
	const __u8(*bytes)[2048] = &server->buffers.bytes[place & ringstep_mask(server->buffers.bytes)];
	const __u64 at = key_at_and_end >> 32, key_end = (__u32)key_at_and_end;

	server->own.keys += !entry->key_length;
	entry->key_length = (__u32)ringstep_bytes_copy(entry->key, 0, *bytes, at, key_end);
	entry->value_length = (__u32)ringstep_bytes_copy(entry->value, 0, *bytes, key_end + 1, end);
	return 0;
}

RINGSTEP_SERVER(kv, .frames = RINGSTEP_LINES(512), .reply = 512, .tells = 1)
{
	const __u32 command = (__u32)ringstep_bytes_find(*frame.bytes, frame.at, frame.end, ' ');
	const __u32 key = command + 1;
	__u32 key_end, number;

	conn->own.commands++;
	if (frame.too_long) {
		ringstep_reply(conn, "-ERR the line is too long\r\n");
		return RINGSTEP_CLOSE;
	}
	if (ringstep_bytes_are(*frame.bytes, frame.at, frame.end, "PING")) {
		ringstep_reply(conn, "+PONG\r\n");
		return RINGSTEP_KEEP;
	}
	if (ringstep_bytes_are(*frame.bytes, frame.at, frame.end, "QUIT")) {
		ringstep_reply(conn, "+BYE\r\n");
		return RINGSTEP_CLOSE;
	}
	key_end = (__u32)ringstep_bytes_find(*frame.bytes, key, frame.end, ' ');
	if (key >= frame.end || key_end == key || key_end - key > KV_KEY) {
		ringstep_reply(conn, "-ERR what?\r\n");
		return RINGSTEP_KEEP;
	}
	number = (__u32)find(server, frame.place, key, key_end);
	if (ringstep_bytes_are(*frame.bytes, frame.at, command, "GET"))
		return get(server, frame.slot, number);
	if (ringstep_bytes_are(*frame.bytes, frame.at, command, "SET") && key_end < frame.end) {
		if (number == KV_ENTRIES || frame.end - key_end - 1 > KV_VALUE) {
			ringstep_reply(conn, "-FULL\r\n");
			return RINGSTEP_KEEP;
		}
		set(server, number, frame.place, (__u64)key << 32 | key_end, frame.end);
	} else if (ringstep_bytes_are(*frame.bytes, frame.at, command, "DEL")) {
		struct kv_entry *entry = &state->entries[number & (KV_ENTRIES - 1)];

		if (number != KV_ENTRIES && entry->key_length) {
			entry->key_length = 0;
			state->keys--;
		}
	} else {
		ringstep_reply(conn, "-ERR what?\r\n");
		return RINGSTEP_KEEP;
	}
	ringstep_reply(conn, "+OK\r\n");
	return RINGSTEP_KEEP;
}
