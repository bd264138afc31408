/* SPDX-License-Identifier: MIT */
/*
 * Hands strings from everywhere to functions, one for each place, for tests that read them there.
 *
 * usage: strings CALLS
 * Reads a line, then makes CALLS calls of each function and prints for each: name, nanoseconds a
 * call, the string.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef size_t take_fn(const char *string);

#define TAKER(name)                                                                                \
	__attribute__((noinline)) size_t name(const char *string);                                 \
	size_t name(const char *string)                                                            \
	{                                                                                          \
		__asm__ volatile("" : "+r"(string));                                               \
		return (size_t)string[0];                                                          \
	}

TAKER(take_literal)
TAKER(take_variable)
TAKER(take_libc)
TAKER(take_frame)
TAKER(take_argument)
TAKER(take_heap)
TAKER(take_thread)

static char variable[] = "a variable of the program";
static unsigned long calls;

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (unsigned long)ts.tv_sec * 1000000000ul + (unsigned long)ts.tv_nsec;
}

static void run(const char *name, take_fn *take, const char *string)
{
	unsigned long from = now();

	for (unsigned long i = 0; i < calls; i++)
		take(string);
	printf("%s %.1f %s\n", name, (double)(now() - from) / (double)calls, string);
}

/* Deep enough that the string is not in the page of the stack pointer. */
static __attribute__((noinline)) void run_deep(const char *name, take_fn *take, const char *string)
{
	volatile char room[3 * 4096];

	room[0] = 0;
	run(name, take, string);
	room[sizeof(room) - 1] = 0;
}

static void *thread_main(void *unused)
{
	char string[] = "on a thread's stack";

	(void)unused;
	run_deep("thread", take_thread, string);
	return NULL;
}

int main(int argc, char **argv)
{
	char frame[] = "on the first thread's stack", line[16];
	char *heap = strdup("from malloc");
	pthread_t thread;

	calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	if (!calls || !heap || !fgets(line, sizeof(line), stdin))
		return 1;
	run("literal", take_literal, "a literal of the program");
	run("variable", take_variable, variable);
	run("libc", take_libc, strerrordesc_np(1));
	run_deep("frame", take_frame, frame);
	run_deep("argument", take_argument, argv[1]);
	run("heap", take_heap, heap);
	if (pthread_create(&thread, NULL, thread_main, NULL) != 0)
		return 1;
	pthread_join(thread, NULL);
	free(heap);
	return 0;
}
