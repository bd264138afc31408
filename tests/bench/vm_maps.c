/* SPDX-License-Identifier: MIT */
/*
 * What operations of maps and helpers cost inside a program, here and in the kernel: loops of them,
 * less the loop alone. tests/bench/maps starts it.
 *
 * usage: vm-maps ROUNDS
 * Prints a line for each: name, ns per operation here (median, minimum, maximum), in the kernel,
 * and the ratio of the medians; then what a per-CPU hash costs when 1 to 8 threads use it, in ns of
 * processor time.
 */
#include <pthread.h>

#include "tests/bench/vm_bench.h"

#define TURNS	 4096
#define KEYS	 1024u
#define REPEATS	 20 /* runs of a program in a round */
#define THREADS	 8u
#define KEY_AT	 (-16)
#define VALUE_AT (-24)

static struct vm_bench bench;

enum { ARRAY, PERCPU, HASH, PERCPU_HASH, LRU, TRIE, QUEUE, STACK, BLOOM, MAPS };

static const struct vm_map maps[MAPS] = {
	[ARRAY] = {BPF_MAP_TYPE_ARRAY, 4, 8, KEYS, 0},
	[PERCPU] = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, KEYS, 0},
	[HASH] = {BPF_MAP_TYPE_HASH, 8, 8, 2 * KEYS, 0},
	[PERCPU_HASH] = {BPF_MAP_TYPE_PERCPU_HASH, 8, 8, 2 * KEYS, 0},
	[LRU] = {BPF_MAP_TYPE_LRU_HASH, 8, 8, 4 * KEYS, 0},
	[TRIE] = {BPF_MAP_TYPE_LPM_TRIE, 8, 8, 2 * KEYS, BPF_F_NO_PREALLOC},
	[QUEUE] = {BPF_MAP_TYPE_QUEUE, 0, 8, 64, 0},
	[STACK] = {BPF_MAP_TYPE_STACK, 0, 8, 64, 0},
	[BLOOM] = {BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, KEYS, 0},
};

/* Of the turn's number in r0: r1 is the map, r2 the key or value. */
enum what {
	NOTHING,
	LOOKUP,
	MISS, /* a key that is not there */
	UPDATE,
	INSERT_DELETE,
	PUSH_POP,
	PEEK,
	HELPER,
};

struct operation {
	const char *name;
	enum what what;
	uint32_t map; /* or helper */
};

static const struct operation operations[] = {
	{"the loop alone", NOTHING, HASH},
	{"array lookup", LOOKUP, ARRAY},
	{"per-CPU array lookup", LOOKUP, PERCPU},
	{"hash lookup", LOOKUP, HASH},
	{"hash lookup, not there", MISS, HASH},
	{"hash update", UPDATE, HASH},
	{"hash insert and delete", INSERT_DELETE, HASH},
	{"per-CPU hash lookup", LOOKUP, PERCPU_HASH},
	{"per-CPU hash update", UPDATE, PERCPU_HASH},
	{"LRU hash lookup", LOOKUP, LRU},
	{"LRU hash update", UPDATE, LRU},
	{"LPM trie lookup", LOOKUP, TRIE},
	{"LPM trie update", UPDATE, TRIE},
	{"queue push and pop", PUSH_POP, QUEUE},
	{"stack push and pop", PUSH_POP, STACK},
	{"bloom filter peek", PEEK, BLOOM},
	{"ktime_get_ns", HELPER, BPF_FUNC_ktime_get_ns},
	{"get_prandom_u32", HELPER, BPF_FUNC_get_prandom_u32},
	{"get_current_pid_tgid", HELPER, BPF_FUNC_get_current_pid_tgid},
	{"get_smp_processor_id", HELPER, BPF_FUNC_get_smp_processor_id},
};
#define OPERATIONS ARRAY_SIZE(operations)

static struct bpf_insn insns[128];
static uint32_t cnt;

#define PUT(...)                                                                                   \
	do {                                                                                       \
		const struct bpf_insn put[] = {__VA_ARGS__};                                       \
		memcpy(&insns[cnt], put, sizeof(put));                                             \
		cnt += ARRAY_SIZE(put);                                                            \
	} while (0)
#define AT(reg, off)	 INSN_MOV64_REG(reg, 10), INSN_ALU64_IMM(BPF_ADD, reg, off)
#define LD_MAP(reg, map) INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_FD, map)

static void put_key(const struct operation *op)
{
	/* Through all keys, but not one after the other. */
	PUT(INSN_MOV64_REG(0, 6), INSN_ALU64_IMM(BPF_MUL, 0, 389),
	    INSN_ALU64_IMM(BPF_AND, 0, KEYS - 1));
	if (op->what == MISS || op->what == INSERT_DELETE)
		PUT(INSN_ALU64_IMM(BPF_ADD, 0, 1 << 20));
	if (op->what != HELPER && op->map == TRIE)
		PUT(INSN_ALU64_IMM(BPF_LSH, 0, 32), INSN_ALU64_IMM(BPF_OR, 0, 32));
	PUT(INSN_STX(BPF_DW, 10, 0, KEY_AT));
}

static void put_operation(const struct operation *op)
{
	switch (op->what) {
	case NOTHING:
		PUT(INSN_LDX(BPF_DW, 0, 10, KEY_AT), INSN_ALU64_REG(BPF_ADD, 7, 0));
		break;
	case LOOKUP:
	case MISS:
		PUT(LD_MAP(1, op->map), AT(2, KEY_AT), INSN_CALL(BPF_FUNC_map_lookup_elem),
		    INSN_JMP_IMM(BPF_JEQ, 0, 0, 2), INSN_LDX(BPF_DW, 0, 0, 0),
		    INSN_ALU64_REG(BPF_ADD, 7, 0));
		break;
	case UPDATE:
	case INSERT_DELETE:
		PUT(LD_MAP(1, op->map), AT(2, KEY_AT), AT(3, VALUE_AT), INSN_MOV64_IMM(4, 0),
		    INSN_CALL(BPF_FUNC_map_update_elem), INSN_ALU64_REG(BPF_ADD, 7, 0));
		if (op->what == INSERT_DELETE)
			PUT(LD_MAP(1, op->map), AT(2, KEY_AT), INSN_CALL(BPF_FUNC_map_delete_elem));
		break;
	case PUSH_POP:
		PUT(LD_MAP(1, op->map), AT(2, KEY_AT), INSN_MOV64_IMM(3, 0),
		    INSN_CALL(BPF_FUNC_map_push_elem), LD_MAP(1, op->map), AT(2, VALUE_AT),
		    INSN_CALL(BPF_FUNC_map_pop_elem), INSN_ALU64_REG(BPF_ADD, 7, 0));
		break;
	case PEEK:
		PUT(LD_MAP(1, op->map), AT(2, KEY_AT), INSN_CALL(BPF_FUNC_map_peek_elem),
		    INSN_ALU64_REG(BPF_ADD, 7, 0));
		break;
	case HELPER:
		PUT(INSN_CALL((int32_t)op->map), INSN_ALU64_REG(BPF_ADD, 7, 0));
		break;
	}
}

static void build(const struct operation *op)
{
	uint32_t start;

	cnt = 0;
	PUT(INSN_MOV64_IMM(6, 0), INSN_MOV64_IMM(7, 0), INSN_ST(BPF_DW, 10, VALUE_AT, 1));
	start = cnt;
	put_key(op);
	put_operation(op);
	PUT(INSN_ALU64_IMM(BPF_ADD, 6, 1),
	    INSN_JMP_IMM(BPF_JLT, 6, TURNS, (int16_t)((int)start - (int)cnt - 2)),
	    INSN_MOV64_REG(0, 7), INSN_EXIT());
}

static void fill(void)
{
	for (uint32_t i = 0; i < MAPS; i++)
		vm_map(&bench, &maps[i]);
	for (uint64_t i = 0; i < KEYS; i++) {
		const uint64_t values[64] = {i}, prefix = i << 32 | 32;

		for (uint32_t map = ARRAY; map < QUEUE; map++)
			vm_put(&bench, map, map == TRIE ? &prefix : &i, values);
		if (i % 2)
			vm_put(&bench, BLOOM, NULL, &i);
	}
}

/* ns an operation takes. */
static double time_ours(const struct vm_prog *prog, uint32_t slot, clockid_t clock)
{
	const double start = vm_ns(clock);

	for (uint32_t i = 0; i < REPEATS; i++)
		vm_run(&bench, prog, NULL, slot);
	return (vm_ns(clock) - start) / REPEATS / TURNS;
}

static double time_kernel(const struct vm_prog *prog, clockid_t clock)
{
	const double start = vm_ns(clock);

	for (uint32_t i = 0; i < REPEATS; i++) {
		union bpf_attr attr = {.test = {.prog_fd = (uint32_t)prog->fd}};

		vm_check(sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)) == 0, "a run");
	}
	return (vm_ns(clock) - start) / REPEATS / TURNS;
}

static void print_times(struct vm_times *times, double less)
{
	const double median = vm_median(times);

	printf(" %8.2f %8.2f %8.2f", median - less, times->ns[0] - less,
	       times->ns[times->cnt - 1] - less);
}

static void compare_operations(uint32_t rounds)
{
	static struct vm_times ours[OPERATIONS], kernel[OPERATIONS];
	struct vm_prog progs[OPERATIONS];
	double base, kernel_base;

	for (uint32_t i = 0; i < OPERATIONS; i++) {
		build(&operations[i]);
		vm_compile(&bench, insns, cnt, &progs[i]);
		vm_load(&bench, insns, cnt, BPF_PROG_TYPE_RAW_TRACEPOINT, &progs[i]);
	}
	for (uint32_t round = 0; round < rounds; round++)
		for (uint32_t i = 0; i < OPERATIONS; i++) {
			ours[i].ns[ours[i].cnt++] = time_ours(&progs[i], 0, CLOCK_MONOTONIC);
			kernel[i].ns[kernel[i].cnt++] = time_kernel(&progs[i], CLOCK_MONOTONIC);
		}
	printf("%-26s %26s %26s %8s\n", "ns per operation", "here: median  min  max", "kernel",
	       "ratio");
	base = vm_median(&ours[0]);
	kernel_base = vm_median(&kernel[0]);
	for (uint32_t i = 0; i < OPERATIONS; i++) {
		printf("%-26s", operations[i].name);
		print_times(&ours[i], i ? base : 0);
		print_times(&kernel[i], i ? kernel_base : 0);
		printf(" %8.2f\n", (vm_median(&ours[i]) - (i ? base : 0)) /
					   (vm_median(&kernel[i]) - (i ? kernel_base : 0)));
	}
}

/* One of several threads that do the same at once. */
struct thread {
	pthread_t id;
	pthread_barrier_t *start;
	const struct vm_prog *prog;
	uint32_t slot;
	bool in_kernel;
	double ns;
};

static void *run_thread(void *arg)
{
	struct thread *thread = arg;

	pthread_barrier_wait(thread->start);
	for (uint32_t i = 0; i < 5; i++)
		thread->ns +=
			(thread->in_kernel
				 ? time_kernel(thread->prog, CLOCK_THREAD_CPUTIME_ID)
				 : time_ours(thread->prog, thread->slot, CLOCK_THREAD_CPUTIME_ID)) /
			5;
	return NULL;
}

/* Mean of processor time. */
static double with_threads(const struct vm_prog *prog, uint32_t threads, bool in_kernel)
{
	struct thread all[THREADS] = {0};
	pthread_barrier_t start;
	double sum = 0;

	pthread_barrier_init(&start, NULL, threads);
	for (uint32_t i = 0; i < threads; i++) {
		all[i] = (struct thread){
			.start = &start, .prog = prog, .slot = i, .in_kernel = in_kernel};
		vm_check(pthread_create(&all[i].id, NULL, run_thread, &all[i]) == 0, "a thread");
	}
	for (uint32_t i = 0; i < threads; i++) {
		pthread_join(all[i].id, NULL);
		sum += all[i].ns / threads;
	}
	pthread_barrier_destroy(&start);
	return sum;
}

static void compare_threads(uint32_t rounds)
{
	static const struct operation ops[] = {
		{"per-CPU hash lookup", LOOKUP, PERCPU_HASH},
		{"per-CPU hash update", UPDATE, PERCPU_HASH},
		{"hash lookup", LOOKUP, HASH},
		{"hash update", UPDATE, HASH},
	};

	printf("\n%-26s %8s %26s %26s\n", "ns of processor time", "threads",
	       "here: median  min  max", "kernel");
	for (uint32_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct vm_prog prog;

		build(&ops[i]);
		vm_compile(&bench, insns, cnt, &prog);
		vm_load(&bench, insns, cnt, BPF_PROG_TYPE_RAW_TRACEPOINT, &prog);
		for (uint32_t threads = 1; threads <= THREADS; threads *= 2) {
			struct vm_times ours = {0}, kernel = {0};

			for (uint32_t round = 0; round < rounds; round++) {
				ours.ns[ours.cnt++] = with_threads(&prog, threads, false);
				kernel.ns[kernel.cnt++] = with_threads(&prog, threads, true);
			}
			printf("%-26s %8u", ops[i].name, threads);
			print_times(&ours, 0);
			print_times(&kernel, 0);
			printf("\n");
		}
		close(prog.fd);
	}
}

int main(int argc, char **argv)
{
	const uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 9;

	vm_check(rounds > 0 && rounds <= VM_ROUNDS_MAX, "rounds: 1 to 101");
	vm_init(&bench, THREADS);
	fill();
	compare_operations(rounds);
	compare_threads(rounds);
	return 0;
}
