/* SPDX-License-Identifier: MIT */
/*
 * Compiled programs, run in a region of the test process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"

static struct jit_region region;

/* Compile and run @insns with r1 = @ctx. */
static uint64_t run(const struct bpf_insn *insns, uint32_t cnt, void *ctx)
{
	int r = jit_region_compile(&region, insns, cnt);

	if (r < 0)
		fail_msg("%d: %s", r, region.reason.text);
	return jit_region_call(&region, ctx);
}

#define RUN(ctx, ...)                                                                              \
	({                                                                                         \
		const struct bpf_insn run_insns[] = {__VA_ARGS__};                                 \
		run(run_insns, ARRAY_SIZE(run_insns), ctx);                                        \
	})

static int setup(void **state)
{
	return jit_region_init(&region);
}

static int teardown(void **state)
{
	jit_region_deinit(&region);
	return 0;
}

static void test_mov_exit(void **state)
{
	assert_int_equal(RUN(NULL, INSN_MOV64_IMM(BPF_REG_0, -7), INSN_EXIT()), (uint64_t)-7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mov_exit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
