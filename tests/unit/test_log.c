/* SPDX-License-Identifier: MIT */
/*
 * Log lines, with what a tenant may have put into them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/log.h"

static int real_stderr, pipe_fds[2];

static int setup(void **state)
{
	real_stderr = dup(STDERR_FILENO);
	return real_stderr < 0 || pipe(pipe_fds) < 0 || dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
	dup2(real_stderr, STDERR_FILENO);
	close(pipe_fds[0]);
	return close(pipe_fds[1]);
}

static void expect(const char *expected)
{
	char line[2048];
	ssize_t n = read(pipe_fds[0], line, sizeof(line) - 1);

	assert_true(n > 0);
	line[n] = '\0';
	assert_string_equal(line, expected);
}

static void test_control(void **state)
{
	log_notice("name \"%s\"", "a\nbpfshimd: tenant=0\x1b[2J\t\x7f\x9b.");
	expect("bpfshimd: name \"a\\x0abpfshimd: tenant=0\\x1b[2J\\x09\\x7f\\x9b.\"\n");
}

/* One line of bounded length, whatever it is made of; no escape is cut in two. */
static void test_long(void **state)
{
	char text[3000], line[2048];
	ssize_t n;

	for (size_t fill = 0; fill < 2; fill++) {
		memset(text, fill ? '\n' : 'x', sizeof(text));
		text[sizeof(text) - 1] = '\0';
		log_notice("%s", text);
		n = read(pipe_fds[0], line, sizeof(line));
		assert_in_range(n, 1000, 1024);
		assert_ptr_equal(memchr(line, '\n', (size_t)n), line + n - 1);
		if (fill)
			assert_memory_equal(line + n - 5, "\\x0a\n", 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_control, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
