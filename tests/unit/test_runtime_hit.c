/* SPDX-License-Identifier: MIT */
/*
 * Hits through the runtime's image: what programs see, and that every call is counted, whoever is
 * stopped, killed or interrupted meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <asm/ptrace.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "tests/unit/fake_region.h"
#include "vm/runtime/helpers.h"

static struct {
	struct pt_regs regs;
	struct rt_run run;
	uint64_t calls;
} last;

static uint64_t prog_note(void *ctx, struct rt_run *run)
{
	last.regs = *(struct pt_regs *)ctx;
	last.run = *run;
	last.calls++;
	return 0;
}

static __attribute__((noinline)) long work(long a, long b)
{
	return a * 10 + b;
}

typedef long (*work_fn)(long, long);

static void test_what_a_program_sees(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach attach = {fake_code(base, prog_note), 0xc00c1e, 7, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);

	last.calls = 0;
	assert_int_equal(probed(4, 2), 42);
	assert_int_equal(last.calls, 1);
	assert_int_equal(last.regs.rdi, 4);
	assert_int_equal(last.regs.rsi, 2);
	assert_int_equal(last.run.cookie, 0xc00c1e);
	assert_ptr_equal(last.run.base, base);
	assert_true(last.run.slot < 2);
	assert_int_equal(last.run.stack, last.regs.rsp);
	assert_int_equal(((const struct region_stub *)last.run.stub)->ip, (uint64_t)work);
	assert_int_equal(fake_count(base, 7).hits, 1);
	assert_int_equal(fake_shared(base)->slots[0].owner | fake_shared(base)->slots[1].owner, 0);
	fake_free(base);
}

static uint64_t prog_signal(void *ctx, struct rt_run *run)
{
	return rt_send_signal_thread(SIGUSR1, 0, 0, 0, 0, run);
}

static unsigned char *signal_base;
static uint64_t signal_owners;
static uint32_t signals;

static void note_owners(int signal)
{
	signals++;
	for (int i = 0; i < 2; i++)
		signal_owners |= fake_shared(signal_base)->slots[i].owner;
}

/* A signal that a program sends comes when nothing is owned any more, alone or among others. */
static void test_signal_owns_nothing(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_site *site = (void *)(base + FAKE_SITES);
	work_fn probed;

	signal_base = base;
	signal(SIGUSR1, note_owners);
	for (uint32_t cnt = 1; cnt <= 2; cnt++) {
		site->cnt = cnt;
		for (uint32_t i = 0; i < cnt; i++)
			site->attach[i] =
				(struct region_attach){fake_code(base, prog_signal), 0, i, 0};
		probed = fake_stub(base, 0, site, work);
		signals = 0;
		signal_owners = 0;
		assert_int_equal(probed(4, 2), 42);
		assert_int_equal(signals, 1);
		assert_int_equal(signal_owners, 0);
	}
	signal(SIGUSR1, SIG_DFL);
	fake_free(base);
}

static void test_switched_off(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach attach = {fake_code(base, prog_note), 0, 7, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	work_fn empty = fake_stub(base, 1, NULL, work);

	last.calls = 0;
	((struct region_header *)base)->off = 1;
	assert_int_equal(probed(4, 2), 42);
	((struct region_header *)base)->off = 0;
	assert_int_equal(empty(4, 2), 42);
	assert_int_equal(last.calls, 0);
	assert_int_equal(fake_count(base, 7).hits, 0);
	fake_free(base);
}

/* One of several programs, and the only one: neither runs nor counts, and comes back. */
static void test_one_off(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_site *site = (void *)(base + FAKE_SITES);
	work_fn probed;

	site->cnt = 2;
	site->attach[0] = (struct region_attach){fake_code(base, prog_note), 0, 3, 0};
	site->attach[1] =
		(struct region_attach){fake_code(base, prog_note), 0, 4, REGION_ATTACH_OFF};
	probed = fake_stub(base, 0, site, work);
	assert_int_equal(probed(4, 2), 42);
	site->cnt = 1;
	site->attach[0].flags = REGION_ATTACH_OFF;
	assert_int_equal(probed(4, 2), 42);
	assert_int_equal(fake_count(base, 3).hits, 1);
	assert_int_equal(fake_count(base, 4).hits, 0);
	site->attach[0].flags = 0;
	assert_int_equal(probed(4, 2), 42);
	assert_int_equal(fake_count(base, 3).hits, 2);
	fake_free(base);
}

/* Exit status of @child; it may run for 10 s. */
static int child_status(pid_t child)
{
	int status = 0;

	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t child_start(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		alarm(10);
	return child;
}

static void test_fork(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_site *site = (void *)(base + FAKE_SITES);
	work_fn probed;
	pid_t child;

	site->cnt = 2;
	site->attach[0] = (struct region_attach){fake_code(base, prog_note), 0, 0, 0};
	site->attach[1] =
		(struct region_attach){fake_code(base, prog_note), 0, 1, REGION_ATTACH_NO_FORK};
	probed = fake_stub(base, 0, site, work);
	probed(1, 2);
	child = child_start();
	if (!child) {
		probed(1, 2);
		_exit(((struct region_cache *)(base + REGION_CACHE))->pid == (uint64_t)getpid()
			      ? 0
			      : 1);
	}
	assert_int_equal(child_status(child), 0);
	assert_int_equal(fake_count(base, 0).hits, 2);
	assert_int_equal(fake_count(base, 1).hits, 1);
	fake_free(base);
}

/* A program that loses counts unless it has its slot for itself. */
#define THREADS 8
#define CALLS	1000000ul
static volatile uint64_t slow_count[REGION_SLOTS_MAX];

static uint64_t prog_count(void *ctx, struct rt_run *run)
{
	uint64_t count = slow_count[run->slot];

	for (int i = 0; i < 8; i++)
		__asm__ volatile("" : "+r"(count));
	slow_count[run->slot] = count + 1;
	return 0;
}

static void *thread_calls(void *arg)
{
	work_fn probed = (work_fn)arg;

	for (unsigned long i = 0; i < CALLS; i++) {
		if (probed(1, 2) != 12)
			return arg;
	}
	return NULL;
}

static void count_exactly(uint32_t slots, uint32_t flags, unsigned int threads)
{
	unsigned char *base = fake_region(slots);
	struct region_attach attach = {fake_code(base, prog_count), 0, 0, flags};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	uint64_t sum = 0;
	pthread_t ids[32];
	void *failed;

	memset((void *)slow_count, 0, sizeof(slow_count));
	for (unsigned int i = 0; i < threads; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, thread_calls, (void *)probed), 0);
	for (unsigned int i = 0; i < threads; i++) {
		assert_int_equal(pthread_join(ids[i], &failed), 0);
		assert_null(failed);
	}
	for (uint32_t i = 0; i < slots; i++)
		sum += slow_count[i];
	assert_int_equal(fake_count(base, 0).missed, 0);
	assert_int_equal(fake_count(base, 0).hits, threads * CALLS);
	assert_int_equal(sum, threads * CALLS);
	fake_free(base);
}

static void test_threads_count_exactly(void **state)
{
	for (int i = 0; i < 3; i++)
		count_exactly(2, 0, THREADS);
}

static void test_threads_count_exactly_with_one_slot(void **state)
{
	count_exactly(1, 0, 16);
}

static void test_threads_count_returns_exactly(void **state)
{
	count_exactly(2, REGION_ATTACH_RETURN, THREADS);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Holds its slot until the word at the region's first array says otherwise. */
static uint64_t prog_hold(void *ctx, struct rt_run *run)
{
	volatile uint32_t *shared = (void *)(run->base + REGION_MAPS);

	shared[0] = 1;
	while (!shared[1])
		usleep(1000);
	return 0;
}

/* A child that sits in a program with the only slot. */
static pid_t child_holds(unsigned char *base)
{
	struct region_attach attach = {fake_code(base, prog_hold), 0, 1, 0};
	work_fn probed = fake_stub(base, 1, fake_site(base, 1, attach), work);
	volatile uint32_t *shared = (void *)(base + REGION_MAPS);
	pid_t child;

	shared[0] = shared[1] = 0;
	child = child_start();
	if (!child)
		_exit(probed(1, 2) == 12 ? 0 : 1);
	while (!shared[0])
		usleep(1000);
	return child;
}

static void killed_owner(bool reap)
{
	unsigned char *base = fake_region(1);
	struct region_attach attach = {fake_code(base, prog_note), 0, 0, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	pid_t child = child_holds(base);
	siginfo_t info;

	kill(child, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | (reap ? 0 : WNOWAIT)), 0);
	assert_int_not_equal(fake_shared(base)->slots[0].owner, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 0).missed, 0);
	if (!reap)
		assert_int_equal(child_status(child), 128 + SIGKILL);
	fake_free(base);
}

static void test_killed_owner(void **state)
{
	killed_owner(true);
}

static void test_killed_owner_zombie(void **state)
{
	killed_owner(false);
}

/* Nobody waits for it any longer when it is killed. */
static void test_killed_stalled_owner(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach attach = {fake_code(base, prog_note), 0, 0, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	pid_t child = child_holds(base);

	kill(child, SIGSTOP);
	for (int i = 0; i < 3; i++)
		probed(1, 2);
	assert_int_equal(fake_count(base, 0).missed, 3);
	kill(child, SIGKILL);
	assert_int_equal(child_status(child), 128 + SIGKILL);
	usleep(50000);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 0).missed, 3);
	fake_free(base);
}

/* One hit waits, the next ones know; all of them are counted as missed. */
static void test_stopped_owner(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach attach = {fake_code(base, prog_note), 0, 0, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	pid_t child = child_holds(base);
	double start = seconds();

	kill(child, SIGSTOP);
	probed(1, 2);
	assert_true(seconds() - start > 0.1 && seconds() - start < 3);
	start = seconds();
	for (int i = 0; i < 1000; i++)
		probed(1, 2);
	assert_true(seconds() - start < 0.5);
	assert_int_equal(fake_count(base, 0).hits, 0);
	assert_int_equal(fake_count(base, 0).missed, 1001);
	((uint32_t *)(base + REGION_MAPS))[1] = 1;
	kill(child, SIGCONT);
	assert_int_equal(child_status(child), 0);
	for (int i = 0; i < 1000; i++)
		probed(1, 2);
	assert_int_equal(fake_count(base, 0).hits, 1000);
	assert_int_equal(fake_count(base, 0).missed, 1001);
	fake_free(base);
}

static sigjmp_buf out_of_program;

static void jump_out(int sig)
{
	siglongjmp(out_of_program, 1);
}

static uint64_t prog_raise(void *ctx, struct rt_run *run)
{
	raise(SIGUSR1);
	return 0;
}

/* The slot that a signal handler's siglongjmp leaves behind is found again at once. */
static void test_jump_out_of_program(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach attach = {fake_code(base, prog_raise), 0, 0, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	struct sigaction action = {.sa_handler = jump_out};
	volatile int jumps = 0;
	double start = seconds();

	sigaction(SIGUSR1, &action, NULL);
	if (sigsetjmp(out_of_program, 1))
		jumps++;
	if (jumps < 100)
		probed(1, 2);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 0).missed, 0);
	assert_true(seconds() - start < 1);
	fake_free(base);
}

static work_fn nested_call;

static void call_nested(int sig)
{
	nested_call(1, 2);
}

/* A signal handler that comes while a program runs has its probes counted in another slot. */
static void test_signal_in_program(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach outer = {fake_code(base, prog_raise), 0, 0, 0};
	struct region_attach inner = {fake_code(base, prog_note), 0, 1, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, outer), work);
	struct sigaction action = {.sa_handler = call_nested};

	nested_call = fake_stub(base, 1, fake_site(base, 1, inner), work);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 1).hits, 100);
	assert_int_equal(fake_shared(base)->slots[0].episodes, 100);
	assert_int_equal(fake_shared(base)->slots[1].episodes, 100);
	fake_free(base);
}

/* With one slot only there is none for the handler: it must not wait for what it has interrupted.
 */
static void test_signal_in_program_one_slot(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach outer = {fake_code(base, prog_raise), 0, 0, 0};
	struct region_attach inner = {fake_code(base, prog_note), 0, 1, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, outer), work);
	struct sigaction action = {.sa_handler = call_nested};
	double start = seconds();

	nested_call = fake_stub(base, 1, fake_site(base, 1, inner), work);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_true(seconds() - start < 0.4);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 1).missed, 100);
	fake_free(base);
}

/* Nor for a slot that somebody else holds: who does may be waiting likewise. */
static void test_signal_in_program_other_slot_held(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach outer = {fake_code(base, prog_raise), 0, 0, 0};
	struct region_attach inner = {fake_code(base, prog_note), 0, 1, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, outer), work);
	struct sigaction action = {.sa_handler = call_nested};
	pid_t child = child_holds(base);
	double start;

	nested_call = fake_stub(base, 1, fake_site(base, 1, inner), work);
	sigaction(SIGUSR1, &action, NULL);
	start = seconds();
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_true(seconds() - start < 0.4);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 1).missed, 100);
	((uint32_t *)(base + REGION_MAPS))[1] = 1;
	assert_int_equal(child_status(child), 0);
	fake_free(base);
}

/* As if the signal came between two stores of taking or giving back the slot. */
static uint64_t prog_raise_in_between(void *ctx, struct rt_run *run)
{
	struct region_slot *slot = &fake_shared(run->base)->slots[run->slot];
	uint64_t sp = slot->sp;

	slot->sp = 0;
	raise(SIGUSR1);
	slot->sp = sp;
	return 0;
}

static void test_signal_at_the_edge_of_a_program(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach outer = {fake_code(base, prog_raise_in_between), 0, 0, 0};
	struct region_attach inner = {fake_code(base, prog_note), 0, 1, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, outer), work);
	struct sigaction action = {.sa_handler = call_nested};
	double start = seconds();

	nested_call = fake_stub(base, 1, fake_site(base, 1, inner), work);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_true(seconds() - start < 0.4);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 1).missed, 100);
	fake_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_program_sees),
		cmocka_unit_test(test_signal_owns_nothing),
		cmocka_unit_test(test_switched_off),
		cmocka_unit_test(test_one_off),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_threads_count_exactly),
		cmocka_unit_test(test_threads_count_exactly_with_one_slot),
		cmocka_unit_test(test_threads_count_returns_exactly),
		cmocka_unit_test(test_killed_owner),
		cmocka_unit_test(test_killed_owner_zombie),
		cmocka_unit_test(test_killed_stalled_owner),
		cmocka_unit_test(test_stopped_owner),
		cmocka_unit_test(test_jump_out_of_program),
		cmocka_unit_test(test_signal_in_program),
		cmocka_unit_test(test_signal_in_program_one_slot),
		cmocka_unit_test(test_signal_in_program_other_slot_held),
		cmocka_unit_test(test_signal_at_the_edge_of_a_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
