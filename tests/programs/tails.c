/* SPDX-License-Identifier: MIT */
/*
 * Probes itself with programs that go on as others, changes which while threads call, and says
 * whether all was counted.
 *
 * usage: tails CALLS [THREADS]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tails.h"

#define WHICH_MAX 10 /* two behind the last entry */
#define KEYS	  13

static uint32_t calls;
static atomic_uint running;

__attribute__((noinline)) void tails_call(uint64_t which, uint64_t key);
void tails_call(uint64_t which, uint64_t key)
{
	__asm__ volatile("" : : "r"(which), "r"(key));
}

static void *caller(void *unused)
{
	(void)unused;
	for (uint32_t i = 0; i < calls; i++)
		tails_call(i % WHICH_MAX, i % KEYS);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static int put(struct bpf_object *object, int steps, uint32_t index, const char *name)
{
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, name));
	int r = bpf_map_update_elem(steps, &index, &fd, BPF_ANY);

	if (r < 0)
		fprintf(stderr, "tails: put %s: %s\n", name, strerror(-r));
	return r;
}

/* Put programs in and take them out until all have called. Return: how often. */
static int change(struct bpf_object *object, int steps)
{
	uint32_t index = STEP_CHANGES;
	int rounds = 0;

	while (atomic_load(&running)) {
		int r = put(object, steps, index, "step_late");

		if (r == 0)
			r = put(object, steps, index, "step_later");
		if (r == 0)
			r = bpf_map_delete_elem(steps, &index);
		if (r < 0)
			return r;
		rounds++;
	}
	return rounds;
}

static uint64_t result(struct bpf_object *object, uint32_t which)
{
	int map = bpf_object__find_map_fd_by_name(object, "results");
	uint64_t value = 0;

	bpf_map_lookup_elem(map, &which, &value);
	return value;
}

static uint64_t seen(struct bpf_object *object)
{
	int map = bpf_object__find_map_fd_by_name(object, "seen");
	uint64_t sum = 0;

	for (uint64_t key = 0; key < KEYS; key++) {
		uint64_t value = 0;

		bpf_map_lookup_elem(map, &key, &value);
		sum += value;
	}
	return sum;
}

static int say(const char *name, uint64_t value, uint64_t expected)
{
	if (value == expected)
		printf("%s right\n", name);
	else
		printf("%s %llu instead of %llu\n", name, (unsigned long long)value,
		       (unsigned long long)expected);
	return value != expected;
}

/* How many of the calls were for @which. */
static uint64_t share(uint64_t threads, uint32_t which)
{
	return threads * (calls / WHICH_MAX + (which < calls % WHICH_MAX));
}

static int compare(struct bpf_object *object, uint64_t threads)
{
	uint64_t late = result(object, TAILS_LATE), later = result(object, TAILS_LATER);
	uint64_t failed = share(threads, STEP_NONE) + share(threads, STEP_CHANGES) +
			  share(threads, 7) + share(threads, 8) + share(threads, 9);
	uint64_t function = share(threads, STEP_FUNCTION);

	return say("entered", result(object, TAILS_ENTERED), threads * calls) |
	       say("failed or changed", result(object, TAILS_FAILED) + late + later, failed) |
	       say("a", result(object, TAILS_A),
		   share(threads, STEP_A) + share(threads, STEP_B) + function) |
	       say("b", result(object, TAILS_B), share(threads, STEP_B)) |
	       say("loop", result(object, TAILS_LOOP), share(threads, STEP_LOOP) * 33) |
	       say("limit", result(object, TAILS_LIMIT), share(threads, STEP_LOOP)) |
	       say("back", result(object, TAILS_BACK), function * TAILS_ANSWER) |
	       say("hash", seen(object), share(threads, STEP_HASH));
}

int main(int argc, char **argv)
{
	uint32_t threads = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 1;
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "tails_call");
	uint32_t none = STEP_NONE, far = STEP_STEPS;
	struct bpf_object *object;
	pthread_t thread[16];
	char path[4096];
	int steps, rounds;

	calls = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 1000;
	snprintf(path, sizeof(path), "%s.bpf.o", argv[0]);
	object = bpf_object__open_file(path, NULL);
	if (!object || bpf_object__load(object) < 0) {
		fprintf(stderr, "tails: cannot load %s: %s\n", path, strerror(errno));
		return 1;
	}
	steps = bpf_object__find_map_fd_by_name(object, "steps");
	if (threads > 16 || put(object, steps, STEP_HASH, "step_hash") < 0)
		return 1;
	printf("delete nothing: %s\n", strerror(-bpf_map_delete_elem(steps, &none)));
	printf("delete beyond: %s\n", strerror(-bpf_map_delete_elem(steps, &far)));
	printf("update beyond: %s\n", strerror(-bpf_map_update_elem(steps, &far, &steps, 0)));
	printf("update with a map: %s\n", strerror(-bpf_map_update_elem(steps, &none, &steps, 0)));
	if (!bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(object, "on_call"),
					     -1, "/proc/self/exe", 0, &opts)) {
		fprintf(stderr, "tails: attach: %s\n", strerror(errno));
		return 1;
	}
	atomic_store(&running, threads);
	for (uint32_t i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, caller, NULL);
	rounds = change(object, steps);
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("changed: %s\n", rounds > 0 ? "yes" : "no");
	return compare(object, threads) || rounds <= 0;
}
