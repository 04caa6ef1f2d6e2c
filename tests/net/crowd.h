/* SPDX-License-Identifier: MIT */
/* The state of a server for very many connections, each of which has little to say. */
#pragma once

#include <ringstep/c/net/server.h>

struct crowd {
	__u64 asked;
};

struct crowd_connection {
	__u64 asked;
};

RINGSTEP_SERVER_STATE(crowd_server, struct crowd, struct crowd_connection, 8192, 16384, 64, 256);
