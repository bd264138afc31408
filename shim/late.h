/* SPDX-License-Identifier: MIT */
/*
 * Late targets: processes that exec or load a probed file while it is watched, stopped before the
 * first instruction of it runs.
 *
 * A fanotify permission event holds whoever opens the file, be it execve(), the dynamic loader or
 * dlopen(). The reader thread asks wanted(); for the tenant's processes it forks one helper process
 * per event, which seizes the opening thread by ptrace, requests a stop, lets the reader allow the
 * open, and follows the thread to the point where the file is mapped:
 *
 *	reader thread		helper process			opener
 *	read event, fork	SEIZE, INTERRUPT, "ready"	waits in open() or execve()
 *	FAN_ALLOW		waits for stops			goes on, stops at exec or exit of
 *open() [PTRACE_SYSCALL to the exit	maps the file executable, stops of mmap() or mprotect()]
 *				stopped(), DETACH, report	runs on
 *	caught()
 *
 * The interrupt comes before the permission, so the opener cannot get past the stop. Everybody else
 * who opens the file is allowed at once, and other files cost nothing.
 *
 * Nobody waits for us for long: the reader never calls ptrace, never opens a watched file and gives
 * permission without a stop when a helper dies or has no result in time; if the reader itself hangs
 * (or the whole daemon is stopped), a watchdog process closes the fanotify group after at most two
 * seconds, and the kernel lets all openers go. If the daemon dies the kernel does the same, and
 * helpers finish by themselves. A helper that is killed lets go of its target, which runs on.
 *
 * What cannot be caught is reported through missed():
 *  - the thread has another tracer;
 *  - the kernel opened the file holding cred_guard_mutex: the file is the interpreter of a `#!`
 *    script, or the dynamic loader itself. Seizing would deadlock, so permission comes first;
 *  - the thread did not map what it opened within a bounded time and number of system calls.
 * While a thread is followed, a few milliseconds, no debugger can attach to it.
 * Not seen at all: descriptors opened before late_watch() or passed on to another process or thread
 * that maps them; copies of the file; the file that replaces it by rename (a new inode); other
 * mounts of an overlay's lower file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"

struct late;

#define LATE_FDS_MAX 64

/**
 * struct late_stop - a thread in a ptrace stop of the calling process
 * @pid: process (thread group)
 * @tid: the stopped thread; after an exec the same as @pid
 * @dev, @ino: the watched file, as fstat() of the descriptor given to late_watch() shows it; mapped
 *	executable in the process
 * @exec: the stop is at the start of a fresh program, @tid is its only thread. Otherwise it is at
 *	the exit of the system call that mapped the file: before relocation, constructors, and
 *	before dlopen() has told anybody of it
 * @threaded: @pid has other threads, which **run**. They do not execute the file yet, so its text
 *	may be written at once. What needs the whole process stopped, like shim_apply_stopped(),
 *goes between late_stop_others() and late_release_others(); shim_apply() would find @tid traced by
 *	ourselves. Never true with @exec
 * @behind: permission was given before the stop: instructions of the file may have run (missed() is
 *	called too). The thread may be anywhere, so treat the process as one that runs already
 * @fds: the descriptors late_ops.fds() named, in that order and under the numbers they have in this
 *	process, -1 for one that was not open; NULL in caught()
 */
struct late_stop {
	pid_t pid, tid;
	dev_t dev;
	ino_t ino;
	bool exec, threaded, behind;
	const int *fds;
};

enum late_miss {
	LATE_TRACED,   /* somebody else traces the thread, or nobody may (io_uring's workers) */
	LATE_HELD,     /* opened inside execve(), could not be stopped in time; see @behind */
	LATE_BUSY,     /* no helper could be had (processes, memory, LATE_HELPERS_MAX) */
	LATE_LOST,     /* the helper was killed, or was too slow */
	LATE_UNMAPPED, /* opened but not mapped within the bounds; most are readers (cp, nm) */
	LATE_OFF,      /* the watchdog ended all watching; @pid is 0 */
};

/**
 * struct late_ops - what the daemon decides
 *
 * wanted(), lock(), unlock(), caught() and missed() run in the reader thread: they must be short
 * and must not wait for anybody who may be opening a watched file. stopped() runs in the helper, a
 * fork of the daemon in which the reader is the only thread; wanted() is asked there once more.
 *
 * Reader and helpers have a table of descriptors of their own: the daemon's numbers mean nothing in
 * any of these functions but fds(). Otherwise every child that the daemon forks for something else
 * would hold the fanotify group, and with it all openers, when the daemon dies.
 */
struct late_ops {
	/**
	 * wanted() - whether the opener belongs to a tenant that probes the file
	 * @tid: a thread id, not always a process id
	 */
	bool (*wanted)(pid_t tid, dev_t dev, ino_t ino, void *data);

	/**
	 * lock(), unlock() - called around fork(); unlock() also in the helper. May be NULL.
	 *
	 * Take whatever protects the data stopped() reads, so that the helper inherits it whole.
	 */
	void (*lock)(void *data);
	void (*unlock)(void *data);

	/**
	 * fds() - descriptors that stopped() needs. May be NULL: none.
	 * @ret_fds: room for LATE_FDS_MAX; the numbers they have in the daemon
	 *
	 * Called in the reader between lock() and unlock(). Return: number of them.
	 */
	uint32_t (*fds)(int *ret_fds, void *data);

	/**
	 * stopped() - patch the process; runs in the helper
	 * @reason: goes to caught()
	 *
	 * All signals are blocked and no time limit runs; the thread is stopped for as long as this
	 * takes. It must leave the thread in a stop, and must not detach it. Takes no lock but
	 * malloc's, which fork() leaves in order.
	 *
	 * Return: 0 done; -errno; 1 what is needed is not mapped yet: follow the thread on, and
	 * call again when it has mapped more (of a library; with @exec or @behind that is the end
	 * of it).
	 */
	int (*stopped)(const struct late_stop *stop, struct reason *reason, void *data);

	/** caught() - a helper called stopped(), and that gave @result. May be NULL. */
	void (*caught)(const struct late_stop *stop, int result, const char *reason, void *data);

	/** missed() - an opener that was wanted runs on unstopped; @pid may be that of a thread.
	 * May be NULL. */
	void (*missed)(pid_t pid, dev_t dev, ino_t ino, enum late_miss why, void *data);
};

/**
 * late_stop_others() - in stopped(), for a @threaded process: stop all other threads too
 * @ret_others: owned by the caller, until late_release_others()
 *
 * Takes 200 ms at most.
 *
 * Errors: -ETIMEDOUT a thread sleeps uninterruptibly; -EPERM somebody else traces one of them; they
 * run on then.
 */
struct late_others;
int late_stop_others(const struct late_stop *stop, struct late_others **ret_others);

/** late_release_others() - let them run; @others may be NULL. Return: NULL. */
struct late_others *late_release_others(struct late_others *others);

/**
 * late_new() - start the reader thread and its watchdog
 * @ops: borrowed until late_free()
 *
 * Needs CAP_SYS_ADMIN and CAP_SYS_PTRACE. One per daemon; daemons whose tenants differ do not
 * disturb each other. Helpers and watchdog are children of the daemon, which must neither ignore
 * SIGCHLD nor wait for any child (-1).
 *
 * Return: 0 or -errno with a reason.
 */
int late_new(const struct late_ops *ops, void *data, struct late **ret_late, struct reason *reason);

/** late_free() - stop watching; openers go on, helpers finish by themselves. Return: NULL. */
struct late *late_free(struct late *late);

/**
 * late_watch() - from now on catch who opens the file; counted per device and inode
 * @file_fd: any descriptor of it, O_PATH too, from the mount the tenant sees it through; borrowed
 *
 * Not from a callback: it waits for the reader.
 *
 * Errors: -ESHUTDOWN the watchdog ended all watching; -EINVAL no regular file; others as
 * fanotify_mark(2).
 */
int late_watch(struct late *late, int file_fd);

/**
 * late_unwatch() - undo one late_watch() of the same file
 *
 * Errors: -ENOENT it is not watched; -ESHUTDOWN.
 */
int late_unwatch(struct late *late, int file_fd);
