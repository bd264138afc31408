/* SPDX-License-Identifier: MIT */
/*
 * The other threads of a process one of whose threads a helper has stopped; see late.h. Bounded in
 * time: a thread that sleeps uninterruptibly (vfork(), a dead disk) must not keep the others.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shim/late.h"
#include "shim/targets.h"
#include "shim/tracee.h"

#define STOP_MS	    200
#define THREADS_MAX 65536

/**
 * struct thread
 * @signal: it stopped in front of, to be given to it at the end
 */
struct thread {
	pid_t tid;
	bool stopped, gone;
	int signal;
};

struct late_others {
	struct thread *threads;
	size_t cnt, cap;
};

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool has(const struct late_others *others, pid_t tid)
{
	/* New threads have the highest numbers, and come last in the directory as well. */
	for (size_t i = others->cnt; i-- > 0;)
		if (others->threads[i].tid == tid)
			return true;
	return false;
}

/* Room first: a thread that was seized must be in the list. */
static int reserve(struct late_others *others)
{
	size_t cap = others->cap ? others->cap * 2 : 64;
	struct thread *grown;

	if (others->cnt < others->cap)
		return 0;
	if (cap > THREADS_MAX)
		return -E2BIG;
	grown = realloc(others->threads, cap * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	others->threads = grown;
	others->cap = cap;
	return 0;
}

/* Return: 1 seized, 0 it is gone or known, or -errno. */
static int seize(struct late_others *others, pid_t tid)
{
	int r;

	if (has(others, tid))
		return 0;
	r = reserve(others);
	if (r < 0)
		return r;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
		return errno == ESRCH || targets_state(tid) == 'Z' ? 0 : -EPERM;
	others->threads[others->cnt++] = (struct thread){.tid = tid};
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return 1;
}

/* Return: number of threads that were not known before, or -errno. */
static int seize_new(struct late_others *others, const struct late_stop *stop)
{
	struct dirent *entry;
	char path[40];
	int cnt = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", stop->pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (cnt >= 0 && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);
		int r = tid > 0 && tid != stop->tid ? seize(others, tid) : 0;

		cnt = r < 0 ? r : cnt + r;
	}
	closedir(dir);
	return cnt;
}

static void look(struct thread *thread)
{
	int status;
	pid_t pid = waitpid(thread->tid, &status, __WALL | WNOHANG);

	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	thread->gone = pid < 0 || !WIFSTOPPED(status);
	thread->stopped = !thread->gone;
	if (thread->stopped && status >> 16 == 0)
		thread->signal = WSTOPSIG(status);
}

static int wait_all(struct late_others *others, int64_t until)
{
	const struct timespec pause = {.tv_nsec = 100000};

	for (size_t i = 0; i < others->cnt; i++) {
		struct thread *thread = &others->threads[i];

		while (!thread->stopped && !thread->gone) {
			look(thread);
			if (thread->stopped || thread->gone)
				break;
			if (now_us() > until)
				return -ETIMEDOUT;
			nanosleep(&pause, NULL);
		}
	}
	return 0;
}

/* Threads that run may start others, until a look finds none that is new. */
static int stop_all(struct late_others *others, const struct late_stop *stop)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int64_t until = now_us() + STOP_MS * 1000;

	for (;;) {
		int r = seize_new(others, stop);

		/* Another helper has a thread of it for a moment: let go, or both wait in vain. */
		if (r == -EPERM && others->cnt == 0 && now_us() < until) {
			nanosleep(&pause, NULL);
			continue;
		}
		if (r <= 0)
			return r;
		r = wait_all(others, until);
		if (r < 0)
			return r;
	}
}

int late_stop_others(const struct late_stop *stop, struct late_others **ret_others)
{
	struct late_others *others = calloc(1, sizeof(*others));
	int r;

	if (!others)
		return -ENOMEM;
	r = stop_all(others, stop);
	if (r < 0) {
		late_release_others(others);
		return r;
	}
	*ret_others = others;
	return 0;
}

struct late_others *late_release_others(struct late_others *others)
{
	if (!others)
		return NULL;
	/* Only a stopped thread can be let go of. Those that do not stop are left to the helper,
	 * which detaches when they do, and to its end. */
	for (size_t i = 0; i < others->cnt; i++) {
		const struct thread *thread = &others->threads[i];

		if (thread->stopped)
			tracee_let_go(thread->tid, thread->signal);
	}
	free(others->threads);
	free(others);
	return NULL;
}
