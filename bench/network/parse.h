/* SPDX-License-Identifier: MIT */
/*
 * The parser of all servers that bench-network compares, as BPF and compiled for the host. Before this file, define NETWORK_TABLE, the type of
 * the table, and NETWORK_CHUNK, the size of the chunks that bytes are received in.
 */

/* Kinds of commands: the length of the word and the space behind it. */
#define NETWORK_GET 4
#define NETWORK_ECHO 5

/* Returns the kind of a command, or 0. */
#define network_command(bytes, at, end)                                                                                        \
	((end) - (at) >= NETWORK_GET && ringstep_bytes_are(bytes, at, (at) + NETWORK_GET, "GET ")      ? NETWORK_GET           \
	 : (end) - (at) >= NETWORK_ECHO && ringstep_bytes_are(bytes, at, (at) + NETWORK_ECHO, "ECHO ") ? NETWORK_ECHO          \
												       : 0)

/* Returns the number of the entry with this key, or NETWORK_ENTRIES. */
static __always_inline __u32 network_find(NETWORK_TABLE *table, const __u8 bytes[NETWORK_CHUNK], __u32 at, __u32 end)
{
	const __u8(*chunk)[NETWORK_CHUNK] = (const __u8(*)[NETWORK_CHUNK])bytes;
	__u32 i;

	/* By way of the state: otherwise the verifier would have to know what makes the index. */
	*(volatile __u64 *)&table->hash = ringstep_bytes_hash(*chunk, at, end, table->seed);
	bpf_for(i, 0, NETWORK_PROBES) {
		const __u32 number = ((__u32) * (volatile __u64 *)&table->hash + i) & (NETWORK_ENTRIES - 1);
		const __typeof__(table->entries[0]) *entry = &table->entries[number];

		if (!entry->key_length)
			break;
		if (entry->key_length == end - at && !ringstep_bytes_compare(entry->key, 0, entry->key_length, *chunk, at, end))
			return number;
	}
	return NETWORK_ENTRIES;
}
