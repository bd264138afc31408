/* SPDX-License-Identifier: MIT */
/*
 * Runs that are under way; see uspace_retire.h. They are told by the slots they own, which are
 * hostile memory: what stands there can only make the wait too short for whoever changes it, or as
 * long as it may be.
 */
#include "notifier/uspace_retire.h"

#include <sched.h>
#include <time.h>

#include "notifier/uspace.h"

#define WAIT_NS	 100000000 /* for all slots together: many times a run */
#define SPINS	 256
#define PAUSE_NS 50000

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* 0 for a slot that nobody owns; else no other run of it has the same. */
static uint64_t run_of(const struct region_slot *slot)
{
	uint64_t episodes = __atomic_load_n(&slot->episodes, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&slot->owner, __ATOMIC_ACQUIRE) ? episodes + 1 : 0;
}

/* Return: false when it was not to be waited for any longer. */
static bool wait_slot(const struct region_slot *slot, uint64_t run, int64_t until)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	for (uint32_t turn = 0; run_of(slot) == run; turn++) {
		if (turn < SPINS) {
			sched_yield();
			continue;
		}
		if (now_ns() >= until)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

bool uspace_retire_wait(struct uspace *uspace)
{
	const struct region_shared *shared = (void *)(uspace->base + REGION_SHARED);
	const uint32_t slots = ((const struct region_header *)(void *)uspace->base)->slots;
	int64_t until = now_ns() + WAIT_NS;
	bool all = true;

	/* Either a run that comes now sees what was stored before, or we see that it has a slot. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < slots && i < REGION_SLOTS_MAX; i++) {
		uint64_t run = run_of(&shared->slots[i]);
		uint64_t *stuck = &uspace->stuck[i];

		if (!run)
			continue;
		if (__atomic_load_n(stuck, __ATOMIC_RELAXED) == run) {
			all = false;
			continue;
		}
		if (wait_slot(&shared->slots[i], run, until))
			continue;
		__atomic_store_n(stuck, run, __ATOMIC_RELAXED);
		all = false;
	}
	return all;
}
