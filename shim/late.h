/* SPDX-License-Identifier: MIT */
/*
 * Catches processes that execute or load a watched file, before their first instruction of it runs.
 *
 * fanotify holds the opener in its open; a helper process of ours asks to stop it, lets the open go
 * on and meets the opener at its exec, or at the exit of the mapping call that follows. One reader
 * thread answers the events and never waits for anything; one helper per event does the ptrace.
 *
 * Where that cannot work the opener goes on at once and is reported: it is traced already, or it
 * holds a lock in its open that stopping it needs (the interpreter of a script).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"

struct late;

/** enum late_end - how a catch ended */
enum late_end {
	LATE_PATCHED,
	LATE_UNUSED, /* the file was opened and neither executed nor mapped as code */
	LATE_MISSED, /* see the text */
};

/**
 * struct late_ops - what the owner decides; @data is passed to each
 * @wanted: in the reader: whether the thread @tid is one to catch
 * @enter: in the helper, first of all: let go of what a child must not hold; @keep is a descriptor
 *to keep, which may be given another number
 * @stopped: in the helper: the thread @tid of @pid is in a ptrace stop of ours and the file may be
 *mapped by now; other threads of @pid run, but none can be in code that was not mapped before.
 *Return: true when it was, and has been dealt with; false: not mapped yet. @reason is set when it
 *failed.
 * @ended: in the reader
 */
struct late_ops {
	bool (*wanted)(pid_t tid, void *data);
	void (*enter)(int *keep, void *data);
	bool (*stopped)(pid_t pid, pid_t tid, void *data, struct reason *reason);
	void (*ended)(pid_t tid, enum late_end end, const char *why, void *data);
};

/** late_new() - start the reader. Errors: -EPERM, -ENOSYS no fanotify, -ENOMEM. */
int late_new(const struct late_ops *ops, void *data, struct late **ret_late);

/** late_free() - openers go on, the reader ends; helpers finish by themselves. Accepts NULL.
 *  Return: NULL. */
struct late *late_free(struct late *late);

/**
 * late_let_go() - end the catch of a process that waits for an answer of ours, so that somebody
 * else may trace it
 *
 * It can be in no other's hands: it makes no system call of ours while it waits in one of its own.
 */
void late_let_go(struct late *late, pid_t pid);

/**
 * late_watch() - from now on
 * @file_fd: the file as the tenant opens it, O_PATH or readable; duplicated
 *
 * Counted: as many late_unwatch(). Errors: those of fanotify_mark(2) with a reason.
 */
int late_watch(struct late *late, int file_fd, struct reason *reason);
void late_unwatch(struct late *late, dev_t dev, ino_t ino);
