/* SPDX-License-Identifier: MIT */
/*
 * Whether a process is in code that is to be written over: seen in its registers, on its stacks,
 * and where signals came. Needs root (and fails without).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shim/quiet.h"
#include "shim/region.h"

#define LOOP (REGION_CODE + 0x100) /* jmp . */
#define CALL (REGION_CODE + 0x200) /* calls its argument */
#define FAR  (REGION_CODE + 0x100000)

static int code_fd;
static unsigned char *code;
static volatile int *there; /* the child is where it shall be; shared */

typedef void (*act_fn)(void (*fn)(void));

static void wait_for_ever(void)
{
	*there = 1;
	for (;;)
		pause();
}

static void spin(void)
{
	*there = 1;
	for (;;)
		;
}

static void *region_call(void *fn)
{
	((act_fn)(void *)(code + CALL))((void (*)(void))fn);
	return NULL;
}

static void *region_loop(void *arg)
{
	*there = 1;
	((void (*)(void))(void *)(code + LOOP))();
	return arg;
}

static void on_signal(int number)
{
	wait_for_ever();
}

/* In a moment a signal comes, whose handler has a stack of its own and stays there. */
static void expect_signal(void)
{
	static char other[65536];
	const stack_t stack = {.ss_sp = other, .ss_size = sizeof(other)};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

	sigaltstack(&stack, NULL);
	sigaction(SIGALRM, &action, NULL);
	ualarm(20000, 0);
}

static void *interrupted(void *arg)
{
	expect_signal();
	((void (*)(void))(void *)(code + LOOP))();
	return arg;
}

/* The same when it was in a function that the region called. */
static void *interrupted_below(void *arg)
{
	expect_signal();
	return region_call((void *)spin);
}

static void *call_and_wait(void *arg)
{
	return region_call((void *)wait_for_ever);
}

static void *call_and_spin(void *arg)
{
	return region_call((void *)spin);
}

static void *stay_out(void *arg)
{
	spin();
	return arg;
}

enum { IN_MAIN, IN_THREAD, IN_THREAD_ALONE, PLACES };

static bool is_quiet(void *(*where)(void *), int place, uint64_t at, uint64_t size)
{
	const struct shim_segment segment = {.offset = REGION_TEXT,
					     .size = REGION_CODE_FILE_SIZE,
					     .prot = PROT_READ | PROT_EXEC,
					     .fd = code_fd};
	struct shim_region region = {.segments = &segment, .segment_cnt = 1};
	struct shim_segment *own = (struct shim_segment *)&segment;
	const struct shim_extent extents[] = {{REGION_CODE, 64}, {at, size}, {FAR + 4096, 64}};
	struct reason reason = {0};
	bool quiet = false;
	struct stat st;
	pid_t pid;
	int r;

	fstat(code_fd, &st);
	own->ino = st.st_ino;
	*there = 0;
	pid = fork();
	if (pid == 0) {
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (place == IN_MAIN)
			where(NULL);
		pthread_create(&thread, NULL, where, NULL);
		if (place == IN_THREAD_ALONE)
			pthread_exit(NULL);
		for (;;)
			pause();
	}
	for (int i = 0; i < 5000 && !*there; i++)
		usleep(1000);
	assert_true(*there);
	usleep(50000);
	r = shim_is_quiet(pid, &region, extents, 3, -1, &quiet, &reason);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (r < 0)
		fail_msg("%d: %s", r, reason.text);
	return quiet;
}

static void test_places(void **state)
{
	static void *(*const inside[])(void *) = {region_loop, call_and_wait, call_and_spin,
						  interrupted, interrupted_below};

	for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
		for (int place = 0; place < PLACES; place++) {
			if (is_quiet(inside[i], place, LOOP, 0x200))
				fail_msg("place %zu, %d: not seen", i, place);
			/* Elsewhere it may be. */
			if (!is_quiet(inside[i], place, FAR, 64))
				fail_msg("place %zu, %d: seen elsewhere", i, place);
		}
	assert_true(is_quiet(stay_out, IN_MAIN, LOOP, 0x200));
	assert_true(is_quiet(stay_out, IN_THREAD, LOOP, 0x200));
}

static void test_gone(void **state)
{
	const struct shim_region region = {0};
	struct reason reason = {0};
	bool quiet;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(shim_is_quiet(pid, &region, NULL, 0, -1, &quiet, &reason), -ESRCH);
}

static int make_code(void **state)
{
	/* push rbp; call rdi; pop rbp; ret */
	static const unsigned char call[] = {0x55, 0xff, 0xd7, 0x5d, 0xc3}, loop[] = {0xeb, 0xfe};

	code_fd = memfd_create("code", MFD_CLOEXEC);
	there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(code_fd >= 0 && there != MAP_FAILED);
	assert_int_equal(ftruncate(code_fd, REGION_CODE_FILE_SIZE), 0);
	assert_int_equal(pwrite(code_fd, loop, sizeof(loop), LOOP), sizeof(loop));
	assert_int_equal(pwrite(code_fd, call, sizeof(call), CALL), sizeof(call));
	code = mmap(NULL, REGION_CODE_FILE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, code_fd, 0);
	assert_true(code != MAP_FAILED);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_places),
					   cmocka_unit_test(test_gone)};

	return cmocka_run_group_tests(tests, make_code, NULL);
}
