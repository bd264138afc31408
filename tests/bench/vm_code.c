/* SPDX-License-Identifier: MIT */
/*
 * Compiled programs against the same source compiled for this machine, the kernel's compiler and
 * our interpreter. tests/bench/vm starts it.
 *
 * usage: vm-code ROUNDS OBJECT
 * Prints a line for each program, ns per run: natively, here (median, minimum, maximum), in the
 * kernel, interpreted; the ratio of the medians to the native one, and their geometric mean.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <math.h>

#include "tests/bench/vm_bench.h"
#include "tests/bench/vm_set.h"
#include "vm/interp/runtime.h"

#define NS_A_ROUND 3e6
#define REPEAT_MAX 1000000u

struct vm_input vm_in;
vm_u64 vm_out[VM_WORDS];

#define DECLARE(name) int native_##name(void);
VM_SET(DECLARE)

struct measured {
	const char *name;
	int (*native)(void);
	struct vm_prog prog;
	struct bpf_insn insns[VM_INSNS];
	uint32_t cnt;
	struct vm_times native_ns, ours, kernel, interp;
};
#define MEASURED(program) {.name = #program, .native = native_##program},
static struct measured set[] = {VM_SET(MEASURED)};

static struct vm_bench bench;
static struct interp_runtime runtime;
static uint64_t sink;

static void fill_input(void)
{
	uint64_t seed = 99;

	for (uint32_t i = 0; i < VM_WORDS; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		vm_in.words[i] = seed >> 13;
	}
	for (uint32_t i = 0; i < 1024; i++)
		vm_in.text[0][i] = vm_in.text[1][i] =
			(vm_u8)(i == 1023 ? 0 : 1 + vm_in.words[i % VM_WORDS] % 251);
	vm_in.cnt = 600;
}

/* Both sides' maps, one per map of the object in its order; the region's with the same contents. */
static void take_maps(struct bpf_object *object)
{
	static unsigned char contents[sizeof(vm_in) + sizeof(vm_out)];
	const uint32_t zero = 0;
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		const uint32_t index = bench.map_cnt;
		struct region_map *record = &bench.maps[index];
		const bool is_input = strstr(bpf_map__name(map), ".in");

		vm_map(&bench,
		       &(struct vm_map){BPF_MAP_TYPE_ARRAY, 4, bpf_map__value_size(map), 1, 0});
		close(bench.fds[index]);
		bench.fds[index] = bpf_map__fd(map);
		if (is_input)
			vm_check(bpf_map_update_elem(bench.fds[index], &zero, &vm_in, 0) == 0,
				 "the input");
		vm_check(bpf_map_lookup_elem(bench.fds[index], &zero, contents) == 0, "a map");
		memcpy(bench.base + record->data, contents, record->value_size);
	}
}

static uint32_t index_of(int fd)
{
	for (uint32_t i = 0; i < bench.map_cnt; i++)
		if (bench.fds[i] == fd)
			return i;
	vm_check(false, "a map of the program");
	return 0;
}

static void take_program(struct bpf_object *object, struct measured *m)
{
	struct bpf_program *program;
	char name[64];

	snprintf(name, sizeof(name), "bench_%s", m->name);
	program = bpf_object__find_program_by_name(object, name);
	vm_check(program != NULL, name);
	m->cnt = (uint32_t)bpf_program__insn_cnt(program);
	vm_check(m->cnt <= VM_INSNS, "the program's length");
	memcpy(m->insns, bpf_program__insns(program), m->cnt * sizeof(m->insns[0]));
	for (uint32_t i = 0; i < m->cnt; i++)
		if (m->insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) && m->insns[i].src_reg)
			m->insns[i].imm = (int32_t)index_of(m->insns[i].imm);
	vm_compile(&bench, m->insns, m->cnt, &m->prog);
	m->prog.fd = bpf_program__fd(program);
}

static double time_native(struct measured *m, uint32_t repeat)
{
	const double start = vm_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < repeat; i++)
		sink += (uint64_t)m->native();
	return (vm_ns(CLOCK_MONOTONIC) - start) / repeat;
}

static double time_ours(struct measured *m, uint32_t repeat)
{
	const double start = vm_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < repeat; i++)
		sink += vm_run(&bench, &m->prog, NULL, 0);
	return (vm_ns(CLOCK_MONOTONIC) - start) / repeat;
}

static uint32_t run_kernel(struct measured *m, uint32_t repeat)
{
	unsigned char packet[64] = {0};
	union bpf_attr attr = {.test = {.prog_fd = (uint32_t)m->prog.fd,
					.data_in = (uintptr_t)packet,
					.data_size_in = sizeof(packet),
					.repeat = repeat}};

	vm_check(sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)) == 0, "a run in the kernel");
	return attr.test.retval;
}

static double time_kernel(struct measured *m, uint32_t repeat)
{
	const double start = vm_ns(CLOCK_MONOTONIC);

	run_kernel(m, repeat);
	return (vm_ns(CLOCK_MONOTONIC) - start) / repeat;
}

static uint64_t run_interp(struct measured *m)
{
	struct interp interp = {.budget = 1ull << 30};
	const uint64_t args[5] = {0};
	struct reason reason = {0};
	uint64_t r0;

	interp_runtime_begin(&runtime, &interp);
	vm_check(interp_run(&interp, m->insns, m->cnt, args, &r0, &reason) == 0, reason.text);
	return r0;
}

static double time_interp(struct measured *m, uint32_t repeat)
{
	const double start = vm_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; i < repeat; i++)
		sink += run_interp(m);
	return (vm_ns(CLOCK_MONOTONIC) - start) / repeat;
}

/* All that is measured gives the same. */
static void check(struct measured *m)
{
	const uint32_t native = (uint32_t)m->native();

	vm_check((uint32_t)vm_run(&bench, &m->prog, NULL, 0) == native, "the same result");
	vm_check(run_kernel(m, 1) == native, "the same result of the kernel");
	vm_check((uint32_t)run_interp(m) == native, "the same result of the interpreter");
}

static uint32_t repeats(double ns)
{
	const double cnt = NS_A_ROUND / (ns > 0.5 ? ns : 0.5);

	return cnt < 2 ? 2 : cnt > REPEAT_MAX ? REPEAT_MAX : (uint32_t)cnt;
}

static void measure(struct measured *m, uint32_t rounds)
{
	const uint32_t native = repeats(time_native(m, 100)), ours = repeats(time_ours(m, 100)),
		       kernel = repeats(time_kernel(m, 100)), interp = repeats(time_interp(m, 2));

	for (uint32_t i = 0; i < rounds; i++) {
		m->native_ns.ns[m->native_ns.cnt++] = time_native(m, native);
		m->ours.ns[m->ours.cnt++] = time_ours(m, ours);
		m->kernel.ns[m->kernel.cnt++] = time_kernel(m, kernel);
		m->interp.ns[m->interp.cnt++] = time_interp(m, interp);
	}
}

static double print_times(struct vm_times *times)
{
	const double median = vm_median(times);

	printf(" %10.1f %10.1f %10.1f", median, times->ns[0], times->ns[times->cnt - 1]);
	return median;
}

static void report(void)
{
	double ours = 0, kernel = 0, interp = 0;

	printf("%-9s %32s %32s %32s %11s %7s %7s %7s\n", "ns a run", "native: median  min  max",
	       "here", "kernel", "interpreted", "here/", "kernel/", "int./");
	for (uint32_t i = 0; i < ARRAY_SIZE(set); i++) {
		struct measured *m = &set[i];
		double native, times[3];

		printf("%-9s", m->name);
		native = print_times(&m->native_ns);
		times[0] = print_times(&m->ours);
		times[1] = print_times(&m->kernel);
		times[2] = vm_median(&m->interp);
		printf(" %11.0f %7.2f %7.2f %7.0f\n", times[2], times[0] / native,
		       times[1] / native, times[2] / native);
		ours += log(times[0] / native);
		kernel += log(times[1] / native);
		interp += log(times[2] / native);
	}
	printf("geometric mean, of native: %.2f here, %.2f in the kernel, %.0f interpreted\n",
	       exp(ours / ARRAY_SIZE(set)), exp(kernel / ARRAY_SIZE(set)),
	       exp(interp / ARRAY_SIZE(set)));
}

int main(int argc, char **argv)
{
	const uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 0;
	struct bpf_object *object;

	vm_check(argc == 3 && rounds > 0 && rounds <= VM_ROUNDS_MAX,
		 "usage: vm-code ROUNDS OBJECT");
	fill_input();
	vm_init(&bench, 1);
	object = bpf_object__open_file(argv[2], NULL);
	vm_check(object && bpf_object__load(object) == 0, "the object");
	take_maps(object);
	runtime = (struct interp_runtime){
		.run = {.base = bench.base}, .maps = bench.maps, .map_cnt = bench.map_cnt};
	for (uint32_t i = 0; i < ARRAY_SIZE(set); i++) {
		take_program(object, &set[i]);
		check(&set[i]);
		measure(&set[i], rounds);
	}
	report();
	bpf_object__close(object);
	return 0;
}
