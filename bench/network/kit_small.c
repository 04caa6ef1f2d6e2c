// SPDX-License-Identifier: MIT
/* The parser of network_small, compiled for servers written by hand. */
#include <ringstep/bytes.bpf.h>

#include "network_small.h"

#define NETWORK_TABLE struct network_small
#define NETWORK_CHUNK NETWORK_SMALL_CHUNK
#define NETWORK_PARSE network_small_parse
#include "kit.h"
