/* SPDX-License-Identifier: MIT */
/*
 * Bytes of arrays in the state: find, compare, copy, hash, numbers. All of it works on words of eight bytes. docs/bytes.md says what each function
 * costs.
 *
 * Include this file after <ringstep/loop.bpf.h>. Pass the array itself, not a pointer: its size bounds what is read and written. The size
 * in bytes must be a power of two, and 16 or more. An array that begins at a multiple of eight bytes is read fastest. Memory that is no
 * array of the state, such as that behind the state, becomes one by a cast:
 *
 *	__u8 (*buffer)[2048] = (__u8(*)[2048])((__u8 *)(state + 1) + (number & 63) * 2048);
 *
 *	end = ringstep_bytes_find_crlf(*buffer, 0, length);
 *
 * A range of bytes is given by the positions where it begins and ends; the byte at the end is not in it. Positions may have any value: a
 * range ends where its array ends, and is empty if it begins at its end or behind it. So numbers from a completion or from the state need no
 * check of their own. Each function is done after as many iterations as the array has words, whatever lies in memory.
 *
 * Example:
 *	line = ringstep_bytes_find_crlf(conn->input, at, filled);
 *	if (line < filled && ringstep_bytes_are(conn->input, at, line, "PING"))
 *		conn->out = ringstep_bytes_write(conn->output, conn->out, "+PONG\r\n");
 */
#ifndef RINGSTEP_BYTES_BPF_H
#define RINGSTEP_BYTES_BPF_H

#include <ringstep/bytes/compare.bpf.h>
#include <ringstep/bytes/copy.bpf.h>
#include <ringstep/bytes/find.bpf.h>
#include <ringstep/bytes/hash.bpf.h>
#include <ringstep/bytes/numbers.bpf.h>

#endif /* RINGSTEP_BYTES_BPF_H */
