/* SPDX-License-Identifier: MIT */
/*
 * The verifier's verdicts on hand-written programs, and what it logs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/verifier_cases.h"
#include "tests/unit/verifier_values.h"

static int check(const struct verifier_case *test, char *text, uint32_t size,
		 struct verifier_facts *facts)
{
	const struct verifier_prog prog = {
		.insns = test->insns,
		.cnt = case_cnt(test),
		.type = BPF_PROG_TYPE_KPROBE,
		.gpl = !test->no_gpl,
		.maps = case_maps,
		.map_cnt = CASE_MAPS,
	};
	struct verifier_log log = {.level = 1, .buf = text, .size = size};

	return verifier_check(&prog, &log, facts);
}

static int check_cases(const struct verifier_case *cases, size_t cnt)
{
	int wrong = 0;

	for (size_t i = 0; i < cnt; i++) {
		struct verifier_facts facts;
		char text[4096] = "";
		int r = check(&cases[i], text, sizeof(text), &facts);

		if (r == cases[i].error && (!cases[i].log || strstr(text, cases[i].log)))
			continue;
		print_error("%s: %d instead of %d, log: %s", cases[i].name, r, cases[i].error,
			    text);
		wrong++;
	}
	return wrong;
}

static void test_verdicts(void **state)
{
	(void)state;
	assert_int_equal(check_cases(verifier_cases, ARRAY_SIZE(verifier_cases)), 0);
}

static void test_values(void **state)
{
	(void)state;
	assert_int_equal(check_cases(verifier_value_cases, ARRAY_SIZE(verifier_value_cases)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
