/* SPDX-License-Identifier: MIT */
/*
 * A process that is traced, and then gets a seccomp filter of its own that kills it for every
 *system call but a handful. None of those that helpers of programs make is among them.
 *
 *	filtered HOW BEFORE AFTER	seconds of calls before and after the filter
 *
 * HOW: prctl, seccomp, tsync (threads of it call on meanwhile), inside (between entry and return of
 * a probed function), late (a filter that allows all, in one thread; others call on), none (a call
 * that fails), child (of a fork that comes after the filter)
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 3

long filtered_work(long n, long m, const char *text);
long filtered_outer(const char *how);

__attribute__((noinline, noipa)) long filtered_work(long n, long m, const char *text)
{
	return n * 3 + m + text[0];
}

/* By the vDSO: no system call. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void call_for(double seconds)
{
	double end = now() + seconds;

	for (long n = 0; now() < end; n++)
		if (filtered_work(n, 2, "abc") != n * 3 + 2 + 'a')
			abort();
}

static int install(const char *how)
{
	static struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(insns) / sizeof(insns[0]), insns};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (strcmp(how, "tsync") == 0)
		return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				    &prog);
	if (strcmp(how, "late") == 0)
		insns[7].k = SECCOMP_RET_ALLOW;
	if (strcmp(how, "none") == 0)
		prog.len = 0;
	if (strcmp(how, "prctl") == 0)
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

__attribute__((noinline, noipa)) long filtered_outer(const char *how)
{
	return install(how);
}

static volatile int running;

/* To the end of the process: the thread's own makes calls, as does its beginning. */
static void *caller(void *arg)
{
	__atomic_fetch_add(&running, 1, __ATOMIC_RELEASE);
	for (;;)
		call_for(1);
	return arg;
}

/* Not by libc, which registers the child with calls of its own. */
static int in_child(double seconds)
{
	int status;
	long pid = syscall(SYS_clone, 17 /* SIGCHLD */, 0, 0, 0, 0);

	if (pid < 0)
		return -1;
	call_for(seconds);
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	return syscall(SYS_wait4, pid, &status, 0, 0) == pid ? status : -1;
}

int main(int argc, char **argv)
{
	double before, after;
	pthread_t thread;
	bool threads;
	long r;

	if (argc < 4)
		return 2;
	before = atof(argv[2]);
	after = atof(argv[3]);
	threads = strcmp(argv[1], "tsync") == 0 || strcmp(argv[1], "late") == 0;
	for (int i = 0; threads && i < THREADS; i++)
		pthread_create(&thread, NULL, caller, NULL);
	while (threads && running < THREADS)
		usleep(1000);
	call_for(before);
	r = strcmp(argv[1], "inside") == 0 ? filtered_outer(argv[1]) : install(argv[1]);
	if ((r != 0) != (strcmp(argv[1], "none") == 0))
		return 3;
	if (strcmp(argv[1], "child") == 0)
		r = in_child(after);
	else
		call_for(after);
	if (r > 0 || (r < 0 && strcmp(argv[1], "none") != 0))
		return 4;
	(void)!write(1, "filtered ok\n", 12);
	syscall(SYS_exit_group, 0);
}
