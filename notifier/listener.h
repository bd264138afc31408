/* SPDX-License-Identifier: MIT */
/*
 * One seccomp listener: receive notifications, answer them. Source: seccomp_unotify(2),
 * kernel/seccomp.c, Linux 6.18.
 */
#pragma once

#include <linux/seccomp.h>
#include <stdint.h>

/** listener_prepare() - ask for synchronous wake-ups where the kernel has them (6.6) */
void listener_prepare(int listener);

/**
 * listener_receive() - take one notification off a listener that polled readable
 *
 * Return: 0, or -ENOENT when the caller went away meanwhile, or another -errno.
 */
int listener_receive(int listener, struct seccomp_notif *ret_notif);

/*
 * Answers. Each returns 0, or -ENOENT when the caller is gone (nothing was delivered and whatever
 * the answer stood for must be undone).
 */
int listener_send_value(int listener, uint64_t id, int64_t value);
int listener_send_error(int listener, uint64_t id, int error);
int listener_send_continue(int listener, uint64_t id);
/**
 * listener_send_fd() - install @fd in the caller as its result
 * @flags: O_CLOEXEC or 0
 *
 * The caller is answered whatever happens: when the descriptor cannot be installed the call fails
 * with that error.
 *
 * Return: 0; -ENOENT as above; -EMFILE when the caller had no room for it; another -errno when the
 * kernel refused. On all but 0 nobody got the descriptor, but for a process that shares the table
 * of a caller that died at this very moment.
 */
int listener_send_fd(int listener, uint64_t id, int fd, uint32_t flags);
