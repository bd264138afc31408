/* SPDX-License-Identifier: MIT */
/*
 * Mounts that only host root can make; called before the tree starts.
 */
#include "notifier/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "notifier/container.h"
#include "notifier/tracefs.h"

#define BPFFS	"/sys/fs/bpf"
#define TRACING "/sys/kernel/tracing"
#define DEBUG	"/sys/kernel/debug"
#define HEADERS TRACEFS_CACHE "/kernel-headers"
#define SOURCES "/usr/src"
#define PIPE	  DEBUG "/trace_pipe"
#define PIPE_SIZE (256 << 10) /* bytes */

int mounts_private(struct reason *reason)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return reason_set(reason, -errno, "cannot make a private mount namespace: %s",
				  strerrordesc_np(errno));
	return 0;
}

static int mount_step(const char *what, const char *from, const char *to, const char *type,
		      unsigned long flags, const char *options, struct reason *reason)
{
	if (mount(from, to, type, flags, options) < 0)
		return reason_set(reason, -errno, "cannot mount %s at %s: %s", what, to,
				  strerrordesc_np(errno));
	return 0;
}

static int bind_read_only(const char *what, const char *from, const char *to, struct reason *reason)
{
	int r = mount_step(what, from, to, NULL, MS_BIND, NULL, reason);

	if (r == 0)
		r = mount_step(what, NULL, to, NULL,
			       MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
			       NULL, reason);
	return r;
}

/*
 * In the place of the host's trace_pipe, one for the tree alone. Its name goes once it is mounted.
 * We hold both ends, so that neither of them ever closes.
 */
static int mount_pipe(int *ret_fd, struct reason *reason)
{
	cleanup_fd int fd = -1;
	int r;

	if (mkfifo(PIPE, 0400) < 0 || chown(PIPE, CONTAINER_ID, CONTAINER_ID) < 0)
		return reason_set(reason, -errno, "cannot make " PIPE ": %s",
				  strerrordesc_np(errno));
	fd = open(PIPE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return reason_set(reason, -errno, "cannot open " PIPE ": %s",
				  strerrordesc_np(errno));
	fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
	r = bind_read_only("the trace pipe", PIPE, TRACING "/trace_pipe", reason);
	if (r == 0)
		r = bind_read_only("the trace pipe", PIPE, DEBUG "/tracing/trace_pipe", reason);
	unlink(PIPE);
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

/* The synthetic tree in both places where tools look; nothing of the real debugfs shows. */
static int mount_synthetic(const char *tree, int *ret_pipe, struct reason *reason)
{
	int r = bind_read_only("the event tree", tree, TRACING, reason);

	if (r == 0)
		r = mount_step("a tmpfs", "tmpfs", DEBUG, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			       "mode=0755,size=64k", reason);
	if (r == 0 && mkdir(DEBUG "/tracing", 0755) < 0)
		r = -errno;
	if (r == 0)
		r = bind_read_only("the event tree", tree, DEBUG "/tracing", reason);
	return r == 0 ? mount_pipe(ret_pipe, reason) : r;
}

static bool is_mounted(const char *path, long magic)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == magic;
}

/* Newest pair of Debian's header packages: NAME-amd64 (configuration) over NAME-common. */
static bool find_headers(char *config, char *common, size_t size)
{
	static const char suffix[] = "-amd64";
	DIR *dir = opendir(SOURCES);
	struct dirent *entry;
	char best[128] = "";

	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (strncmp(entry->d_name, "linux-headers-", 14) == 0 && len < sizeof(best) &&
		    len > sizeof(suffix) &&
		    strcmp(entry->d_name + len - sizeof(suffix) + 1, suffix) == 0 &&
		    strverscmp(entry->d_name, best) > 0)
			strcpy(best, entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (!best[0])
		return false;
	snprintf(config, size, SOURCES "/%s", best);
	best[strlen(best) - sizeof(suffix) + 1] = '\0';
	snprintf(common, size, SOURCES "/%s-common", best);
	return access(common, R_OK) == 0;
}

/* bcc compiles against one tree that holds both packages; missing headers are no error. */
static void mount_headers(void)
{
	char config[192], common[192], options[448];

	if (getenv("BCC_KERNEL_SOURCE") || !find_headers(config, common, sizeof(config)))
		return;
	if (mkdir(HEADERS, 0755) < 0 && errno != EEXIST)
		return;
	snprintf(options, sizeof(options), "lowerdir=%s:%s", config, common);
	if (mount("overlay", HEADERS, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options) == 0)
		setenv("BCC_KERNEL_SOURCE", HEADERS, 1);
}

int mounts_prepare(bool unprivileged, int *ret_pipe, struct reason *reason)
{
	char tree[128];
	int r;

	r = tracefs_prepare(tree, sizeof(tree), reason);
	if (r < 0)
		return r;
	/* A bpffs of its own: pins of the tree are the tree's alone and go with it. */
	r = mount_step("bpffs", "bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		       unprivileged ? "mode=1777" : "mode=0700", reason);
	if (r < 0)
		return r;
	mount_headers();
	if (unprivileged)
		return mount_synthetic(tree, ret_pipe, reason);
	if (!is_mounted(DEBUG, DEBUGFS_MAGIC))
		r = mount_step("debugfs", "debugfs", DEBUG, "debugfs", 0, NULL, reason);
	return r;
}
