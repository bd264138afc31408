/* SPDX-License-Identifier: MIT */
/*
 * Measures what a probe adds to a call; tests/bench/probe starts it as real root and in a container and
 * compares.
 *
 * usage: hits bare CALLS [ROUNDS]	the functions alone
 *        hits count CALLS [ROUNDS]	with a libbpf program of this very process on each in turn
 *        hits wait CALLS		time the first function once a line was read: for other tools
 * Prints a line for each function: name, median, minimum and maximum of nanoseconds per call, and for
 * count how many hits were missing.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 101

/*
 * What the kernel has to single-step, what it emulates, and what it has made fast of late; and a function
 * whose return is probed.
 */
__asm__(".text\n"
	".globl hits_plain, hits_nop1, hits_nop5, hits_return\n"
	".p2align 6\n.type hits_plain, @function\n"
	"hits_plain: lea 1(%rdi), %rax\n ret\n.size hits_plain, . - hits_plain\n"
	".p2align 6\n.type hits_nop1, @function\n"
	"hits_nop1: nop\n lea 1(%rdi), %rax\n ret\n.size hits_nop1, . - hits_nop1\n"
	".p2align 6\n.type hits_nop5, @function\n"
	"hits_nop5: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n lea 1(%rdi), %rax\n ret\n"
	".size hits_nop5, . - hits_nop5\n"
	".p2align 6\n.type hits_return, @function\n"
	"hits_return: lea 1(%rdi), %rax\n ret\n.size hits_return, . - hits_return\n"
	".p2align 6\n");
long hits_plain(long);
long hits_nop1(long);
long hits_nop5(long);
long hits_return(long);

static const struct {
	const char *name;
	long (*fn)(long);
	int at_return;
} functions[] = {
	{"plain", hits_plain, 0},
	{"nop1", hits_nop1, 0},
	{"nop5", hits_nop5, 0},
	{"return", hits_return, 1},
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double time_calls(long (*fn)(long), long calls)
{
	/* Called through a variable, so that nothing is known of the callee. */
	long (*volatile call)(long) = fn;
	uint64_t start = now();
	long sum = 0;

	for (long i = 0; i < calls; i++)
		sum = call(sum);
	return sum == calls ? (double)(now() - start) / (double)calls : -1;
}

static void measure(size_t which, long calls, int rounds, double *ret_median, double *ret_min,
		    double *ret_max)
{
	double times[ROUNDS_MAX];

	for (int i = 0; i < rounds; i++)
		times[i] = time_calls(functions[which].fn, calls);
	qsort(times, (size_t)rounds, sizeof(times[0]), compare);
	*ret_median = times[rounds / 2];
	*ret_min = times[0];
	*ret_max = times[rounds - 1];
}

static uint64_t read_count(struct bpf_object *object)
{
	int map = bpf_object__find_map_fd_by_name(object, "count"), cpus = libbpf_num_possible_cpus();
	uint64_t *values = calloc((size_t)cpus, sizeof(*values)), sum = 0;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(map, &zero, values) == 0)
		for (int i = 0; i < cpus; i++)
			sum += values[i];
	free(values);
	return sum;
}

static int attach(struct bpf_object *object, size_t which, struct bpf_link **ret_link)
{
	const char *name = functions[which].at_return ? "leave" : "enter";
	struct bpf_program *prog = bpf_object__find_program_by_name(object, name);
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = functions[which].at_return);
	char symbol[32];

	snprintf(symbol, sizeof(symbol), "hits_%s", functions[which].name);
	opts.func_name = symbol;
	*ret_link = bpf_program__attach_uprobe_opts(prog, -1, "/proc/self/exe", 0, &opts);
	if (!*ret_link)
		fprintf(stderr, "hits: attach to %s: %s\n", symbol, strerror(errno));
	return *ret_link ? 0 : -1;
}

static int run(const char *path, int with_programs, long calls, int rounds)
{
	struct bpf_object *object = NULL;

	if (with_programs) {
		object = bpf_object__open_file(path, NULL);
		if (!object || bpf_object__load(object) < 0) {
			fprintf(stderr, "hits: cannot load %s: %s\n", path, strerror(errno));
			return 1;
		}
	}
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		struct bpf_link *link = NULL;
		double median, min, max;
		uint64_t before = 0, hits;

		if (object) {
			if (attach(object, i, &link) < 0)
				return 1;
			before = read_count(object);
		}
		measure(i, calls, rounds, &median, &min, &max);
		printf("%s %.1f %.1f %.1f", functions[i].name, median, min, max);
		if (object) {
			hits = read_count(object) - before;
			printf(" %ld", calls * rounds - (long)hits);
			bpf_link__destroy(link);
		}
		printf("\n");
		fflush(stdout);
	}
	bpf_object__close(object);
	return 0;
}

int main(int argc, char **argv)
{
	long calls = argc > 2 ? atol(argv[2]) : 0;
	int rounds = argc > 3 ? atoi(argv[3]) : 9;
	char path[4096];

	if (calls < 1 || rounds < 1 || rounds > ROUNDS_MAX)
		return 2;
	snprintf(path, sizeof(path), "%s.bpf.o", argv[0]);
	if (strcmp(argv[1], "wait") == 0) {
		if (getchar() == EOF)
			return 3;
		printf("%.1f\n", time_calls(hits_plain, calls));
		return 0;
	}
	return run(path, strcmp(argv[1], "count") == 0, calls, rounds);
}
