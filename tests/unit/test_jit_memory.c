/* SPDX-License-Identifier: MIT */
/*
 * Map memory is hostile: compiled code touches it exactly as often as the program does. The page is
 * made inaccessible and every access counted as it faults; the instruction is then let through
 * alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <ucontext.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"

#define TRAP_FLAG 0x100

static struct jit_region region;
static unsigned char *page;
static volatile unsigned accesses;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	unsigned char *at = info->si_addr;

	if (at < page || at >= page + 4096)
		abort();
	accesses++;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	mprotect(page, 4096, PROT_NONE);
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static unsigned count(const struct bpf_insn *insns, uint32_t cnt, uint64_t expected)
{
	const struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	const struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
	struct sigaction old;
	int r = jit_region_compile(&region, insns, cnt);
	uint64_t got;

	if (r < 0)
		fail_msg("%d: %s", r, region.reason.text);
	accesses = 0;
	sigaction(SIGSEGV, &fault, &old);
	sigaction(SIGTRAP, &step, NULL);
	mprotect(page, 4096, PROT_NONE);
	got = jit_region_call(&region, page);
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
	signal(SIGTRAP, SIG_DFL);
	sigaction(SIGSEGV, &old, NULL);
	assert_int_equal(got, expected);
	return accesses;
}

#define COUNT(expected, ...)                                                                       \
	({                                                                                         \
		const struct bpf_insn count_insns[] = {__VA_ARGS__};                               \
		count(count_insns, ARRAY_SIZE(count_insns), expected);                             \
	})

static int setup(void **state)
{
	int r = jit_region_init(&region);

	page = region.base + REGION_MAPS;
	return r;
}

static int teardown(void **state)
{
	jit_region_deinit(&region);
	return 0;
}

/* Loaded once, used in a check and twice behind it. */
static void test_one_load(void **state)
{
	page[0] = 3;
	assert_int_equal(COUNT(9, INSN_LDX(BPF_W, BPF_REG_0, BPF_REG_1, 0),
			       INSN_JMP_IMM(BPF_JGT, BPF_REG_0, 3, 1),
			       INSN_ALU64_REG(BPF_MUL, BPF_REG_0, BPF_REG_0), INSN_EXIT()),
			 1);
}

/* Two loads of one place are two: the second may not be what the first was. */
static void test_two_loads(void **state)
{
	page[8] = 1;
	assert_int_equal(COUNT(0, INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_1, 8),
			       INSN_LDX(BPF_DW, BPF_REG_2, BPF_REG_1, 8),
			       INSN_ALU64_REG(BPF_SUB, BPF_REG_0, BPF_REG_2), INSN_EXIT()),
			 2);
}

static void test_stores(void **state)
{
	assert_int_equal(COUNT(0, INSN_MOV64_IMM(BPF_REG_0, 0), INSN_ST(BPF_W, BPF_REG_1, 16, 1),
			       INSN_ST(BPF_W, BPF_REG_1, 16, 2),
			       INSN_STX(BPF_H, BPF_REG_1, BPF_REG_0, 16),
			       INSN_STX(BPF_H, BPF_REG_1, BPF_REG_0, 18), INSN_EXIT()),
			 4);
}

static void test_store_then_load(void **state)
{
	assert_int_equal(COUNT(5, INSN_ST(BPF_DW, BPF_REG_1, 24, 5),
			       INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_1, 24), INSN_EXIT()),
			 2);
}

static void test_atomic(void **state)
{
	const uint8_t code = BPF_STX | BPF_ATOMIC | BPF_DW;

	memset(page + 32, 0, 8);
	assert_int_equal(COUNT(0, INSN_MOV64_IMM(BPF_REG_0, 0), INSN_MOV64_IMM(BPF_REG_2, 1),
			       INSN_RAW(code, BPF_REG_1, BPF_REG_2, 32, BPF_ADD),
			       INSN_RAW(code, BPF_REG_1, BPF_REG_2, 32, BPF_ADD),
			       INSN_RAW(code, BPF_REG_1, BPF_REG_2, 32, BPF_CMPXCHG),
			       INSN_MOV64_IMM(BPF_REG_0, 0), INSN_EXIT()),
			 3);
	assert_int_equal(page[32], 2);
}

/* The index of an array that stands in a map itself is read once, checked and used. */
static void test_index(void **state)
{
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 8, 4, REGION_MAPS + 0x10000);
	memset(page + 40, 0, 4);
	page[40] = 3;
	assert_int_equal(COUNT((uintptr_t)region.base + REGION_MAPS + 0x10000 + 24,
			       INSN_MOV64_REG(BPF_REG_2, BPF_REG_1),
			       INSN_ALU64_IMM(BPF_ADD, BPF_REG_2, 40),
			       INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_FD, 0),
			       INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_EXIT()),
			 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_load),	    TEST(test_two_loads), TEST(test_stores),
		TEST(test_store_then_load), TEST(test_atomic),	  TEST(test_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
