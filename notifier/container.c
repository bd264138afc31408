/* SPDX-License-Identifier: MIT */
/*
 * Creates the process and, for an unprivileged tree, its namespaces.
 */
#include "notifier/container.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/filter.h"
#include "notifier/init.h"

/* Descriptors of the child between clone and exec. */
struct child {
	int sync_fd, mapped_fd, error_fd, self_fd;
};

static _Noreturn void child_fail(const struct child *child, const char *step, int error)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "%s: %s", step, strerrordesc_np(error));

	(void)!write(child->error_fd, text, (size_t)n);
	_exit(125);
}

/* In the new namespaces, still with no mapped id. */
static _Noreturn void child_unprivileged(const struct child *child,
					 const struct container_options *options)
{
	char byte;

	if (read(child->mapped_fd, &byte, 1) != 1)
		_exit(125);
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		child_fail(child, "cannot become root of the user namespace", errno);
	/* Whoever possesses a session keyring may use its keys: not root's, then. */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
		child_fail(child, "cannot join a session keyring", errno);
	/* From a namespace we own, so nothing of the tree's propagates anywhere. */
	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		child_fail(child, "cannot make mounts private", errno);
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		child_fail(child, "cannot mount /proc", errno);
	init_exec(child->self_fd, child->sync_fd, options->argv, &options->mask);
	child_fail(child, "cannot start init", errno);
}

static _Noreturn void child_plain(const struct child *child,
				  const struct container_options *options)
{
	int r = filter_install_and_send(child->sync_fd, false);

	if (r < 0)
		child_fail(child, "cannot install the seccomp filter", -r);
	_exit(container_exec(options->argv, &options->mask));
}

static int write_proc(pid_t pid, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return write_file(AT_FDCWD, path, text);
}

static int map_ids(pid_t pid, struct reason *reason)
{
	char map[32];
	int r;

	snprintf(map, sizeof(map), "0 %d 1", CONTAINER_ID);
	r = write_proc(pid, "uid_map", map);
	if (r == 0)
		r = write_proc(pid, "gid_map", map);
	if (r < 0)
		reason_set(reason, r, "cannot map ids: %s", strerrordesc_np(-r));
	return r;
}

static pid_t container_clone(const struct container_options *options, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
		.pidfd = (uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)options->cgroup_fd,
	};

	if (options->unprivileged)
		args.flags |= CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* What the child had to say before it got as far as sending its listener. */
static int child_error(int error_fd, struct reason *reason)
{
	char text[200];
	ssize_t n = read(error_fd, text, sizeof(text) - 1);

	if (n <= 0)
		return reason_set(reason, -EPIPE, "the first process died while it was set up");
	text[n] = '\0';
	return reason_set(reason, -EPERM, "%s", text);
}

static int wait_for_setup(int sync_fd, int error_fd, struct reason *reason)
{
	char byte;
	ssize_t n;

	/* Peek: the descriptor travels with this byte and is taken by the caller. */
	do
		n = recv(sync_fd, &byte, 1, MSG_PEEK);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : child_error(error_fd, reason);
}

int container_start(const struct container_options *options, struct container *ret_container,
		    struct reason *reason)
{
	cleanup_fd int sync = -1, child_sync = -1, mapped_in = -1, mapped_out = -1, error_in = -1,
		       error_out = -1, self = -1, pidfd = -1;
	int fds[2], r = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	sync = fds[0];
	child_sync = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	mapped_in = fds[0];
	mapped_out = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	error_in = fds[0];
	error_out = fds[1];
	self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0)
		return reason_set(reason, -errno, "cannot open /proc/self/exe");
	pid = container_clone(options, &pidfd);
	if (pid < 0)
		return reason_set(reason, -errno, "cannot create the first process: %s",
				  strerrordesc_np(errno));
	if (pid == 0) {
		struct child child = {child_sync, mapped_in, error_out, self};

		close(mapped_out);
		if (options->unprivileged)
			child_unprivileged(&child, options);
		child_plain(&child, options);
	}
	child_sync = close_fd(child_sync);
	error_out = close_fd(error_out);
	if (options->unprivileged)
		r = map_ids(pid, reason);
	if (r == 0) {
		(void)!write(mapped_out, "x", 1);
		r = wait_for_setup(sync, error_in, reason);
	}
	if (r < 0) {
		sys_pidfd_send_signal(pidfd, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	*ret_container =
		(struct container){.pid = pid, .pidfd = take_fd(&pidfd), .sync_fd = take_fd(&sync)};
	return 0;
}

int container_exec(char *const *argv, const sigset_t *mask)
{
	int error;

	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	error = errno;
	fprintf(stderr, "bpfshimd: %s: %s\n", argv[0], strerrordesc_np(error));
	return error == ENOENT ? 127 : 126;
}
