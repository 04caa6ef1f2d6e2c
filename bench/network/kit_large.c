// SPDX-License-Identifier: MIT
/* The parser of network_large, compiled for servers written by hand. */
#include <ringstep/bytes.bpf.h>

#include "network_large.h"

#define NETWORK_TABLE struct network_large
#define NETWORK_CHUNK NETWORK_LARGE_CHUNK
#include "parse.h"

__u32 network_large_parse(NETWORK_TABLE *table, const __u8 *chunk, __u32 at, __u32 end, const __u8 **reply);

/* Parses the command between these positions of a chunk. Returns its kind, and stores what to reply: of an echo, the rest of the command. */
__u32 network_large_parse(NETWORK_TABLE *table, const __u8 *chunk, __u32 at, __u32 end, const __u8 **reply)
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
