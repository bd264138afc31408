/* SPDX-License-Identifier: MIT */
/*
 * Probes another program with programs that count in maps of maps, exchanges those while threads
 * call, and says whether all was counted.
 *
 * usage: inner trace FILE	attach to inner_place and inner_name of FILE, print "ready",
 *exchange maps until a line comes, say how all fared inner call CALLS THREADS	wait for a line,
 *call
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inner.h"

#define NAMES 10 /* of which every other one is in the map */

struct name {
	uint64_t a, b;
};

static uint32_t calls;

__attribute__((noinline)) void inner_place(uint64_t slot, uint64_t key);
__attribute__((noinline)) void inner_name(uint64_t name, uint64_t key);
void inner_place(uint64_t slot, uint64_t key)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(slot), "r"(key));
}
void inner_name(uint64_t name, uint64_t key)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(name), "r"(key));
}

static void *caller(void *unused)
{
	(void)unused;
	for (uint32_t i = 0; i < calls; i++) {
		inner_place(i % INNER_SLOTS, i % 13);
		inner_name(i % NAMES, i % (INNER_KEYS + 1));
	}
	return NULL;
}

static int call(uint32_t threads)
{
	pthread_t thread[16];
	char line[16];

	if (threads > 16 || !fgets(line, sizeof(line), stdin))
		return 1;
	for (uint32_t i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, caller, NULL);
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	return 0;
}

static int find(const struct bpf_object *object, const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static int make_counts(void)
{
	return bpf_map_create(BPF_MAP_TYPE_HASH, "counts", 8, 8, 64, NULL);
}

/* Take out what was counted. */
static uint64_t drain(int counts)
{
	uint64_t key, next, value, sum = 0;
	int r = bpf_map_get_next_key(counts, NULL, &key);

	while (r == 0) {
		r = bpf_map_get_next_key(counts, &key, &next);
		if (bpf_map_lookup_elem(counts, &key, &value) == 0)
			sum += value;
		bpf_map_delete_elem(counts, &key);
		key = next;
	}
	return sum;
}

static uint64_t sum_of(int table)
{
	uint64_t sum = 0, value;

	for (uint32_t i = 0; i < INNER_KEYS; i++)
		if (bpf_map_lookup_elem(table, &i, &value) == 0)
			sum += value;
	return sum;
}

static uint64_t result(const struct bpf_object *object, uint32_t which)
{
	uint64_t value = 0;

	bpf_map_lookup_elem(find(object, "results"), &which, &value);
	return value;
}

static int line_waits(void)
{
	struct pollfd fd = {.fd = 0, .events = POLLIN};

	return poll(&fd, 1, 0) > 0;
}

static void errors(const struct bpf_object *object)
{
	int outer = find(object, "outer"), named = find(object, "named"), r;
	int wrong = bpf_map_create(BPF_MAP_TYPE_HASH, "wrong", 4, 8, 64, NULL);
	uint32_t zero = 0, far = INNER_SLOTS;
	struct name name = {77, 77};

	r = bpf_map_update_elem(outer, &zero, &wrong, 0);
	printf("another shape: %s\n", strerror(-r));
	r = bpf_map_update_elem(outer, &far, &outer, 0);
	printf("beyond: %s\n", strerror(-r));
	r = bpf_map_update_elem(outer, &zero, &outer, 0);
	printf("a map of maps: %s\n", strerror(-r));
	r = bpf_map_delete_elem(named, &name);
	printf("delete nothing: %s\n", strerror(-r));
	r = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "nested", 4, 4, 1,
			   &(struct bpf_map_create_opts){.sz = sizeof(struct bpf_map_create_opts),
							 .inner_map_fd = (uint32_t)outer});
	printf("nested: %s\n", strerror(r < 0 ? errno : 0));
	close(wrong);
}

/* Exchange what stands in both. Return: rounds, or -1. */
static int exchange(const struct bpf_object *object, int *ready, uint64_t *ret_places,
		    uint64_t *ret_names)
{
	int outer = find(object, "outer"), named = find(object, "named"),
	    late = find(object, "late");
	int program = bpf_program__fd(bpf_object__find_program_by_name(object, "on_late"));
	int two[2] = {make_counts(), make_counts()}, rounds = 0, r = 0;
	uint32_t zero = 0;

	for (; r == 0 && !line_waits(); rounds++) {
		uint32_t slot = 1 + (uint32_t)rounds % (INNER_SLOTS - 1);
		struct name name = {(uint64_t)rounds % NAMES & ~1ull,
				    ~((uint64_t)rounds % NAMES & ~1ull)};
		int table = bpf_map_create(BPF_MAP_TYPE_ARRAY, "table", 4, 8, INNER_KEYS, NULL);

		/* What was taken out nobody counts in any more. */
		r = bpf_map_update_elem(outer, &zero, &two[rounds % 2], 0);
		*ret_places += drain(two[(rounds + 1) % 2]);
		if (r == 0)
			r = bpf_map_update_elem(outer, &slot, &two[rounds % 2], 0);
		if (r == 0)
			r = bpf_map_delete_elem(outer, &slot);
		if (r == 0 && table >= 0)
			r = bpf_map_update_elem(named, &name, &table, 0);
		if (r == 0)
			usleep(1000);
		if (r == 0)
			r = bpf_map_delete_elem(named, &name);
		*ret_names += sum_of(table);
		close(table);
		if (r == 0 && rounds == 0)
			r = bpf_map_update_elem(late, &zero, &program, 0);
		if (rounds == 0 && r == 0) {
			printf("ready\n");
			fflush(stdout);
			*ready = 1;
		}
	}
	if (r < 0)
		fprintf(stderr, "inner: round %d: %s\n", rounds, strerror(-r));
	r = r ? r : bpf_map_delete_elem(outer, &zero);
	*ret_places += drain(two[0]) + drain(two[1]);
	return r < 0 ? -1 : rounds;
}

static int attach(const struct bpf_object *object, const char *program, const char *function,
		  const char *file)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);

	if (bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(object, program), -1,
					    file, 0, &opts))
		return 0;
	fprintf(stderr, "inner: attach to %s: %s\n", function, strerror(errno));
	return -1;
}

static int trace(const char *self, const char *file)
{
	uint64_t places = 0, names = 0, counted, entered;
	struct bpf_object *object;
	int ready = 0, rounds;
	char path[4096];

	snprintf(path, sizeof(path), "%s.bpf.o", self);
	object = bpf_object__open_file(path, NULL);
	if (!object || bpf_object__load(object) < 0) {
		fprintf(stderr, "inner: cannot load %s: %s\n", path, strerror(errno));
		return 1;
	}
	errors(object);
	if (attach(object, "on_place", "inner_place", file) < 0 ||
	    attach(object, "on_name", "inner_name", file) < 0)
		return 1;
	rounds = exchange(object, &ready, &places, &names);
	places += drain(find(object, "first"));
	entered = result(object, INNER_ENTERED);
	counted = places + names + result(object, INNER_NONE) + result(object, INNER_MISS);
	printf("entered %llu\n", (unsigned long long)entered);
	printf("counted %s\n", counted == entered ? "all" : "not all");
	if (counted != entered || !places || !names || !result(object, INNER_LATE))
		printf("  %llu of %llu: places %llu names %llu none %llu miss %llu late %llu\n",
		       (unsigned long long)counted, (unsigned long long)entered,
		       (unsigned long long)places, (unsigned long long)names,
		       (unsigned long long)result(object, INNER_NONE),
		       (unsigned long long)result(object, INNER_MISS),
		       (unsigned long long)result(object, INNER_LATE));
	printf("each kind: %s\n",
	       places && names && result(object, INNER_NONE) && result(object, INNER_LATE) ? "yes"
											   : "no");
	return rounds <= 0 || counted != entered;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "trace") == 0)
		return trace(argv[0], argv[2]);
	if (argc != 4)
		return 2;
	calls = (uint32_t)strtoul(argv[2], NULL, 0);
	return call((uint32_t)strtoul(argv[3], NULL, 0));
}
