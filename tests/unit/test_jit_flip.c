/* SPDX-License-Identifier: MIT */
/*
 * A number in map memory changes between a program's check and its use, as fast as another thread
 * can change it, in code whose registers are scarce, so that it would pay to read it again: no
 * access leaves its bounds, which end where there is no memory, and each load is made once.
 *
 * With a number as its argument it goes on for so many seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <ucontext.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"

#define SECONDS	  4
#define PAGE	  4096u
#define DATA_SIZE 64u
#define TRAP_FLAG 0x100
/* Of the map's value, which ends where the page does: what flips, and what it leads to. */
#define NUMBER 0
#define LIMIT  (DATA_SIZE - 8)

static struct jit_region region;
static unsigned char *page, *data;
static uint32_t seconds = SECONDS;
static atomic_bool stop;
static atomic_ulong flips;
static sigjmp_buf escape;
static volatile unsigned accesses;

/* r9 is the value's address; r6 and r7 the number as it was loaded. */
#define BEGIN	INSN_LD_IMM64_SRC(9, BPF_PSEUDO_MAP_VALUE, 0)
#define RET0	INSN_MOV64_IMM(0, 0), INSN_EXIT()
#define LOADED	INSN_LDX(BPF_W, 6, 9, NUMBER)
#define CHECKED INSN_JMP_IMM(BPF_JGT, 6, LIMIT, 3)
/* Behind CHECKED, which leaves for what follows here. */
#define USED INSN_ALU64_REG(BPF_ADD, 6, 9), INSN_LDX(BPF_DW, 0, 6, 0), INSN_EXIT(), RET0

struct flip {
	const char *name;
	unsigned loads; /* of the page */
	struct bpf_insn insns[64];
};

static const struct flip flip_cases[] = {
	{"plain", 2, {BEGIN, LOADED, CHECKED, USED}},
	{"copied before the check",
	 2,
	 {BEGIN, LOADED, INSN_MOV64_REG(7, 6), INSN_JMP_IMM(BPF_JGT, 7, LIMIT, 3), USED}},
	{"checked as 32 bits",
	 2,
	 {BEGIN, LOADED, INSN_RAW(BPF_JMP32 | BPF_JGT | BPF_K, 6, 0, 3, LIMIT), USED}},
	{"signed, checked at both ends",
	 2,
	 {BEGIN, INSN_RAW(BPF_LDX | JIT_MEMSX | BPF_W, 6, 9, NUMBER, 0),
	  INSN_JMP_IMM(BPF_JSLT, 6, 0, 4), INSN_JMP_IMM(BPF_JSGT, 6, LIMIT, 3), USED}},
	{"masked",
	 2,
	 {BEGIN, LOADED, INSN_ALU64_IMM(BPF_AND, 6, LIMIT), INSN_ALU64_REG(BPF_ADD, 6, 9),
	  INSN_LDX(BPF_DW, 0, 6, 0), INSN_EXIT()}},
	{"a call between check and use",
	 2,
	 {BEGIN, LOADED, INSN_JMP_IMM(BPF_JGT, 6, LIMIT, 4), INSN_CALL(BPF_FUNC_ktime_get_ns),
	  USED}},
	{"used twice, once each way",
	 3,
	 {BEGIN, LOADED, INSN_JMP_IMM(BPF_JGT, 6, LIMIT, 7), INSN_MOV64_REG(7, 9),
	  INSN_ALU64_REG(BPF_ADD, 7, 6), INSN_STX(BPF_DW, 7, 6, 0), INSN_ALU64_REG(BPF_ADD, 6, 9),
	  INSN_MOV64_IMM(1, 3), INSN_STX(BPF_B, 6, 1, 7), INSN_MOV64_IMM(0, 0), RET0}},
	/* All registers are wanted behind the check: the number would be spilled, or read again. */
	{"no register to spare",
	 11,
	 {BEGIN,
	  LOADED,
	  INSN_JMP_IMM(BPF_JGT, 6, LIMIT, 22),
	  INSN_LDX(BPF_DW, 0, 9, 8),
	  INSN_LDX(BPF_DW, 1, 9, 16),
	  INSN_LDX(BPF_DW, 2, 9, 24),
	  INSN_LDX(BPF_DW, 3, 9, 32),
	  INSN_LDX(BPF_DW, 4, 9, 40),
	  INSN_LDX(BPF_DW, 5, 9, 48),
	  INSN_LDX(BPF_DW, 7, 9, 56),
	  INSN_LDX(BPF_DW, 8, 9, 12),
	  INSN_STX(BPF_DW, 10, 0, -8),
	  INSN_STX(BPF_DW, 10, 1, -16),
	  INSN_ALU64_REG(BPF_MUL, 0, 1),
	  INSN_ALU64_REG(BPF_XOR, 0, 2),
	  INSN_ALU64_REG(BPF_MUL, 0, 3),
	  INSN_ALU64_REG(BPF_XOR, 0, 4),
	  INSN_ALU64_REG(BPF_MUL, 0, 5),
	  INSN_ALU64_REG(BPF_XOR, 0, 7),
	  INSN_ALU64_REG(BPF_MUL, 0, 8),
	  INSN_ALU64_REG(BPF_ADD, 9, 6),
	  INSN_LDX(BPF_DW, 1, 9, 0),
	  INSN_ALU64_REG(BPF_XOR, 0, 1),
	  INSN_STX(BPF_B, 9, 0, 7),
	  INSN_JA(0),
	  RET0}},
	/* Over r10, which others do not see. */
	{"spilled and filled",
	 2,
	 {BEGIN, LOADED, INSN_STX(BPF_DW, 10, 6, -8), INSN_JMP_IMM(BPF_JGT, 6, LIMIT, 4),
	  INSN_LDX(BPF_DW, 6, 10, -8), USED}},
	/* The key of a lookup that is built in place: checked and multiplied. */
	{"key in a map",
	 2,
	 {BEGIN, INSN_MOV64_REG(2, 9), INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_FD, 1),
	  INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_JMP_IMM(BPF_JEQ, 0, 0, 2),
	  INSN_LDX(BPF_DW, 0, 0, 0), INSN_EXIT(), RET0}},
	/* A loop whose end is read once. */
	{"bound of a loop",
	 9,
	 {BEGIN, LOADED, INSN_JMP_IMM(BPF_JGT, 6, 8, 8), INSN_MOV64_IMM(7, 0),
	  INSN_JMP_REG(BPF_JGE, 7, 6, 6), INSN_MOV64_REG(1, 7), INSN_ALU64_IMM(BPF_LSH, 1, 3),
	  INSN_ALU64_REG(BPF_ADD, 1, 9), INSN_LDX(BPF_DW, 0, 1, 0), INSN_ALU64_IMM(BPF_ADD, 7, 1),
	  INSN_JA(-7), RET0}},
};

static uint32_t insn_cnt(const struct flip *flip)
{
	uint32_t cnt = ARRAY_SIZE(flip->insns);

	while (!flip->insns[cnt - 1].code)
		cnt--;
	return cnt;
}

static uint64_t ktime(void)
{
	return 5;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	siglongjmp(escape, 1);
}

static void on_access(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	unsigned char *at = info->si_addr;

	(void)sig;
	if (at < page || at >= page + PAGE)
		abort();
	accesses++;
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig, (void)info;
	mprotect(page, PAGE, PROT_NONE);
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *))
{
	const struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigaction(sig, &action, NULL);
}

/* In bounds and far out of them, in turn. */
static void *flipper(void *arg)
{
	static const uint32_t numbers[] = {8, UINT32_MAX, 0, DATA_SIZE, 7, 0x80000000, LIMIT, PAGE};
	volatile uint32_t *number = (void *)(data + NUMBER);

	(void)arg;
	for (unsigned i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
		*number = numbers[i % ARRAY_SIZE(numbers)];
		*number = numbers[(i >> 8) % ARRAY_SIZE(numbers)];
		if (i % 4096 == 0)
			atomic_fetch_add(&flips, 4096);
	}
	return NULL;
}

static void compile(const struct flip *flip)
{
	if (jit_region_compile(&region, flip->insns, insn_cnt(flip)) < 0)
		fail_msg("%s: %s", flip->name, region.reason.text);
}

/* Return: accesses to the page in one run. */
static unsigned count(const struct flip *flip, uint32_t number)
{
	compile(flip);
	memcpy(data + NUMBER, &number, sizeof(number));
	accesses = 0;
	handle(SIGSEGV, on_access);
	handle(SIGTRAP, on_step);
	mprotect(page, PAGE, PROT_NONE);
	jit_region_call(&region, NULL);
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	signal(SIGTRAP, SIG_DFL);
	return accesses;
}

/* One load is one access, and what is out of bounds leads to no other. */
static void test_once(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(flip_cases); i++) {
		const struct flip *flip = &flip_cases[i];
		const unsigned within = count(flip, strstr(flip->name, "key") ? 3 : 8),
			       beyond = count(flip, UINT32_MAX);

		if (within != flip->loads)
			fail_msg("%s: %u accesses instead of %u", flip->name, within, flip->loads);
		if (beyond != (strcmp(flip->name, "masked") == 0 ? 2 : 1))
			fail_msg("%s: %u accesses of what is out of bounds", flip->name, beyond);
	}
}

static void test_flipping(void **state)
{
	const time_t end = time(NULL) + (time_t)seconds;
	pthread_t id;
	volatile uint64_t runs = 0;

	(void)state;
	handle(SIGSEGV, on_fault);
	handle(SIGBUS, on_fault);
	assert_int_equal(pthread_create(&id, NULL, flipper, NULL), 0);
	for (uint32_t i = 0; time(NULL) < end; i = (i + 1) % ARRAY_SIZE(flip_cases)) {
		compile(&flip_cases[i]);
		if (sigsetjmp(escape, 1))
			fail_msg("%s: out of bounds", flip_cases[i].name);
		for (uint32_t k = 0; k < 200000; k++)
			jit_region_call(&region, NULL);
		runs += 200000;
	}
	atomic_store(&stop, true);
	pthread_join(id, NULL);
	print_message("%lu runs of %zu programs, %lu flips\n", runs, ARRAY_SIZE(flip_cases), flips);
	assert_true(runs > 1000000 && flips > 1000000);
}

/* Loaded again behind the check it is out of bounds soon: the test would notice. */
static void test_twice(void **state)
{
	static const struct flip twice = {"twice",
					  3,
					  {BEGIN, LOADED, INSN_JMP_IMM(BPF_JGT, 6, LIMIT, 4),
					   INSN_LDX(BPF_W, 6, 9, NUMBER), USED}};
	pthread_t id;
	volatile bool out = false;

	(void)state;
	assert_int_equal(count(&twice, 8), 3);
	compile(&twice);
	handle(SIGSEGV, on_fault);
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&id, NULL, flipper, NULL), 0);
	if (sigsetjmp(escape, 1)) {
		out = true;
	} else {
		const time_t end = time(NULL) + 20;

		while (time(NULL) < end)
			for (uint32_t k = 0; k < 200000; k++)
				jit_region_call(&region, NULL);
	}
	atomic_store(&stop, true);
	pthread_join(id, NULL);
	assert_true(out);
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(jit_region_init(&region), 0);
	jit_region_helper(&region, "rt_ktime_get_ns", ktime);
	page = region.base + REGION_MAPS + PAGE;
	data = page + PAGE - DATA_SIZE;
	mprotect(page - PAGE, PAGE, PROT_NONE);
	mprotect(page + PAGE, 2 * PAGE, PROT_NONE);
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, DATA_SIZE, 1,
		       REGION_MAPS + 2 * PAGE - DATA_SIZE);
	/* The same memory as an array of eight. */
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 8, 8, REGION_MAPS + 2 * PAGE - DATA_SIZE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	jit_region_deinit(&region);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_flipping),
		cmocka_unit_test(test_twice),
	};

	if (argc > 1)
		seconds = (uint32_t)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, setup, teardown);
}
