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
	return network_answer(server, conn, frame);
}
