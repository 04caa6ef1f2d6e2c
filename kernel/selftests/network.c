// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "network.h"
#include "check.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

long statistic(const char *name)
{
	static char names[8192], values[8192];
	FILE *file = fopen("/proc/thread-self/net/netstat", "r");
	long result = -1;

	if (!file)
		return -errno;
	while (fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file)) {
		char *name_rest, *value_rest, *value = strtok_r(values, " \n", &value_rest);

		for (char *word = strtok_r(names, " \n", &name_rest); word && value; word = strtok_r(NULL, " \n", &name_rest)) {
			if (strcmp(word, name) == 0)
				result = atol(value);
			value = strtok_r(NULL, " \n", &value_rest);
		}
	}
	fclose(file);
	return result;
}

void run_command(const char *command)
{
	const int status = system(command);

	if (status) {
		fprintf(stderr, "%s: status %d\n", command, status);
		exit(FAILED);
	}
}

/* Turns an offload of a network device on or off. `what` is one of ETHTOOL_S…. */
static void set_offload(const char *device, __u32 what, __u32 on)
{
	struct ethtool_value value = {.cmd = what, .data = on};
	struct ifreq request = {};
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(request.ifr_name, device);
	request.ifr_data = (char *)&value;
	NEED(ioctl(fd, SIOCETHTOOL, &request));
	close(fd);
}

/* A veth device passes packets to the NAPI of its peer if the peer has GRO on and the device has segmentation (TSO) off. */
void make_veth(int peer)
{
	char command[80];

	snprintf(command, sizeof(command), "ip link add v0 type veth peer name v1 netns %d", peer);
	run_command(command);
	set_offload("v0", ETHTOOL_SGRO, 1);
}

void finish_veth_peer(void)
{
	set_offload("v1", ETHTOOL_STSO, 0);
}

void give_address(const char *device, const char *address)
{
	char command[160];

	snprintf(command, sizeof(command), "ip addr add %s/24 dev %s && ip link set %s up", address, device, device);
	run_command(command);
}

int udp_socket(__u32 address)
{
	const struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(7000), .sin_addr.s_addr = htonl(address)};
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(bind(fd, (const struct sockaddr *)&own, sizeof(own)));
	return fd;
}
