/* SPDX-License-Identifier: MIT */
/*
 * The worker and the daemon's side of it. Two executables of tests/programs stand in for what
 * cannot be had from the real one: worker-stub is the real worker and sandbox around a verifier
 * that misbehaves on demand, worker-fake is somebody else altogether. Needs root, as the daemon
 * does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "tests/programs/worker_modes.h"
#include "verifier/worker.h"

#define SECONDS_10 10000

static struct worker *worker;
static _Thread_local struct reason reason;
static int exe_fd;

static int start(const char *path)
{
	exe_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (exe_fd < 0)
		return -errno;
	return worker_new(exe_fd, 0, &worker);
}

static int start_stub(void **state)
{
	return start(BPFSHIM_PROGRAMS "/worker-stub");
}

static int start_fake(void **state)
{
	return start(BPFSHIM_PROGRAMS "/worker-fake");
}

static int stop(void **state)
{
	worker = worker_free(worker);
	exe_fd = close_fd(exe_fd);
	return 0;
}

static const struct bpf_insn return_7[] = {INSN_MOV64_IMM(BPF_REG_0, 7), INSN_EXIT()};

static int ask(uint32_t mode, int timeout_ms, struct worker_answer *ret_answer)
{
	const struct worker_request request = {
		.prog = {.insns = return_7, .cnt = ARRAY_SIZE(return_7), .type = mode},
		.task = WORKER_LOAD,
		.log_level = 1,
		.log_size = 4096,
	};

	return worker_ask(worker, &request, timeout_ms, ret_answer, &reason);
}

static void assert_fails(uint32_t mode, int timeout_ms, int error, const char *why)
{
	struct worker_answer answer;
	int r = ask(mode, timeout_ms, &answer);

	if (r != error || !strstr(reason.text, why))
		fail_msg("mode %u: %d (%s), not %d (%s)", mode, r, reason.text, error, why);
}

static void assert_works(void)
{
	struct worker_answer answer;
	int r = ask(STUB_ACCEPT, SECONDS_10, &answer);

	if (r < 0)
		fail_msg("%d: %s", r, reason.text);
	assert_int_equal(answer.verdict, 0);
	worker_answer_deinit(&answer);
}

/* The only child of the process that has the worker's name; 0: none. */
static pid_t worker_pid(void)
{
	cleanup_free char *text = NULL;
	char *rest, *word, path[64];
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	pid_t pid = 0;

	assert_non_null(tasks);
	while ((task = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", task->d_name);
		free(text);
		text = NULL;
		if (task->d_name[0] == '.' || read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
			continue;
		for (word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
			pid = (pid_t)atoi(word);
	}
	closedir(tasks);
	return pid;
}

static void test_accept(void **state)
{
	struct region_map records[2] = {{.data_size = 16}, {.data_size = 16}};
	const unsigned char held[55] = {77};
	const struct verifier_map maps[2] = {{.value_size = 44},
					     {.value_size = 55, .contents = held}};
	const struct worker_request request = {
		.prog = {.insns = return_7,
			 .cnt = ARRAY_SIZE(return_7),
			 .attach_type = 9,
			 .gpl = true,
			 .maps = maps,
			 .map_cnt = 2},
		.maps = records,
		.task = WORKER_LOAD,
		.log_level = 1,
		.log_size = 4096,
	};
	struct worker_answer answer;
	/* mov $7, %eax; ret */
	const unsigned char code[] = {0xb8, 7, 0, 0, 0, 0xc3};

	assert_int_equal(worker_ask(worker, &request, SECONDS_10, &answer, &reason), 0);
	assert_int_equal(answer.verdict, 0);
	assert_string_equal(answer.log, "type 0 attach 9 gpl 1 insns 2 maps 2 value 44 holds -1 77\n");
	assert_int_equal(answer.log_true_size, strlen(answer.log) + 1);
	assert_int_equal(answer.facts.helpers[3], 4);
	assert_int_equal(answer.facts.maps, 1);
	assert_int_equal(answer.facts.stack_depth, 8);
	assert_int_equal(answer.facts.processed, 2);
	assert_true(answer.facts.uses_percpu);
	assert_int_equal(answer.facts.kernel_only, 5);
	assert_int_equal(answer.code_len, sizeof(code));
	assert_memory_equal(answer.code, code, sizeof(code));
	assert_string_equal(answer.no_code.text, "");
	worker_answer_deinit(&answer);
}

static void test_refuse(void **state)
{
	struct worker_answer answer;

	assert_int_equal(ask(STUB_REFUSE, SECONDS_10, &answer), 0);
	assert_int_equal(answer.verdict, -EACCES);
	assert_null(answer.code);
	assert_int_equal(answer.facts.processed, 0);
	worker_answer_deinit(&answer);
}

/* No log wanted, and no code. */
static void test_verify_only(void **state)
{
	const struct worker_request request = {
		.prog = {.insns = return_7, .cnt = ARRAY_SIZE(return_7)},
		.log_size = 4096,
	};
	struct worker_answer answer;

	assert_int_equal(worker_ask(worker, &request, SECONDS_10, &answer, &reason), 0);
	assert_int_equal(answer.verdict, 0);
	assert_string_equal(answer.log, "");
	assert_null(answer.code);
	worker_answer_deinit(&answer);
}

/* Accepted, but there is no code for it: the answer says why. */
static void test_not_compiled(void **state)
{
	const struct bpf_insn insns[] = {INSN_CALL(BPF_FUNC_ktime_get_ns), INSN_EXIT()};
	const struct worker_request request = {
		.prog = {.insns = insns, .cnt = ARRAY_SIZE(insns)},
		.task = WORKER_LOAD,
	};
	struct worker_answer answer;

	assert_int_equal(worker_ask(worker, &request, SECONDS_10, &answer, &reason), 0);
	assert_int_equal(answer.verdict, 0);
	assert_null(answer.code);
	assert_non_null(strstr(answer.no_code.text, "helper ktime_get_ns#5"));
	worker_answer_deinit(&answer);
}

/* A log that does not fit is cut by the verifier; here it is one byte and its end. */
static void test_small_log(void **state)
{
	const struct worker_request request = {
		.prog = {.insns = return_7, .cnt = ARRAY_SIZE(return_7)},
		.log_level = 1,
		.log_size = 2,
	};
	struct worker_answer answer;

	assert_int_equal(worker_ask(worker, &request, SECONDS_10, &answer, &reason), 0);
	assert_string_equal(answer.log, "t");
	assert_in_range(answer.log_true_size, 40, 60);
	worker_answer_deinit(&answer);
}

/* LLVM at work for a while: whatever it asks the kernel for is allowed. */
static void test_large_program(void **state)
{
	static struct bpf_insn insns[20001];
	const struct worker_request request = {
		.prog = {.insns = insns, .cnt = ARRAY_SIZE(insns)},
		.task = WORKER_LOAD,
	};
	struct worker_answer answer;
	uint32_t i;

	for (i = 0; i + 5 <= ARRAY_SIZE(insns) - 1; i += 5) {
		const struct bpf_insn some[] = {
			INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_1, (int16_t)(i % 4096)),
			INSN_JMP_IMM(BPF_JGT, BPF_REG_0, (int32_t)i, 1),
			INSN_STX(BPF_DW, BPF_REG_1, BPF_REG_0, (int16_t)(i % 4096)),
			INSN_ALU64_REG(BPF_DIV, BPF_REG_2, BPF_REG_0),
			INSN_STX(BPF_DW, BPF_REG_10, BPF_REG_2, -8 * (int16_t)(1 + i % 64)),
		};

		memcpy(&insns[i], some, sizeof(some));
	}
	insns[i] = (struct bpf_insn)INSN_EXIT();
	assert_int_equal(worker_ask(worker, &request, 6 * SECONDS_10, &answer, &reason), 0);
	assert_string_equal(answer.no_code.text, "");
	assert_true(answer.code_len > 20000);
	worker_answer_deinit(&answer);
}

static void test_too_long(void **state)
{
	struct worker_request request = {.prog = {.insns = return_7, .cnt = 1000001}};
	struct worker_answer answer;

	assert_int_equal(worker_ask(worker, &request, SECONDS_10, &answer, &reason), -E2BIG);
	request.prog.cnt = 2;
	request.prog.map_cnt = 65;
	assert_int_equal(worker_ask(worker, &request, SECONDS_10, &answer, &reason), -E2BIG);
}

static void test_hang(void **state)
{
	struct timespec before, after;

	assert_works();
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_fails(STUB_HANG, 200, -ETIMEDOUT, "did not answer within 200 ms");
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 0, 2);
	assert_works();
}

static void test_crash(void **state)
{
	assert_fails(STUB_CRASH, SECONDS_10, -EIO, "killed by signal 4");
	assert_works();
}

/* It dies while nobody asks: nobody notices. */
static void test_killed_idle(void **state)
{
	pid_t pid;

	assert_works();
	pid = worker_pid();
	assert_int_not_equal(pid, 0);
	kill(pid, SIGKILL);
	usleep(100000);
	assert_works();
	assert_int_not_equal(worker_pid(), pid);
}

static void *kill_soon(void *data)
{
	usleep(200000);
	kill(worker_pid(), SIGKILL);
	return NULL;
}

static void test_killed_busy(void **state)
{
	pthread_t killer;

	assert_works();
	assert_int_equal(pthread_create(&killer, NULL, kill_soon, NULL), 0);
	assert_fails(STUB_HANG, SECONDS_10, -EIO, "killed by signal 9");
	pthread_join(killer, NULL);
	assert_works();
}

static void *ask_one(void *data)
{
	struct worker_answer answer;
	int r = ask(STUB_ACCEPT, SECONDS_10, &answer);

	if (r == 0)
		worker_answer_deinit(&answer);
	return (void *)(intptr_t)r;
}

static void test_threads(void **state)
{
	pthread_t threads[8];
	void *result;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_one, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
}

static void test_memory_limit(void **state)
{
	struct worker_answer answer;

#ifdef __SANITIZE_ADDRESS__
	return; /* its shadow alone is more than the limit, so there is none */
#endif
	assert_int_equal(ask(STUB_EAT, SECONDS_10, &answer), 0);
	assert_int_equal(answer.verdict, -ENOMEM);
	worker_answer_deinit(&answer);
}

static void test_forbidden_calls(void **state)
{
	for (uint32_t mode = STUB_OPEN; mode < STUB_LAST; mode++)
		assert_fails(mode, SECONDS_10, -EIO, "killed by signal 31");
	assert_works();
}

/* The value of a line of /proc/PID/status. */
static void assert_status(const char *status, const char *name, const char *value)
{
	const char *line = strstr(status, name);

	assert_non_null(line);
	line += strlen(name);
	if (strncmp(line, value, strlen(value)) != 0)
		fail_msg("%s%.40s", name, line);
}

static unsigned count_entries(pid_t pid, const char *what)
{
	unsigned entries = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		entries += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return entries;
}

static void assert_other_namespace(pid_t pid, const char *name)
{
	char path[64], own[64] = "", its[64] = "";

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	assert_true(readlink(path, own, sizeof(own) - 1) > 0);
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	assert_true(readlink(path, its, sizeof(its) - 1) > 0);
	assert_string_not_equal(own, its);
}

static void test_sandbox(void **state)
{
	static const char *const namespaces[] = {"mnt", "net", "ipc", "uts", "cgroup", "pid"};
	cleanup_free char *status = NULL, *limits = NULL, *oom = NULL;
	char path[64];
	pid_t pid;

	assert_works();
	pid = worker_pid();
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	assert_int_equal(read_file(AT_FDCWD, path, 1 << 16, &status, NULL), 0);
	assert_status(status, "Name:\t", "bpfshim-worker\n");
	assert_status(status, "\nUid:\t", "65534\t65534\t65534\t65534\n");
	assert_status(status, "\nGid:\t", "65534\t65534\t65534\t65534\n");
	assert_status(status, "\nGroups:\t", " \n");
	assert_status(status, "\nCapInh:\t", "0000000000000000\n");
	assert_status(status, "\nCapPrm:\t", "0000000000000000\n");
	assert_status(status, "\nCapEff:\t", "0000000000000000\n");
	assert_status(status, "\nCapBnd:\t", "0000000000000000\n");
	assert_status(status, "\nCapAmb:\t", "0000000000000000\n");
	assert_status(status, "\nNoNewPrivs:\t", "1\n");
	assert_status(status, "\nSeccomp:\t", "2\n");
	assert_status(status, "\nThreads:\t", "1\n");
	assert_int_equal(count_entries(pid, "root"), 0);
	assert_int_equal(count_entries(pid, "cwd"), 0);
	assert_int_equal(count_entries(pid, "fd"), 1);
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		assert_other_namespace(pid, namespaces[i]);
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	assert_int_equal(read_file(AT_FDCWD, path, 1 << 16, &limits, NULL), 0);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	assert_int_equal(read_file(AT_FDCWD, path, 64, &oom, NULL), 0);
	assert_string_equal(oom, "1000\n");
	assert_status(limits, "Max core file size        ", "0 ");
	assert_status(limits, "Max open files            ", "8 ");
	assert_status(limits, "Max processes             ", "0 ");
}

/* What the daemon has open without FD_CLOEXEC stays out of the worker, 3 and 4 included. */
static void test_stray_descriptors(void **state)
{
	int stray[8];

	for (size_t i = 0; i < ARRAY_SIZE(stray); i++)
		stray[i] = open("/dev/null", O_RDONLY);
	assert_works();
	assert_int_equal(count_entries(worker_pid(), "fd"), 1);
	for (size_t i = 0; i < ARRAY_SIZE(stray); i++)
		close(stray[i]);
}

static void test_warm(void **state)
{
	pid_t pid = 0;

	assert_int_equal(worker_pid(), 0);
	worker_warm(worker);
	for (unsigned i = 0; i < 100 && !pid; i++) {
		usleep(10000);
		pid = worker_pid();
	}
	assert_int_not_equal(pid, 0);
	assert_works();
	assert_int_equal(worker_pid(), pid);
}

static void test_not_startable(void **state)
{
	struct worker *broken;
	struct worker_answer answer;
	const struct worker_request request = {.prog = {.insns = return_7, .cnt = 2}};
	cleanup_fd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(worker_new(fd, 0, &broken), 0);
	assert_int_equal(worker_ask(broken, &request, SECONDS_10, &answer, &reason), -EIO);
	assert_non_null(strstr(reason.text, "ended with status 127"));
	assert_null(worker_free(broken));
	assert_null(worker_free(NULL));
}

/*
 * The daemon is killed while its worker is busy: the worker goes too. The "daemon" is a child that
 * tells the worker's pid; this process is the one that orphans come to, so that it sees the end.
 */
static void test_daemon_dies(void **state)
{
	int pipe_fds[2], status;
	pid_t daemon, orphan = 0;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	daemon = fork();
	if (daemon == 0) {
		struct worker_answer answer;

		if (start_stub(NULL) < 0 || ask(STUB_ACCEPT, SECONDS_10, &answer) < 0)
			_exit(1);
		orphan = worker_pid();
		(void)!write(pipe_fds[1], &orphan, sizeof(orphan));
		ask(STUB_HANG, SECONDS_10, &answer);
		_exit(1);
	}
	assert_int_equal(read(pipe_fds[0], &orphan, sizeof(orphan)), sizeof(orphan));
	usleep(50000);
	kill(daemon, SIGKILL);
	assert_int_equal(waitpid(daemon, &status, 0), daemon);
	assert_int_equal(waitpid(orphan, &status, 0), orphan);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void test_fake_honest(void **state)
{
	struct worker_answer answer;

	assert_int_equal(ask(FAKE_HONEST, SECONDS_10, &answer), 0);
	assert_string_equal(answer.log, "fine\n");
	assert_int_equal(answer.code_len, 3);
	worker_answer_deinit(&answer);
}

static void test_fake_refused(void **state)
{
	for (uint32_t mode = FAKE_HONEST + 1; mode < FAKE_LAST_REFUSED; mode++) {
		/* An empty message looks like the end. */
		assert_fails(mode, SECONDS_10, -EIO,
			     mode == FAKE_EMPTY ? "was lost" : "cannot be used");
		/* Whoever lies is not asked again. */
		assert_int_equal(worker_pid(), 0);
	}
	test_fake_honest(state);
}

static void test_fake_descriptors(void **state)
{
	unsigned before, after;
	struct worker_answer answer;

	test_fake_honest(state);
	before = count_entries(getpid(), "fd");
	assert_int_equal(ask(FAKE_DESCRIPTORS, SECONDS_10, &answer), 0);
	worker_answer_deinit(&answer);
	after = count_entries(getpid(), "fd");
	assert_int_equal(before, after);
}

/* The second answer meets the next request and is not taken for its answer. */
static void test_fake_twice(void **state)
{
	struct worker_answer answer;

	assert_int_equal(ask(FAKE_TWICE, SECONDS_10, &answer), 0);
	worker_answer_deinit(&answer);
	assert_fails(FAKE_HONEST, SECONDS_10, -EIO, "not one to this request");
	test_fake_honest(state);
}

static void test_fake_resize(void **state)
{
	struct worker_answer answer;

	assert_int_equal(ask(FAKE_RESIZE, SECONDS_10, &answer), 0);
	assert_string_equal(answer.log, "fine\n");
	worker_answer_deinit(&answer);
}

static void test_fake_silent(void **state)
{
	assert_fails(FAKE_CLOSE, SECONDS_10, -EIO, "was lost");
	assert_fails(FAKE_EXIT, SECONDS_10, -EIO, "ended with status 3");
	test_fake_honest(state);
}

#define STUB(name) cmocka_unit_test_setup_teardown(name, start_stub, stop)
#define FAKE(name) cmocka_unit_test_setup_teardown(name, start_fake, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STUB(test_accept),	  STUB(test_refuse),
		STUB(test_verify_only),	  STUB(test_not_compiled),
		STUB(test_small_log),	  STUB(test_too_long),
		STUB(test_large_program), STUB(test_hang),
		STUB(test_crash),	  STUB(test_killed_idle),
		STUB(test_killed_busy),	  STUB(test_threads),
		STUB(test_memory_limit),  STUB(test_forbidden_calls),
		STUB(test_sandbox),	  STUB(test_stray_descriptors),
		STUB(test_warm),	  STUB(test_not_startable),
		STUB(test_daemon_dies),	  FAKE(test_fake_honest),
		FAKE(test_fake_refused),  FAKE(test_fake_descriptors),
		FAKE(test_fake_twice),	  FAKE(test_fake_resize),
		FAKE(test_fake_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
