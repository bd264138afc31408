/* SPDX-License-Identifier: MIT */
/*
 * Processes that make, again and again, the calls that the daemon is asked about: it is killed
 * meanwhile, and no call may hang, nor one fail that the kernel would have carried out.
 *
 *	orphans SECONDS [CALLERS]	of each kind, 3 when not given
 *
 * Prints a line per kind of call; the last one is "0 hung, 0 lost" when all was well.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_MS 3000

enum kind { CALL_BPF, CALL_PRLIMIT, CALL_SECCOMP, CALL_PRCTL, KINDS };
static const char *const names[KINDS] = {"bpf", "prlimit64", "seccomp", "prctl"};

static volatile struct shared {
	int stop;
	unsigned long calls[KINDS], gone[KINDS], lost[KINDS];
} * shared;

static struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
static struct sock_fprog prog = {1, allow};

/* Return: 0 or an error. A map of no size: the daemon asks the kernel, which refuses. */
static int make_call(enum kind kind)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY};
	long r = 0;

	switch (kind) {
	case CALL_BPF:
		r = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
		break;
	case CALL_PRLIMIT:
		r = syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &limit, NULL);
		break;
	case CALL_SECCOMP:
		r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
		break;
	default:
		r = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	}
	return r < 0 ? errno : 0;
}

/* Filters add up, so those that make them end. */
static int in_child(enum kind kind)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(make_call(kind));
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void caller(enum kind kind)
{
	while (!shared->stop) {
		int error = kind >= CALL_SECCOMP ? in_child(kind) : make_call(kind);

		__atomic_fetch_add(&shared->calls[kind], 1, __ATOMIC_RELAXED);
		if (error == ENOSYS)
			__atomic_fetch_add(&shared->gone[kind], 1, __ATOMIC_RELAXED);
		if ((kind != CALL_BPF && error == ENOSYS) || (kind >= CALL_SECCOMP && error))
			__atomic_fetch_add(&shared->lost[kind], 1, __ATOMIC_RELAXED);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	int left = KINDS * (argc > 2 ? atoi(argv[2]) : 3), callers = left;
	unsigned long lost = 0;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc < 2 || shared == MAP_FAILED)
		return 2;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (int i = 0; i < callers; i++)
		if (fork() == 0)
			caller(i % KINDS);
	usleep((useconds_t)(atof(argv[1]) * 1e6));
	shared->stop = 1;
	for (int ms = 0; left && ms < END_MS; ms++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			left--;
		usleep(1000);
	}
	for (int kind = 0; kind < KINDS; kind++) {
		printf("%s: %lu calls, %lu ENOSYS\n", names[kind], shared->calls[kind],
		       shared->gone[kind]);
		lost += shared->lost[kind];
	}
	printf("%d hung, %lu lost\n", left, lost);
	return left || lost;
}
