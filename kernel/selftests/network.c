// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "network.h"
#include "check.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
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

void set_offload(const char *device, __u32 what, __u32 on)
{
	struct ethtool_value value = {.cmd = what, .data = on};
	struct ifreq request = {};
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(request.ifr_name, device);
	request.ifr_data = (char *)&value;
	NEED(ioctl(fd, SIOCETHTOOL, &request));
	close(fd);
}
