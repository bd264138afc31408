/* SPDX-License-Identifier: MIT */
/*
 * cgroup v2 directories, always by descriptor: the mount may be anywhere, or nowhere at all.
 */
#include "notifier/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define PREFIX	   "bpfshim-"
#define REMOVE_MAX 100000 /* directories of one tree */
#define FILE_MAX   (1u << 20)

/* The directory of the unified hierarchy's root, mounted for us alone if nobody else did. */
static int open_cgroup_root(void)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fs = -1;
	char *line, *save = NULL;
	int r = read_file(AT_FDCWD, "/proc/self/mountinfo", FILE_MAX, &text, NULL);

	if (r < 0)
		return r;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char root[256], where[256];

		if (strstr(line, " - cgroup2 ") &&
		    sscanf(line, "%*d %*d %*s %255s %255s", root, where) == 2 &&
		    strcmp(root, "/") == 0) {
			r = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			return r < 0 ? -errno : r;
		}
	}
	fs = fsopen("cgroup2", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	r = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return r < 0 ? -errno : r;
}

/* Path of a process in the unified hierarchy. */
static int read_path(pid_t pid, char *path, size_t size)
{
	cleanup_free char *text = NULL;
	char proc[40], *line, *end;
	int r;

	snprintf(proc, sizeof(proc), "/proc/%d/cgroup", pid);
	r = read_file(AT_FDCWD, proc, 65536, &text, NULL);
	if (r < 0)
		return r;
	line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	if (!line)
		return -ENOENT;
	line = strchr(line, '/');
	if (!line)
		return -ENOENT;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	if (strlen(line) >= size)
		return -ENAMETOOLONG;
	strcpy(path, line);
	return 0;
}

/* A daemon that died with its keeper leaves an empty directory named after its pid. */
static void reap_stale(int parent_fd)
{
	int fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), pid;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close_fd(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (sscanf(entry->d_name, PREFIX "%d", &pid) == 1 && kill(pid, 0) < 0 &&
		    errno == ESRCH)
			unlinkat(parent_fd, entry->d_name, AT_REMOVEDIR);
	closedir(dir);
}

static int cgroup_make(struct cgroup *cgroup)
{
	struct stat st;

	snprintf(cgroup->name, sizeof(cgroup->name), PREFIX "%d", getpid());
	/* One that is there belonged to a daemon of this number that was killed, and is empty, or it is
	 * somebody else's, and nobody of theirs may be taken for one of ours. */
	if (mkdirat(cgroup->parent_fd, cgroup->name, 0755) < 0 &&
	    (errno != EEXIST ||
	     unlinkat(cgroup->parent_fd, cgroup->name, AT_REMOVEDIR) < 0 ||
	     mkdirat(cgroup->parent_fd, cgroup->name, 0755) < 0))
		return -errno;
	cgroup->fd = openat(cgroup->parent_fd, cgroup->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup->fd < 0 || fstat(cgroup->fd, &st) < 0)
		return -errno;
	cgroup->id = st.st_ino;
	return 0;
}

int cgroup_new(struct cgroup **ret_cgroup, struct reason *reason)
{
	cleanup_fd int root = -1;
	struct cgroup *cgroup;
	char own[400];
	int r;

	root = open_cgroup_root();
	if (root < 0)
		return reason_set(reason, root, "no cgroup v2 hierarchy: %s",
				  strerrordesc_np(-root));
	r = read_path(getpid(), own, sizeof(own));
	if (r < 0)
		return reason_set(reason, r, "cannot tell the own cgroup: %s", strerrordesc_np(-r));
	cgroup = calloc(1, sizeof(*cgroup));
	if (!cgroup)
		return -ENOMEM;
	cgroup->fd = -1;
	cgroup->parent_fd =
		openat(root, own[1] ? own + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = cgroup->parent_fd < 0 ? -errno : 0;
	if (r == 0) {
		reap_stale(cgroup->parent_fd);
		r = cgroup_make(cgroup);
	}
	if (r < 0) {
		cgroup_free(cgroup);
		return reason_set(reason, r, "cannot make a cgroup below %s: %s", own,
				  strerrordesc_np(-r));
	}
	snprintf(cgroup->path, sizeof(cgroup->path), "%s/%s", own[1] ? own : "", cgroup->name);
	for (const char *p = cgroup->path; *p; p++)
		cgroup->level += *p == '/';
	*ret_cgroup = cgroup;
	return 0;
}

struct cgroup *cgroup_free(struct cgroup *cgroup)
{
	if (cgroup) {
		close_fd(cgroup->fd);
		close_fd(cgroup->parent_fd);
	}
	free(cgroup);
	return NULL;
}

bool cgroup_has_pid(const struct cgroup *cgroup, pid_t pid)
{
	size_t len = strlen(cgroup->path);
	char path[512];

	if (read_path(pid, path, sizeof(path)) < 0)
		return false;
	return strncmp(path, cgroup->path, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

int cgroup_kill(const struct cgroup *cgroup)
{
	return write_file(cgroup->fd, "cgroup.kill", "1");
}

/* @events: cgroup.events; reading it also arms the next poll(). */
static bool is_empty(int events)
{
	char text[256];
	ssize_t n = pread(events, text, sizeof(text) - 1, 0);

	if (n < 0)
		return true; /* removed already */
	text[n] = '\0';
	return strstr(text, "populated 0") != NULL;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int cgroup_wait_empty(const struct cgroup *cgroup, int timeout_ms)
{
	cleanup_fd int events = openat(cgroup->fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	struct pollfd pfd = {.fd = events, .events = POLLPRI};
	int64_t end = now_ms() + timeout_ms;

	if (events < 0)
		return 0;
	while (!is_empty(events)) {
		int64_t left = timeout_ms < 0 ? -1 : end - now_ms();

		if (timeout_ms >= 0 && left <= 0)
			return -ETIMEDOUT;
		poll(&pfd, 1, (int)left);
	}
	return 0;
}

/* First directory in @dir_fd. Return: false when there is none. */
static bool first_child(int dir_fd, char *name, size_t size)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool found = false;

	if (!dir) {
		close_fd(fd);
		return false;
	}
	while (!found && (entry = readdir(dir)))
		found = entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0 &&
			snprintf(name, size, "%s", entry->d_name) < (int)size;
	closedir(dir);
	return found;
}

/* Remove one directory that holds no other: go down by first children until there is none. */
static int remove_leaf(int parent_fd, const char *name)
{
	cleanup_fd int parent = fcntl(parent_fd, F_DUPFD_CLOEXEC, 0);
	char at[NAME_MAX + 1], child[NAME_MAX + 1];

	snprintf(at, sizeof(at), "%s", name);
	for (;;) {
		cleanup_fd int dir =
			openat(parent, at, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (dir < 0)
			return -errno;
		if (!first_child(dir, child, sizeof(child)))
			return unlinkat(parent, at, AT_REMOVEDIR) < 0 ? -errno : 0;
		close_fd(parent);
		parent = take_fd(&dir);
		memcpy(at, child, sizeof(at));
	}
}

/* However deep a privileged tree made it, two descriptors are enough. */
static int remove_tree(int parent_fd, const char *name)
{
	int r = 0;

	for (int i = 0; i < REMOVE_MAX && r == 0; i++) {
		r = remove_leaf(parent_fd, name);
		if (r == 0 && faccessat(parent_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			return 0;
	}
	return r < 0 ? r : -EBUSY;
}

int cgroup_remove(const struct cgroup *cgroup)
{
	return remove_tree(cgroup->parent_fd, cgroup->name);
}
