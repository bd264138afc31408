/* SPDX-License-Identifier: MIT */
/*
 * Late targets: every way into a watched file is caught before the file's first instruction, and
 * nobody but us notices.
 */
#include "tests/unit/late_env.h"

#include <sched.h>
#include <sys/mount.h>

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
	run_many("late-target-static", 300);
}

static void test_library(void **state)
{
	struct late_env_file *file = env_copy("liblate-lib.so", "liblate-lib.so");

	setenv("LD_LIBRARY_PATH", env_dir, 1);
	env_watch(file);
	for (int i = 0; i < 300; i++)
		assert_int_equal(env_run(LATE_PROGRAMS "/late-user", NULL, NULL, NULL),
				 LATE_PATCHED);
	unsetenv("LD_LIBRARY_PATH");
	env_wait_for(&env_counts->caught, 300);
	assert_int_equal(atomic_load(&env_counts->exec), 0);
	assert_int_equal(atomic_load(&env_counts->threaded), 0);
	assert_int_equal(env_total_missed(), 0);
}

static void test_dlopen_threaded(void **state)
{
	struct late_env_file *file = env_copy("liblate-lib.so", "liblate-lib.so");

	env_watch(file);
	for (int i = 0; i < 100; i++)
		assert_int_equal(env_run(LATE_PROGRAMS "/late-loader", "dlopen", file->path, NULL),
				 LATE_PATCHED);
	env_wait_for(&env_counts->caught, 100);
	assert_int_equal(atomic_load(&env_counts->threaded), 100);
	assert_int_equal(env_total_missed(), 0);
}

/* The same with all threads stopped for the patch. */
static void test_stop_others(void **state)
{
	struct late_env_file *file = env_copy("liblate-lib.so", "liblate-lib.so");

	env_watch(file);
	atomic_store(&env_counts->stop_all, 1);
	for (int i = 0; i < 100; i++)
		assert_int_equal(env_run(LATE_PROGRAMS "/late-loader", "dlopen", file->path, NULL),
				 LATE_PATCHED);
	env_wait_for(&env_counts->caught, 100);
	assert_int_equal(atomic_load(&env_counts->failed), 0);
}

static void test_shell_loop(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	char script[600];

	env_watch(file);
	snprintf(script, sizeof(script),
		 "i=0; while [ $i -lt 300 ]; do %s; [ $? = %d ] || exit 1; i=$((i+1)); done",
		 file->path, LATE_PATCHED);
	assert_int_equal(env_run("/bin/sh", "-c", script, NULL), 0);
	env_wait_for(&env_counts->caught, 300);
	assert_int_equal(env_total_missed(), 0);
}

/* Many at once: helpers of different processes do not wait for each other. */
static void test_parallel(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	const char *argv[] = {file->path, NULL};
	pid_t pids[100];

	env_watch(file);
	for (int i = 0; i < 100; i++)
		pids[i] = env_start(argv);
	for (int i = 0; i < 100; i++)
		assert_int_equal(env_wait(pids[i], 5000), LATE_PATCHED);
	env_wait_for(&env_counts->caught, 100);
	assert_int_equal(env_total_missed(), 0);
}

/* Wait statuses, SIGCHLD and its codes are as without us. */
static void test_parent_sees_nothing(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");

	env_watch(file);
	assert_int_equal(env_run(LATE_PROGRAMS "/late-loader", "spawn", file->path, "100"),
			 LATE_PATCHED);
	env_wait_for(&env_counts->caught, 100);
}

static void test_thread_exec(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");

	env_watch(file);
	for (int i = 0; i < 50; i++)
		assert_int_equal(env_run(LATE_PROGRAMS "/late-loader", "thread", file->path, NULL),
				 LATE_PATCHED);
	env_wait_for(&env_counts->caught, 50);
	assert_int_equal(env_total_missed(), 0);
}

/* A tracer without privilege would take the set-user-ID bit's effect away. */
static void test_setuid(void **state)
{
	struct late_env_file *file = env_copy("/usr/bin/id", "id");
	int out[2];
	char text[8] = "";
	pid_t pid;

	assert_int_equal(chmod(env_dir, 0755) | chmod(file->path, 04755), 0);
	env_watch(file);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (setuid(65534) < 0 || dup2(out[1], 1) < 0)
			_exit(98);
		execl(file->path, file->path, "-u", NULL);
		_exit(99);
	}
	close(out[1]);
	assert_int_equal(env_wait(pid, 3000), 0);
	assert_int_equal(read(out[0], text, sizeof(text) - 1), 2);
	close(out[0]);
	assert_string_equal(text, "0\n");
	env_wait_for(&env_counts->caught, 1);
	assert_int_equal(atomic_load(&env_counts->exec), 1);
}

static void exec_fails(struct late_env_file *file, int error)
{
	char text[12];

	snprintf(text, sizeof(text), "%d", error);
	env_watch(file);
	for (int i = 0; i < 20; i++)
		assert_int_equal(env_run(LATE_PROGRAMS "/late-loader", "fail", file->path, text),
				 LATE_PLAIN);
	env_unwatch(file);
}

static void test_exec_fails(void **state)
{
	struct late_env_file *file = env_copy("late-target", "garbage");

	assert_int_equal(truncate(file->path, 0), 0);
	exec_fails(file, ENOEXEC);
	file = env_copy("late-target", "not-executable");
	assert_int_equal(chmod(file->path, 0644), 0);
	exec_fails(file, EACCES);
	assert_int_equal(atomic_load(&env_counts->caught), 0);
	assert_int_equal(env_total_missed(), 0);
}

/* Opened, closed, and made executable afterwards; or never mapped; or much later. */
static void test_odd_loaders(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");

	env_watch(file);
	for (int i = 0; i < 20; i++)
		assert_int_equal(env_run(LATE_PROGRAMS "/late-loader", "remap", file->path, NULL),
				 LATE_PATCHED);
	env_wait_for(&env_counts->caught, 20);
	for (int i = 0; i < 20; i++)
		assert_int_equal(env_run("/usr/bin/cmp", file->path, file->path, NULL), 0);
	usleep(20000);
	assert_int_equal(env_total_missed(), 0);
	assert_int_equal(env_run(LATE_PROGRAMS "/late-loader", "late", file->path, NULL),
			 LATE_PLAIN);
	env_wait_for(&env_counts->missed[LATE_UNMAPPED], 1);
	assert_int_equal(atomic_load(&env_counts->caught), 20);
}

static void test_unwatch(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");

	env_watch(file);
	env_watch(file);
	env_unwatch(file);
	assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PATCHED);
	env_unwatch(file);
	assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PLAIN);
	env_unwatch(file);
	env_watch(file);
	assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PATCHED);
}

/* A process of somebody else (another session) passes. */
static void test_not_wanted(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");

	env_watch(file);
	assert_int_equal(env_run("/usr/bin/setsid", "-w", file->path, NULL), LATE_PLAIN);
	assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PATCHED);
	env_wait_for(&env_counts->caught, 1);
	assert_int_equal(env_total_missed(), 0);
}

/* Two watched files in one program: exec of the first, and the second loaded by it. */
static void test_two_files(void **state)
{
	struct late_env_file *user = env_copy("late-user", "late-user");
	struct late_env_file *lib = env_copy("liblate-lib.so", "liblate-lib.so");

	setenv("LD_LIBRARY_PATH", env_dir, 1);
	env_watch(user);
	env_watch(lib);
	for (int i = 0; i < 100; i++)
		assert_int_equal(env_run(user->path, NULL, NULL, NULL), LATE_PATCHED);
	unsetenv("LD_LIBRARY_PATH");
	env_wait_for(&env_counts->caught, 200);
	assert_int_equal(atomic_load(&env_counts->exec), 100);
	assert_int_equal(env_total_missed(), 0);
}

static void run_script(const char *name)
{
	struct late_env_file *file = env_copy(name, name);
	struct late_env_file *script = env_copy(name, "script");
	int fd = open(script->path, O_WRONLY | O_TRUNC | O_CLOEXEC), patched = 0, held;

	dprintf(fd, "#!%s\n", file->path);
	close(fd);
	env_watch(file);
	for (int i = 0; i < 100; i++) {
		int64_t begin = env_now_ms();
		int status = env_run(script->path, NULL, NULL, NULL);

		assert_true(status == LATE_PLAIN || status == LATE_PATCHED);
		assert_true(env_now_ms() - begin < 500);
		patched += status == LATE_PATCHED;
	}
	usleep(100000);
	held = atomic_load(&env_counts->missed[LATE_HELD]);
	printf("%s: %d of 100 patched in time, %d reported\n", name, patched, held);
	/* What was not patched in time was reported. */
	assert_int_equal(env_total_missed(), held);
	assert_true(held >= 100 - patched);
}

/* The kernel opens the interpreter inside execve(), where nobody can be seized. */
static void test_script(void **state)
{
	run_script("late-target");
}

static void test_script_static(void **state)
{
	run_script("late-target-static");
}

/* The same for the dynamic loader: here a copy of it, which one program uses. */
static void test_loader_itself(void **state)
{
	const char loader[] = "/lib64/ld-linux-x86-64.so.2";
	struct late_env_file *file = env_copy("late-target", "late-target");
	struct late_env_file *ld = env_copy(loader, "ld.so");
	cleanup_free char *text = NULL;
	char link[sizeof(loader)] = "";
	char *at;
	size_t len;
	int fd;

	snprintf(link, sizeof(link), "/tmp/lt.%d", getpid());
	assert_int_equal(symlink(ld->path, link), 0);
	assert_int_equal(read_file(AT_FDCWD, file->path, 1 << 26, &text, &len), 0);
	at = memmem(text, len, loader, sizeof(loader));
	assert_non_null(at);
	fd = open(file->path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, link, sizeof(link), at - text), sizeof(link));
	close(fd);
	env_watch(ld);
	for (int i = 0; i < 50; i++)
		assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PLAIN);
	unlink(link);
	usleep(100000);
	assert_true(atomic_load(&env_counts->caught) +
			    atomic_load(&env_counts->missed[LATE_HELD]) >=
		    50);
	assert_int_equal(env_total_missed(), atomic_load(&env_counts->missed[LATE_HELD]));
}

/* As root of fresh namespaces, in a pid namespace: copy a program into an overlay and, when told
 * to, run it from there. */
static void in_container(int go, int ready)
{
	const char *argv[] = {"merged/late-target", NULL};
	/* The build may lie where host uid 65534 may not look; the directory's own copy does not.
	 */
	int outside = open(env_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mount("tmpfs", env_dir, "tmpfs", 0, NULL) < 0 || chdir(env_dir) < 0 ||
	    mkdir("lower", 0755) < 0 || mkdir("upper", 0755) < 0 || mkdir("work", 0755) < 0 ||
	    mkdir("merged", 0755) < 0)
		_exit(101);
	if (fchdir(outside) < 0)
		_exit(101);
	env_copy("./late-target", "lower/late-target");
	if (chdir(env_dir) < 0 || mount("overlay", "merged", "overlay", 0,
					"lowerdir=lower,upperdir=upper,workdir=work") < 0)
		_exit(102);
	if (write(ready, "r", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(103);
	for (int i = 0; i < 50; i++)
		if (env_wait(env_start(argv), 3000) != LATE_PATCHED)
			_exit(104);
	_exit(0);
}

static void make_container(int go, int ready, int mapped)
{
	char byte;
	pid_t pid;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) < 0 || write(ready, "u", 1) != 1 ||
	    read(mapped, &byte, 1) != 1 || setgid(0) < 0 || setuid(0) < 0)
		_exit(100);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pid = fork();
	if (pid == 0)
		in_container(go, ready);
	_exit(env_wait(pid, 20000));
}

/* The file as the tenant sees it: in its mount namespace, on overlay, run by host uid 65534. */
static void test_container(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	int go[2], ready[2], mapped[2];
	char path[300], byte;
	struct stat st;
	pid_t pid;

	assert_int_equal(pipe2(go, O_CLOEXEC) | pipe2(ready, O_CLOEXEC) | pipe2(mapped, O_CLOEXEC),
			 0);
	chmod(env_dir, 0755);
	pid = fork();
	if (pid == 0)
		make_container(go[0], ready[1], mapped[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	assert_int_equal(write_file(AT_FDCWD, path, "0 65534 1"), 0);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	assert_int_equal(write_file(AT_FDCWD, path, "0 65534 1"), 0);
	assert_int_equal(write(mapped[1], "m", 1), 1);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	/* The directory is found through the child, whose mount namespace it is. */
	snprintf(path, sizeof(path), "/proc/%d/root%s/merged/late-target", pid, env_dir);
	unlink(file->path);
	strcpy(file->path, path);
	assert_int_equal(stat(path, &st), 0);
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	env_watch(file);
	assert_int_equal(write(go[1], "g", 1), 1);
	assert_int_equal(env_wait(pid, 20000), 0);
	env_wait_for(&env_counts->caught, 50);
	assert_int_equal(env_total_missed(), 0);
	file->path[0] = '\0';
	close(ready[0]);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(mapped[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_exec_dynamic),    TEST(test_exec_static), TEST(test_library),
		TEST(test_dlopen_threaded), TEST(test_stop_others), TEST(test_shell_loop),
		TEST(test_parallel),	    TEST(test_thread_exec), TEST(test_parent_sees_nothing),
		TEST(test_setuid),	    TEST(test_exec_fails),  TEST(test_odd_loaders),
		TEST(test_unwatch),	    TEST(test_not_wanted),  TEST(test_script),
		TEST(test_script_static),   TEST(test_two_files),   TEST(test_loader_itself),
		TEST(test_container),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
