/* SPDX-License-Identifier: MIT */
/*
 * Verifier statistics: parsing, and that a filtered log equals the one the live kernel gives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"
#include "kernel-bridge/statslog.h"
#include "tests/unit/live.h"

#define TAIL "processed 7 insns (limit 1000000) max_states_per_insn 0\n"

static int parse(const char *text, uint32_t *depths, uint32_t cap, uint32_t *ret_cnt)
{
	/* Without the terminator, on the heap: an overrun is seen by the sanitizer. */
	size_t len = strlen(text);
	char *copy = malloc(len + !len);
	int r;

	memcpy(copy, text, len);
	r = statslog_depths(copy, len, depths, cap, ret_cnt);
	free(copy);
	return r;
}

static void test_depths(void **state)
{
	uint32_t d[3], n = 99;

	assert_int_equal(
		parse("x\nverification time 5 usec\nstack depth 24+0+512\n" TAIL, d, 3, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(d[0], 24);
	assert_int_equal(d[1], 0);
	assert_int_equal(d[2], 512);
	assert_int_equal(parse("stack depth 8\n" TAIL, d, 1, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(parse("stack depth 8+8\n" TAIL, d, 1, &n), -E2BIG);
	/* Text of the tenant's that looks like statistics is not the last line but one. */
	assert_int_equal(parse("stack depth 400\nstack depth 8\n" TAIL, d, 3, &n), 0);
	assert_int_equal(d[0], 8);
	assert_int_equal(parse("stack depth 400\nR3 !read_ok\n" TAIL, d, 3, &n), -ENOENT);
}

static void test_depths_malformed(void **state)
{
	static const char *const bad[] = {
		"stack depth \n" TAIL,	 "stack depth 8+\n" TAIL,   "stack depth +8\n" TAIL,
		"stack depth 8 \n" TAIL, "stack depth -8\n" TAIL,   "stack depth 99999999\n" TAIL,
		"stack depth 8x\n" TAIL, "stack depth 8++8\n" TAIL,
	};
	static const char *const none[] = {
		"",	     "\n",
		"\n\n\n",    "stack depth 8\n",
		TAIL,	     "stack depth\n" TAIL,
		"processed", "stack depth 8",
	};
	uint32_t d[4], n = 99;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i], d, 4, &n), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(parse(none[i], d, 4, &n), -ENOENT);
	assert_int_equal(n, 99);
}

static void test_filter(void **state)
{
	char log[] = "stack depth 1\nverification time 5 usec\nstack depth 24\n" TAIL;
	char no_time[] = "stack depth 1\nstack depth 24\n" TAIL;
	char empty[1] = {'x'};
	size_t len = strlen(log);

	assert_int_equal(statslog_filter(log, len, 4), len);
	assert_int_equal(statslog_filter(log, len, 0), 0);
	len = statslog_filter(log, len, 1);
	log[len] = '\0';
	assert_string_equal(log, "stack depth 1\n" TAIL);
	len = statslog_filter(no_time, strlen(no_time), 2);
	no_time[len] = '\0';
	assert_string_equal(no_time, "stack depth 1\n" TAIL);
	assert_int_equal(statslog_filter(empty, 0, 1), 0);
}

static const struct bpf_insn good[] = {
	INSN_MOV64_IMM(BPF_REG_0, 1),
	INSN_STX(BPF_DW, BPF_REG_10, BPF_REG_1, -24),
	INSN_CALL_REL(1),
	INSN_EXIT(),
	INSN_MOV64_IMM(BPF_REG_0, 0),
	INSN_ST(BPF_DW, BPF_REG_10, -8, 0),
	INSN_EXIT(),
};
static const struct bpf_insn unreadable[] = {
	INSN_MOV64_REG(BPF_REG_0, BPF_REG_3),
	INSN_EXIT(),
};
static const struct bpf_insn no_exit[] = {
	INSN_MOV64_IMM(BPF_REG_0, 0),
};

static void test_live(void **state)
{
	static const struct insns_prog progs[] = {
		{.insns = (struct bpf_insn *)good, .cnt = ARRAY_SIZE(good)},
		{.insns = (struct bpf_insn *)unreadable, .cnt = ARRAY_SIZE(unreadable)},
		{.insns = (struct bpf_insn *)no_exit, .cnt = ARRAY_SIZE(no_exit)},
	};
	static const uint32_t levels[] = {0, 1, 2, 3};
	static char want[LIVE_LOG_SIZE], got[LIVE_LOG_SIZE];
	uint32_t d[4], n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(progs); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(levels); k++) {
			size_t len;

			close_fd(live_load(&progs[i], -1, levels[k], want));
			close_fd(live_load(&progs[i], -1, levels[k] | STATSLOG_STATS, got));
			assert_non_null(strstr(got, "stack depth "));
			len = statslog_filter(got, sizeof(got), levels[k]);
			got[len] = '\0';
			assert_string_equal(got, want);
		}
	}
	close_fd(live_load(&progs[0], -1, STATSLOG_STATS, got));
	assert_int_equal(statslog_depths(got, sizeof(got), d, 4, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(d[0], 24);
	assert_int_equal(d[1], 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_depths),
		cmocka_unit_test(test_depths_malformed),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
