// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A server for values of up to 16384 bytes, for bench-network: GET key, ECHO text. */
#include "network_large.h"

#define RINGSTEP_SERVER_TYPE struct network_large_server
#include <ringstep/net/server.bpf.h>

#define NETWORK_TABLE struct network_large
#define NETWORK_CHUNK NETWORK_LARGE_CHUNK
#include "parse.h"
#include "reply.h"

RINGSTEP_SERVER(network_large, .frames = RINGSTEP_LINES(16640), .reply = 16640)
{
	(void)state;
	if (network_command(*frame.bytes, frame.at, frame.end) == NETWORK_GET)
		return network_get(server, frame.slot, frame.place, (__u64)(frame.at + NETWORK_GET) << 32 | frame.end);
	if (network_command(*frame.bytes, frame.at, frame.end) == NETWORK_ECHO)
		ringstep_reply_bytes(conn, *frame.bytes, frame.at + NETWORK_ECHO, frame.end);
	else
		ringstep_reply(conn, "-ERR");
	ringstep_reply(conn, "\r\n");
	return RINGSTEP_KEEP;
}
