/* SPDX-License-Identifier: MIT */
/*
 * A minimal init; see init.h.
 */
#include "notifier/init.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "notifier/container.h"
#include "notifier/filter.h"

#define ARG_FIRST 4 /* name, verb, descriptor, mask */

/* Linux has 64 signals; glibc's sigset_t is larger only for the ABI's sake. */
static uint64_t mask_to_number(const sigset_t *mask)
{
	uint64_t number = 0;

	for (int sig = 1; sig <= 64; sig++)
		if (sigismember(mask, sig) == 1)
			number |= 1ull << (sig - 1);
	return number;
}

static void mask_from_number(uint64_t number, sigset_t *ret_mask)
{
	sigemptyset(ret_mask);
	for (int sig = 1; sig <= 64; sig++)
		if (number & 1ull << (sig - 1))
			sigaddset(ret_mask, sig);
}

void init_exec(int self_fd, int sync_fd, char *const *argv, const sigset_t *mask)
{
	char fd_text[16], mask_text[24];
	size_t n = 0;
	char **args;

	while (argv[n])
		n++;
	args = calloc(n + ARG_FIRST + 1, sizeof(*args));
	if (!args)
		return;
	snprintf(fd_text, sizeof(fd_text), "%d", sync_fd);
	snprintf(mask_text, sizeof(mask_text), "%" PRIx64, mask_to_number(mask));
	args[0] = (char *)"bpfshimd";
	args[1] = (char *)INIT_VERB;
	args[2] = fd_text;
	args[3] = mask_text;
	memcpy(args + ARG_FIRST, argv, n * sizeof(*args));
	fcntl(sync_fd, F_SETFD, 0);
	syscall(SYS_execveat, self_fd, "", args, environ, AT_EMPTY_PATH);
	free(args);
}

/* Signals meant for the command arrive here, because this is the process the outside knows. */
static void forward(pid_t command, const siginfo_t *info)
{
	/* The terminal signals the whole foreground job, command included. */
	if (info->si_code != SI_KERNEL && info->si_signo != SIGCHLD)
		kill(command, info->si_signo);
}

/* Reap everything that ends; -1 while the command lives, else its exit status. */
static int reap(pid_t command)
{
	int status, result = -1;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == command)
			result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return result;
}

int init_main(int argc, char **argv)
{
	sigset_t all, mask;
	siginfo_t info;
	pid_t command;
	int r, sync_fd;

	if (argc <= ARG_FIRST)
		return 125;
	sync_fd = atoi(argv[2]);
	mask_from_number(strtoull(argv[3], NULL, 16), &mask);
	r = filter_install_and_send(sync_fd, true);
	if (r < 0) {
		fprintf(stderr, "bpfshimd: cannot install the seccomp filter: %s\n",
			strerrordesc_np(-r));
		return 125;
	}
	close(sync_fd);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	command = fork();
	if (command == 0)
		_exit(container_exec(argv + ARG_FIRST, &mask));
	if (command < 0) {
		fprintf(stderr, "bpfshimd: cannot fork: %s\n", strerrordesc_np(errno));
		return 125;
	}
	/* Only the command keeps what the shell handed down: an open pipe must end with it. */
	close_range(0, 1, 0);
	close_range(3, ~0u, 0);
	for (;;) {
		if (sigwaitinfo(&all, &info) < 0)
			continue;
		forward(command, &info);
		r = reap(command);
		if (r >= 0)
			return r;
	}
}
