/* SPDX-License-Identifier: MIT */
/*
 * The seccomp filter that turns a tenant's bpf(), perf_event_open() and perf ioctl()s into
 * notifications. Runs in the process that becomes the tenant, before its first exec.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

/**
 * filter_build() - generate the filter
 * @confined: the tenant has less rights than whoever started it, and must not reach for that
 *            one's terminal (TIOCSTI, TIOCLINUX)
 * @ret_prog: owned by the caller: free(ret_prog->filter)
 *
 * Return: 0 or -errno.
 */
int filter_build(bool confined, struct sock_fprog *ret_prog);

/**
 * filter_install_and_send() - install the filter on this process and give the listener away
 * @sync_fd: connected AF_UNIX socket; the listener goes out as SCM_RIGHTS, then one byte comes
 *           back when the daemon serves it
 * @confined: as for filter_build()
 *
 * Needs CAP_SYS_ADMIN in the own user namespace, so that no_new_privs stays as it was.
 *
 * Return: 0 or -errno.
 */
int filter_install_and_send(int sync_fd, bool confined);
