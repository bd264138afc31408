/* SPDX-License-Identifier: MIT */
/*
 * A tracer on libbpf as its users write it: loads tracer.bpf.o from beside itself, attaches to
 * work() and to the USDT probes of a sample binary, runs a command and prints everything that was
 * counted, sorted and without numbers that differ from run to run. What it prints in a container
 * must be what real root gets.
 *
 * usage: tracer [-n CALLS] [-p PID] BINARY [COMMAND...]
 *   -n  calls, if there is no command: then "BINARY -n CALLS" runs (default 100)
 *   -p  trace this process only (default: all)
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tracer.h"

#define MAX_LINKS  8
#define MAX_WORDS  64
#define WEIGHT	   3
#define REPORTED   4
#define MARKS_A	   5
#define MARKS_B	   7
#define WORD_BATCH 3 /* smaller than the hash, so that a batch has a successor */

struct word {
	char text[8];
	__u64 calls;
};

struct tracer {
	struct bpf_object *object;
	struct bpf_link *links[MAX_LINKS];
	int nr_links;
	const char *binary;
	pid_t pid;
};

static int fail(const char *what, int error)
{
	fprintf(stderr, "tracer: %s: %s\n", what, strerror(error < 0 ? -error : error));
	return -1;
}

static int map_fd(const struct tracer *tracer, const char *name)
{
	return bpf_object__find_map_fd_by_name(tracer->object, name);
}

static struct bpf_program *program(const struct tracer *tracer, const char *name)
{
	return bpf_object__find_program_by_name(tracer->object, name);
}

/* section - map a section of global data, as libbpf's generated skeletons do; MAP_FAILED or not */
static void *section(const struct tracer *tracer, const char *name, int protection)
{
	return mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), protection, MAP_SHARED,
		    map_fd(tracer, name), 0);
}

static int load(struct tracer *tracer)
{
	static const struct tracer_constants constants = {.weight = WEIGHT};
	struct bpf_map *rodata;
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(".bpf.o"));
	int error;

	if (length < 0)
		return fail("/proc/self/exe", errno);
	strcpy(path + length, ".bpf.o");
	tracer->object = bpf_object__open_file(path, NULL);
	if (!tracer->object)
		return fail(path, errno);
	rodata = bpf_object__find_map_by_name(tracer->object, ".rodata");
	error = bpf_map__set_initial_value(rodata, &constants, sizeof(constants));
	if (error)
		return fail(".rodata", error);
	error = bpf_object__load(tracer->object);
	return error ? fail("load", error) : 0;
}

/* fill_inner - reach an inner map as a tool does that knows only the outer one */
static int fill_inner(const struct tracer *tracer, __u32 slot, __u64 mark)
{
	const char *own = slot == 0 ? "inner_a" : "inner_b";
	struct bpf_map_info info = {};
	__u32 id, key = 1, copy = 2, size = sizeof(info);
	__u64 value;
	int fd, error;

	if (bpf_map_update_elem(map_fd(tracer, own), &key, &mark, BPF_ANY))
		return fail("update of an inner map", errno);
	if (bpf_map_lookup_elem(map_fd(tracer, "outer"), &slot, &id))
		return fail("lookup in the outer map", errno);
	if (bpf_obj_get_info_by_fd(map_fd(tracer, own), &info, &size))
		return fail("information on an inner map", errno);
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return fail("inner map by id", errno);
	error = bpf_map_lookup_elem(fd, &key, &value) ||
		bpf_map_update_elem(fd, &copy, &value, BPF_ANY);
	close(fd);
	if (error)
		return fail("inner map opened by id", errno);
	printf("outer[%u] is %s: %s\n", slot, info.name, id == info.id ? "yes" : "no");
	return 0;
}

static int prepare(struct tracer *tracer)
{
	struct tracer_settings *settings = section(tracer, ".data", PROT_READ | PROT_WRITE);
	int target = bpf_program__fd(program(tracer, "on_tail"));
	__u32 slot = 0;

	if (settings == MAP_FAILED)
		return fail(".data", errno);
	settings->report_below = REPORTED;
	if (bpf_map_update_elem(map_fd(tracer, "tails"), &slot, &target, BPF_ANY))
		return fail("program array", errno);
	if (fill_inner(tracer, 0, MARKS_A))
		return -1;
	return fill_inner(tracer, 1, MARKS_B);
}

static int keep(struct tracer *tracer, struct bpf_link *link, const char *what)
{
	if (!link)
		return fail(what, errno);
	tracer->links[tracer->nr_links++] = link;
	return 0;
}

static int attach_work(struct tracer *tracer, const char *name, __u64 cookie)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "work", .bpf_cookie = cookie,
		    .retprobe = strcmp(name, "on_return") == 0);

	return keep(tracer,
		    bpf_program__attach_uprobe_opts(program(tracer, name), tracer->pid,
						    tracer->binary, 0, &opts),
		    name);
}

static int attach_usdt(struct tracer *tracer, const char *probe, __u64 cookie)
{
	LIBBPF_OPTS(bpf_usdt_opts, opts, .usdt_cookie = cookie);

	return keep(tracer,
		    bpf_program__attach_usdt(program(tracer, "on_usdt"), tracer->pid,
					     tracer->binary, "sample", probe, &opts),
		    probe);
}

static int attach(struct tracer *tracer)
{
	if (attach_work(tracer, "on_work", 0) || attach_work(tracer, "on_return", 0) ||
	    attach_work(tracer, "on_cookie", 1) || attach_work(tracer, "on_cookie", 2))
		return -1;
	/* step has no semaphore, guarded has one that the kernel has to raise */
	return attach_usdt(tracer, "step", 11) || attach_usdt(tracer, "guarded", 12) ? -1 : 0;
}

static int run(char **command)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return fail("fork", errno);
	if (pid == 0) {
		execvp(command[0], command);
		fail(command[0], errno);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0)
		return fail("wait", errno);
	printf("command ended with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128);
	return 0;
}

static int on_event(void *context, void *data, size_t size)
{
	const struct tracer_event *event = data;
	unsigned int *counts = context;

	if (size >= sizeof(*event) && event->number < REPORTED && event->scale == 2 &&
	    event->word[0] == "abgd"[event->number % 4])
		counts[event->number]++;
	else
		counts[REPORTED]++;
	return 0;
}

/* print_events - counted by number, because threads may fill the buffer in any order */
static int print_events(const struct tracer *tracer)
{
	unsigned int counts[REPORTED + 1] = {};
	struct ring_buffer *buffer =
		ring_buffer__new(map_fd(tracer, "events"), on_event, counts, NULL);
	int error;

	if (!buffer)
		return fail("ring buffer", errno);
	error = ring_buffer__poll(buffer, 100); /* epoll, then what is left without waiting */
	if (error >= 0)
		error = ring_buffer__consume(buffer);
	ring_buffer__free(buffer);
	if (error < 0)
		return fail("ring buffer", error);
	for (int i = 0; i < REPORTED; i++)
		printf("event %d: %u\n", i, counts[i]);
	printf("events damaged: %u\n", counts[REPORTED]);
	return 0;
}

static int compare_words(const void *a, const void *b)
{
	return strncmp(((const struct word *)a)->text, ((const struct word *)b)->text, 8);
}

static int print_words(const struct tracer *tracer)
{
	char keys[MAX_WORDS][8], next[8];
	__u64 values[MAX_WORDS];
	struct word sorted[MAX_WORDS];
	__u32 total = 0, got;
	int error = 0, fd = map_fd(tracer, "words");

	while (!error && total + WORD_BATCH <= MAX_WORDS) {
		got = WORD_BATCH;
		error = bpf_map_lookup_batch(fd, total ? next : NULL, next, keys + total,
					     values + total, &got, NULL);
		/* A bucket with more than a batch holds is not to be expected of four words. */
		if (error && errno != ENOENT)
			return fail("batch lookup", errno);
		total += got;
	}
	for (__u32 i = 0; i < total; i++) {
		memcpy(sorted[i].text, keys[i], sizeof(sorted[i].text));
		sorted[i].calls = values[i];
	}
	qsort(sorted, total, sizeof(*sorted), compare_words);
	for (__u32 i = 0; i < total; i++)
		printf("word %.8s: %llu\n", sorted[i].text, sorted[i].calls);
	return 0;
}

static int print_cookies(const struct tracer *tracer)
{
	static const __u64 known[] = {1, 2, 11, 12};
	int fd = map_fd(tracer, "cookies"), entries = 0;
	__u64 key, *previous = NULL, value;

	while (bpf_map_get_next_key(fd, previous, &key) == 0) {
		entries++;
		previous = &key;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (bpf_map_lookup_elem(fd, &known[i], &value) == 0)
			printf("cookie %llu: %llu\n", known[i], value);
	printf("cookies: %d\n", entries);
	return 0;
}

static int print_per_cpu(const struct tracer *tracer)
{
	int cpus = libbpf_num_possible_cpus();
	__u64 *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	__u64 sum;

	if (!values)
		return fail("possible CPUs", cpus < 0 ? cpus : ENOMEM);
	for (__u32 slot = 0; slot < 2; slot++) {
		if (bpf_map_lookup_elem(map_fd(tracer, "per_cpu"), &slot, values)) {
			free(values);
			return fail("per-CPU lookup", errno);
		}
		sum = 0;
		for (int i = 0; i < cpus; i++)
			sum += values[i];
		printf("per_cpu[%u]: %llu\n", slot, sum);
	}
	free(values);
	return 0;
}

static int print_inner(const struct tracer *tracer)
{
	__u32 id;
	__u64 value;

	for (__u32 slot = 0; slot < TRACER_INNERS; slot++) {
		int fd;

		if (bpf_map_lookup_elem(map_fd(tracer, "outer"), &slot, &id))
			return fail("lookup in the outer map", errno);
		fd = bpf_map_get_fd_by_id(id);
		if (fd < 0)
			return fail("inner map by id", errno);
		for (__u32 i = 0; i < TRACER_INNER_SIZE; i++)
			if (bpf_map_lookup_elem(fd, &i, &value) == 0)
				printf("outer[%u][%u]: %llu\n", slot, i, value);
		close(fd);
	}
	return 0;
}

static int print_objects(const struct tracer *tracer)
{
	struct bpf_link_info link = {};
	struct bpf_prog_info prog = {};
	__u32 size = sizeof(link);

	if (bpf_obj_get_info_by_fd(bpf_link__fd(tracer->links[0]), &link, &size))
		return fail("information on a link", errno);
	size = sizeof(prog);
	if (bpf_obj_get_info_by_fd(bpf_program__fd(program(tracer, "on_work")), &prog, &size))
		return fail("information on a program", errno);
	printf("link type %u, its program %s: %s\n", link.type, prog.name,
	       link.prog_id == prog.id ? "yes" : "no");
	printf("program type %u, maps %u, GPL %u\n", prog.type, prog.nr_map_ids,
	       prog.gpl_compatible);
	return 0;
}

static int print(const struct tracer *tracer)
{
	const struct tracer_totals *totals = section(tracer, ".bss", PROT_READ);

	if (totals == MAP_FAILED)
		return fail(".bss", errno);
	/* Frozen: the kernel has to refuse a mapping that could change a constant. */
	printf("constants writable: %s\n",
	       section(tracer, ".rodata", PROT_READ | PROT_WRITE) == MAP_FAILED ? "no" : "yes");
	printf("calls: %llu\nsum: %llu\n", totals->calls, totals->sum);
	printf("returns: %llu\nreturned: %llu\n", totals->returns, totals->returned);
	printf("tail calls: %llu, failed %llu\n", totals->tail_calls, totals->tail_failures);
	printf("marks: %llu\nlost: %llu\n", totals->marks, totals->lost);
	if (print_events(tracer) || print_words(tracer) || print_cookies(tracer))
		return -1;
	return print_per_cpu(tracer) || print_inner(tracer) || print_objects(tracer) ? -1 : 0;
}

static void destroy(struct tracer *tracer)
{
	for (int i = 0; i < tracer->nr_links; i++)
		bpf_link__destroy(tracer->links[i]);
	bpf_object__close(tracer->object);
}

int main(int argc, char **argv)
{
	struct tracer tracer = {.pid = -1};
	char *sample[] = {NULL, "-n", "100", NULL}, **command;
	int opt, error;

	/* Not past the binary: what follows belongs to the command. */
	while ((opt = getopt(argc, argv, "+n:p:")) != -1) {
		if (opt == 'n')
			sample[2] = optarg;
		else if (opt == 'p')
			tracer.pid = atoi(optarg);
		else
			return 2;
	}
	if (optind >= argc)
		return 2;
	tracer.binary = argv[optind];
	sample[0] = argv[optind];
	command = argv[optind + 1] ? argv + optind + 1 : sample;
	setvbuf(stdout, NULL, _IOLBF, 0);
	error = load(&tracer) || prepare(&tracer) || attach(&tracer) || run(command) ||
		print(&tracer);
	destroy(&tracer);
	return error ? 1 : 0;
}
