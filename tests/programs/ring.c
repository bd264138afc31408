/* SPDX-License-Identifier: MIT */
/*
 * Attaches programs that write to a ring buffer to functions of its own, calls these in threads and
 * reads the records: each is received once, whole and in the order of its thread, or its program
 * was told that there was no room.
 *
 * usage: ring [-t THREADS] [-n CALLS] [-s RING-BYTES] [-d MICROSECONDS] [-p] [-k]
 *	-d: between two records that are read
 *	-p: do not read before all calls were made
 *	-k: no program discards a record
 * Prints a line for each result; exit status 1 when one is wrong.
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
#include <time.h>
#include <unistd.h>

#include "ring.h"

#define PATIENCE 5 /* seconds without a record, when some are missing */

void ring_output(uint64_t thread, uint64_t number);
void ring_reserve(uint64_t thread, uint64_t number);
void ring_pair(uint64_t thread, uint64_t number);
void ring_dynptr(uint64_t thread, uint64_t number);
void ring_query(void);

__attribute__((noinline)) void ring_output(uint64_t thread, uint64_t number)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(thread), "r"(number) : "memory");
}

__attribute__((noinline)) void ring_reserve(uint64_t thread, uint64_t number)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(thread), "r"(number) : "memory");
}

__attribute__((noinline)) void ring_pair(uint64_t thread, uint64_t number)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(thread), "r"(number) : "memory");
}

__attribute__((noinline)) void ring_dynptr(uint64_t thread, uint64_t number)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(thread), "r"(number) : "memory");
}

__attribute__((noinline)) void ring_query(void)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : : "memory");
}

static uint32_t threads = 1, ring_size = 256 * 1024;
static uint64_t calls = 1000, delay_us;
static atomic_uint running;

/* What was received. */
static uint64_t got[RING_KINDS], damaged, disordered;
static uint64_t last[RING_THREADS]; /* number * 4 + which + 1 of the thread's last record */

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *call_all(void *arg)
{
	uint64_t thread = (uintptr_t)arg;

	for (uint64_t i = 0; i < calls; i++) {
		ring_output(thread, i * 5);
		ring_reserve(thread, i * 5 + 1);
		ring_pair(thread, i * 5 + 2);
		ring_dynptr(thread, i * 5 + 3);
		if (i % 64 == 0)
			ring_query();
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static int receive(void *context, void *data, size_t size)
{
	const struct ring_event *event = data;
	const int whole = event->kind != RING_OUTPUT && event->kind != RING_BETWEEN &&
			  event->kind != RING_DYNPTR;
	uint64_t order;

	if (delay_us)
		usleep((useconds_t)delay_us);
	if (size < RING_HEAD || event->thread >= threads || event->kind >= RING_KINDS ||
	    event->fill != event->number % RING_FILL ||
	    size != RING_HEAD + (whole ? RING_FILL : event->fill)) {
		damaged++;
		return 0;
	}
	for (size_t i = 0; i < size - RING_HEAD; i++)
		if (((const uint8_t *)event->words)[i] !=
		    ((const uint8_t *)&event->number)[i % 8]) {
			damaged++;
			return 0;
		}
	got[event->kind]++;
	order = event->number * 4 + event->which + 1;
	disordered += order <= last[event->thread];
	last[event->thread] = order;
	return 0;
}

static int attach(struct bpf_object *object, const char *program, const char *function)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(object, program);
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);

	if (bpf_program__attach_uprobe_opts(prog, -1, "/proc/self/exe", 0, &opts))
		return 0;
	fprintf(stderr, "ring: attach to %s: %s\n", function, strerror(errno));
	return -1;
}

static struct bpf_object *load(const char *program)
{
	struct bpf_object *object;
	struct bpf_map *map;
	char path[4096];

	snprintf(path, sizeof(path), "%s.bpf.o", program);
	object = bpf_object__open_file(path, NULL);
	map = object ? bpf_object__find_map_by_name(object, "events") : NULL;
	if (!map || bpf_map__set_max_entries(map, ring_size) < 0 || bpf_object__load(object) < 0) {
		fprintf(stderr, "ring: cannot load %s: %s\n", path, strerror(errno));
		return NULL;
	}
	if (attach(object, "on_output", "ring_output") < 0 ||
	    attach(object, "on_reserve", "ring_reserve") < 0 ||
	    attach(object, "on_pair", "ring_pair") < 0 ||
	    attach(object, "on_dynptr", "ring_dynptr") < 0 ||
	    attach(object, "on_query", "ring_query") < 0)
		return NULL;
	return object;
}

static int keep_all(struct bpf_object *object)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, "ring.bss");
	struct ring_totals totals = {.keep = 1};
	uint32_t zero = 0;

	return map ? bpf_map_update_elem(bpf_map__fd(map), &zero, &totals, BPF_ANY) : -1;
}

static struct ring_totals totals_of(struct bpf_object *object)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, "ring.bss");
	struct ring_totals totals = {0};
	uint32_t zero = 0;

	if (!map || bpf_map_lookup_elem(bpf_map__fd(map), &zero, &totals) < 0)
		totals.strange = 1;
	return totals;
}

/* Records that are to come, for certain: all calls were made. */
static uint64_t missing(struct bpf_object *object)
{
	struct ring_totals totals = totals_of(object);
	uint64_t cnt = 0;

	for (int kind = 0; kind < RING_KINDS; kind++)
		cnt += calls * threads - totals.failed[kind] - totals.discarded[kind] - got[kind];
	return cnt;
}

static void read_all(struct bpf_object *object, struct ring_buffer *ring, int late)
{
	double start = seconds(), called = start, seen = start;

	while (late && atomic_load(&running))
		usleep(1000);
	while (atomic_load(&running) || (missing(object) && seconds() - seen < PATIENCE)) {
		if (ring_buffer__poll(ring, 100) > 0)
			seen = seconds();
		called = atomic_load(&running) ? seconds() : called;
	}
	fprintf(stderr, "calls took %.3f s, the records %.3f s\n", called - start, seen - start);
	/* And none more than these. */
	ring_buffer__poll(ring, 300);
}

static int say(const char *what, int right)
{
	printf("%s %s\n", what, right ? "right" : "wrong");
	return !right;
}

static int judge(struct bpf_object *object)
{
	static const char *const names[] = {"output", "reserved", "first",
					    "second", "between",  "dynptr"};
	struct ring_totals totals = totals_of(object);
	int wrong = 0;

	for (int kind = 0; kind < RING_KINDS; kind++) {
		uint64_t sum = got[kind] + totals.failed[kind] + totals.discarded[kind];

		wrong |= say(names[kind], sum == calls * threads);
		fprintf(stderr, "%s: %lu received, %llu failed, %llu discarded\n", names[kind],
			got[kind], totals.failed[kind], totals.discarded[kind]);
	}
	wrong |= say("bytes", !damaged);
	wrong |= say("order", !disordered);
	wrong |= say("answers", !totals.strange && totals.size == ring_size);
	fprintf(stderr, "at most %llu on their way, %lu out of order\n", totals.most, disordered);
	return wrong;
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct ring_buffer *ring;
	pthread_t ids[RING_THREADS];
	int option, late = 0, keep = 0;

	while ((option = getopt(argc, argv, "t:n:s:d:pk")) != -1) {
		if (option == 't')
			threads = (uint32_t)strtoul(optarg, NULL, 0) % (RING_THREADS + 1);
		else if (option == 'n')
			calls = strtoull(optarg, NULL, 0);
		else if (option == 's')
			ring_size = (uint32_t)strtoul(optarg, NULL, 0);
		else if (option == 'd')
			delay_us = strtoull(optarg, NULL, 0);
		else if (option == 'p')
			late = 1;
		else if (option == 'k')
			keep = 1;
		else
			return 2;
	}
	object = load(argv[0]);
	if (!object || (keep && keep_all(object) < 0))
		return 1;
	ring = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "events"), receive, NULL,
				NULL);
	if (!ring)
		return 1;
	running = threads;
	for (uint32_t i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, call_all, (void *)(uintptr_t)i))
			return 1;
	read_all(object, ring, late);
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	return judge(object);
}
