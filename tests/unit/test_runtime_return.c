/* SPDX-License-Identifier: MIT */
/*
 * Return probes through the runtime's image: recursion, jumps out of functions, functions that end
 * in a jump to another, functions that return twice, and a full table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <alloca.h>
#include <asm/ptrace.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "base/cleanup.h"
#include "tests/unit/fake_region.h"

#define LOG_MAX 64

typedef long (*fn1)(long);

static struct {
	uint64_t ax, ip, sp, cookie, func;
} log_entries[LOG_MAX];
static uint32_t log_cnt;
static fn1 probed_again; /* what functions under test call instead of themselves */

static uint64_t prog_log(void *ctx, struct rt_run *run)
{
	const struct pt_regs *regs = ctx;

	if (log_cnt == LOG_MAX)
		return 0;
	log_entries[log_cnt].ax = regs->rax;
	log_entries[log_cnt].ip = regs->rip;
	log_entries[log_cnt].sp = regs->rsp;
	log_entries[log_cnt].func = ((const struct region_stub *)run->stub)->ip;
	log_entries[log_cnt++].cookie = run->cookie;
	return 0;
}

static uint64_t prog_nothing(void *ctx, struct rt_run *run)
{
	return 0;
}

static fn1 probe_with(unsigned char *base, uint32_t nr, const void *function,
		      uint64_t (*prog)(void *, struct rt_run *))
{
	struct region_attach attach = {fake_code(base, prog), nr, nr, REGION_ATTACH_RETURN};

	return (fn1)fake_stub(base, nr, fake_site(base, nr, attach), function);
}

static fn1 probe(unsigned char *base, uint32_t nr, const void *function)
{
	log_cnt = 0;
	return probe_with(base, nr, function, prog_log);
}

static struct region_return *table(unsigned char *base)
{
	return (void *)(base + REGION_SHADOW);
}

static uint32_t pending(unsigned char *base)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < REGION_RETURNS; i++)
		cnt += table(base)[i].slot && !(table(base)[i].slot & 1);
	return cnt;
}

static __attribute__((noinline)) long twice(long n)
{
	__asm__ volatile("");
	return 2 * n;
}

static void test_value_and_address(void **state)
{
	unsigned char *base = fake_region(2);
	fn1 probed = probe(base, 3, (void *)twice);

	for (long i = 0; i < 4; i++)
		assert_int_equal(probed(i), 2 * i);
	assert_int_equal(log_cnt, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(log_entries[i].ax, 2 * i);
		assert_int_equal(log_entries[i].cookie, 3);
		assert_int_equal(log_entries[i].func, (uint64_t)twice);
		/* Somewhere in this function. */
		assert_true(log_entries[i].ip - (uint64_t)test_value_and_address < 0x400);
	}
	assert_int_equal(pending(base), 0);
	assert_int_equal(fake_count(base, 3).hits, 4);
	fake_free(base);
}

static __attribute__((noinline)) long factorial(long n)
{
	return n < 2 ? 1 : n * probed_again(n - 1);
}

static void test_recursion(void **state)
{
	unsigned char *base = fake_region(2);

	probed_again = probe(base, 0, (void *)factorial);
	assert_int_equal(probed_again(10), 3628800);
	assert_int_equal(log_cnt, 10);
	for (uint32_t i = 0; i < 9; i++)
		assert_int_equal(log_entries[i + 1].ax, log_entries[i].ax * (i + 2));
	for (uint32_t i = 0; i < 9; i++)
		assert_true(log_entries[i + 1].sp > log_entries[i].sp);
	assert_int_equal(pending(base), 0);
	fake_free(base);
}

/* Both kinds at one site; the site is taken away before the function returns. */
static struct region_stub *stub_to_clear;

static __attribute__((noinline)) long clears_site(long n)
{
	stub_to_clear->site = 0;
	return n + 1;
}

static void test_site_changes_meanwhile(void **state)
{
	unsigned char *base = fake_region(2);
	fn1 probed = probe(base, 0, (void *)clears_site);

	stub_to_clear = (void *)(base + FAKE_STUBS);
	assert_int_equal(probed(1), 2);
	assert_int_equal(log_cnt, 0);
	assert_int_equal(pending(base), 0);
	fake_free(base);
}

static void test_entry_and_return(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_site *site = (void *)(base + FAKE_SITES);
	fn1 probed;

	log_cnt = 0;
	site->cnt = 4;
	site->returns = 2;
	for (uint32_t i = 0; i < 4; i++)
		site->attach[i] = (struct region_attach){fake_code(base, prog_log), i, i,
							 i % 2 ? 0 : REGION_ATTACH_RETURN};
	probed = (fn1)fake_stub(base, 0, site, (void *)twice);
	assert_int_equal(probed(21), 42);
	assert_int_equal(log_cnt, 4);
	assert_int_equal(log_entries[0].cookie, 1);
	assert_int_equal(log_entries[1].cookie, 3);
	assert_int_equal(log_entries[2].cookie, 0);
	assert_int_equal(log_entries[3].cookie, 2);
	assert_int_equal(log_entries[3].ax, 42);
	fake_free(base);
}

static jmp_buf out;

static __attribute__((noinline)) long leaves(long depth)
{
	volatile char stack[64];

	stack[0] = (char)depth;
	if (!depth)
		longjmp(out, 1);
	return probed_again(depth - 1) + stack[0];
}

static __attribute__((noinline)) long from_depth(long i, fn1 probed)
{
	volatile char *stack = alloca((size_t)(i % 512) * 16 + 16);

	stack[0] = 0;
	if (!setjmp(out))
		probed_again(20);
	return probed(i) + stack[0];
}

/* Far more functions are left by longjmp than the table has room for, at many stack addresses. */
static void test_longjmp(void **state)
{
	unsigned char *base = fake_region(2);
	fn1 probed = probe(base, 1, (void *)twice);

	probed_again = probe(base, 0, (void *)leaves);
	for (long i = 0; i < 5000; i++)
		assert_int_equal(from_depth(i, probed), 2 * i);
	assert_int_equal(fake_count(base, 0).hits, 0);
	assert_int_equal(fake_count(base, 1).hits, 5000);
	assert_int_equal(fake_count(base, 0).missed + fake_count(base, 1).missed, 0);
	fake_free(base);
}

/* The stack of a thread that is gone is unmapped; its entries must not stay for ever. */
static void *thread_left(void *arg)
{
	if (!setjmp(out))
		probed_again(60);
	return NULL;
}

static void test_left_by_dead_threads(void **state)
{
	unsigned char *base = fake_region(2);
	uint64_t size = 256 << 10;

	probed_again = probe(base, 0, (void *)leaves);
	for (int i = 0; i < 600; i++) {
		void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);
		pthread_attr_t attr;
		pthread_t id;

		assert_ptr_not_equal(stack, MAP_FAILED);
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stack, size);
		assert_int_equal(pthread_create(&id, &attr, thread_left, NULL), 0);
		pthread_join(id, NULL);
		munmap(stack, size);
		/* Another address next time. */
		assert_ptr_not_equal(
			mmap(stack, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			MAP_FAILED);
	}
	assert_int_equal(fake_count(base, 0).missed, 0);
	fake_free(base);
}

static __attribute__((noinline)) long descend(long depth)
{
	return depth ? 1 + probed_again(depth - 1) : 0;
}

/* Deeper than the table: what has no room is counted and returns all the same. */
static void *deep(void *arg)
{
	unsigned char *base = arg;

	for (int i = 0; i < 3; i++)
		assert_int_equal(probed_again(20000), 20000);
	assert_int_equal(fake_count(base, 0).hits + fake_count(base, 0).missed, 3 * 20001);
	assert_true(fake_count(base, 0).hits > 3 * 4096);
	assert_int_equal(pending(base), 0);
	return NULL;
}

static void test_deeper_than_the_table(void **state)
{
	unsigned char *base = fake_region(2);
	pthread_attr_t attr;
	pthread_t id;

	probed_again = probe_with(base, 0, (void *)descend, prog_nothing);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 20);
	assert_int_equal(pthread_create(&id, &attr, deep, base), 0);
	pthread_join(id, NULL);
	fake_free(base);
}

/* A function that ends by jumping to another: both have entries for one stack slot. */
static void test_tail_calls(void **state)
{
	unsigned char *base = fake_region(2);
	fn1 last = probe(base, 2, (void *)twice);
	fn1 middle = probe(base, 1, (void *)last);
	fn1 first = probe(base, 0, (void *)middle);

	for (int round = 0; round < 3; round++) {
		log_cnt = 0;
		assert_int_equal(first(21), 42);
		assert_int_equal(log_cnt, 3);
		for (uint32_t i = 0; i < 3; i++) {
			assert_int_equal(log_entries[i].cookie, 2 - i);
			assert_int_equal(log_entries[i].ax, 42);
			assert_int_equal(log_entries[i].ip, log_entries[0].ip);
			assert_true(log_entries[i].ip - (uint64_t)test_tail_calls < 0x800);
		}
	}
	assert_int_equal(pending(base), 0);
	fake_free(base);
}

static __attribute__((noinline)) long leaves_odd(long n)
{
	if (n & 1)
		longjmp(out, 1);
	return n;
}

/* The entries of several functions for one stack slot are left behind together. */
static void test_tail_calls_left_by_longjmp(void **state)
{
	unsigned char *base = fake_region(2);
	fn1 last = probe(base, 1, (void *)leaves_odd);
	fn1 first = probe(base, 0, (void *)last);

	for (volatile long i = 0; i < 100; i++) {
		log_cnt = 0;
		if (setjmp(out))
			continue;
		assert_int_equal(i % 4 == 2 ? last(i) : first(i), i);
		assert_int_equal(log_cnt, i % 4 == 2 ? 1 : 2);
	}
	assert_int_equal(fake_count(base, 0).hits, 25);
	assert_int_equal(fake_count(base, 1).hits, 50);
	assert_true(pending(base) <= 2);
	fake_free(base);
}

/* The return address of vfork() is used by the child and by the parent. */
static void test_returns_twice(void **state)
{
	unsigned char *base = fake_region(2);
	pid_t (*probed)(void) = (void *)probe_with(base, 0, (void *)vfork, prog_nothing);

	for (int i = 1; i <= 10; i++) {
		pid_t child = probed();
		int status = 1;

		if (!child)
			_exit(0);
		assert_true(child > 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(fake_count(base, 0).hits, 2 * i);
	}
	fake_free(base);
}

/* Two coroutines on one thread, switching while functions are pending on both stacks. */
static ucontext_t contexts[2], back;
static uint32_t current, switches;

static __attribute__((noinline)) long switching(long n)
{
	uint32_t self = current;

	if (switches++ < 1000) {
		current = !self;
		swapcontext(&contexts[self], &contexts[!self]);
	}
	return n ? probed_again(n - 1) + 1 : 0;
}

static void coroutine(void)
{
	for (int i = 0; i < 10; i++)
		assert_int_equal(probed_again(30), 30);
}

static void test_coroutines(void **state)
{
	unsigned char *base = fake_region(2);
	static char stacks[2][65536];

	probed_again = probe_with(base, 0, (void *)switching, prog_nothing);
	current = switches = 0;
	for (int i = 0; i < 2; i++) {
		getcontext(&contexts[i]);
		contexts[i].uc_stack.ss_sp = stacks[i];
		contexts[i].uc_stack.ss_size = sizeof(stacks[i]);
		contexts[i].uc_link = i ? &back : &contexts[1];
		makecontext(&contexts[i], coroutine, 0);
	}
	assert_int_equal(swapcontext(&back, &contexts[0]), 0);
	assert_int_equal(fake_count(base, 0).hits, 2 * 10 * 31);
	assert_int_equal(pending(base), 0);
	fake_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_value_and_address),
		cmocka_unit_test(test_recursion),
		cmocka_unit_test(test_site_changes_meanwhile),
		cmocka_unit_test(test_entry_and_return),
		cmocka_unit_test(test_longjmp),
		cmocka_unit_test(test_left_by_dead_threads),
		cmocka_unit_test(test_deeper_than_the_table),
		cmocka_unit_test(test_tail_calls),
		cmocka_unit_test(test_tail_calls_left_by_longjmp),
		cmocka_unit_test(test_returns_twice),
		cmocka_unit_test(test_coroutines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
