/* SPDX-License-Identifier: MIT */
/*
 * What is not compiled: instructions the JIT does not know, by name, and bytes that are no program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"

static struct jit_region region;

static void refused(const struct bpf_insn *insns, uint32_t cnt, int error, const char *why)
{
	assert_int_equal(jit_region_compile(&region, insns, cnt), error);
	if (!strstr(region.reason.text, why))
		fail_msg("\"%s\" is not in \"%s\"", why, region.reason.text);
}

#define REFUSED(error, why, ...)                                                                   \
	do {                                                                                       \
		const struct bpf_insn refused_insns[] = {__VA_ARGS__};                             \
		refused(refused_insns, ARRAY_SIZE(refused_insns), error, why);                     \
	} while (0)
#define UNKNOWN(why, ...)   REFUSED(-EOPNOTSUPP, why, __VA_ARGS__, INSN_EXIT())
#define MALFORMED(why, ...) REFUSED(-EINVAL, why, __VA_ARGS__)

static int setup(void **state)
{
	return jit_region_init(&region);
}

static int teardown(void **state)
{
	jit_region_deinit(&region);
	return 0;
}

static void test_calls(void **state)
{
	const uint8_t call = BPF_JMP | BPF_CALL;

	UNKNOWN("a call of a kernel function", INSN_RAW(call, 0, BPF_PSEUDO_KFUNC_CALL, 0, 1));
	UNKNOWN("a kind of call", INSN_RAW(call | BPF_X, 0, 0, 0, 0));
	UNKNOWN("a kind of call", INSN_RAW(BPF_JMP32 | BPF_CALL, 0, 0, 0, 1));
	UNKNOWN("helper ktime_get_ns#5 cannot run in a process", INSN_CALL(5));
	UNKNOWN("helper#0 is not known", INSN_CALL(0));
	UNKNOWN("helper#100000 is not known", INSN_CALL(100000));
	UNKNOWN("helper#4294967295 is not known", INSN_CALL(-1));
}

static void test_constants(void **state)
{
	UNKNOWN("the address of a kernel variable", INSN_LD_IMM64_SRC(0, BPF_PSEUDO_BTF_ID, 1));
	MALFORMED("call out of the program", INSN_LD_IMM64_SRC(0, BPF_PSEUDO_FUNC, 9), INSN_EXIT());
	UNKNOWN("a kind of constant", INSN_LD_IMM64_SRC(0, BPF_PSEUDO_MAP_IDX, 0));
	UNKNOWN("a kind of constant", INSN_LD_IMM64_SRC(0, 9, 0));
}

static void test_instructions(void **state)
{
	UNKNOWN("a load from a packet", INSN_RAW(BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 0));
	UNKNOWN("a load from a packet", INSN_RAW(BPF_LD | BPF_IND | BPF_B, 0, 1, 0, 0));
	UNKNOWN("a kind of load", INSN_RAW(BPF_LDX | 0x80 | BPF_DW, 0, 1, 0, 0));
	UNKNOWN("a kind of load", INSN_RAW(BPF_LDX | 0x20 | BPF_W, 0, 1, 0, 0));
	UNKNOWN("a kind of store", INSN_RAW(BPF_ST | 0xc0 | BPF_W, 1, 0, 0, 0));
	UNKNOWN("an atomic operation of that width",
		INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_H, 1, 2, 0, BPF_ADD));
	UNKNOWN("an atomic operation", INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_W, 1, 2, 0, BPF_SUB));
	UNKNOWN("an arithmetic operation", INSN_RAW(BPF_ALU | 0xe0, 0, 0, 0, 0));
	UNKNOWN("an offset in arithmetic", INSN_RAW(BPF_ALU64 | BPF_ADD, 0, 0, 1, 0));
	UNKNOWN("an offset in arithmetic", INSN_RAW(BPF_ALU64 | BPF_DIV, 0, 0, 2, 1));
	UNKNOWN("an offset in arithmetic", INSN_RAW(BPF_ALU | BPF_MOV | BPF_X, 0, 1, 32, 0));
	UNKNOWN("a byte swap of that width", INSN_RAW(BPF_ALU | BPF_END, 0, 0, 0, 8));
	UNKNOWN("a condition", INSN_RAW(BPF_JMP | 0xf0, 0, 0, 0, 0));
	UNKNOWN("a condition", INSN_RAW(BPF_JMP32 | 0xe0, 0, 0, 0, 0));
	UNKNOWN("a computed jump", INSN_RAW(BPF_JMP | BPF_JA | BPF_X, 1, 0, 0, 0));
}

static void test_registers(void **state)
{
	MALFORMED("no such register", INSN_MOV64_IMM(11, 0), INSN_EXIT());
	MALFORMED("no such register", INSN_STX(BPF_W, BPF_REG_10, 15, -8), INSN_EXIT());
	MALFORMED("read only", INSN_ALU64_IMM(BPF_ADD, BPF_REG_10, 8), INSN_EXIT());
	MALFORMED("read only", INSN_LD_IMM64(BPF_REG_10, 8), INSN_EXIT());
	MALFORMED("read only",
		  INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_10, BPF_REG_10, -8, BPF_XCHG),
		  INSN_EXIT());
	MALFORMED("read only",
		  INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_W, BPF_REG_10, BPF_REG_1, 0, 0x100),
		  INSN_EXIT());
}

static void test_flow(void **state)
{
	const struct bpf_insn none = INSN_EXIT();

	refused(&none, 0, -EINVAL, "an empty program");
	MALFORMED("no end", INSN_MOV64_IMM(0, 0));
	MALFORMED("no end", INSN_MOV64_IMM(0, 0), INSN_JMP_IMM(BPF_JEQ, 0, 0, -1));
	MALFORMED("no end", INSN_LD_IMM64(0, 0));
	MALFORMED("jump out", INSN_JA(1), INSN_EXIT());
	MALFORMED("jump out", INSN_JMP_IMM(BPF_JEQ, 0, 0, -2), INSN_EXIT());
	MALFORMED("jump out", INSN_GOTOL(INT32_MAX), INSN_EXIT());
	MALFORMED("jump out", INSN_GOTOL(INT32_MIN), INSN_EXIT());
	MALFORMED("middle of a constant", INSN_JA(1), INSN_LD_IMM64(0, 0), INSN_EXIT());
	MALFORMED("half of a constant", INSN_EXIT(), INSN_RAW(0x18, 0, 0, 0, 0));
	MALFORMED("cannot be reached", INSN_EXIT(), INSN_EXIT());
}

static void test_maps(void **state)
{
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 8, 2, REGION_MAPS);
	MALFORMED("no such map", INSN_LD_IMM64_SRC(0, BPF_PSEUDO_MAP_FD, 1), INSN_EXIT());
	MALFORMED("no such map", INSN_LD_IMM64_SRC(0, BPF_PSEUDO_MAP_VALUE, 0xffffffff),
		  INSN_EXIT());
	MALFORMED("behind the map", INSN_LD_IMM64_SRC(0, BPF_PSEUDO_MAP_VALUE, 16ull << 32),
		  INSN_EXIT());
}

/* Any bytes at all: refused or compiled, and never more than that. */
static void test_noise(void **state)
{
	unsigned compiled = 0;

	srand(1);
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 8, 2, REGION_MAPS);
	for (unsigned i = 0; i < 3000; i++) {
		struct bpf_insn insns[4];
		unsigned char *bytes = (unsigned char *)insns;

		for (size_t j = 0; j < sizeof(insns); j++)
			bytes[j] = (unsigned char)(j % 8 < 1 || rand() % 4 ? rand() & 0xff : 0);
		for (size_t j = 0; j < 3; j++)
			insns[j].dst_reg %= 10, insns[j].src_reg %= 10;
		insns[3] = (struct bpf_insn)INSN_EXIT();
		compiled += jit_region_compile(&region, insns, 4) == 0;
	}
	assert_in_range(compiled, 1, 2999);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_calls),     TEST(test_constants), TEST(test_instructions),
		TEST(test_registers), TEST(test_flow),	    TEST(test_maps),
		TEST(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
