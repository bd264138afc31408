/* SPDX-License-Identifier: MIT */
/*
 * Processes stopped by a forked tracer: who makes a call for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "shim/tracee.h"

#define CALL_NS 400000000l

static void nap(long ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

static pid_t start_target(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(20);
	for (;;)
		pause();
}

/* Stop the target, wait, have it sleep, wait again. */
static pid_t start_tracer(pid_t target, int steps)
{
	/* Not on the stack: below the target's stack pointer its way back is kept. */
	static struct timespec time = {.tv_nsec = CALL_NS};
	uint64_t args[6] = {0};
	struct reason reason;
	const struct tracee_how how = {.cgroup_fd = -1, .armed_fd = -1};
	struct tracee tracee;
	struct maps maps;
	int64_t result;
	pid_t pid = fork(), busy;

	if (pid)
		return pid;
	alarm(20);
	if (tracee_stop(target, &how, &tracee, &busy, &reason) < 0 ||
	    maps_read(target, &maps) < 0 || tracee_prepare(&tracee, &maps) < 0)
		_exit(1);
	/* A fork of the test has the same addresses. */
	args[0] = (uint64_t)&time;
	if (tracee_write(&tracee, args[0], &time, sizeof(time)) < 0)
		_exit(2);
	(void)!write(steps, "s", 1);
	nap(300);
	if (tracee_syscall(&tracee, SYS_nanosleep, args, &result) < 0 || result != 0)
		_exit(3);
	(void)!write(steps, "e", 1);
	nap(300);
	tracee_release(&tracee);
	_exit(0);
}

static void test_calling(void **state)
{
	pid_t target = start_target(), tracer;
	int fds[2], status, seen = 0;
	char step;

	assert_int_equal(pipe(fds), 0);
	tracer = start_tracer(target, fds[1]);
	assert_int_equal(read(fds[0], &step, 1), 1);
	/* Stopped, and not calling. */
	assert_false(tracee_is_calling(tracer, target));
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	while (read(fds[0], &step, 1) != 1) {
		seen += tracee_is_calling(tracer, target);
		assert_false(tracee_is_calling(tracer, tracer));
		nap(1);
	}
	assert_true(seen > 10);
	assert_false(tracee_is_calling(tracer, target));
	assert_int_equal(waitpid(tracer, &status, 0), tracer);
	assert_int_equal(status, 0);
	assert_false(tracee_is_calling(tracer, target));
	kill(target, SIGKILL);
	waitpid(target, NULL, 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
