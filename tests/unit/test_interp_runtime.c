/* SPDX-License-Identifier: MIT */
/*
 * Helpers of the runtime under the interpreter: what they may be handed, and what may be done with
 * what they give. That they do the right thing is test_engines.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/unit/engines_region.h"
#include "vm/runtime/helpers.h"

static struct region_side side = {.side = {.name = "interp"}};
static struct reason reason;

static int run(const struct bpf_insn *insns, uint32_t cnt, uint64_t *ret_r0)
{
	struct interp interp = {.budget = 10000};
	const uint64_t args[5] = {0};

	interp_runtime_begin(&side.runtime, &interp);
	return interp_run(&interp, insns, cnt, args, ret_r0, &reason);
}

static void expect(const struct bpf_insn *insns, uint32_t cnt, uint64_t want)
{
	uint64_t r0 = ~want;
	int r = run(insns, cnt, &r0);

	if (r < 0)
		fail_msg("%d: %s", r, reason.text);
	assert_int_equal(r0, want);
}

static void expect_error(const struct bpf_insn *insns, uint32_t cnt, int error, const char *why)
{
	uint64_t r0;

	assert_int_equal(run(insns, cnt, &r0), error);
	if (!strstr(reason.text, why))
		fail_msg("\"%s\" is not in \"%s\"", why, reason.text);
}

#define PROGRAM(...)                                                                               \
	(const struct bpf_insn[]){__VA_ARGS__},                                                    \
		sizeof((const struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn)
#define LD_MAP(reg, map)  INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_FD, map)
#define LD_FUNC(reg, off) INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_FUNC, off)
#define AT(reg, off)	  INSN_MOV64_REG(reg, 10), INSN_ALU64_IMM(BPF_ADD, reg, off)
/* r0 = lookup of key 0; 6 instructions */
#define LOOKUP(map)                                                                                \
	INSN_ST(BPF_DW, 10, -8, 0), AT(2, -8), LD_MAP(1, map), INSN_CALL(BPF_FUNC_map_lookup_elem)

static void test_values(void **state)
{
	(void)state;
	expect(PROGRAM(LOOKUP(MIX_TABLE), INSN_ST(BPF_DW, 0, 16, 7), INSN_LDX(BPF_DW, 0, 0, 16),
		       INSN_EXIT()),
	       7);
	/* To the byte, though the next value follows. */
	expect_error(PROGRAM(LOOKUP(MIX_TABLE), INSN_LDX(BPF_DW, 0, 0, 17), INSN_EXIT()), -EFAULT,
		     "instruction 6: a read of 8 bytes");
	expect_error(PROGRAM(LOOKUP(MIX_TABLE), INSN_ST(BPF_B, 0, -1, 0), INSN_EXIT()), -EFAULT,
		     "a write of 1 bytes");
	expect_error(PROGRAM(LOOKUP(MIX_HASH), INSN_LDX(BPF_B, 0, 0, 0), INSN_EXIT()), -EFAULT,
		     "at 0, which is not the program's");
	/* What was not looked up is nobody's, but for the value that needs no lookup. */
	expect_error(PROGRAM(INSN_LD_IMM64(1, (uint64_t)side.base + side.maps[MIX_TABLE].data),
			     INSN_LDX(BPF_B, 0, 1, 0), INSN_EXIT()),
		     -EFAULT, "a read of 1 bytes");
	expect(PROGRAM(INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_VALUE, MIX_DATA | 56ull << 32),
		       INSN_ST(BPF_DW, 1, 0, 5), INSN_LDX(BPF_DW, 0, 1, 0), INSN_EXIT()),
	       5);
	expect_error(PROGRAM(INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_VALUE, MIX_DATA | 64ull << 32),
			     INSN_EXIT()),
		     -EINVAL, "no such constant");
	expect_error(PROGRAM(LD_MAP(1, MIX_MAPS), INSN_EXIT()), -EBADF, "no such constant");
}

static void test_flags(void **state)
{
	(void)state;
	side.maps[MIX_TABLE].flags = BPF_F_RDONLY_PROG;
	expect(PROGRAM(LOOKUP(MIX_TABLE), INSN_LDX(BPF_B, 0, 0, 0), INSN_EXIT()), 0);
	expect_error(PROGRAM(LOOKUP(MIX_TABLE), INSN_ST(BPF_B, 0, 0, 1), INSN_EXIT()), -EFAULT,
		     "a write");
	side.maps[MIX_TABLE].flags = BPF_F_WRONLY_PROG;
	expect_error(PROGRAM(LOOKUP(MIX_TABLE), INSN_LDX(BPF_B, 0, 0, 0), INSN_EXIT()), -EFAULT,
		     "a read");
	side.maps[MIX_TABLE].flags = 0;
}

static void test_arguments(void **state)
{
	(void)state;
	/* A map that is none, a key and a value that reach over the stack's end. */
	expect_error(
		PROGRAM(AT(1, -8), AT(2, -8), INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_EXIT()),
		-EFAULT, "argument 1 of helper 1");
	expect_error(PROGRAM(LD_MAP(1, MIX_HASH), AT(2, -7), INSN_CALL(BPF_FUNC_map_lookup_elem),
			     INSN_EXIT()),
		     -EFAULT, "argument 2 of helper 1");
	expect_error(PROGRAM(LD_MAP(1, MIX_HASH), INSN_ALU64_IMM(BPF_ADD, 1, 8), AT(2, -8),
			     INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_EXIT()),
		     -EFAULT, "argument 1 of helper 1");
	expect_error(PROGRAM(LD_MAP(1, MIX_HASH), AT(2, -8), AT(3, -15), INSN_MOV64_IMM(4, 0),
			     INSN_CALL(BPF_FUNC_map_update_elem), INSN_EXIT()),
		     -EFAULT, "argument 3 of helper 2");
	expect_error(PROGRAM(LD_MAP(1, MIX_QUEUE), INSN_MOV64_IMM(2, 0),
			     INSN_CALL(BPF_FUNC_map_pop_elem), INSN_EXIT()),
		     -EFAULT, "argument 2 of helper 88");
	expect_error(PROGRAM(AT(1, -16), INSN_MOV64_IMM(2, 17),
			     INSN_CALL(BPF_FUNC_get_current_comm), INSN_EXIT()),
		     -EFAULT, "argument 1 of helper 16");
	expect(PROGRAM(AT(1, -16), INSN_MOV64_IMM(2, 16), INSN_CALL(BPF_FUNC_get_current_comm),
		       INSN_EXIT()),
	       0);
	expect_error(PROGRAM(INSN_MOV64_IMM(1, 3), INSN_MOV64_IMM(2, 5), INSN_MOV64_IMM(3, 0),
			     INSN_MOV64_IMM(4, 0), INSN_CALL(BPF_FUNC_loop), INSN_EXIT()),
		     -EFAULT, "argument 2 of helper 181");
}

static void test_records(void **state)
{
#define RESERVE                                                                                    \
	LD_MAP(1, MIX_RING), INSN_MOV64_IMM(2, 12), INSN_MOV64_IMM(3, 0),                          \
		INSN_CALL(BPF_FUNC_ringbuf_reserve), INSN_MOV64_REG(6, 0)
#define SUBMIT INSN_MOV64_REG(1, 6), INSN_MOV64_IMM(2, 0), INSN_CALL(BPF_FUNC_ringbuf_submit)

	(void)state;
	expect(PROGRAM(RESERVE, INSN_ST(BPF_W, 6, 8, 9), INSN_LDX(BPF_W, 7, 6, 8), SUBMIT,
		       INSN_MOV64_REG(0, 7), INSN_EXIT()),
	       9);
	expect_error(PROGRAM(RESERVE, INSN_ST(BPF_W, 6, 9, 9), SUBMIT, INSN_EXIT()), -EFAULT,
		     "instruction 6: a write of 4 bytes");
	/* Given back is gone, and twice is once too often. */
	expect_error(PROGRAM(RESERVE, SUBMIT, INSN_ST(BPF_W, 6, 0, 9), INSN_EXIT()), -EFAULT,
		     "a write of 4 bytes");
	expect_error(PROGRAM(RESERVE, SUBMIT, SUBMIT, INSN_EXIT()), -EFAULT,
		     "argument 1 of helper 132");
}

static void test_callbacks(void **state)
{
	/* Each turn has turns of its own: 3 * 4 of them. */
	expect(PROGRAM(INSN_ST(BPF_DW, 10, -8, 0), INSN_MOV64_IMM(1, 3), LD_FUNC(2, 7), AT(3, -8),
		       INSN_MOV64_IMM(4, 0), INSN_CALL(BPF_FUNC_loop), INSN_LDX(BPF_DW, 0, 10, -8),
		       INSN_EXIT(),
		       /* outer: */ INSN_MOV64_REG(3, 2), INSN_MOV64_IMM(1, 4), LD_FUNC(2, 5),
		       INSN_MOV64_IMM(4, 0), INSN_CALL(BPF_FUNC_loop), INSN_MOV64_IMM(0, 0),
		       INSN_EXIT(),
		       /* inner: */ INSN_LDX(BPF_DW, 3, 2, 0), INSN_ALU64_IMM(BPF_ADD, 3, 1),
		       INSN_STX(BPF_DW, 2, 3, 0), INSN_MOV64_IMM(0, 0), INSN_EXIT()),
	       12);
	/* An element's key is there to be read. */
	expect_error(PROGRAM(LD_MAP(1, MIX_TABLE), LD_FUNC(2, 5), INSN_MOV64_IMM(3, 0),
			     INSN_MOV64_IMM(4, 0), INSN_CALL(BPF_FUNC_for_each_map_elem),
			     INSN_EXIT(),
			     /* callback: */ INSN_LDX(BPF_W, 0, 2, 0), INSN_ST(BPF_W, 2, 0, 1),
			     INSN_EXIT()),
		     -EFAULT, "instruction 9: a write of 4 bytes");
	/* Nor does a callback's error get lost in the helper. */
	expect_error(PROGRAM(INSN_MOV64_IMM(1, 3), LD_FUNC(2, 6), INSN_MOV64_IMM(3, 0),
			     INSN_MOV64_IMM(4, 0), INSN_CALL(BPF_FUNC_loop), INSN_MOV64_IMM(0, 0),
			     INSN_EXIT(), INSN_JA(-1)),
		     -ETIMEDOUT, "the budget of 10000 instructions");
}

/* Each helper that the runtime has says what it takes; nothing is handed over unseen. */
static void test_all_known(void **state)
{
#define NUMBER(number, name) number,
	static const int32_t numbers[] = {RT_HELPERS(NUMBER)};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const struct bpf_insn insns[] = {INSN_MOV64_IMM(1, 0),	INSN_MOV64_IMM(2, 1),
						 INSN_MOV64_IMM(3, 1),	INSN_MOV64_IMM(4, 1),
						 INSN_CALL(numbers[i]), INSN_EXIT()};
		uint64_t r0;

		/* Would be sent to this test. */
		if (numbers[i] == BPF_FUNC_send_signal || numbers[i] == BPF_FUNC_send_signal_thread)
			continue;
		reason_clear(&reason);
		run(insns, ARRAY_SIZE(insns), &r0);
		if (strstr(reason.text, "is not known"))
			fail_msg("%s", reason.text);
	}
}

static int setup(void **state)
{
	(void)state;
	region_side_init(&side, side_cpus());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	region_side_deinit(&side);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	  cmocka_unit_test(test_flags),
		cmocka_unit_test(test_arguments), cmocka_unit_test(test_records),
		cmocka_unit_test(test_callbacks), cmocka_unit_test(test_all_known),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
