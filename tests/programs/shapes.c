/* SPDX-License-Identifier: MIT */
/*
 * Calls the functions of shapes.h a known number of times, and says how often a probe at each of
 * them must fire: in all threads and processes together, whatever becomes of them.
 *
 * usage: shapes [-n CALLS] [-t THREADS] [-f CHILDREN] [-x CHILDREN] [-l LIBRARY] [-gw] [-s
 * MILLISECONDS] -n  calls of each function per thread (default 100) -t  threads (default 1) -f
 * forked children, each doing what one thread does -x  children that execute this program anew,
 * each doing what one thread does -l  libshapes.so, loaded after -g has been answered:
 * shape_library() is called, too -g  wait for a line on standard input first -w  once the library
 * is loaded, wait for another line -s  sleep before it ends Prints a line for each function: name,
 * entries, returns. The status is 1 if a function returned what it should not have.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "shapes.h"

#define AT_ONCE	    8 /* children alive at a time */
#define LEAP_FRAMES 3
#define THREADS_MAX 256

static unsigned long calls = 100;
static const char *library;
static long (*library_call)(long);

/* How often a probe fires for one call, at the entry and at the return. */
static const struct {
	const char *name;
	unsigned long entries, returns;
} expected[] = {
	{"shape_roomy", 1, 1},
	{"shape_tiny", 1, 1},
	{"shape_global", 1, 1},
	{"shape_choose", 1, 1},
	{"shape_again", SHAPES_AGAIN, SHAPES_AGAIN},
	{"shape_spin", 1, 1},
	{"shape_deep", SHAPES_DEEP, SHAPES_DEEP},
	{"shape_tail", 1, 1},
	{"shape_tailee", 1, 1},
	{"shape_leap", LEAP_FRAMES, 0},
};

static bool leap(void)
{
	jmp_buf env;

	if (setjmp(env))
		return true;
	shape_leap(env, LEAP_FRAMES - 1);
	return false;
}

static bool call_all(long n)
{
	/* Never 0: that is where shape_choose() would call shape_tailee(). */
	bool right = shape_roomy(n) == n * 40503 + 7 && shape_tiny(n) == n &&
		     shape_global(n) == n + 11 && shape_choose(n + 1) == (n + 1) * 5 &&
		     shape_again(SHAPES_AGAIN) == 0 && shape_spin(4) == 4 + 3 + 2 + 1 &&
		     shape_deep(SHAPES_DEEP) == 5 + 4 + 3 + 2 + 1 &&
		     shape_tail(n) == (n + 1) * 9 + 2 && leap();

	if (right && library_call)
		right = library_call(n) == n * 40503 + 13;
	return right;
}

static void *loop(void *arg)
{
	for (unsigned long i = 0; i < calls; i++)
		if (!call_all((long)i))
			return "wrong";
	return NULL;
}

static bool run_threads(unsigned long threads)
{
	pthread_t handles[THREADS_MAX];
	bool right;
	void *part;

	for (unsigned long i = 1; i < threads; i++)
		if (pthread_create(&handles[i], NULL, loop, NULL))
			exit(4);
	right = !loop(NULL);
	for (unsigned long i = 1; i < threads; i++) {
		pthread_join(handles[i], &part);
		right = right && !part;
	}
	return right;
}

static bool wait_for_one(void)
{
	int status;

	return wait(&status) > 0 && status == 0;
}

static void execute_anew(void)
{
	char number[32];

	snprintf(number, sizeof(number), "%lu", calls);
	if (freopen("/dev/null", "w", stdout))
		execl("/proc/self/exe", "shapes", "-n", number, library ? "-l" : NULL, library,
		      NULL);
	_exit(127);
}

/* As many as AT_ONCE at a time, so that processes come and go while others are hit. */
static bool run_children(unsigned long forked, unsigned long executed)
{
	unsigned long alive = 0;
	bool right = true;

	for (unsigned long i = 0; i < forked + executed; i++) {
		pid_t pid;

		if (alive == AT_ONCE) {
			right = wait_for_one() && right;
			alive--;
		}
		pid = fork();
		if (pid < 0)
			return false;
		if (pid == 0 && i < forked)
			_exit(loop(NULL) != NULL);
		if (pid == 0)
			execute_anew();
		alive++;
	}
	while (alive--)
		right = wait_for_one() && right;
	return right;
}

static void print_expected(unsigned long runs)
{
	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
		printf("%s %lu %lu\n", expected[i].name, expected[i].entries * calls * runs,
		       expected[i].returns * calls * runs);
	if (library_call)
		printf("shape_library %lu %lu\n", calls * runs, calls * runs);
	fflush(stdout);
}

static bool load_library(void)
{
#ifndef SHAPES_STATIC
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	if (handle)
		*(void **)&library_call = dlsym(handle, "shape_library");
	if (!library_call)
		fprintf(stderr, "shapes: %s\n", dlerror());
#endif
	return library_call;
}

static bool wait_for_line(void)
{
	int c;

	while ((c = getchar()) != '\n')
		if (c == EOF)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	unsigned long threads = 1, forked = 0, executed = 0, nap = 0;
	bool gate = false, second_gate = false, right;
	int opt;

	while ((opt = getopt(argc, argv, "n:t:f:x:l:gws:")) != -1) {
		if (opt == 'n')
			calls = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			threads = strtoul(optarg, NULL, 10);
		else if (opt == 'f')
			forked = strtoul(optarg, NULL, 10);
		else if (opt == 'x')
			executed = strtoul(optarg, NULL, 10);
		else if (opt == 'l')
			library = optarg;
		else if (opt == 'g')
			gate = true;
		else if (opt == 'w')
			second_gate = true;
		else if (opt == 's')
			nap = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (threads < 1 || threads > THREADS_MAX)
		return 2;
	if (gate && !wait_for_line())
		return 3;
	if (library && !load_library())
		return 4;
	if (second_gate && !wait_for_line())
		return 3;
	right = run_children(forked, executed);
	right = run_threads(threads) && right;
	print_expected(threads + forked + executed);
	usleep((useconds_t)nap * 1000);
	return right ? 0 : 1;
}
