/* SPDX-License-Identifier: MIT */
/*
 * The watchdog: a process, so that it still runs when the whole daemon is stopped (SIGSTOP, a
 * debugger), that shares the daemon's table of descriptors, so that it can close the fanotify
 * group. The kernel then allows whatever was held.
 *
 * It must die with the daemon, for it keeps all of the daemon's descriptors open.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/late_internal.h"

/* The reader's turns are milliseconds apart while an event waits. Without a turn from one look to
 * the next it hangs, so nobody waits longer than two of these. */
#define LOOK_MS 900

static bool is_waited_for(const struct late *late)
{
	struct pollfd pfd = {.fd = late->fanotify_fd, .events = POLLIN};

	return atomic_load(&late->shared->pending) > 0 || poll(&pfd, 1, 0) == 1;
}

static _Noreturn void watchdog_main(struct late *late)
{
	struct late_shared *shared = late->shared;
	const struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
	const uint64_t one = 1;
	uint32_t before = 0;
	bool waited = false;

	for (;;) {
		uint32_t beat;

		if (atomic_load(&shared->watches) == 0)
			syscall(SYS_futex, &shared->watches, FUTEX_WAIT, 0, NULL, NULL, 0);
		nanosleep(&look, NULL);
		beat = atomic_load(&shared->beat);
		if (waited && beat == before && is_waited_for(late))
			break;
		before = beat;
		waited = is_waited_for(late);
	}
	/* Replaced, not closed: the number must not become another file while the reader uses it.
	 */
	dup3(late->null_fd, late->fanotify_fd, O_CLOEXEC);
	atomic_store(&shared->off, 1);
	(void)!write(late->wake_fd, &one, sizeof(one));
	_exit(0);
}

pid_t late_watchdog_start(struct late *late)
{
	pid_t parent = getpid(), pid;

	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return -errno;
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	prctl(PR_SET_NAME, "bpfshim-watch");
	watchdog_main(late);
}
