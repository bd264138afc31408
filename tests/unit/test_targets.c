/* SPDX-License-Identifier: MIT */
/*
 * Listing a cgroup's processes and who of them maps a file, on overlay too. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/cgroup.h"
#include "shim/targets.h"

static struct cgroup *cgroup;
static char dir[] = "/tmp/bpfshim-test-targets-XXXXXX";

struct seen {
	pid_t pids[64];
	int cnt;
	int end_after;
};

static int see(pid_t pid, void *data)
{
	struct seen *seen = data;

	seen->pids[seen->cnt++] = pid;
	return seen->cnt == seen->end_after ? 7 : 0;
}

static bool has(const struct seen *seen, pid_t pid)
{
	for (int i = 0; i < seen->cnt; i++)
		if (seen->pids[i] == pid)
			return true;
	return false;
}

static void child_setup(const char *sub, const char *path, int prot)
{
	char name[100];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(name, sizeof(name), "%s/cgroup.procs", sub);
	if (write_file(cgroup->fd, name, "0") < 0)
		_exit(1);
	fd = path ? open(path, O_RDONLY) : -1;
	if (path && mmap(NULL, 4096, prot, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		_exit(2);
	close_fd(fd);
}

/* A process in the cgroup @sub, that maps @path. */
static pid_t start(const char *sub, const char *path, int prot)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		child_setup(sub, path, prot);
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void make_file(const char *name, char *path, struct stat *st)
{
	char block[4096] = "x";
	int fd;

	snprintf(path, 200, "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	assert_int_equal(fstat(fd, st), 0);
	close(fd);
}

static void test_each(void **state)
{
	struct seen seen = {0};
	pid_t pids[3], zombie;
	siginfo_t info;

	/* Names are the tenant's; so is a tree that is deeper than we go. */
	assert_int_equal(mkdirat(cgroup->fd, "a b\t", 0755), 0);
	assert_int_equal(mkdirat(cgroup->fd, "a b\t/..c", 0755), 0);
	pids[0] = start(".", NULL, 0);
	pids[1] = start("a b\t", NULL, 0);
	pids[2] = start("a b\t/..c", NULL, 0);
	zombie = start(".", NULL, 0);
	kill(zombie, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(targets_each(cgroup->fd, see, &seen), 0);
	assert_int_equal(seen.cnt, 3);
	for (int i = 0; i < 3; i++)
		assert_true(has(&seen, pids[i]));
	seen = (struct seen){.end_after = 2};
	assert_int_equal(targets_each(cgroup->fd, see, &seen), 7);
	assert_int_equal(seen.cnt, 2);
	for (int i = 0; i < 3; i++)
		stop(pids[i]);
	stop(zombie);
	assert_int_equal(unlinkat(cgroup->fd, "a b\t/..c", AT_REMOVEDIR), 0);
}

static void test_bounded(void **state)
{
	struct seen seen = {0};
	char name[400] = "d";
	pid_t pid = start(".", NULL, 0);

	for (int i = 0; i < 40; i++) {
		assert_int_equal(mkdirat(cgroup->fd, name, 0755), 0);
		strcat(name, "/d");
	}
	assert_int_equal(targets_each(cgroup->fd, see, &seen), -E2BIG);
	assert_true(has(&seen, pid));
	stop(pid);
	for (int i = 40; i > 0; i--) {
		name[2 * i - 1] = '\0';
		assert_int_equal(unlinkat(cgroup->fd, name, AT_REMOVEDIR), 0);
	}
}

static void test_find(void **state)
{
	char mapped[200], other[200];
	struct stat st, st_other;
	struct seen seen = {0};
	pid_t pids[3];

	make_file("mapped", mapped, &st);
	make_file("other", other, &st_other);
	assert_int_equal(mkdirat(cgroup->fd, "sub", 0755), 0);
	pids[0] = start(".", mapped, PROT_READ);
	pids[1] = start("sub", mapped, PROT_READ | PROT_EXEC);
	pids[2] = start(".", other, PROT_READ | PROT_EXEC);
	assert_int_equal(targets_find(cgroup->fd, st.st_dev, st.st_ino, see, &seen), 0);
	assert_int_equal(seen.cnt, 2);
	assert_true(has(&seen, pids[0]) && has(&seen, pids[1]));
	assert_int_equal(targets_maps(pids[0], st.st_dev, st.st_ino, false), 1);
	assert_int_equal(targets_maps(pids[0], st.st_dev, st.st_ino, true), 0);
	assert_int_equal(targets_maps(pids[1], st.st_dev, st.st_ino, true), 1);
	/* The same inode number on another device is another file. */
	assert_int_equal(targets_maps(pids[1], st.st_dev + 1, st.st_ino, true), 0);
	for (int i = 0; i < 3; i++)
		stop(pids[i]);
	assert_int_equal(targets_maps(pids[1], st.st_dev, st.st_ino, true), 0);
}

/* Neither a name of the tenant's choice nor its length hides a mapping or makes up one. */
static void test_names(void **state)
{
	char path[5000], part[256], *end;
	struct stat st;
	pid_t pid;
	int fd;

	memset(part, '\n', 255);
	part[255] = '\0';
	end = path + sprintf(path, "%s", dir);
	for (int i = 0; i < 12; i++) {
		end += sprintf(end, "/%s", part);
		if (i < 11)
			assert_int_equal(mkdir(path, 0755), 0);
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	pid = start(".", path, PROT_READ);
	assert_int_equal(targets_maps(pid, st.st_dev, st.st_ino, false), 1);
	assert_int_equal(targets_maps(pid, st.st_dev, st.st_ino + 1, false), 0);
	stop(pid);
}

/* In a mount namespace of its own: lower/file seen as merged/file. */
static int run_on_overlay(void)
{
	char path[200], options[800];
	struct stat st, lower;
	pid_t pid;
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, NULL) < 0 || chdir(dir) < 0 ||
	    mkdir("lower", 0755) < 0 || mkdir("upper", 0755) < 0 || mkdir("work", 0755) < 0 ||
	    mkdir("merged", 0755) < 0)
		return 1;
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 dir, dir, dir);
	make_file("lower/file", path, &lower);
	if (mount("overlay", "merged", "overlay", 0, options) < 0)
		return 2;
	snprintf(path, sizeof(path), "%s/merged/file", dir);
	pid = start(".", path, PROT_READ | PROT_EXEC);
	if (stat(path, &st) < 0)
		return 3;
	r = targets_maps(pid, st.st_dev, st.st_ino, true);
	stop(pid);
	return r == 1 && st.st_dev != lower.st_dev ? 0 : 4;
}

static void test_overlay(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run_on_overlay());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int setup(void **state)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	return mkdtemp(dir) ? cgroup_new(&cgroup, NULL) : -1;
}

static int teardown(void **state)
{
	char command[300];

	assert_int_equal(cgroup_remove(cgroup), 0);
	cgroup = cgroup_free(cgroup);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each),  TEST(test_bounded), TEST(test_find),
		TEST(test_names), TEST(test_overlay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
