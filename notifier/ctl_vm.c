/* SPDX-License-Identifier: MIT */
/*
 * bpfshimctl vm: hands over to bpfshim-vm, which lies beside this program and holds the compiler.
 * What that says is what this one says; that it could not even begin, for want of memory or of a
 * library, is a failure like any other.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "notifier/ctl.h"

#define PROGRAM	   "bpfshim-vm"
#define NO_LIBRARY 127 /* the dynamic linker's status */

static int fail(const char *path, const char *why)
{
	fprintf(stderr, "bpfshimctl: %s: %s\n", path, why);
	return CTL_FAILED;
}

static int result(const char *path, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LIBRARY)
		return fail(path, "cannot be started: a library is missing, or memory for it");
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return fail(path, strsignal(WTERMSIG(status)));
}

static _Noreturn void child(const char *path, char **argv)
{
	/* Nothing of it stays when this program is killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(path, argv);
	_exit(fail(path, strerror(errno)));
}

int ctl_vm(int argc, char **argv)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - sizeof(PROGRAM));
	char *slash;
	int status;
	pid_t pid;

	if (len <= 0)
		return fail(PROGRAM, strerror(errno));
	path[len] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, PROGRAM);
	pid = fork();
	if (pid == 0)
		child(path, argv);
	if (pid < 0)
		return fail(path, strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail(path, strerror(errno));
	return result(path, status);
}
