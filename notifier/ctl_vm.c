/* SPDX-License-Identifier: MIT */
/*
 * bpfshimctl vm: hands over to bpfshim-vm, which lies beside this program and holds the compiler.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "notifier/ctl.h"

#define PROGRAM "bpfshim-vm"

int ctl_vm(int argc, char **argv)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - sizeof(PROGRAM));
	char *slash;

	if (len > 0) {
		path[len] = '\0';
		slash = strrchr(path, '/');
		strcpy(slash ? slash + 1 : path, PROGRAM);
		execv(path, argv);
	}
	fprintf(stderr, "bpfshimctl: %s: %s\n", len > 0 ? path : PROGRAM, strerror(errno));
	return CTL_FAILED;
}
