/* SPDX-License-Identifier: MIT */
/*
 * Calls that were received and are not answered yet, in memory that the daemon shares with its
 * keeper: when the daemon is killed their callers still wait, on a listener that the keeper holds
 * as well, and somebody must know their numbers.
 *
 * A notification is received into its place here, so the kernel itself writes the number down, in
 * the same step in which the call becomes a received one. The place is cleared after the answer.
 */
#pragma once

#include <linux/seccomp.h>

struct pending;

/** pending_new() - call before the keeper is forked. Return: 0 or -errno. */
int pending_new(struct pending **ret_pending);

/**
 * pending_receive() - take one notification off a listener that polled readable
 * @pending: NULL: into memory of nobody else's
 * @ret_notif: a copy
 * @ret_place: what pending_done() wants, -1 for none. More calls than there are places are served
 *all the same, and would wait for ever if the daemon were killed.
 *
 * One thread at a time. Return: as listener_receive().
 */
int pending_receive(struct pending *pending, int listener, struct seccomp_notif *ret_notif,
		    int *ret_place);

/** pending_done() - it is answered */
void pending_done(struct pending *pending, int place);

/**
 * pending_answer_orphans() - in the keeper, once the daemon is dead: answer what it left, and all
 * that comes until nobody is left under the filter
 *
 * What the daemon alone can carry out does not exist any more (ENOSYS); calls that it only looked
 * at are the kernel's.
 */
void pending_answer_orphans(struct pending *pending, int listener);
