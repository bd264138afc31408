/* SPDX-License-Identifier: MIT */
/*
 * The verifier against the kernel's: what is accepted here the kernel accepts as well, for the
 * programs of the tables and for thousands of generated ones. The other way round the kernel knows
 * more; how often is printed. Needs root (and fails without).
 *
 * With a number as its argument it shows that generated program and both logs, with -v the logs of
 * those that are only refused here, with two numbers it tries programs from the first on for so
 * many seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/sys.h"
#include "tests/unit/func_types.h"
#include "tests/unit/verifier_cases.h"
#include "tests/unit/verifier_dynptr.h"
#include "tests/unit/verifier_flow.h"
#include "tests/unit/verifier_gen.h"
#include "tests/unit/verifier_inner.h"
#include "tests/unit/verifier_values.h"

#define PROGRAMS 12000
#define SECONDS	 12 /* at most; a slow machine does fewer programs */
#define LOG_SIZE (1u << 20)

static bool verbose;
static uint32_t first, seconds = SECONDS, programs = PROGRAMS;
static int map_fds[CASE_MAPS];
static int btf_fd;
static char kernel_log[LOG_SIZE], own_log[1u << 16];

#define FUNCS_MAX 8u

static void fill_and_freeze(int fd, const unsigned char *contents)
{
	uint32_t zero = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)fd, .key = (uintptr_t)&zero, .value = (uintptr_t)contents};

	assert_int_equal(sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	attr = (union bpf_attr){.map_fd = (uint32_t)fd};
	assert_int_equal(sys_bpf(BPF_MAP_FREEZE, &attr, sizeof(attr)), 0);
}

static int make_inner(const struct verifier_shape *shape)
{
	union bpf_attr attr = {
		.map_type = shape->type,
		.key_size = shape->key_size,
		.value_size = shape->value_size,
		.max_entries = shape->max_entries,
		.map_flags = shape->flags,
	};

	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int make_maps(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < CASE_MAPS; i++) {
		const struct verifier_map *map = &case_maps[i];
		union bpf_attr attr = {
			.map_type = map->type,
			.key_size = map->key_size,
			.value_size = map->value_size,
			.max_entries = map->max_entries,
			.map_flags = map->flags,
		};

		cleanup_fd int inner = map->inner.type ? make_inner(&map->inner) : -1;

		if (inner >= 0)
			attr.inner_map_fd = (uint32_t)inner;
		map_fds[i] = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
		assert_true(map_fds[i] >= 0);
		if (map->contents)
			fill_and_freeze(map_fds[i], map->contents);
	}
	btf_fd = func_types_load();
	assert_true(btf_fd >= 0);
	return 0;
}

static int drop_maps(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < CASE_MAPS; i++)
		close_fd(map_fds[i]);
	close_fd(btf_fd);
	return 0;
}

/* Return: 0 when the kernel accepts it, or its -errno. */
static int ask_kernel(const struct bpf_insn *insns, uint32_t cnt, bool gpl, uint32_t level)
{
	struct bpf_func_info funcs[FUNCS_MAX];
	struct bpf_insn copy[GEN_INSNS];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_KPROBE,
		.insns = (uintptr_t)copy,
		.insn_cnt = cnt,
		.license = (uintptr_t)(gpl ? "GPL" : "Proprietary"),
		.log_level = level,
		.log_buf = level ? (uintptr_t)kernel_log : 0,
		.log_size = level ? LOG_SIZE : 0,
	};
	int fd;

	assert_true(cnt <= GEN_INSNS);
	memcpy(copy, insns, cnt * sizeof(*copy));
	if (func_records_matter(insns, cnt)) {
		attr.func_info_cnt = func_records(insns, cnt, funcs, FUNCS_MAX);
		attr.prog_btf_fd = (uint32_t)btf_fd;
		attr.func_info = (uintptr_t)funcs;
		attr.func_info_rec_size = sizeof(funcs[0]);
	}
	for (uint32_t i = 0; i < cnt; i++)
		if (copy[i].code == (BPF_LD | BPF_IMM | BPF_DW) && copy[i].src_reg &&
		    copy[i].src_reg != BPF_PSEUDO_FUNC && (uint32_t)copy[i].imm < CASE_MAPS)
			copy[i].imm = map_fds[copy[i].imm];
	kernel_log[0] = '\0';
	fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		return fd;
	close_fd(fd);
	return 0;
}

static int ask_verifier(const struct bpf_insn *insns, uint32_t cnt, bool gpl)
{
	struct bpf_func_info funcs[FUNCS_MAX];
	const struct verifier_prog prog = {
		.insns = insns,
		.cnt = cnt,
		.type = BPF_PROG_TYPE_KPROBE,
		.gpl = gpl,
		.maps = case_maps,
		.map_cnt = CASE_MAPS,
		.info = func_info(insns, cnt, funcs, FUNCS_MAX),
	};
	struct verifier_log log = {.level = 1, .buf = own_log, .size = sizeof(own_log)};
	struct verifier_facts facts;

	own_log[0] = '\0';
	return verifier_check(&prog, &log, &facts);
}

/*
 * What is better known here than by the kernel: bounds of a quotient and of a remainder, signed
 * bounds of a shift to the left, that a 32-bit shift by a register leaves the upper half zero, bits
 * that survive a sign extension in a register, bits that two numbers have in common, that there may
 * be no multiple of a number within some bounds, that the lower half of a difference of addresses
 * is not negative. Each such instruction is replaced by one that tells nothing.
 */
static void know_less(struct bpf_insn *insn)
{
	uint8_t class = BPF_CLASS(insn->code), op = BPF_OP(insn->code);
	bool x = BPF_SRC(insn->code) == BPF_X;

	if (class == BPF_JMP || class == BPF_JMP32) {
		if (op == BPF_JSET)
			*insn = INSN_JMP_REG(BPF_JEQ, 10, 10, insn->off);
		return;
	}
	if (class != BPF_ALU && class != BPF_ALU64)
		return;
	if ((x && ((op == BPF_MOV && insn->off) || (op == BPF_SUB && class == BPF_ALU))) ||
	    (op == BPF_NEG && class == BPF_ALU))
		*insn = INSN_LDX(BPF_DW, insn->dst_reg, 10, -512);
	else if (op == BPF_DIV || op == BPF_MOD || op == BPF_LSH || op == BPF_MUL ||
		 ((op == BPF_RSH || op == BPF_ARSH) && x && class == BPF_ALU) ||
		 (op == BPF_AND && !x && insn->imm < 0 && !(insn->imm & 7)))
		*insn = INSN_RAW(BPF_ALU64 | BPF_DIV | BPF_SRC(insn->code), insn->dst_reg,
				 insn->src_reg, 1, x ? 0 : 1);
}

/*
 * Linux 6.18 remembers of a copy what was added to it, and takes that for a part of the offset when
 * the copy is added to a pointer; and it looks at -1 and 0 one by one when bits are taken from
 * them.
 */
static bool is_far_offset(const struct bpf_insn *insns, uint32_t cnt)
{
	const char *added = strstr(kernel_log, "pointer offset "),
		   *taken = strstr(kernel_log, "math between map_value pointer and ");
	long long off = 0;

	if ((!added || sscanf(added, "pointer offset %lld is not allowed", &off) != 1) &&
	    (!taken || sscanf(taken, "math between map_value pointer and %lld is", &off) != 1))
		return false;
	for (uint32_t i = 0; i < cnt; i++) {
		uint8_t class = BPF_CLASS(insns[i].code);

		if ((class == BPF_ALU || class == BPF_ALU64) && BPF_SRC(insns[i].code) == BPF_K &&
		    (insns[i].imm == off || insns[i].imm == -off))
			return true;
	}
	return false;
}

/* With that the program must be refused here as well. */
static bool is_explained(const struct bpf_insn *insns, uint32_t cnt, bool gpl)
{
	struct bpf_insn copy[GEN_INSNS + 3] = {
		INSN_LDX(BPF_DW, 0, 1, 0),
		INSN_STX(BPF_DW, 10, 0, -512),
		INSN_MOV64_IMM(0, 0),
	};

	memcpy(copy + 3, insns, cnt * sizeof(*copy));
	for (uint32_t i = 3; i < cnt + 3; i++)
		know_less(&copy[i]);
	if (ask_verifier(copy, cnt + 3, gpl) < 0)
		return true;
	ask_kernel(insns, cnt, gpl, 1);
	return is_far_offset(insns, cnt);
}

/* Return: number of programs on which the kernel is stricter. */
static int compare_cases(const struct verifier_case *cases, size_t cnt)
{
	int wrong = 0, stricter = 0, errnos = 0;

	for (size_t i = 0; i < cnt; i++) {
		const struct verifier_case *test = &cases[i];
		uint32_t len = case_cnt(test);
		int own = ask_verifier(test->insns, len, !test->no_gpl);
		int kernel = ask_kernel(test->insns, len, !test->no_gpl, 1);

		if (own == 0 && kernel < 0 && !is_explained(test->insns, len, !test->no_gpl)) {
			print_error("%s: the kernel says %d: %s\n", test->name, kernel, kernel_log);
			wrong++;
		} else if (own < 0 && kernel == 0) {
			print_message("stricter than the kernel: %s\n", test->name);
			stricter++;
		} else if (own < 0 && own != kernel && own != -EOPNOTSUPP) {
			print_message("%s: %d, the kernel %d: %s\n", test->name, own, kernel,
				      kernel_log);
			errnos++;
		}
	}
	print_message("%zu programs, stricter %d, another errno %d\n", cnt, stricter, errnos);
	return wrong;
}

static void test_cases(void **state)
{
	(void)state;
	assert_int_equal(compare_cases(verifier_cases, ARRAY_SIZE(verifier_cases)), 0);
	assert_int_equal(compare_cases(verifier_value_cases, ARRAY_SIZE(verifier_value_cases)), 0);
	assert_int_equal(compare_cases(verifier_flow_cases, ARRAY_SIZE(verifier_flow_cases)), 0);
	assert_int_equal(compare_cases(verifier_inner_cases, ARRAY_SIZE(verifier_inner_cases)), 0);
	assert_int_equal(compare_cases(verifier_dynptr_cases, ARRAY_SIZE(verifier_dynptr_cases)),
			 0);
}

/* What is said of dynptrs is what the kernel says. */
static void test_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(verifier_dynptr_cases); i++) {
		const struct verifier_case *test = &verifier_dynptr_cases[i];

		if (!test->log || test->error == -EOPNOTSUPP)
			continue;
		assert_int_equal(ask_kernel(test->insns, case_cnt(test), true, 1), test->error);
		if (!strstr(kernel_log, test->log))
			fail_msg("%s: \"%s\" is not in %s", test->name, test->log, kernel_log);
	}
}

static void test_generated(void **state)
{
	uint32_t both = 0, neither = 0, stricter = 0, explained = 0, wrong = 0;
	uint32_t number;
	time_t end = time(NULL) + (time_t)seconds;

	(void)state;
	for (number = first; number - first < programs && time(NULL) <= end; number++) {
		struct gen gen;
		int own, kernel;

		gen_program(&gen, number);
		own = ask_verifier(gen.insns, gen.cnt, true);
		/* A million instructions take the kernel long, and it is no wiser then. */
		kernel = own == -E2BIG ? own : ask_kernel(gen.insns, gen.cnt, true, 0);
		assert_true(own != -EFAULT && own != -ENOMEM);
		both += own == 0 && kernel == 0;
		neither += own < 0 && kernel < 0;
		stricter += own < 0 && kernel == 0;
		if (own < 0 && kernel == 0 && verbose)
			print_message("stricter on program %u: %s\n", number, own_log);
		if (own == 0 && kernel < 0 && is_explained(gen.insns, gen.cnt, true)) {
			explained++;
		} else if (own == 0 && kernel < 0) {
			wrong++;
			print_error("program %u: the kernel says %d\n", number, kernel);
		}
	}
	print_message("%u programs: both accept %u, both refuse %u, stricter than the kernel "
		      "%u, only accepted here, for what is known better, %u\n",
		      number - first, both, neither, stricter, explained);
	assert_int_equal(wrong, 0);
	assert_true(both > (number - first) / 10 && neither > (number - first) / 10);
}

static void show(uint32_t number)
{
	struct gen gen;
	int own, kernel;

	gen_program(&gen, number);
	own = ask_verifier(gen.insns, gen.cnt, true);
	kernel = ask_kernel(gen.insns, gen.cnt, true, 2);
	printf("%s\nhere %d: %skernel %d\n", kernel_log, own, own_log, kernel);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_generated),
	};

	if (argc > 2) {
		first = (uint32_t)strtoul(argv[1], NULL, 0);
		seconds = (uint32_t)strtoul(argv[2], NULL, 0);
		programs = UINT32_MAX;
		return cmocka_run_group_tests(tests, make_maps, drop_maps);
	}
	verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	if (argc < 2 || verbose)
		return cmocka_run_group_tests(tests, make_maps, drop_maps);
	make_maps(NULL);
	show((uint32_t)strtoul(argv[1], NULL, 0));
	return drop_maps(NULL);
}
