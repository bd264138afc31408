/* SPDX-License-Identifier: MIT */
/*
 * Waits for the end of a connection.
 */
#include "notifier/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/cgroup.h"
#include "notifier/fdpass.h"
#include "notifier/pending.h"
#include "shim/apply.h"
#include "shim/region.h"
#include "shim/targets.h"

#define ROUNDS 8

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

static void switch_off(int code_fd)
{
	const uint32_t off = 1;

	(void)!pwrite(code_fd, &off, sizeof(off), offsetof(struct region_header, off));
}

static int lower_one(pid_t pid, void *data)
{
	uint32_t *lowered = data;

	*lowered += shim_lower_semaphores(pid);
	return 0;
}

/* Again as long as there were some: a child that was forked meanwhile has its parent's. */
static void lower_semaphores(const struct cgroup *cgroup)
{
	uint32_t lowered = 1;

	for (int round = 0; round < ROUNDS && lowered; round++) {
		lowered = 0;
		targets_each(cgroup->fd, lower_one, &lowered);
	}
}

static _Noreturn void keeper_main(int pipe_fd, struct cgroup cgroup, const char *socket_path,
				  struct pending *pending)
{
	int listener = -1, code_fd = -1, r;
	sigset_t all;

	/* Not of the terminal's job: Ctrl-C must not end it together with the daemon. */
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "bpfshim-keeper");
	keep_fds(pipe_fd, &cgroup);
	while ((r = fdpass_recv(0)) >= 0)
		*(listener < 0 ? &listener : &code_fd) = r;
	/* A byte without a descriptor: all is well. Anything else: the daemon is gone. */
	if (r != -EPROTO) {
		switch_off(code_fd);
		unlink(socket_path);
		/* Processes whose memory is slow must not hold up calls. */
		if (fork() == 0) {
			lower_semaphores(&cgroup);
			_exit(0);
		}
		if (listener >= 0)
			pending_answer_orphans(pending, listener);
		cgroup_wait_empty(&cgroup, -1);
		cgroup_remove(&cgroup);
	}
	_exit(0);
}

int keeper_start(const struct cgroup *cgroup, const char *socket_path, struct pending *pending)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		keeper_main(fds[0], *cgroup, socket_path, pending);
	close_fd(fds[0]);
	if (pid < 0) {
		close_fd(fds[1]);
		return -errno;
	}
	keeper_pid = pid;
	return fds[1];
}

int keeper_give_listener(int fd, int listener)
{
	return fdpass_send(fd, listener);
}

int keeper_give_region(int fd, int code_fd)
{
	return fdpass_send(fd, code_fd);
}

void keeper_dismiss(int fd)
{
	(void)!send(fd, "x", 1, MSG_NOSIGNAL);
	close_fd(fd);
	waitpid(keeper_pid, NULL, 0);
}
