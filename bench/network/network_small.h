/* SPDX-License-Identifier: MIT */
/* The state of the loop "network_small": values of up to 64 bytes. */
#pragma once

#include "state.h"

#define NETWORK_SMALL_CHUNK 2048

NETWORK_STATE(network_small, 64, 512, 1024, NETWORK_SMALL_CHUNK, 16384);
