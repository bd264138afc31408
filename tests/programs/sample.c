/* SPDX-License-Identifier: MIT */
/*
 * A small program to trace. Everything it does is counted, so whatever a tool reports can be
 * checked exactly; its own output shows whether being traced changed anything.
 *
 * usage: sample [-n CALLS] [-t THREADS] [-f CHILDREN] [-g] [-s MILLISECONDS] [-e]
 *   -n  calls of work() per thread and process (default 100)
 *   -t  threads (default 1)
 *   -f  forked children, each doing the same
 *   -g  wait for a line on standard input first
 *   -s  sleep before it ends
 *   -e  the main thread ends at once, and another one does all that
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

/* Arguments must really be passed, even those a callee does not use. */
#ifdef __clang__
#define OPAQUE __attribute__((noinline, optnone))
#else
#define OPAQUE __attribute__((noinline, noipa))
#endif

static const char *const words[] = {"alpha", "beta", "gamma", "delta"};

static unsigned long calls = 100;
static long threads = 1, children, nap;
static bool gate, main_ends;

void sample_guarded(long n); /* sample_guarded.c */
long work(long n, long scale, const char *word);
long outer(long n);

OPAQUE long work(long n, long scale, const char *word)
{
	return n * scale + word[0];
}

OPAQUE long outer(long n)
{
	long sum = work(n, 2, words[n % 4]);

	STAP_PROBE2(sample, step, n, words[n % 4]);
	sample_guarded(n);
	return sum;
}

OPAQUE static void *loop(void *arg)
{
	long sum = 0;

	for (unsigned long i = 0; i < calls; i++)
		sum += outer((long)i);
	return (void *)(intptr_t)sum;
}

static long run_threads(void)
{
	pthread_t *handles = calloc((size_t)threads, sizeof(*handles));
	long sum = 0;
	void *part;

	if (!handles)
		return -1;
	for (long i = 1; i < threads; i++)
		pthread_create(&handles[i], NULL, loop, NULL);
	sum += (long)(intptr_t)loop(NULL);
	for (long i = 1; i < threads; i++) {
		pthread_join(handles[i], &part);
		sum += (long)(intptr_t)part;
	}
	free(handles);
	return sum;
}

static int run(void)
{
	if (gate)
		while (getchar() != '\n')
			if (feof(stdin))
				return 3;
	for (long i = 0; i < children; i++)
		if (fork() == 0)
			return run_threads() < 0;
	printf("sum %ld\n", run_threads());
	while (wait(NULL) > 0)
		;
	usleep((useconds_t)nap * 1000);
	return 0;
}

static void *run_and_exit(void *arg)
{
	exit(run());
}

int main(int argc, char **argv)
{
	pthread_t other;
	int opt;

	while ((opt = getopt(argc, argv, "n:t:f:gs:e")) != -1) {
		if (opt == 'n')
			calls = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			threads = atol(optarg);
		else if (opt == 'f')
			children = atol(optarg);
		else if (opt == 'g')
			gate = true;
		else if (opt == 's')
			nap = atol(optarg);
		else if (opt == 'e')
			main_ends = true;
		else
			return 2;
	}
	if (!main_ends)
		return run();
	if (pthread_create(&other, NULL, run_and_exit, NULL))
		return 4;
	pthread_exit(NULL);
}
