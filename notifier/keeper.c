/* SPDX-License-Identifier: MIT */
/*
 * Waits for the end of a pipe.
 */
#include "notifier/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/cgroup.h"

static pid_t keeper_pid;

/* Keep three descriptors and let go of everything else the daemon had open. */
static void keep_fds(int pipe_fd, struct cgroup *cgroup)
{
	pipe_fd = fcntl(pipe_fd, F_DUPFD_CLOEXEC, 100);
	cgroup->fd = fcntl(cgroup->fd, F_DUPFD_CLOEXEC, 101);
	cgroup->parent_fd = fcntl(cgroup->parent_fd, F_DUPFD_CLOEXEC, 102);
	dup3(pipe_fd, 0, O_CLOEXEC);
	dup3(cgroup->fd, 1, O_CLOEXEC);
	dup3(cgroup->parent_fd, 2, O_CLOEXEC);
	close_range(3, ~0u, 0);
	cgroup->fd = 1;
	cgroup->parent_fd = 2;
}

static _Noreturn void keeper_main(int pipe_fd, struct cgroup cgroup, const char *socket_path)
{
	sigset_t all;
	char byte;
	ssize_t n;

	/* Not of the terminal's job: Ctrl-C must not end it together with the daemon. */
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "bpfshim-keeper");
	keep_fds(pipe_fd, &cgroup);
	do
		n = read(0, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) {
		unlink(socket_path);
		cgroup_wait_empty(&cgroup, -1);
		cgroup_remove(&cgroup);
	}
	_exit(0);
}

int keeper_start(const struct cgroup *cgroup, const char *socket_path)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		keeper_main(fds[0], *cgroup, socket_path);
	close_fd(fds[0]);
	if (pid < 0) {
		close_fd(fds[1]);
		return -errno;
	}
	keeper_pid = pid;
	return fds[1];
}

void keeper_dismiss(int fd)
{
	(void)!write(fd, "x", 1);
	close_fd(fd);
	waitpid(keeper_pid, NULL, 0);
}
