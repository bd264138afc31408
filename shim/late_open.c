/* SPDX-License-Identifier: MIT */
/*
 * The reader's descriptors. They are in a table that only reader, watchdog and (for a moment)
 * fresh helpers have. The kernel lets openers go when the last descriptor of the fanotify group is
 * closed: if other children of the daemon had copies, one of them could be such an opener itself,
 * in an execve() that has not closed its copy yet, and nobody would ever get on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/late_internal.h"

/* Reports of all helpers at once fit, so that a helper need not wait for the reader. */
#define REPORTS_SIZE (1 << 20)
#define WAKE_FD	     3

/* Keep what a thread may write messages to, and the descriptor the daemon wakes us by. */
static int own_table(struct late *late)
{
	if (unshare(CLONE_FILES) < 0)
		return -errno;
	if (late->daemon_wake_fd != WAKE_FD && dup3(late->daemon_wake_fd, WAKE_FD, O_CLOEXEC) < 0)
		return -errno;
	late->wake_fd = WAKE_FD;
	close_range(WAKE_FD + 1, ~0u, 0);
	return 0;
}

static int open_report_pipe(struct late *late)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	fcntl(fds[1], F_SETPIPE_SZ, REPORTS_SIZE);
	late->report_read = fds[0];
	late->report_write = fds[1];
	return 0;
}

static int open_group(struct late *late)
{
	late->fanotify_fd =
		fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_TID |
				      FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
			      O_RDONLY | O_CLOEXEC | O_LARGEFILE);
	return late->fanotify_fd < 0 ? -errno : 0;
}

static int open_others(struct late *late)
{
	late->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (late->null_fd < 0)
		return -errno;
	late->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (late->epoll_fd < 0)
		return -errno;
	late->self_fd = sys_pidfd_open(getpid(), 0);
	return late->self_fd < 0 ? late->self_fd : open_report_pipe(late);
}

int late_keep_watchdog(struct late *late)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = LATE_TAG_WATCHDOG};

	if (late->watchdog > 0) {
		epoll_ctl(late->epoll_fd, EPOLL_CTL_DEL, late->watchdog_fd, NULL);
		close_fd(late->watchdog_fd);
		waitpid(late->watchdog, NULL, 0);
	}
	late->watchdog = late_watchdog_start(late);
	if (late->watchdog < 0)
		return late->watchdog;
	late->watchdog_fd = sys_pidfd_open(late->watchdog, 0);
	if (late->watchdog_fd < 0)
		return late->watchdog_fd;
	return epoll_ctl(late->epoll_fd, EPOLL_CTL_ADD, late->watchdog_fd, &event) < 0 ? -errno : 0;
}

int late_open(struct late *late)
{
	static const struct {
		const char *name;
		int (*fn)(struct late *late);
	} steps[] = {
		{"unshare", own_table},
		{"opening descriptors", open_others},
		{"fanotify_init", open_group},
		{"starting the watchdog", late_keep_watchdog},
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i].fn(late);

		if (r < 0) {
			late->failed = steps[i].name;
			return r;
		}
	}
	return 0;
}

void late_close(struct late *late)
{
	/* The watchdog has the same table, so this goes for it too. The rest of the table ends with
	 * the thread. */
	late->fanotify_fd = close_fd(late->fanotify_fd);
	if (late->watchdog > 0) {
		kill(late->watchdog, SIGKILL);
		waitpid(late->watchdog, NULL, 0);
	}
}
