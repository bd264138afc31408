/* SPDX-License-Identifier: MIT */
/*
 * What the host calls a file of a tenant's. A tenant with a mount namespace of its own gives any
 * file any name; whoever writes a policy means the names of the host.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

/**
 * struct file_name - absolute path without symbolic links, in the daemon's mount namespace
 */
struct file_name {
	char path[PATH_MAX];
};

/**
 * file_name_of() - name of an opened file
 * @fd: any descriptor of it, O_PATH included
 * @ret_name: untouched on failure
 *
 * The only name that is tried is the one that the file has in the mount namespace it was opened in;
 * it counts when the host finds the same file there. A file that was bound to another place has no
 * name, and neither has what lies on a mount that the host does not see: an overlay would be a new
 * name for a file of the host.
 *
 * Return: 0, or -ENOENT.
 */
int file_name_of(int fd, struct file_name *ret_name);

/**
 * file_name_matches() - whether a pattern of "attach_targets" means the file
 * @pattern: glob(7), where "*" matches slashes, too
 * @path: struct file_name's, or "" for none
 *
 * Symbolic links in what a pattern spells out (up to the last slash before its first special
 * character; all of it, if it has none) are followed: "/bin/sh" and "/lib/x*" mean what they do in
 * a shell of the host.
 */
bool file_name_matches(const char *pattern, const char *path);
