/* SPDX-License-Identifier: MIT */
/*
 * Makes the synthetic tracefs tree. A tree is complete or absent: it is built under a temporary
 * name and renamed, so makers that are killed or run side by side do no harm.
 */
#include "notifier/tracefs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define SOURCE	 "/sys/kernel/tracing"
#define COPY_MAX (8u << 20)

/* Start of a tree's name; the number changes with what is in it. */
#define TREE "tracing2-"

static int copy_file(int from_dir, int to_dir, const char *name, char *buf)
{
	cleanup_fd int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC), to = -1;
	size_t used = 0;
	ssize_t n;

	if (from < 0)
		return -errno;
	while (used < COPY_MAX && (n = read(from, buf + used, COPY_MAX - used)) > 0)
		used += (size_t)n;
	to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (to < 0 || write(to, buf, used) != (ssize_t)used)
		return errno ? -errno : -EIO;
	return 0;
}

static int make_dir(int at, const char *name)
{
	int fd;

	if (mkdirat(at, name, 0755) < 0)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* One event: its id and its format are all that tools look at. */
static int copy_event(int from_category, int to_category, const char *category, const char *event,
		      char *buf, FILE *index)
{
	cleanup_fd int from = openat(from_category, event, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int to = -1;
	int r;

	if (from < 0)
		return -errno;
	/* Events of the ftrace group have formats but no ids. */
	if (faccessat(from, "id", R_OK, 0) < 0)
		return 0;
	to = make_dir(to_category, event);
	if (to < 0)
		return to;
	r = copy_file(from, to, "id", buf);
	if (r == 0) {
		fprintf(index, "%d %s:%s\n", atoi(buf), category, event);
		r = copy_file(from, to, "format", buf);
	}
	return r;
}

static int copy_category(int from_events, int to_events, const char *category, char *buf,
			 FILE *index)
{
	int from = openat(from_events, category, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_fd int to = from < 0 ? -1 : make_dir(to_events, category);
	DIR *dir = from < 0 ? NULL : fdopendir(from);
	struct dirent *entry;

	if (!dir || to < 0) {
		close_fd(from);
		return from < 0 ? -ENOENT : to;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			r = copy_event(from, to, category, entry->d_name, buf, index);
	closedir(dir);
	return r;
}

static int copy_events(int from_root, int to_root, char *buf, FILE *index)
{
	int from = openat(from_root, "events", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_fd int to = from < 0 ? -1 : make_dir(to_root, "events");
	DIR *dir = from < 0 ? NULL : fdopendir(from);
	struct dirent *entry;

	if (!dir || to < 0) {
		close_fd(from);
		return from < 0 ? -ENOENT : to;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			r = copy_category(from, to, entry->d_name, buf, index);
	closedir(dir);
	return r;
}

static int make_tree(int from, int to, FILE *index)
{
	/* Tools look for leftovers of theirs in these; here there never are any, and since every
	 * tenant sees the same files nobody may write to them. */
	static const char *const empty[] = {"uprobe_events", "kprobe_events", "trace_pipe"};
	cleanup_free char *buf = malloc(COPY_MAX);
	int r;

	if (!buf)
		return -ENOMEM;
	r = copy_events(from, to, buf, index);
	if (r == 0)
		r = copy_file(from, to, "available_events", buf);
	/* Functions that can be probed. Some kernels have no such file or lock it away: then tools
	 * go without, as they would for real root there. */
	if (r == 0 && copy_file(from, to, "available_filter_functions", buf) < 0)
		unlinkat(to, "available_filter_functions", 0);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(empty); i++) {
		int fd = openat(to, empty[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0444);

		if (fd < 0)
			return -errno;
		close_fd(fd);
	}
	return r;
}

/* Boot id: event ids are assigned at boot, so a tree of another boot is wrong. */
static int boot_id(char *id, size_t size)
{
	cleanup_free char *text = NULL;
	int r = read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &text, NULL);

	if (r == 0)
		snprintf(id, size, "%.36s", text);
	return r;
}

static void remove_tree(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		unlinkat(at, name, 0);
		return;
	}
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_tree(dirfd(dir), entry->d_name);
	closedir(dir);
	unlinkat(at, name, AT_REMOVEDIR);
}

static void remove_other_boots(int cache, const char *id)
{
	int fd = openat(cache, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, "tracing", 7) == 0 && !strstr(entry->d_name, id))
			remove_tree(cache, entry->d_name);
	closedir(dir);
}

static int build(int cache, const char *name, const char *index_name, struct reason *reason)
{
	char tmp[80], tmp_index[80];
	cleanup_fd int from = open(SOURCE, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to = -1;
	FILE *index;
	int r;

	if (from < 0)
		return -errno;
	snprintf(tmp, sizeof(tmp), "%s.%d", name, getpid());
	snprintf(tmp_index, sizeof(tmp_index), "%s.%d", index_name, getpid());
	remove_tree(cache, tmp);
	to = make_dir(cache, tmp);
	if (to < 0)
		return to;
	r = openat(cache, tmp_index, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	index = r < 0 ? NULL : fdopen(r, "w");
	if (!index)
		return -errno;
	r = make_tree(from, to, index);
	if (fclose(index) != 0 && r == 0)
		r = -EIO;
	/* Losing the race to another maker is fine: both trees say the same. */
	if (r == 0 &&
	    (renameat(cache, tmp_index, cache, index_name) < 0 ||
	     (renameat(cache, tmp, cache, name) < 0 && errno != ENOTEMPTY && errno != EEXIST)))
		r = -errno;
	remove_tree(cache, tmp);
	unlinkat(cache, tmp_index, 0);
	if (r < 0)
		reason_set(reason, r, "cannot copy %s: %s", SOURCE, strerrordesc_np(-r));
	return r;
}

int tracefs_prepare(char *ret_path, size_t size, struct reason *reason)
{
	char id[40], name[64], index[72];
	cleanup_fd int cache = -1;
	struct statfs fs;
	mode_t mask;
	int r = boot_id(id, sizeof(id));

	if (r < 0)
		return r;
	if (mkdir(TRACEFS_CACHE, 0755) < 0 && errno != EEXIST)
		return reason_set(reason, -errno, "cannot make " TRACEFS_CACHE);
	cache = open(TRACEFS_CACHE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cache < 0)
		return -errno;
	if ((statfs(SOURCE, &fs) < 0 || fs.f_type != TRACEFS_MAGIC) &&
	    mount("tracefs", SOURCE, "tracefs", 0, NULL) < 0)
		return reason_set(reason, -errno, "cannot mount tracefs: %s",
				  strerrordesc_np(errno));
	snprintf(name, sizeof(name), TREE "%s", id);
	snprintf(index, sizeof(index), "%s.ids", name);
	if (faccessat(cache, name, F_OK, 0) < 0 || faccessat(cache, index, F_OK, 0) < 0) {
		mask = umask(0);
		r = build(cache, name, index, reason);
		umask(mask);
		remove_other_boots(cache, id);
	}
	snprintf(ret_path, size, TRACEFS_CACHE "/%s", name);
	return r;
}

static char *index_text;

static void index_load(void)
{
	char id[40], path[128];

	if (boot_id(id, sizeof(id)) < 0)
		return;
	snprintf(path, sizeof(path), TRACEFS_CACHE "/" TREE "%s.ids", id);
	if (read_file(AT_FDCWD, path, 16u << 20, &index_text, NULL) < 0)
		index_text = NULL;
}

int tracefs_event_name(uint64_t id, char *name, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char want[32];
	size_t len;

	pthread_once(&once, index_load);
	len = (size_t)snprintf(want, sizeof(want), "%llu ", (unsigned long long)id);
	for (const char *line = index_text; line && *line;) {
		const char *end = strchr(line, '\n');

		if (!end)
			break;
		if (strncmp(line, want, len) == 0) {
			snprintf(name, size, "%.*s", (int)(end - line - (long)len), line + len);
			return 0;
		}
		line = end + 1;
	}
	return -ENOENT;
}
