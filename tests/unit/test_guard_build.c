/* SPDX-License-Identifier: MIT */
/*
 * What guard_build() makes, looked at without loading it: stack slots, encodings, names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "kernel-bridge/guard.h"
#include "kernel-bridge/insn_build.h"

static struct insns_prog prog_of(const struct bpf_insn *insns, size_t cnt)
{
	return (struct insns_prog){.insns = (struct bpf_insn *)insns, .cnt = (uint32_t)cnt};
}

static void test_stack_limits(void **state)
{
	const struct bpf_insn insns[] = {INSN_CALL(BPF_FUNC_get_current_pid_tgid), INSN_EXIT()};
	struct scope scope = {.translate_pids = true};
	struct guard_request request = {.prog = prog_of(insns, 2), .scope = &scope};
	struct guard_result result = {0};
	struct reason reason = {0};
	static const struct {
		uint32_t depth;
		int error;
		int16_t slot;
	} cases[] = {{0, 0, -8},
		     {1, 0, -16},
		     {8, 0, -16},
		     {504, 0, -512},
		     {505, -E2BIG, 0},
		     {512, -E2BIG, 0},
		     {UINT32_MAX, -E2BIG, 0}};

	assert_true(guard_needs_depths(&request.prog, &scope));
	assert_int_equal(guard_build(&request, &result, &reason), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		request.stack_depths = &cases[i].depth;
		request.stack_depth_cnt = 1;
		assert_int_equal(guard_build(&request, &result, &reason), cases[i].error);
		if (cases[i].error == 0)
			assert_int_equal(result.prog.insns[5].imm, cases[i].slot);
		else
			assert_non_null(strstr(reason.text, "stack"));
		guard_result_deinit(&result);
	}
	/* The kernel listed fewer or more subprograms than there are: the deepest counts. */
	const uint32_t more[] = {8, 100, 16};

	request.stack_depths = more;
	request.stack_depth_cnt = 3;
	assert_int_equal(guard_build(&request, &result, &reason), 0);
	assert_int_equal(result.prog.insns[5].imm, -112);
	guard_result_deinit(&result);
}

/* A call that is the first instruction of a subprogram gets that one's slot. */
static void test_slot_per_subprog(void **state)
{
	const struct bpf_insn insns[] = {
		INSN_CALL_REL(1),
		INSN_EXIT(),
		INSN_CALL(BPF_FUNC_get_current_pid_tgid),
		INSN_EXIT(),
	};
	const uint32_t depths[] = {0, 40};
	struct scope scope = {.translate_pids = true};
	struct guard_request request = {
		.prog = prog_of(insns, 4),
		.scope = &scope,
		.stack_depths = depths,
		.stack_depth_cnt = 2,
	};
	struct guard_result result = {0};

	assert_int_equal(guard_build(&request, &result, NULL), 0);
	assert_int_equal(result.prog.insns[7].imm, -48);
	guard_result_deinit(&result);
}

/* st_dev with a minor above 255 is not what the helper compares: it wants major << 20 | minor. */
static void test_device_encoding(void **state)
{
	const struct bpf_insn insns[] = {INSN_CALL(BPF_FUNC_get_current_pid_tgid), INSN_EXIT()};
	const uint32_t depth = 0;
	struct scope scope = {.translate_pids = true, .pidns_dev = makedev(3, 0x12345)};
	struct guard_request request = {
		.prog = prog_of(insns, 2),
		.scope = &scope,
		.stack_depths = &depth,
		.stack_depth_cnt = 1,
	};
	struct guard_result result = {0};

	assert_int_equal(guard_build(&request, &result, NULL), 0);
	assert_int_equal(result.prog.insns[0].imm, 3 << 20 | 0x12345);
	guard_result_deinit(&result);
}

static void test_names(void **state)
{
	assert_string_equal(guard_helper_name(BPF_FUNC_probe_read_kernel), "probe_read_kernel");
	assert_null(guard_helper_name(0));
	assert_null(guard_helper_name(GUARD_POISON));
	assert_null(guard_helper_name(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_limits),
		cmocka_unit_test(test_slot_per_subprog),
		cmocka_unit_test(test_device_encoding),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
