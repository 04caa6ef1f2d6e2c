/* SPDX-License-Identifier: MIT */
/* The state of a server that closes the two sides of a connection at different times. */
#pragma once

#include <ringstep/c/net/server.h>

struct halves {
	__u64 __reserved;
};

struct halves_connection {
	__u64 __reserved;
};

RINGSTEP_SERVER_STATE(halves_server, struct halves, struct halves_connection, 16, 64, 64, 256);
