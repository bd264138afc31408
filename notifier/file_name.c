/* SPDX-License-Identifier: MIT */
/*
 * Names by which the host knows files. Called for every user-space probe; must never take a name
 * on the tenant's word.
 */
#include "notifier/file_name.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

/* Path of an opened file from the root of the mount namespace that it was opened in: the kernel
 * goes on beyond a root that is not ours. Source: fs/d_path.c d_path(), Linux 6.18. */
static int opened_path(int fd, char *buf, size_t size)
{
	char link[32];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, buf, size - 1);
	if (len < 0 || (size_t)len == size - 1 || buf[0] != '/')
		return -ENOENT;
	buf[len] = '\0';
	return 0;
}

int file_name_of(int fd, struct file_name *ret_name)
{
	struct stat theirs, ours;
	struct file_name name;
	cleanup_fd int host = -1;

	if (opened_path(fd, name.path, sizeof(name.path)) < 0)
		return -ENOENT;
	/* Whoever may change links on the host may not lend the file another's name. */
	host = sys_openat2(AT_FDCWD, name.path, O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS);
	if (host < 0 || fstat(fd, &theirs) < 0 || fstat(host, &ours) < 0 ||
	    theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino)
		return -ENOENT;
	*ret_name = name;
	return 0;
}

bool file_name_matches(const char *pattern, const char *path)
{
	size_t len = strcspn(pattern, "*?[\\");
	cleanup_free char *spelled = NULL, *real = NULL;

	if (fnmatch(pattern, path, 0) == 0)
		return true;
	if (pattern[0] != '/' || path[0] != '/')
		return false;
	if (pattern[len])
		while (pattern[len] != '/')
			len--;
	/* The root is its own parent and has no name in front of its slash. */
	if (len == 0)
		return false;
	spelled = strndup(pattern, len);
	real = spelled ? realpath(spelled, NULL) : NULL;
	if (!real)
		return false;
	len = strcmp(real, "/") == 0 ? 0 : strlen(real);
	return strncmp(path, real, len) == 0 &&
	       fnmatch(pattern + strlen(spelled), path + len, 0) == 0;
}
