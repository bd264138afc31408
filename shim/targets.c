/* SPDX-License-Identifier: MIT */
/*
 * Listing processes through the cgroup directory's descriptor; see targets.h. The tenant may make
 * cgroups of any name, depth and number below its own, and move its processes between them while we
 * look, so the walk is bounded and goes by descriptors.
 */
#include "shim/targets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define DEPTH_MAX 32
#define DIRS_MAX  4096
#define PIDS_MAX  (1u << 20)

struct pids {
	pid_t *pids;
	size_t cnt, cap, dirs;
};

static int pids_add(struct pids *set, pid_t pid)
{
	if (set->cnt == PIDS_MAX)
		return -E2BIG;
	if (set->cnt == set->cap) {
		size_t cap = set->cap ? set->cap * 2 : 64;
		pid_t *grown = realloc(set->pids, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		set->pids = grown;
		set->cap = cap;
	}
	set->pids[set->cnt++] = pid;
	return 0;
}

/* A threaded cgroup has no cgroup.procs of its own (EOPNOTSUPP on read): its processes are listed
 * by the root of the threaded subtree, which is within the tenant or above it. */
static int read_procs(struct pids *set, int dir_fd)
{
	int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "re");
	int pid, r = 0;

	if (!file) {
		close_fd(fd);
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	}
	while (r == 0 && fscanf(file, "%d", &pid) == 1)
		if (pid > 0) /* 0: a process of a pid namespace we cannot see */
			r = pids_add(set, pid);
	fclose(file);
	return r;
}

static int walk(struct pids *set, int parent_fd, const char *name, int depth)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r;

	if (!dir) {
		close_fd(fd);
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	}
	r = set->dirs++ == DIRS_MAX || depth == DEPTH_MAX ? -E2BIG : read_procs(set, fd);
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			r = walk(set, fd, entry->d_name, depth + 1);
	closedir(dir);
	return r;
}

/* State and flags of a thread. Return: whether there is one. */
static bool read_stat(pid_t tid, char *ret_state, unsigned long *ret_flags)
{
	char path[40], text[512], *rest;
	cleanup_fd int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	rest = strrchr(text, ')'); /* the name is the process' own choice */
	return rest &&
	       sscanf(rest, ") %c %*d %*d %*d %*d %*d %lu", ret_state, ret_flags) == 2;
}

char targets_state(pid_t tid)
{
	unsigned long flags;
	char state;

	return read_stat(tid, &state, &flags) ? state : 'X';
}

static bool has_ended(pid_t tid)
{
	char state = targets_state(tid);

	return state == 'Z' || state == 'X';
}

pid_t targets_living(pid_t pid)
{
	struct dirent *entry;
	pid_t found = 0;
	char path[40];
	DIR *dir;

	if (!has_ended(pid))
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid > 0 && !has_ended(tid))
			found = tid;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Kernel threads have no address space: no "VmSize:" line would do too, but state and flags are one
 * short line. */
static bool is_alive(pid_t pid)
{
	unsigned long flags;
	char state;

	return read_stat(pid, &state, &flags) && !(flags & 0x200000) && /* PF_KTHREAD */
	       targets_living(pid);
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int each(int cgroup_fd, targets_fn *fn, void *data)
{
	struct pids set = {0};
	int walked, r = 0;

	walked = walk(&set, cgroup_fd, ".", 0);
	if (set.cnt > 0)
		qsort(set.pids, set.cnt, sizeof(*set.pids), by_pid);
	for (size_t i = 0; r == 0 && i < set.cnt; i++)
		if (i == 0 || set.pids[i] != set.pids[i - 1])
			r = fn(set.pids[i], data);
	free(set.pids);
	return r ? r : walked;
}

struct alive {
	targets_fn *fn;
	void *data;
};

static int alive_one(pid_t pid, void *data)
{
	const struct alive *alive = data;

	return is_alive(pid) ? alive->fn(pid, alive->data) : 0;
}

int targets_each(int cgroup_fd, targets_fn *fn, void *data)
{
	struct alive alive = {fn, data};

	return each(cgroup_fd, alive_one, &alive);
}

struct sharing {
	pid_t pid, tid;
	targets_fn *fn;
	void *data;
};

/* Kernel threads and zombies have no memory, so they have nobody's. */
static int sharing_one(pid_t pid, void *data)
{
	const struct sharing *sharing = data;

	if (pid == sharing->pid || !sys_same_memory(pid, sharing->tid))
		return 0;
	return sharing->fn(pid, sharing->data);
}

int targets_sharing(int cgroup_fd, pid_t pid, pid_t tid, targets_fn *fn, void *data)
{
	struct sharing sharing = {pid, tid, fn, data};

	return each(cgroup_fd, sharing_one, &sharing);
}

struct find {
	dev_t dev;
	ino_t ino;
	targets_fn *fn;
	void *data;
};

static int find_one(pid_t pid, void *data)
{
	struct find *find = data;

	if (targets_maps(pid, find->dev, find->ino, false) <= 0)
		return 0;
	return find->fn(pid, find->data);
}

int targets_find(int cgroup_fd, dev_t dev, ino_t ino, targets_fn *fn, void *data)
{
	struct find find = {dev, ino, fn, data};

	return targets_each(cgroup_fd, find_one, &find);
}

/* One line of /proc/TID/maps. */
static bool line_matches(pid_t tid, const char *line, dev_t dev, ino_t ino, bool exec_only)
{
	unsigned long start, end, inode;
	char perms[5], path[80];
	struct stat st;

	if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu", &start, &end, perms, &inode) != 4)
		return false;
	if (inode != ino || (exec_only && perms[2] != 'x'))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", tid, start, end);
	return stat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* As targets_maps(), through one thread. @ret_empty: it has no memory (any more). */
static int thread_maps(pid_t tid, dev_t dev, ino_t ino, bool exec_only, bool *ret_empty)
{
	/* What counts stands in front of the path, which may be long and is the tenant's. */
	char path[40], text[4096], line[128];
	cleanup_fd int fd = -1;
	size_t len = 0;
	ssize_t n;

	*ret_empty = true;
	snprintf(path, sizeof(path), "/proc/%d/maps", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	while ((n = read(fd, text, sizeof(text))) > 0) {
		*ret_empty = false;
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] != '\n') {
				if (len < sizeof(line) - 1)
					line[len++] = text[i];
				continue;
			}
			line[len] = '\0';
			len = 0;
			if (line_matches(tid, line, dev, ino, exec_only))
				return 1;
		}
	}
	return n < 0 && errno != ESRCH ? -errno : 0;
}

int targets_maps(pid_t pid, dev_t dev, ino_t ino, bool exec_only)
{
	bool empty;
	int r = thread_maps(pid, dev, ino, exec_only, &empty);
	pid_t living = r == 0 && empty ? targets_living(pid) : pid;

	if (!living)
		return 0;
	return living == pid ? r : thread_maps(living, dev, ino, exec_only, &empty);
}
