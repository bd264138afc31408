/* SPDX-License-Identifier: MIT */
/*
 * What the parts of late.h share: late.c (watches), late_reader.c (events), late_helper.c (one
 * process per event) and late_watchdog.c (a process that outlives hangs).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "shim/late.h"

#define LATE_HELPERS_MAX 256
#define LATE_FILES_MAX	 4 /* watched files a thread may have open at a time while it is followed */

/* Where a helper is. It moves itself from any state; the reader only STARTING -> OVERDUE. */
enum late_state {
	LATE_STARTING,	 /* the opener is held, and not yet traced */
	LATE_OVERDUE,	 /* permission was given all the same */
	LATE_READY,	 /* traced, and will stop: permission may be given */
	LATE_LETTING_GO, /* about to detach: whatever the thread opens next is a new event */
};

/** struct late_file - a watched file that a followed thread has opened */
struct late_file {
	dev_t dev;
	ino_t ino;
};

/**
 * struct late_slot - one helper, as reader and helper see it; in shared memory
 * @file_cnt: the reader adds files only while the thread waits for permission, so the helper, which
 *	looks when the thread is in a stop, finds them complete
 * @gated: the thread was found opening the gate (struct late_helper), so no instruction of its
 *	program has run although it was OVERDUE
 */
struct late_slot {
	_Atomic uint32_t state, file_cnt, gated;
	struct late_file files[LATE_FILES_MAX];
};

/**
 * struct late_shared - memory shared with helpers and watchdog
 * @beat: changes with every turn of the reader
 * @pending: events read and not answered
 * @watches: number of watched files; the watchdog sleeps on it while it is 0
 * @off: the watchdog has closed the fanotify group
 */
struct late_shared {
	_Atomic uint32_t beat, pending, watches, off;
	struct late_slot slots[LATE_HELPERS_MAX];
};

/**
 * struct late_helper - the reader's half of a slot
 * @pid: helper process, 0: slot is free
 * @tid: the opener
 * @event_fd: unanswered event, or -1
 * @since: when it came (ms)
 * @held_looks: how often since then the helper was found sleeping in PTRACE_SEIZE
 * @gate_fd: file marked because the opener will open it before its program starts, or -1
 * @ended: said all it had to say
 */
struct late_helper {
	pid_t pid, tid;
	int pidfd, event_fd, gate_fd;
	int64_t since;
	int held_looks;
	bool ended, caught;
};

/**
 * struct late_watch - one inode
 * @refs: how often the user watches it
 * @gates: how many openers are expected to pass through it; such a file is not for wanted()
 */
struct late_watch {
	struct list node;
	struct late_file file;
	int fd; /* O_PATH, to take the mark away again */
	uint32_t refs, gates;
};

/**
 * struct late_request - what a thread of the daemon wants the reader to do
 * @file_fd: as the daemon numbers it
 * @result: 1 until it is done
 */
struct late_request {
	struct list node;
	int file_fd;
	bool remove;
	int result;
};

/**
 * struct late
 * @daemon_wake_fd: eventfd by which threads of the daemon wake the reader, in the daemon's table
 * @wake_fd: the same in the reader's table, like all other descriptors here
 * @self_fd: pidfd of the daemon, to take descriptors from its table
 * @lock, @done: for @requests, @ended and @started
 * @started: 1 until the reader runs, then 0 or -errno and @failed, the call that failed
 * @ended: the reader takes no requests any more
 *
 * Watches and helpers are the reader's alone.
 */
struct late {
	const struct late_ops *ops;
	void *data;
	struct late_shared *shared;
	int daemon_wake_fd;
	int fanotify_fd, epoll_fd, wake_fd, null_fd, self_fd;
	int report_read, report_write;
	pthread_t reader;
	pid_t watchdog;
	int watchdog_fd;
	_Atomic bool stop;
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct list requests;
	int started;
	const char *failed;
	bool ended;
	struct list watches;
	struct late_helper helpers[LATE_HELPERS_MAX];
};

/* What an entry of the epoll set is for; helpers by number. */
enum {
	LATE_TAG_EVENTS,
	LATE_TAG_REPORTS,
	LATE_TAG_WAKE,
	LATE_TAG_WATCHDOG,
	LATE_TAG_HELPERS,
};

enum late_message_kind {
	LATE_MESSAGE_READY,  /* state has changed: permission may be given */
	LATE_MESSAGE_CAUGHT, /* stopped() was called */
	LATE_MESSAGE_MISSED,
	LATE_MESSAGE_END, /* the last one */
};

/* What a helper writes to the report pipe: less than PIPE_BUF, so never torn. */
struct late_message {
	uint32_t kind, slot;
	pid_t helper;
	int result; /* of stopped(), or enum late_miss */
	struct late_stop stop;
	char reason[REASON_MAX];
};

/* late_watches.c: the watched files. All in the reader thread, descriptors as it numbers them. */
int late_watch_add(struct late *late, int file_fd, bool gate);
int late_watch_remove(struct late *late, int file_fd, bool gate);
/* Whether a file is watched by the user, not just a gate. */
bool late_is_probed(struct late *late, const struct late_file *file);
/* Do what late_watch() and late_unwatch() ask for. */
void late_serve_requests(struct late *late);
/* Refuse it, now and from now on; the last thing the reader does. */
void late_end_requests(struct late *late);

/* Free what is known about them; the marks go with the fanotify group. */
void late_forget_watches(struct late *late);

/* late_reader.c: thread function */
void *late_reader_main(void *arg);

/* late_open.c: make the reader's own table of descriptors; the group's end is late_close()'s, which
 * lets all openers go. */
int late_open(struct late *late);
/* Start the watchdog, again if it was killed. */
int late_keep_watchdog(struct late *late);
void late_close(struct late *late);

/**
 * late_helper_main() - seize @tid, report, follow it
 * @previous: helper that is about to let go of the same thread, or 0
 * @fds: LATE_FDS_MAX descriptors for stopped(), -1 where there is none
 */
_Noreturn void late_helper_main(struct late *late, uint32_t slot, pid_t tid, pid_t previous,
				const int *fds);

/** late_watchdog_start() - its life is bound to the calling thread's. Return: its process id, or
 *  -errno. */
pid_t late_watchdog_start(struct late *late);
