/* SPDX-License-Identifier: MIT */
/*
 * A hostile tenant: threads call bpf(), perf_event_open() and perf ioctls with random bytes while
 * another thread keeps changing those bytes, signals interrupt everything (with and without
 * SA_RESTART), and child processes are killed in the middle of calls.
 *
 * usage: storm SECONDS
 * Prints "survived" and exits 0; the damage, if any, is the daemon's (tests/e2e/hostile.bats).
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLERS 4
#define SHARED	(64 * 1024)

static unsigned char *shared;
static volatile int stop;

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void on_signal(int sig)
{
}

static void *flipper(void *arg)
{
	uint32_t state = 1;

	while (!stop)
		shared[next_random(&state) % SHARED] = (unsigned char)next_random(&state);
	return NULL;
}

/* An argument that a real tool could pass, pointing into memory that changes under the call. */
static void shape_attr(unsigned char *attr, int cmd, uint32_t *state)
{
	uint32_t *words = (uint32_t *)attr;
	uint64_t pointer = (uintptr_t)shared + next_random(state) % SHARED;

	if (next_random(state) % 2)
		return;
	memset(attr, 0, 144);
	if (cmd == BPF_MAP_CREATE) {
		words[0] = 1 + next_random(state) % 30;
		words[1] = 4;
		words[2] = 8;
		words[3] = 1 + next_random(state) % 64;
	} else if (cmd == BPF_PROG_LOAD) {
		words[0] = 1 + next_random(state) % 20;
		words[1] = 1 + next_random(state) % 64;
		memcpy(words + 2, &pointer, 8);
		memcpy(words + 4, &pointer, 8);
	} else {
		words[0] = next_random(state) % 64;
		memcpy(words + 2, &pointer, 8);
	}
}

static void one_call(uint32_t *state)
{
	unsigned char *attr = shared + (next_random(state) % (SHARED - 256) & ~7u);
	int cmd = (int)(next_random(state) % 40);
	long fd;

	switch (next_random(state) % 8) {
	case 0:
		fd = syscall(SYS_perf_event_open, attr, -1, next_random(state) % 3, -1, 0);
		break;
	case 1:
		fd = -1;
		ioctl((int)(next_random(state) % 32),
		      next_random(state) % 2 ? PERF_EVENT_IOC_SET_BPF : PERF_EVENT_IOC_ID, attr);
		break;
	default:
		shape_attr(attr, cmd, state);
		fd = syscall(SYS_bpf, cmd, attr, next_random(state) % 4 ? 144 : 64);
	}
	if (fd > 2 && next_random(state) % 4)
		close((int)fd);
	if (fd > 200)
		close_range(64, 1024, 0);
}

static void *caller(void *arg)
{
	uint32_t state = (uint32_t)(uintptr_t)arg * 77777u;

	while (!stop)
		one_call(&state);
	return NULL;
}

/* A process that dies at a random instant of its calls. */
static void doomed_child(uint32_t *state)
{
	struct timespec nap = {.tv_nsec = next_random(state) % 3000000};
	uint32_t child_state = next_random(state);
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			one_call(&child_state);
	nanosleep(&nap, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct itimerval every = {{0, 700}, {0, 700}};
	struct sigaction plain = {.sa_handler = on_signal},
			 restart = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 2);
	pthread_t threads[CALLERS + 1];
	uint32_t state = 99;

	shared = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	sigaction(SIGALRM, &plain, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	pthread_create(&threads[0], NULL, flipper, NULL);
	for (intptr_t i = 1; i <= CALLERS; i++)
		pthread_create(&threads[i], NULL, caller, (void *)i);
	while (time(NULL) < end) {
		sigaction(SIGALRM, next_random(&state) % 2 ? &plain : &restart, NULL);
		doomed_child(&state);
	}
	stop = 1;
	for (int i = 0; i <= CALLERS; i++)
		pthread_join(threads[i], NULL);
	puts("survived");
	return 0;
}
