/* SPDX-License-Identifier: MIT */
/*
 * Measures what loading a program costs: the kernel's PROG_LOAD beside the worker's answer and its
 * better code, in turns; then what a hit of either code costs in time and stack, and what memory
 *the worker takes. tests/bench/compile starts it, as root.
 *
 * usage: compile WORKER ROUNDS HITS
 *        compile load ROUNDS	PROG_LOAD as a tool does it, of whoever answers it here: for each
 *program a line with its name, the first time and the median, minimum and maximum of the others, in
 *µs
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "tests/bench/compile_progs.h"
#include "tests/unit/fake_region.h"
#include "verifier/worker.h"
#include "vm/runtime/runtime.h"

#define ROUNDS_MAX 1001
#define MAPS_MAX   8
#define TIMEOUT_MS 30000
#define STACK_SIZE 65536
#define CODE_AT	   (REGION_CODE + 0x4000)
#define KPROBE	   BPF_PROG_TYPE_KPROBE

static const struct program {
	const char *name;
	const struct bpf_insn *insns;
	uint32_t cnt;
	const struct verifier_map *maps;
	uint32_t map_cnt;
} programs[] = {
#define PROGRAM(name)                                                                              \
	{                                                                                          \
#name, name##_insns, ARRAY_SIZE(name##_insns), name##_maps,                        \
			ARRAY_SIZE(name##_maps)                                                    \
	}
	PROGRAM(count),
	PROGRAM(hist),
	PROGRAM(latency),
	PROGRAM(many),
};

static int exe_fd;
static uint32_t rounds, hits;

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "compile: %s: %s\n", what, why);
	exit(1);
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Return: the median. */
static double print_row(const char *text, double *values, uint32_t cnt, double beside)
{
	qsort(values, cnt, sizeof(*values), compare);
	printf("%-44s %10.1f %10.1f %10.1f", text, values[cnt / 2], values[0], values[cnt - 1]);
	if (beside > 0)
		printf(" %10.2f", values[cnt / 2] / beside);
	printf("\n");
	return values[cnt / 2];
}

/* The program with the maps' descriptors in it, as a tool loads it. */
static struct bpf_insn *with_maps(const struct program *program, int *ret_fds)
{
	struct bpf_insn *insns = malloc(program->cnt * sizeof(*insns));

	if (!insns)
		fail(program->name, "no memory");
	memcpy(insns, program->insns, program->cnt * sizeof(*insns));
	for (uint32_t i = 0; i < program->map_cnt; i++) {
		const struct verifier_map *map = &program->maps[i];
		union bpf_attr attr = {.map_type = map->type,
				       .key_size = map->key_size,
				       .value_size = map->value_size,
				       .max_entries = map->max_entries,
				       .map_flags = map->flags};

		ret_fds[i] = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
		if (ret_fds[i] < 0)
			fail("map in the kernel", strerror(errno));
	}
	for (uint32_t i = 0; i < program->cnt; i++) {
		if (insns[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (insns[i].src_reg == BPF_PSEUDO_MAP_FD)
			insns[i].imm = ret_fds[insns[i].imm];
		i++;
	}
	return insns;
}

static double load_in_kernel(const struct program *program, const struct bpf_insn *insns)
{
	union bpf_attr attr = {.prog_type = KPROBE,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = program->cnt,
			       .license = (uintptr_t) "GPL"};
	double from = now_us(), took;
	int fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));

	took = now_us() - from;
	if (fd < 0)
		fail("program in the kernel", strerror(errno));
	close(fd);
	return took;
}

/* Each time with maps of its own, as a tool that is started again. */
static int load_only(const char *rounds_text)
{
	static double again[ROUNDS_MAX];
	double first = 0;

	rounds = (uint32_t)strtoul(rounds_text, NULL, 10);
	if (rounds < 2 || rounds >= ROUNDS_MAX)
		fail("usage", "compile load ROUNDS");
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		for (uint32_t k = 0; k < rounds; k++) {
			int fds[MAPS_MAX];
			struct bpf_insn *insns = with_maps(&programs[i], fds);
			double took = load_in_kernel(&programs[i], insns);

			*(k ? &again[k - 1] : &first) = took;
			for (uint32_t m = 0; m < programs[i].map_cnt; m++)
				close(fds[m]);
			free(insns);
		}
		qsort(again, rounds - 1, sizeof(*again), compare);
		printf("%s %.1f %.1f %.1f %.1f\n", programs[i].name, first, again[(rounds - 1) / 2],
		       again[0], again[rounds - 2]);
	}
	return 0;
}

/* Records as a region with @slots has them; memory one behind the other. */
static void make_records(const struct program *program, uint32_t slots, struct region_map *records)
{
	uint64_t data = REGION_MAPS;

	for (uint32_t i = 0; i < program->map_cnt; i++) {
		const struct verifier_map *map = &program->maps[i];

		records[i] = (struct region_map){.type = map->type,
						 .key_size = map->key_size,
						 .value_size = map->value_size,
						 .max_entries = map->max_entries,
						 .flags = map->flags,
						 .id = i + 1};
		/* Events go nowhere: nothing of them is measured. */
		if (map->type != BPF_MAP_TYPE_PERF_EVENT_ARRAY &&
		    rt_map_layout(&records[i], slots) < 0)
			fail("map", "there is none of its kind");
		records[i].data = data;
		data += (records[i].data_size + 4095) & ~4095ull;
	}
}

static double ask(struct worker *worker, const struct program *program, enum worker_task task,
		  uint32_t slots, struct worker_answer *ret_answer)
{
	struct region_map records[MAPS_MAX];
	const struct worker_request request = {.task = task,
					       .prog = {.insns = program->insns,
							.cnt = program->cnt,
							.type = KPROBE,
							.gpl = true,
							.maps = program->maps,
							.map_cnt = program->map_cnt},
					       .maps = records};
	struct reason reason;
	double from, took;

	make_records(program, slots, records);
	from = now_us();
	if (worker_ask(worker, &request, TIMEOUT_MS, ret_answer, &reason) < 0)
		fail("worker", reason.text);
	took = now_us() - from;
	if (ret_answer->verdict < 0 || (task != WORKER_VERIFY && !ret_answer->code))
		fail(program->name, ret_answer->no_code.text);
	return took;
}

static void measure_loads(struct worker *worker, const struct program *program)
{
	static double kernel[ROUNDS_MAX], fast[ROUNDS_MAX], verify[ROUNDS_MAX], full[ROUNDS_MAX];
	int fds[MAPS_MAX];
	cleanup_free struct bpf_insn *insns = with_maps(program, fds);
	struct worker_answer answer;
	double median;

	for (uint32_t i = 0; i < rounds; i++) {
		kernel[i] = load_in_kernel(program, insns);
		fast[i] = ask(worker, program, WORKER_LOAD, 2, &answer);
		verify[i] = (double)answer.verify_ns / 1e3;
		worker_answer_deinit(&answer);
		full[i] = ask(worker, program, WORKER_AGAIN, 2, &answer);
		worker_answer_deinit(&answer);
	}
	printf("%s, %u instructions\n", program->name, program->cnt);
	median = print_row("  kernel: PROG_LOAD", kernel, rounds, 0);
	print_row("  worker: answer with first code", fast, rounds, median);
	print_row("    of that the verifier", verify, rounds, median);
	print_row("  worker: better code", full, rounds, median);
	for (uint32_t i = 0; i < program->map_cnt; i++)
		close(fds[i]);
}

static __attribute__((noinline)) long bare(long a, long b)
{
	__asm__ volatile("");
	return a + b;
}

typedef long (*call_fn)(long, long);

/* The program at a stub of a region of our own. */
static call_fn set_up(struct worker *worker, unsigned char *base, const struct program *program,
		      enum worker_task task, size_t *ret_size)
{
	const struct region_attach attach = {.code = CODE_AT};
	struct region_map records[MAPS_MAX];
	struct code_map places[MAPS_MAX];
	struct worker_answer answer;

	make_records(program, 1, records);
	for (uint32_t i = 0; i < program->map_cnt; i++) {
		places[i] =
			(struct code_map){REGION_CODE + sizeof(records[i]) * i, records[i].data};
		memcpy(base + places[i].record, &records[i], sizeof(records[i]));
	}
	ask(worker, program, task, 1, &answer);
	if (code_place(answer.code, answer.code_len, answer.relocs, answer.reloc_cnt, CODE_AT,
		       places, program->map_cnt) < 0)
		fail(program->name, "its code cannot be put in place");
	memcpy(base + CODE_AT, answer.code, answer.code_len);
	*ret_size = answer.code_len;
	worker_answer_deinit(&answer);
	return (call_fn)fake_stub(base, 0, fake_site(base, 0, attach), bare);
}

static double time_calls(call_fn function)
{
	double from = now_us();

	for (uint32_t i = 0; i < hits; i++)
		function(i & 1023, 7);
	return (now_us() - from) * 1e3 / hits;
}

static ucontext_t here, there;
static call_fn painted;
static char *painted_sp;

static void on_painted_stack(void)
{
	painted_sp = __builtin_frame_address(0);
	painted(100, 7);
}

/* Bytes of stack below a caller's frame that a call touches. */
static size_t stack_of(call_fn function)
{
	static char stack[STACK_SIZE] __attribute__((aligned(64)));
	size_t at = 0;

	memset(stack, 0xa5, sizeof(stack));
	painted = function;
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof(stack);
	there.uc_link = &here;
	makecontext(&there, on_painted_stack, 0);
	swapcontext(&here, &there);
	while (at < sizeof(stack) && stack[at] == (char)0xa5)
		at++;
	return (size_t)(painted_sp - (stack + at));
}

static void measure_hits(struct worker *worker, const struct program *program)
{
	static const enum worker_task tasks[] = {WORKER_LOAD, WORKER_AGAIN};
	static double alone[ROUNDS_MAX], with[2][ROUNDS_MAX];
	size_t sizes[2], stacks[2];
	double base_ns;

	for (uint32_t i = 0; i < rounds / 10 + 1; i++) {
		alone[i] = time_calls(bare);
		for (int tier = 0; tier < 2; tier++) {
			unsigned char *base = fake_region(1);
			call_fn probed = set_up(worker, base, program, tasks[tier], &sizes[tier]);

			/* Its first call finds its maps' memory untouched. */
			probed(1, 2);
			stacks[tier] = stack_of(probed);
			with[tier][i] = time_calls(probed);
			fake_free(base);
		}
	}
	qsort(alone, rounds / 10 + 1, sizeof(*alone), compare);
	base_ns = alone[(rounds / 10 + 1) / 2];
	for (int tier = 0; tier < 2; tier++) {
		char text[64];

		for (uint32_t i = 0; i < rounds / 10 + 1; i++)
			with[tier][i] -= base_ns;
		snprintf(text, sizeof(text), "%s: %s, %zu bytes, stack %zu", program->name,
			 tier ? "better code" : "first code", sizes[tier], stacks[tier]);
		print_row(text, with[tier], rounds / 10 + 1, 0);
	}
}

/* A line of the status of the worker, which is the only child of its name; kB. */
static long worker_status(const char *name)
{
	DIR *dir = opendir("/proc");
	long value = -1;

	if (!dir)
		fail("/proc", strerror(errno));
	for (struct dirent *entry = readdir(dir); entry && value < 0; entry = readdir(dir)) {
		cleanup_free char *text = NULL;
		char path[300];
		const char *line;
		int parent = 0;

		snprintf(path, sizeof(path), "/proc/%s/status", entry->d_name);
		if (!atoi(entry->d_name) || read_file(AT_FDCWD, path, 65536, &text, NULL) < 0 ||
		    strncmp(text, "Name:\tbpfshim-worker", 20) != 0)
			continue;
		line = strstr(text, "\nPPid:");
		if (!line || sscanf(line, "\nPPid: %d", &parent) != 1 || parent != getpid())
			continue;
		line = strstr(text, name);
		if (line)
			sscanf(line + strlen(name), " %ld", &value);
	}
	closedir(dir);
	if (value < 0)
		fail("worker", "its memory cannot be read");
	return value;
}

static void print_memory(const char *text)
{
	printf("%-44s %10ld %10ld %10ld\n", text, worker_status("\nVmRSS:"),
	       worker_status("\nRssAnon:"), worker_status("\nVmHWM:"));
}

/* Each in a process of its own. */
static void measure_memory(void)
{
	const struct program *large = &programs[ARRAY_SIZE(programs) - 1];
	struct worker_answer answer;
	struct worker *worker;
	double from;

	if (worker_new(exe_fd, 0, &worker) < 0)
		fail("worker", "cannot be made");
	from = now_us();
	ask(worker, &programs[0], WORKER_VERIFY, 2, &answer);
	printf("worker, from nothing to its first verdict: %.1f ms\n\n", (now_us() - from) / 1e3);
	worker_answer_deinit(&answer);
	printf("%-44s %10s %10s %10s\n", "memory of a worker, kB", "resident", "own", "peak");
	print_memory("started");
	for (uint32_t i = 0; i < rounds; i++) {
		ask(worker, large, WORKER_LOAD, 2, &answer);
		worker_answer_deinit(&answer);
	}
	print_memory("after many programs, first code");
	for (uint32_t i = 0; i < rounds; i++) {
		ask(worker, large, WORKER_AGAIN, 2, &answer);
		worker_answer_deinit(&answer);
	}
	print_memory("after as many, better code");
	worker_free(worker);
}

int main(int argc, char **argv)
{
	struct worker *worker;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "load") == 0)
		return load_only(argv[2]);
	rounds = argc == 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	hits = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	if (!rounds || rounds >= ROUNDS_MAX || !hits)
		fail("usage", "compile WORKER ROUNDS HITS, or compile load ROUNDS");
	exe_fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (exe_fd < 0)
		fail(argv[1], strerror(errno));
	measure_memory();
	if (worker_new(exe_fd, 0, &worker) < 0)
		fail("worker", "cannot be made");
	printf("\n%-44s %10s %10s %10s %10s\n", "loading, µs", "median", "min", "max", "/ kernel");
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		measure_loads(worker, &programs[i]);
	printf("\n%-44s %10s %10s %10s\n", "added to a call, ns", "median", "min", "max");
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		measure_hits(worker, &programs[i]);
	worker_free(worker);
	return 0;
}
