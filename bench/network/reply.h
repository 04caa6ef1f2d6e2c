/* SPDX-License-Identifier: MIT */
/* What the loops of bench-network reply to a command GET. */

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
