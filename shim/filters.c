/* SPDX-License-Identifier: MIT */
/*
 * How many seccomp filters a process' threads have, and whether one is about to get another.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/apply_internal.h"
#include "shim/targets.h"

unsigned int filters_in(const char *status)
{
	const char *line = strstr(status, "\nSeccomp_filters:");
	unsigned int filters;

	return line && sscanf(line, "\nSeccomp_filters: %u", &filters) == 1 ? filters : 0;
}

/* Whether a thread is inside of the call that gives it a filter. */
static bool gets_filter(pid_t pid, const char *tid)
{
	cleanup_free char *text = NULL;
	unsigned long op, mode;
	char path[300];
	long nr;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/syscall", pid, tid);
	if (read_file(AT_FDCWD, path, 4096, &text, NULL) < 0 ||
	    sscanf(text, "%ld %lx %lx", &nr, &op, &mode) != 3)
		return false;
	return (nr == SYS_seccomp && (uint32_t)op == SECCOMP_SET_MODE_FILTER) ||
	       (nr == SYS_prctl && (uint32_t)op == PR_SET_SECCOMP && mode == SECCOMP_MODE_FILTER);
}

static bool thread_has_filters(pid_t pid, const char *tid, uint32_t limit)
{
	cleanup_free char *text = NULL;
	char path[300];

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, tid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return false;
	return filters_in(text) > limit || gets_filter(pid, tid);
}

bool shim_has_filters(pid_t pid, uint32_t limit)
{
	struct dirent *entry;
	bool found = false;
	char path[40];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = limit ? opendir(path) : NULL;
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && thread_has_filters(pid, entry->d_name, limit);
	closedir(dir);
	return found;
}
