/* SPDX-License-Identifier: MIT */
/* What the loops of bench-network reply. */

/* Replies to GET with the value of a key. */
ringstep_apart int network_get(RINGSTEP_SERVER_TYPE *server ringstep_arg_nonnull, __u32 slot, __u32 place, __u64 at_and_end)
{
	ringstep_server_connection *conn = &server->connections[slot & ringstep_mask(server->connections)];
	const __u8(*bytes)[NETWORK_CHUNK] = &server->buffers.bytes[place & ringstep_mask(server->buffers.bytes)];
	const __u32 number = network_find(&server->own, *bytes, (__u32)(at_and_end >> 32), (__u32)at_and_end);
	const __typeof__(server->own.entries[0]) *entry = &server->own.entries[number & (NETWORK_ENTRIES - 1)];

	if (number == NETWORK_ENTRIES) {
		ringstep_reply(conn, "-NONE\r\n");
		return RINGSTEP_KEEP;
	}
	ringstep_reply_bytes(conn, entry->value, 0, entry->value_length);
	ringstep_reply(conn, "\r\n");
	return RINGSTEP_KEEP;
}

/* Answers a command. */
static __always_inline int network_answer(RINGSTEP_SERVER_TYPE *server, ringstep_server_connection *conn,
					  struct ringstep_frame frame)
{
	if (network_command(*frame.bytes, frame.at, frame.end) == NETWORK_GET)
		return network_get(server, frame.slot, frame.place, (__u64)(frame.at + NETWORK_GET) << 32 | frame.end);
	if (network_command(*frame.bytes, frame.at, frame.end) == NETWORK_ECHO)
		ringstep_reply_bytes(conn, *frame.bytes, frame.at + NETWORK_ECHO, frame.end);
	else
		ringstep_reply(conn, "-ERR");
	ringstep_reply(conn, "\r\n");
	return RINGSTEP_KEEP;
}
