/* SPDX-License-Identifier: MIT */
/*
 * Late targets when something goes wrong: tracers, signals, and the death or hang of every one of
 * our processes. Targets always end, in time, with an exit status of their own; what was not
 * caught is reported.
 */
#include "tests/unit/late_env.h"

#include <sys/ptrace.h>

static bool is_own_status(int status)
{
	return status == LATE_PLAIN || status == LATE_PATCHED;
}

/* Somebody else traces it already. */
static void test_traced(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	int status, result = -1;
	pid_t pid;

	env_watch(file);
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execl(file->path, file->path, NULL);
		_exit(99);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, pid, NULL, NULL);
	result = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	assert_int_equal(result, LATE_PLAIN);
	env_wait_for(&env_counts->missed[LATE_TRACED], 1);
	assert_int_equal(env_total_missed(), 1);
	assert_int_equal(atomic_load(&env_counts->caught), 0);
}

/* Stops and continues at any moment. */
static void test_stop_storm(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	struct late_env_file *lib = env_copy("liblate-lib.so", "liblate-lib.so");
	const char *const programs[][4] = {
		{file->path, NULL},
		{LATE_PROGRAMS "/late-loader", "dlopen", lib->path, NULL},
	};

	env_watch(file);
	env_watch(lib);
	for (int i = 0; i < 200; i++) {
		pid_t pid = env_start(programs[i % 2]);

		for (int j = 0; j < 8; j++) {
			usleep((useconds_t)(rand() % 300));
			kill(pid, SIGSTOP);
			usleep((useconds_t)(rand() % 300));
			kill(pid, SIGCONT);
		}
		assert_int_equal(env_wait(pid, 5000), LATE_PATCHED);
	}
	env_wait_for(&env_counts->caught, 200);
	assert_int_equal(env_total_missed(), 0);
}

/* A stop ends where it was begun: by SIGCONT, not by us. The parent sees it once. */
static void test_stop_is_kept(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	int status;
	pid_t pid;

	env_watch(file);
	atomic_store(&env_counts->pause_us, 50000);
	pid = env_start((const char *[]){file->path, NULL});
	usleep(20000); /* the helper has it at its exec */
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	usleep(100000);
	assert_int_equal(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
	kill(pid, SIGCONT);
	assert_int_equal(env_wait(pid, 2000), LATE_PATCHED);
}

/* The same while the thread is followed from call to call. */
static void test_stop_while_followed(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	const char *argv[] = {LATE_PROGRAMS "/late-loader", "remap", file->path, "stop", NULL};

	env_watch(file);
	for (int i = 0; i < 20; i++) {
		pid_t pid = env_start(argv);
		int status;

		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
		usleep(10000);
		assert_int_equal(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
		/* It has not gone on to the mapping. */
		assert_int_equal(atomic_load(&env_counts->caught), i);
		kill(pid, SIGCONT);
		assert_int_equal(env_wait(pid, 2000), LATE_PATCHED);
		env_wait_for(&env_counts->caught, i + 1);
	}
}

/* Kill every process of that name below @parent. Return: how many. */
static int kill_children(pid_t parent, const char *name)
{
	char path[300], text[256];
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int killed = 0;

	while (proc && (entry = readdir(proc))) {
		int pid = atoi(entry->d_name), ppid, fd;
		char *rest;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		close_fd(fd);
		if (n <= 0)
			continue;
		text[n] = '\0';
		rest = strrchr(text, ')');
		if (rest && sscanf(rest, ") %*c %d", &ppid) == 1 && ppid == parent &&
		    strncmp(strchr(text, '(') + 1, name, strlen(name)) == 0)
			killed += kill(pid, SIGKILL) == 0;
	}
	if (proc)
		closedir(proc);
	return killed;
}

static void test_helper_killed(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	struct late_env_file *lib = env_copy("liblate-lib.so", "liblate-lib.so");
	const char *const programs[][4] = {
		{file->path, NULL},
		{LATE_PROGRAMS "/late-loader", "dlopen", lib->path, NULL},
	};
	int killed = 0, plain = 0;

	env_watch(file);
	env_watch(lib);
	for (int i = 0; i < 200; i++) {
		pid_t pid = env_start(programs[i % 2]);
		int status;

		usleep((useconds_t)(rand() % 1500));
		killed += kill_children(getpid(), "bpfshim-late");
		status = env_wait(pid, 3000);
		assert_true(is_own_status(status));
		plain += status == LATE_PLAIN;
	}
	printf("killed %d helpers, %d targets unpatched\n", killed, plain);
	assert_true(killed > 0);
	env_wait_for(&env_counts->missed[LATE_LOST], plain);
	assert_true(atomic_load(&env_counts->missed[LATE_LOST]) <= killed);
}

/* A daemon in a process of its own. Return: its pid, watching @file. */
static pid_t start_daemon(struct late_env_file *file)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (late_new(&env_ops, NULL, &env_late, NULL) < 0)
			_exit(1);
		env_watch(file);
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void test_daemon_killed(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	const char *argv[] = {file->path, NULL};
	int patched = 0;

	for (int i = 0; i < 60; i++) {
		pid_t daemon = start_daemon(file), pids[4];
		int64_t begin;

		for (int j = 0; j < 4; j++)
			pids[j] = env_start(argv);
		usleep((useconds_t)(rand() % 4000));
		kill(daemon, SIGKILL);
		begin = env_now_ms();
		assert_int_equal(waitpid(daemon, NULL, 0), daemon);
		for (int j = 0; j < 4; j++) {
			int status = env_wait(pids[j], 2000);

			assert_true(is_own_status(status));
			patched += status == LATE_PATCHED;
		}
		assert_true(env_now_ms() - begin < 1000);
	}
	printf("%d of 240 were patched before the daemon died\n", patched);
	assert_true(patched > 0);
}

/* The daemon lives and does nothing: openers wait two seconds at most, and then not any more. */
static void test_daemon_stopped(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	const char *argv[] = {file->path, NULL};
	pid_t daemon = start_daemon(file);
	int64_t begin;

	kill(daemon, SIGSTOP);
	begin = env_now_ms();
	assert_int_equal(env_wait(env_start(argv), 4000), LATE_PLAIN);
	assert_true(env_now_ms() - begin < 2500);
	begin = env_now_ms();
	assert_int_equal(env_wait(env_start(argv), 4000), LATE_PLAIN);
	assert_true(env_now_ms() - begin < 500);
	assert_int_equal(atomic_load(&env_counts->missed[LATE_OFF]), 0);
	kill(daemon, SIGCONT);
	env_wait_for(&env_counts->missed[LATE_OFF], 1);
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
}

/* The watchdog that was killed is replaced. */
static void test_reader_hangs(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	int64_t begin;
	int fd;

	env_watch(file);
	usleep(100000); /* it has given itself its name by now */
	assert_int_equal(kill_children(getpid(), "bpfshim-watch"), 1);
	usleep(100000);
	begin = env_now_ms();
	atomic_store(&env_counts->hang_ms, 3000);
	assert_int_equal(env_run(file->path, NULL, NULL, NULL), LATE_PLAIN);
	assert_true(env_now_ms() - begin < 2500);
	env_wait_for(&env_counts->missed[LATE_OFF], 1);
	fd = open(file->path, O_PATH | O_CLOEXEC);
	assert_int_equal(late_watch(env_late, fd), -ESHUTDOWN);
	close(fd);
}

/* A helper that takes long holds its own target only. */
static void test_slow_helper(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	const char *argv[] = {file->path, NULL};
	int64_t begin = env_now_ms();
	pid_t slow;

	env_watch(file);
	atomic_store(&env_counts->pause_us, 700000);
	slow = env_start(argv);
	usleep(100000);
	atomic_store(&env_counts->pause_us, 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(env_wait(env_start(argv), 1000), LATE_PATCHED);
	assert_true(env_now_ms() - begin < 600);
	assert_int_equal(env_wait(slow, 2000), LATE_PATCHED);
}

/* More processes than there are helpers open the file and keep it: others get through all the same,
 * and are caught again soon. */
static void test_all_busy(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	const char *hold[] = {LATE_PROGRAMS "/late-loader", "hold", file->path, NULL};
	static pid_t pids[260];
	int status = -1;

	env_watch(file);
	for (int i = 0; i < 260; i++)
		pids[i] = env_start(hold);
	env_wait_for(&env_counts->missed[LATE_BUSY], 260 - 256);
	usleep(1100000);
	for (int i = 0; i < 50 && status != LATE_PATCHED; i++) {
		status = env_run(file->path, NULL, NULL, NULL);
		assert_true(is_own_status(status));
		usleep(10000);
	}
	assert_int_equal(status, LATE_PATCHED);
	assert_true(atomic_load(&env_counts->missed[LATE_UNMAPPED]) > 0);
	for (int i = 0; i < 260; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < 260; i++)
		assert_int_equal(env_wait(pids[i], 3000), 256 + SIGKILL);
}

static void test_free_while_busy(void **state)
{
	struct late_env_file *file = env_copy("late-target", "late-target");
	const char *argv[] = {file->path, NULL};
	pid_t pids[20];

	env_watch(file);
	for (int i = 0; i < 20; i++)
		pids[i] = env_start(argv);
	usleep(1000);
	env_late = late_free(env_late);
	for (int i = 0; i < 20; i++)
		assert_true(is_own_status(env_wait(pids[i], 2000)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_traced),	    TEST(test_stop_storm),
		TEST(test_stop_is_kept),    TEST(test_stop_while_followed),
		TEST(test_helper_killed),   TEST(test_daemon_killed),
		TEST(test_daemon_stopped),  TEST(test_reader_hangs),
		TEST(test_slow_helper),	    TEST(test_all_busy),
		TEST(test_free_while_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
