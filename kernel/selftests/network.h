/* SPDX-License-Identifier: GPL-2.0 */
/* What tests and measurements of busy polling share. Each function ends the program if it fails, unless its comment says otherwise. */
#ifndef RINGSTEP_SELFTESTS_NETWORK_H
#define RINGSTEP_SELFTESTS_NETWORK_H

#include <linux/types.h>

/* Numbers that the installed headers may lack. */
enum {
	REGISTER_NAPI = 27,
	NAPI_DYNAMIC = 0,
};

/* As struct io_uring_napi. */
struct napi_registration {
	__u32 busy_poll_to;
	__u8 prefer_busy_poll;
	__u8 opcode;
	__u8 pad[2];
	__u32 op_param;
	__u32 resv;
};

/* Returns a number of this network namespace's statistics, -1 if there is none of that name, or another negative errno. */
long statistic(const char *name);

/* Runs a command of the shell. */
void run_command(const char *command);

/* Makes a pair of veth devices: v0 here, and v1 in the network namespace of process `peer`, which then calls finish_veth_peer(). */
void make_veth(int peer);
void finish_veth_peer(void);

/* Gives a device an address, such as "10.9.0.1", and turns it on. */
void give_address(const char *device, const char *address);

/* Opens a UDP socket that is bound to port 7000 of an address. */
int udp_socket(__u32 address);

#endif
