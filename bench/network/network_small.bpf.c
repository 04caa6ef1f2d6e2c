// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A server for values of up to 64 bytes, for bench-network: GET key, ECHO text. */
#include "network_small.h"

#define RINGSTEP_SERVER_TYPE struct network_small_server
#include <ringstep/net/server.bpf.h>

#define NETWORK_TABLE struct network_small
#define NETWORK_CHUNK NETWORK_SMALL_CHUNK
#include "parse.h"
#include "reply.h"

RINGSTEP_SERVER(network_small, .frames = RINGSTEP_LINES(512), .reply = 256)
{
	(void)state;
	return network_answer(server, conn, frame);
}
