/* SPDX-License-Identifier: MIT */
/* The state of the loop "network_large": values of up to 16384 bytes. */
#pragma once

#include "state.h"

#define NETWORK_LARGE_CHUNK 32768

NETWORK_STATE(network_large, 16384, 512, 1024, NETWORK_LARGE_CHUNK, 65536);
