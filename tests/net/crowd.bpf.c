// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Answers each line by the number of lines of its connection. */
#include "crowd.h"

#define RINGSTEP_SERVER_TYPE struct crowd_server
#include <ringstep/net/server.bpf.h>

RINGSTEP_SERVER(crowd, .frames = RINGSTEP_LINES(40), .reply = 32)
{
	state->asked++;
	conn->own.asked++;
	ringstep_reply_number(conn, conn->own.asked);
	ringstep_reply(conn, "\n");
	return RINGSTEP_KEEP;
}
