/* SPDX-License-Identifier: MIT */
/*
 * What a serviced call costs, in units that tests/bench/run turns into ratios. Each subcommand
 * prints one number and judges nothing: it fails only if what it measures does not work.
 *
 * usage: bench lookup ROUNDS             ns per map lookup, wherever this runs
 *        bench bare ROUNDS               ns per call that a minimal supervisor answers with a value
 *        bench continue ROUNDS           ns per map lookup that it lets continue
 *        bench start MARKER CMD ARG...   ms from starting CMD until it prints a line with MARKER
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"

#define CALLS_PER_ROUND 2000
#define MAX_ROUNDS	1000
#define START_TIMEOUT	30000 /* ms; a bound, not a verdict on speed */
#define LAST_CALL	0x7fffffff

/* Shared by the measured child and its supervisor. */
struct shared {
	int listener; /* number in the common descriptor table, -1 until it exists */
	int failed;
	uint64_t ns;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int map_create(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_HASH,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 1,
	};
	uint64_t value = 42;
	uint32_t key = 7;
	int fd, r;

	fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd < 0)
		return fd;
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)&value;
	r = sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
	return r < 0 ? r : fd;
}

/* time_lookups() - median over the rounds of the mean time of a lookup; @expect is checked */
static int time_lookups(int map_fd, long rounds, uint64_t expect, uint64_t *ret_ns)
{
	static uint64_t results[MAX_ROUNDS];
	uint64_t value, start;
	uint32_t key = 7;

	for (long round = 0; round < rounds; round++) {
		start = now_ns();
		for (int i = 0; i < CALLS_PER_ROUND; i++) {
			union bpf_attr attr = {0};

			value = 0;
			attr.map_fd = (uint32_t)map_fd;
			attr.key = (uintptr_t)&key;
			attr.value = (uintptr_t)&value;
			if (sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) < 0 ||
			    value != expect)
				return -EIO;
		}
		results[round] = (now_ns() - start) / CALLS_PER_ROUND;
	}
	qsort(results, (size_t)rounds, sizeof(*results), compare);
	*ret_ns = results[rounds / 2];
	return 0;
}

/* The caller's half: put ourselves under a filter, make the calls, end with LAST_CALL. */
static int measured_child(struct shared *shared, int map_fd, long rounds)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {.len = 4, .filter = insns};
	int fd;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	fd = sys_seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
	if (fd < 0) {
		__atomic_store_n(&shared->failed, 1, __ATOMIC_RELEASE);
		return 1;
	}
	__atomic_store_n(&shared->listener, fd, __ATOMIC_RELEASE);
	if (time_lookups(map_fd, rounds, map_fd < 0 ? 0 : 42, &shared->ns) < 0)
		__atomic_store_n(&shared->failed, 1, __ATOMIC_RELEASE);
	sys_bpf(LAST_CALL, NULL, 0);
	return 0;
}

/* The least a supervisor can do: receive, send, nothing between. */
static int supervise(int listener, uint32_t flags)
{
	struct seccomp_notif request;
	struct seccomp_notif_resp reply;

	/* As the daemon does; older kernels refuse, and then it has to do without as well. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	for (;;) {
		int last;

		memset(&request, 0, sizeof(request));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		last = (int)request.data.args[0] == LAST_CALL;
		reply = (struct seccomp_notif_resp){.id = request.id, .flags = last ? 0 : flags};
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) < 0)
			return -errno;
		if (last)
			return 0;
	}
}

/* A process of its own (another address space, as with the daemon), but one descriptor table. */
static int bench_supervised(long rounds, uint32_t flags)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int map_fd = -1, listener, r;
	pid_t child;

	if (shared == MAP_FAILED)
		return -errno;
	shared->listener = -1;
	if (flags) {
		map_fd = map_create();
		if (map_fd < 0)
			return map_fd;
	}
	child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child < 0)
		return -errno;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(measured_child(shared, map_fd, rounds));
	}
	while ((listener = __atomic_load_n(&shared->listener, __ATOMIC_ACQUIRE)) < 0) {
		if (__atomic_load_n(&shared->failed, __ATOMIC_ACQUIRE))
			return -EPERM;
		sched_yield();
	}
	r = supervise(listener, flags);
	if (r < 0)
		kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (r < 0 || shared->failed)
		return r < 0 ? r : -EIO;
	printf("%llu\n", (unsigned long long)shared->ns);
	return 0;
}

static int bench_lookup(long rounds)
{
	uint64_t ns;
	int fd, r;

	fd = map_create();
	if (fd < 0)
		return fd;
	r = time_lookups(fd, rounds, 42, &ns);
	if (r < 0)
		return r;
	printf("%llu\n", (unsigned long long)ns);
	return 0;
}

/* wait_for_marker() - 0 once @marker has come through @fd, -ENODATA or -ETIMEDOUT if it never does
 */
static int wait_for_marker(int fd, const char *marker, uint64_t start)
{
	char text[65536];
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int64_t left = START_TIMEOUT - (int64_t)((now_ns() - start) / 1000000);
		ssize_t n;

		if (left <= 0 || poll(&pfd, 1, (int)left) == 0)
			return -ETIMEDOUT;
		n = read(fd, text + len, sizeof(text) - 1 - len);
		if (n <= 0) {
			fwrite(text, 1, len, stderr);
			return -ENODATA;
		}
		len += (size_t)n;
		text[len] = '\0';
		if (strstr(text, marker))
			return 0;
	}
}

/*
 * bpftrace 0.17 forgets an interrupt that comes while it attaches, after BEGIN has run: repeat it.
 * Its last words are read meanwhile, or the full pipe would hold it up.
 */
static void end_child(pid_t child, int fd, bool politely)
{
	for (int tries = 0; politely && tries < 100; tries++) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		uint64_t until = now_ns() + 100000000;

		kill(child, SIGINT);
		while (now_ns() < until) {
			if (waitpid(child, NULL, WNOHANG) == child)
				return;
			if (poll(&pfd, 1, 10) > 0 && read(fd, (char[4096]){0}, 4096) <= 0)
				usleep(1000);
		}
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static int bench_start(const char *marker, char **argv)
{
	uint64_t start, end;
	int fds[2], r;
	pid_t child;

	if (pipe(fds) < 0)
		return -errno;
	start = now_ns();
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* A shell may have started us with interrupts ignored. */
		signal(SIGINT, SIG_DFL);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fds[1]);
	r = wait_for_marker(fds[0], marker, start);
	end = now_ns();
	end_child(child, fds[0], r == 0);
	if (r < 0)
		return r;
	printf("%llu.%02llu\n", (unsigned long long)(end - start) / 1000000,
	       (unsigned long long)(end - start) / 10000 % 100);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	long rounds = argc == 3 ? atol(argv[2]) : 0;
	int r = -EINVAL;

	if (!strcmp(what, "start") && argc > 3)
		r = bench_start(argv[2], argv + 3);
	else if (rounds < 1 || rounds > MAX_ROUNDS)
		r = -EINVAL;
	else if (!strcmp(what, "lookup"))
		r = bench_lookup(rounds);
	else if (!strcmp(what, "bare"))
		r = bench_supervised(rounds, 0);
	else if (!strcmp(what, "continue"))
		r = bench_supervised(rounds, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	if (r < 0) {
		fprintf(stderr, "bench %s: %s\n", what, strerror(-r));
		return 1;
	}
	return 0;
}
