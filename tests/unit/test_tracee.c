// SPDX-License-Identifier: MIT
/*
 * Processes held by ptrace: whoever holds them may be killed at any time. Needs root.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "shim/tracee.h"

#define ROUNDS 300

/* Shared by test, target and tracers. */
struct shared {
	atomic_int ready, stop, turns, calls, wrong;
	atomic_int armed; /* tracers whose calls could be rescued */
};

static struct shared *shared;

static void nap_us(long us)
{
	const struct timespec nap = {.tv_nsec = us * 1000};

	nanosleep(&nap, NULL);
}

static void complain(const char *what)
{
	fprintf(stderr, "target: %s\n", what);
	atomic_fetch_add(&shared->wrong, 1);
}

/* All general and some vector registers keep values of their own for a while. */
static void spin(void)
{
	uint64_t bad;

	__asm__ volatile("push %%rbp\n\t"
			 "mov $0x1111111111, %%rax\n\tmovq %%rax, %%xmm0\n\t"
			 "mov $0x2222222222, %%rbx\n\tmovq %%rbx, %%xmm7\n\t"
			 "mov $0x3333333333, %%rcx\n\tmovq %%rcx, %%xmm15\n\t"
			 "mov $0x4444444444, %%rdx\n\tmov $0x5555555555, %%rsi\n\t"
			 "mov $0x6666666666, %%rdi\n\tmov $0x7777777777, %%rbp\n\t"
			 "mov $0x8888888888, %%r8\n\tmov $0x9999999999, %%r9\n\t"
			 "mov %%rsp, %%r10\n\tmov $100000, %%r11d\n\t"
			 "movq %%r10, -128(%%rsp)\n\t"
			 "1:\tdec %%r11d\n\tjnz 1b\n\t"
			 "movq %%xmm0, %%r12\n\tsub %%r12, %%rax\n\t"
			 "movq %%xmm7, %%r12\n\tsub %%r12, %%rbx\n\tor %%rbx, %%rax\n\t"
			 "movq %%xmm15, %%r12\n\tsub %%r12, %%rcx\n\tor %%rcx, %%rax\n\t"
			 "mov $0x4444444444, %%r12\n\tsub %%r12, %%rdx\n\tor %%rdx, %%rax\n\t"
			 "mov $0x5555555555, %%r12\n\tsub %%r12, %%rsi\n\tor %%rsi, %%rax\n\t"
			 "mov $0x6666666666, %%r12\n\tsub %%r12, %%rdi\n\tor %%rdi, %%rax\n\t"
			 "mov $0x7777777777, %%r12\n\tsub %%r12, %%rbp\n\tor %%rbp, %%rax\n\t"
			 "mov $0x8888888888, %%r12\n\tsub %%r12, %%r8\n\tor %%r8, %%rax\n\t"
			 "mov $0x9999999999, %%r12\n\tsub %%r12, %%r9\n\tor %%r9, %%rax\n\t"
			 "sub -128(%%rsp), %%r10\n\tor %%r10, %%rax\n\t"
			 "pop %%rbp"
			 : "=a"(bad)
			 :
			 : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			   "xmm0", "xmm7", "xmm15", "memory", "cc");
	if (bad)
		complain("a register has changed");
}

/* The upper halves, where there are any. */
__attribute__((target("avx"))) static void spin_wide(void)
{
	uint64_t values[4] = {1, 2, 3, 4}, after[4];

	__asm__ volatile("vmovdqu %1, %%ymm5\n\tmov $100000, %%r11d\n\t"
			 "1:\tdec %%r11d\n\tjnz 1b\n\tvmovdqu %%ymm5, %0\n\tvzeroupper"
			 : "=m"(after)
			 : "m"(values)
			 : "xmm5", "r11", "cc");
	if (memcmp(values, after, sizeof(values)) != 0)
		complain("a wide register has changed");
}

/* A restartable sequence that ends only by being aborted, which any preemption does. */
static void spin_sequence(void)
{
	static const struct timespec none;

	if (!__rseq_size)
		return;
	nanosleep(&none, NULL);
	__asm__ volatile("lea 3f(%%rip), %%rax\n\t"
			 "mov %%rax, %%fs:8(%0)\n"
			 "1:\tjmp 1b\n"
			 "2:\tnop\n\t"
			 ".pushsection .data.rel.local, \"aw\"\n\t"
			 ".balign 32\n"
			 "3:\t.long 0, 0\n\t"
			 ".quad 1b, 2b - 1b, 4f\n\t"
			 ".popsection\n\t"
			 "ud2\n\t"
			 ".long %c1\n"
			 "4:"
			 :
			 : "r"((uint64_t)__rseq_offset), "i"(RSEQ_SIG)
			 : "rax", "memory");
}

static void sleep_in_calls(int epoll_fd)
{
	const struct timespec t = {.tv_nsec = 3000000};
	struct epoll_event event;
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	if (nanosleep(&t, NULL) < 0)
		complain("nanosleep() has failed");
	clock_gettime(CLOCK_MONOTONIC, &after);
	if ((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec < 3000000)
		complain("nanosleep() was short");
	/* A tracer that dies before it has looked at the thread leaves that one behind. */
	if (epoll_wait(epoll_fd, &event, 1, 3) != 0 && errno != EINTR)
		complain(strerror(errno));
}

static void *thread_main(void *arg)
{
	int epoll_fd = epoll_create1(0);

	while (!atomic_load(&shared->stop)) {
		spin();
		sleep_in_calls(epoll_fd);
	}
	return NULL;
}

static void target_main(bool sleeps)
{
	static char alternate[65536];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)}, now;
	int epoll_fd = epoll_create1(0);
	sigset_t mask, after;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaltstack(&stack, NULL);
	pthread_create(&thread, NULL, thread_main, NULL);
	atomic_store(&shared->ready, 1);
	while (!atomic_load(&shared->stop)) {
		if (sleeps)
			sleep_in_calls(epoll_fd);
		else
			spin();
		if (!sleeps && __builtin_cpu_supports("avx"))
			spin_wide();
		if (!sleeps)
			spin_sequence();
		sigprocmask(SIG_SETMASK, NULL, &after);
		if (memcmp(&mask, &after, 8) != 0)
			complain("the signal mask has changed");
		sigaltstack(NULL, &now);
		if (now.ss_sp != alternate || now.ss_flags)
			complain("the alternate stack has changed");
		atomic_fetch_add(&shared->turns, 1);
	}
	pthread_join(thread, NULL);
	_exit(atomic_load(&shared->wrong) != 0);
}

/* Stops the target and has it make calls until it is killed, or lets go of it after a few. */
static void tracer_main(pid_t pid)
{
	const struct timeval t = {.tv_usec = 100};
	const struct tracee_how how = {.cgroup_fd = -1, .armed_fd = -1};
	struct tracee tracee;
	struct maps maps;
	int64_t result;
	pid_t busy;

	if (tracee_stop(pid, &how, &tracee, &busy, NULL) < 0 || maps_read(pid, &maps) < 0 ||
	    tracee_prepare(&tracee, &maps) < 0)
		_exit(1);
	for (int i = 0; i < 8; i++) {
		uint64_t args[6] = {
			0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1,
			0};
		uint64_t at;

		if (tracee_syscall(&tracee, SYS_mmap, args, &result) < 0 || result < 0)
			_exit(2);
		atomic_fetch_or(&shared->armed, tracee.rescue.sp != 0);
		at = (uint64_t)result;
		tracee_write(&tracee, at, &t, sizeof(t));
		/* Unlike nanosleep() it leaves alone what the kernel remembers of another. */
		if (tracee_syscall(&tracee, SYS_select, (uint64_t[6]){0, 0, 0, 0, at}, &result) <
			    0 ||
		    result != 0)
			_exit(3);
		tracee_syscall(&tracee, SYS_munmap, (uint64_t[6]){at, 4096}, &result);
		atomic_fetch_add(&shared->calls, 3);
	}
	tracee_release(&tracee);
	_exit(0);
}

static void kill_tracers(bool sleeps)
{
	pid_t target, tracer;
	int status, before;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	target = fork();
	if (target == 0)
		target_main(sleeps);
	while (!atomic_load(&shared->ready))
		nap_us(100);
	srand(1);
	for (int i = 0; i < ROUNDS; i++) {
		before = atomic_load(&shared->turns);
		tracer = fork();
		if (tracer == 0)
			tracer_main(target);
		nap_us(200 + rand() % 2500);
		kill(tracer, SIGKILL);
		waitpid(tracer, &status, 0);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		/* It goes on. */
		for (int k = 0; atomic_load(&shared->turns) == before && k < 2000; k++)
			nap_us(1000);
		assert_true(atomic_load(&shared->turns) > before);
		assert_int_equal(waitpid(target, &status, WNOHANG), 0);
	}
	atomic_store(&shared->stop, 1);
	assert_int_equal(waitpid(target, &status, 0), target);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(atomic_load(&shared->armed));
	assert_in_range(atomic_load(&shared->calls), 100, ROUNDS * 24);
	munmap(shared, sizeof(*shared));
}

static void test_killed_while_target_runs(void **state)
{
	kill_tracers(false);
}

static void test_killed_while_target_sleeps(void **state)
{
	kill_tracers(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_while_target_runs),
		cmocka_unit_test(test_killed_while_target_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
