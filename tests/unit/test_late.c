/* SPDX-License-Identifier: MIT */
/*
 * Late targets: every way into a watched file is caught before the file's first instruction, and
 * nobody but us notices.
 */
#include "tests/unit/late_env.h"

static void run_many(const char *name, int cnt)
{
	struct late_env_file *file = env_copy(name, name);

	assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PLAIN);
	env_watch(file);
	for (int i = 0; i < cnt; i++)
		assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PATCHED);
	env_wait_for(&env_counts->caught, cnt);
	assert_int_equal(atomic_load(&env_counts->exec), cnt);
	assert_int_equal(env_total_missed(), 0);
}

static void test_exec_dynamic(void **state)
{
	run_many("late-target", 300);
}

static void test_exec_static(void **state)
{
	if (access(LATE_PROGRAMS "/late-target-static", X_OK) < 0)
		skip();
	run_many("late-target-static", 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exec_dynamic, env_setup, env_teardown),
		cmocka_unit_test_setup_teardown(test_exec_static, env_setup, env_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
