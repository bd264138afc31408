/* SPDX-License-Identifier: MIT */
/*
 * Names of files as the host knows them, and the patterns that mean them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/file_name.h"

static char dir[] = "/tmp/bpfshim-name-XXXXXX";

/* DIR/real/file, DIR/file -> real/file, DIR/linked -> real, DIR/root -> / */
static int setup(void **state)
{
	int fd;

	if (!mkdtemp(dir) || chdir(dir) < 0 || mkdir("real", 0755) < 0)
		return -1;
	fd = open("real/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	close_fd(fd);
	return fd < 0 || symlink("real/file", "file") < 0 || symlink("real", "linked") < 0 ||
			       symlink("/", "root") < 0
		       ? -1
		       : 0;
}

static int teardown(void **state)
{
	unlink("root");
	unlink("linked");
	unlink("file");
	unlink("real/file");
	rmdir("real");
	return chdir("/") < 0 ? -1 : rmdir(dir);
}

/* @pattern and @path: below the directory */
static bool matches(const char *pattern, const char *path)
{
	char in[128], of[128];

	snprintf(in, sizeof(in), "%s/%s", dir, pattern);
	snprintf(of, sizeof(of), "%s/%s", dir, path);
	return file_name_matches(in, of);
}

static void test_patterns(void **state)
{
	assert_true(matches("real/file", "real/file"));
	assert_true(matches("file", "real/file"));
	assert_true(matches("linked/file", "real/file"));
	assert_true(matches("linked/f*", "real/file"));
	assert_true(matches("linked/*", "real/deep/file"));
	assert_true(matches("linked/[e-g]ile", "real/file"));
	assert_false(matches("linked/x*", "real/file"));
	assert_false(matches("linked/file", "real/file2"));
	assert_false(matches("linked/*", "real2/file"));
	assert_false(matches("linked", "real/file"));
	/* Only what is spelled out is looked up. */
	assert_false(matches("lin*/file", "real/file"));
	assert_false(matches("nothing/*", "real/file"));
	assert_true(file_name_matches("*", ""));
	assert_true(file_name_matches("*", "/x"));
	assert_true(file_name_matches("/*", "/x/y"));
	assert_false(file_name_matches("/*", ""));
	assert_false(file_name_matches("", "/x"));
	assert_false(file_name_matches("file", "/x"));
	assert_false(file_name_matches("file", ""));
}

static void test_link_to_root(void **state)
{
	char pattern[128];

	snprintf(pattern, sizeof(pattern), "%s/root/u*", dir);
	assert_true(file_name_matches(pattern, "/usr"));
	assert_false(file_name_matches(pattern, "/var"));
}

static void test_name(void **state)
{
	struct file_name name = {"untouched"};
	cleanup_fd int fd = open("file", O_PATH | O_CLOEXEC), pipe_in = -1, pipe_out = -1;
	char want[128];
	int fds[2];

	snprintf(want, sizeof(want), "%s/real/file", dir);
	assert_true(fd >= 0);
	assert_int_equal(file_name_of(fd, &name), 0);
	assert_string_equal(name.path, want);
	/* Another file of the same name is another file. */
	assert_int_equal(rename("real/file", "real/old"), 0);
	assert_int_equal(file_name_of(fd, &name), 0);
	assert_int_equal(unlink("real/old"), 0);
	close(open("real/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	snprintf(name.path, sizeof(name.path), "untouched");
	assert_int_equal(file_name_of(fd, &name), -ENOENT);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pipe_in = fds[0];
	pipe_out = fds[1];
	assert_int_equal(file_name_of(pipe_in, &name), -ENOENT);
	assert_int_equal(file_name_of(-1, &name), -ENOENT);
	assert_string_equal(name.path, "untouched");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_link_to_root),
		cmocka_unit_test(test_name),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
