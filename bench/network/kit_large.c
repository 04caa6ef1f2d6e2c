// SPDX-License-Identifier: MIT
/* The parser of network_large, compiled for servers written by hand. */
#include <ringstep/bytes.bpf.h>

#include "network_large.h"

#define NETWORK_TABLE struct network_large
#define NETWORK_CHUNK NETWORK_LARGE_CHUNK
#define NETWORK_PARSE network_large_parse
#include "kit.h"
