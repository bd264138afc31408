/* SPDX-License-Identifier: MIT */
/*
 * Walks cgroup directories; the tenant may make directories of its own there, deep and many.
 */
#include "shim/targets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/maps.h"

#define DEPTH_MAX 32
#define PROCS_MAX (16u << 20) /* bytes of one cgroup.procs */

struct search {
	dev_t dev;
	ino_t ino;
	int (*found)(pid_t pid, void *data);
	void *data;
};

static bool maps_file(pid_t pid, const struct search *search)
{
	struct maps maps;
	bool found = false;

	if (maps_read(pid, &maps) < 0)
		return false;
	for (uint32_t i = 0; i < maps.cnt && !found; i++)
		found = maps.entries[i].executable &&
			maps_is_file(&maps, &maps.entries[i], search->dev, search->ino);
	maps_deinit(&maps);
	return found;
}

static int search_procs(int dir_fd, const struct search *search)
{
	cleanup_free char *text = NULL;
	char *at, *end;
	int r;

	/* A threaded subgroup refuses it; its processes are listed by the parent. */
	r = read_file(dir_fd, "cgroup.procs", PROCS_MAX, &text, NULL);
	if (r < 0)
		return r == -ENOENT || r == -EOPNOTSUPP || r == -ENODEV ? 0 : r;
	for (at = text, r = 0; *at && r == 0; at = end + 1) {
		pid_t pid = (pid_t)strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid > 0 && maps_file(pid, search))
			r = search->found(pid, search->data);
		if (!*end)
			break;
	}
	return r;
}

static int search_dir(int dir_fd, const struct search *search, int depth)
{
	struct dirent *entry;
	DIR *dir;
	int r, fd;

	r = search_procs(dir_fd, search);
	if (r < 0 || depth == DEPTH_MAX)
		return r;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		close_fd(fd);
		return 0;
	}
	while (r == 0 && (entry = readdir(dir))) {
		cleanup_fd int sub = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		sub = openat(dir_fd, entry->d_name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			r = search_dir(sub, search, depth + 1);
	}
	closedir(dir);
	return r;
}

int targets_find(int cgroup_fd, dev_t dev, ino_t ino, int (*found)(pid_t pid, void *data),
		 void *data)
{
	const struct search search = {.dev = dev, .ino = ino, .found = found, .data = data};

	return search_dir(cgroup_fd, &search, 0);
}

bool targets_have(pid_t pid, int fd)
{
	struct search search = {0};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	search.dev = st.st_dev;
	search.ino = st.st_ino;
	return maps_file(pid, &search);
}
