// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Closes its sending side after FIN, and the connection after BYE, which it does not answer. Answers every other line. */
#include "halves.h"

#define RINGSTEP_SERVER_TYPE struct halves_server
#include <ringstep/net/server.bpf.h>

RINGSTEP_SERVER(halves, .frames = RINGSTEP_LINES(40), .reply = 32)
{
	if (ringstep_bytes_are(*frame.bytes, frame.at, frame.end, "BYE"))
		return RINGSTEP_CLOSE;
	if (ringstep_bytes_are(*frame.bytes, frame.at, frame.end, "FIN")) {
		ringstep_reply(conn, "half\n");
		return RINGSTEP_FINISH;
	}
	ringstep_reply(conn, "ok\n");
	return RINGSTEP_KEEP;
}
