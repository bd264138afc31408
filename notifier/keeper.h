/* SPDX-License-Identifier: MIT */
/*
 * A small process that outlives the daemon: when that is killed, the command tree runs on, and once
 * it has ended the keeper removes the cgroup and the control socket. Programs in traced processes
 * are switched off at once, and USDT semaphores lowered: nobody is left to read what they count.
 * System calls that the filter notifies on it goes on answering, so that those which the kernel
 * should carry out are.
 */
#pragma once

struct cgroup;
struct pending;

/**
 * keeper_start() - fork it; call while the daemon has a single thread
 * @cgroup: what to remove
 * @socket_path: file to remove, copied by fork
 * @pending: calls that the daemon will have received
 *
 * Return: descriptor that stands for the daemon's life, owned by the caller, or -errno.
 */
int keeper_start(const struct cgroup *cgroup, const char *socket_path, struct pending *pending);

/** keeper_give_listener() - @listener: of the tree; before keeper_give_region(). Return: 0 or
 * -errno. */
int keeper_give_listener(int fd, int listener);

/** keeper_give_region() - @code_fd: writable descriptor of the region's text and code. Return: 0 or
 * -errno. */
int keeper_give_region(int fd, int code_fd);

/** keeper_dismiss() - everything is cleaned up; the keeper goes. @fd is closed. */
void keeper_dismiss(int fd);
