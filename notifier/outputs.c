/* SPDX-License-Identifier: MIT */
/*
 * Looks through /proc/PID/fd. Descriptors of one event are told from others by kcmp(2), which also
 * orders them.
 */
#include "notifier/outputs.h"

#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/targets.h"

#define FOUND_MAX 65536u

struct holder {
	pid_t pid;
	int fd;
};

struct found {
	struct holder *holders;
	uint64_t cnt, cap;
};

static void add(struct found *found, pid_t pid, int fd)
{
	if (found->cnt == found->cap) {
		uint64_t cap = found->cap ? found->cap * 2 : 64;
		struct holder *grown = realloc(found->holders, cap * sizeof(*grown));

		if (!grown)
			return;
		found->holders = grown;
		found->cap = cap;
	}
	found->holders[found->cnt++] = (struct holder){pid, fd};
}

static int look_at(pid_t pid, void *data)
{
	struct found *found = data;
	struct dirent *entry;
	char path[32];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && found->cnt < FOUND_MAX && (entry = readdir(dir))) {
		char target[64];
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (len <= 0)
			continue;
		target[len] = '\0';
		if (strcmp(target, "anon_inode:[perf_event]") == 0)
			add(found, pid, atoi(entry->d_name));
	}
	if (dir)
		closedir(dir);
	return found->cnt < FOUND_MAX ? 0 : -E2BIG;
}

static int compare(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;
	long r = syscall(SYS_kcmp, x->pid, y->pid, KCMP_FILE, x->fd, y->fd);

	return r == 1 ? -1 : r == 2 ? 1 : 0;
}

uint64_t outputs_count(int cgroup_fd)
{
	struct found found = {0};
	uint64_t different = 0;

	targets_each(cgroup_fd, look_at, &found);
	if (found.cnt)
		qsort(found.holders, found.cnt, sizeof(found.holders[0]), compare);
	for (uint64_t i = 0; i < found.cnt; i++)
		different += i == 0 || compare(&found.holders[i - 1], &found.holders[i]) != 0;
	free(found.holders);
	return different;
}
