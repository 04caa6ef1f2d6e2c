/* SPDX-License-Identifier: MIT */
/* The parser, compiled for servers written by hand. Before this file, define what parse.h needs, and NETWORK_PARSE, the name of the function. */
#include "parse.h"

__u32 NETWORK_PARSE(NETWORK_TABLE *table, const __u8 *chunk, __u32 at, __u32 end, const __u8 **reply);

/* Parses the command between these positions of a chunk. Returns its kind, and stores what to reply: of an echo, the rest of the command. */
__u32 NETWORK_PARSE(NETWORK_TABLE *table, const __u8 *chunk, __u32 at, __u32 end, const __u8 **reply)
{
	const __u8(*bytes)[NETWORK_CHUNK] = (const __u8(*)[NETWORK_CHUNK])chunk;
	const __u32 kind = network_command(*bytes, at, end);
	__u32 number;

	if (kind != NETWORK_GET)
		return kind;
	number = network_find(table, *bytes, at + NETWORK_GET, end);
	if (number == NETWORK_ENTRIES)
		return 0;
	*reply = table->entries[number].value;
	return kind;
}
