/* SPDX-License-Identifier: MIT */
/*
 * The tenant's processes, and which of them map a probed file.
 *
 * A snapshot: processes come and go meanwhile. Those that exec or load the file afterwards are
 * shim/late.h's, so watch the file first and list second; a process seen by both is patched twice,
 * which changes nothing. Names and memory maps are the tenant's to choose and are not trusted.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/** targets_fn - called per process. Return: 0 to go on, anything else ends the walk with it. */
typedef int targets_fn(pid_t pid, void *data);

/**
 * targets_each() - every process in a cgroup v2 subtree, once each
 * @cgroup_fd: directory of the subtree, borrowed
 *
 * Kernel threads are left out, and processes all of whose threads have ended. Processes started
 * during the walk may be missing.
 *
 * Return: 0, what @fn returned, or -errno. Errors: -E2BIG more directories or processes than a
 * tenant may have; those before were visited.
 */
int targets_each(int cgroup_fd, targets_fn *fn, void *data);

/**
 * targets_find() - those of them that map a file
 * @dev, @ino: as stat() of the file through the tenant's root shows it
 *
 * Return: as targets_each().
 */
int targets_find(int cgroup_fd, dev_t dev, ino_t ino, targets_fn *fn, void *data);

/**
 * targets_sharing() - those that have the memory of @pid without being threads of it (vfork(),
 * posix_spawn(), CLONE_VM)
 * @tid: a thread of @pid
 *
 * Left out: one whose main thread has ended while others run.
 *
 * Return: as targets_each().
 */
int targets_sharing(int cgroup_fd, pid_t pid, pid_t tid, targets_fn *fn, void *data);

/**
 * targets_maps() - whether a process maps a file
 * @exec_only: count executable mappings only
 *
 * Goes by stat() of /proc/PID/map_files, because the device in /proc/PID/maps is not the one stat()
 * shows for files on overlay or btrfs. Opens nothing but /proc, allocates nothing.
 *
 * Return: 1 or 0; also 0 for a process that is gone. Errors: -errno.
 */
int targets_maps(pid_t pid, dev_t dev, ino_t ino, bool exec_only);

/** targets_state() - state of a thread as in /proc/PID/stat; 'X' when it is gone */
char targets_state(pid_t tid);

/**
 * targets_living() - a thread through whose /proc/TID the process can be seen: @pid itself, or when
 * its main thread has ended another one
 *
 * Return: 0 when all have ended.
 */
pid_t targets_living(pid_t pid);
