/* SPDX-License-Identifier: MIT */
/*
 * Waiting for runs: until those that were under way have ended and no longer; an owner that does not
 * move is waited for once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "notifier/uspace.h"
#include "notifier/uspace_retire.h"

#define SLOTS 4u

static struct uspace uspace;
static struct region_shared *shared;
static atomic_uint pauses;

/* The only one who pauses is who waits. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	atomic_fetch_add(&pauses, 1);
	return (int)syscall(SYS_nanosleep, time, left);
}

static int setup(void **state)
{
	(void)state;
	uspace = (struct uspace){.base = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)};
	assert_ptr_not_equal(uspace.base, MAP_FAILED);
	((struct region_header *)(void *)uspace.base)->slots = SLOTS;
	shared = (void *)(uspace.base + REGION_SHARED);
	atomic_store(&pauses, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(uspace.base, REGION_SIZE);
	return 0;
}

static void test_nobody(void **state)
{
	(void)state;
	assert_true(uspace_retire_wait(&uspace));
	assert_int_equal(atomic_load(&pauses), 0);
}

static void release(struct region_slot *slot)
{
	__atomic_store_n(&slot->episodes, slot->episodes + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
}

static atomic_bool waiting;

/* A moment after it is waited for, the run ends, and the same thread begins another. */
static void *run_on(void *arg)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	struct region_slot *slot = arg;
	uint64_t owner = slot->owner;

	while (!atomic_load(&waiting))
		sched_yield();
	syscall(SYS_nanosleep, &moment, NULL);
	release(slot);
	__atomic_store_n(&slot->owner, owner, __ATOMIC_RELEASE);
	return NULL;
}

static void test_ends(void **state)
{
	bool ended = false;

	(void)state;
	shared->slots[1].owner = 0x1234500001;
	/* On a busy machine the moment may be longer than it is waited. */
	for (int i = 0; i < 20 && !ended; i++) {
		pthread_t thread;

		atomic_store(&waiting, false);
		assert_int_equal(pthread_create(&thread, NULL, run_on, &shared->slots[1]), 0);
		atomic_store(&waiting, true);
		ended = uspace_retire_wait(&uspace);
		pthread_join(thread, NULL);
	}
	assert_true(ended);
}

/* As long as it may, and in vain; on a busy machine it may come to no pause in that time. */
static void assert_waits(void)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_false(uspace_retire_wait(&uspace));
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true((to.tv_sec - from.tv_sec) * 1000000000ll + to.tv_nsec - from.tv_nsec >=
		    100000000);
}

static void test_stuck(void **state)
{
	unsigned int before;

	(void)state;
	shared->slots[2].owner = 0x5432100001;
	assert_waits();
	before = atomic_load(&pauses);
	/* Still there, and known. */
	assert_false(uspace_retire_wait(&uspace));
	assert_int_equal(atomic_load(&pauses), before);
	/* A later run of the same slot is another one. */
	release(&shared->slots[2]);
	assert_true(uspace_retire_wait(&uspace));
	shared->slots[2].owner = 0x5432100001;
	assert_waits();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stuck, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
