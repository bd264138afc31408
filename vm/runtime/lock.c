/* SPDX-License-Identifier: MIT */
/*
 * Locks that survive their holders; see lock.h.
 *
 * The owner of a CPU slot signs with the slot and the number of its episode: once the slot has been
 * given back or taken over, the run that held the lock is gone. Everybody else (the daemon) signs
 * with a time stamp, which only tells one holding from the next.
 */
#include "vm/runtime/lock.h"

#include "vm/runtime/slot.h"

#define BUSY	     0x80000000u
#define ANONYMOUS    0x40000000u
#define SLOT_SHIFT   22
#define EPISODE_MASK 0x3fffffu
#define STAMP_MASK   0x3fffffffu

#define SPINS	    128u
#define YIELDS	    64u
#define HOLD_NS	    100000000ull /* far beyond what a preempted holder needs */
#define LIMIT_NS    RT_NSEC_PER_SEC
#define SLEEP_NS    50000
#define CHANGES_MAX 1000000u /* lost races; hostile memory may lose them for ever */

struct lock_wait {
	uint64_t start; /* since when the word is the same */
	uint64_t first; /* since when we wait */
	uint64_t seen;
	uint32_t round, changes;
};

static struct region_slot *holder_slot(unsigned char *base, uint32_t holder)
{
	return &region_shared(base)->slots[holder >> SLOT_SHIFT & (REGION_SLOTS_MAX - 1)];
}

uint32_t lock_holder(unsigned char *base, uint32_t slot)
{
	if (slot < REGION_SLOTS_MAX && rt_load(&region_shared(base)->slots[slot].owner))
		return BUSY | slot << SLOT_SHIFT |
		       (rt_load(&region_shared(base)->slots[slot].episodes) & EPISODE_MASK);
	return BUSY | ANONYMOUS | ((uint32_t)__builtin_ia32_rdtsc() & STAMP_MASK);
}

/* Whether the run that signed with @holder is over. */
static bool holder_gone(unsigned char *base, uint32_t holder, uint32_t mine)
{
	const struct region_slot *slot = holder_slot(base, holder);

	if (holder & ANONYMOUS)
		return false;
	if (!(mine & ANONYMOUS) && holder_slot(base, mine) == slot)
		return true;
	return !rt_load(&slot->owner) ||
	       (rt_load(&slot->episodes) & EPISODE_MASK) != (holder & EPISODE_MASK);
}

/*
 * Whether a run of the caller's own thread holds it: that cannot go on before the caller returns.
 * Taking another thread for it would fail an update for nothing, so in doubt it is not.
 */
static bool holder_is_self(unsigned char *base, uint32_t holder, uint32_t mine)
{
	const struct region_slot *theirs = holder_slot(base, holder);
	const struct region_slot *ours = holder_slot(base, mine);

	if ((holder | mine) & ANONYMOUS)
		return false;
	return slot_same_thread(rt_load(&theirs->owner), rt_load(&ours->owner)) &&
	       slot_near(rt_load(&theirs->sp), rt_load(&ours->sp));
}

/* Return: false when the word has been the same for long enough, or nothing helps any more. */
static bool wait_turn(struct lock_wait *wait, uint64_t word)
{
	uint64_t sleep[2] = {0, SLEEP_NS};
	uint64_t time;

	if (word != wait->seen) {
		wait->seen = word;
		wait->start = 0;
	}
	if (wait->round++ < SPINS) {
		__builtin_ia32_pause();
		return true;
	}
	if (wait->round < SPINS + YIELDS) {
		rt_syscall4(__NR_sched_yield, 0, 0, 0, 0);
		return true;
	}
	time = rt_monotonic();
	if (!wait->start)
		wait->start = time;
	if (!wait->first)
		wait->first = time;
	if (time - wait->start >= HOLD_NS || time - wait->first >= LIMIT_NS)
		return false;
	rt_syscall4(__NR_nanosleep, (long)sleep, 0, 0, 0);
	return true;
}

bool lock_take_slow(unsigned char *base, uint64_t *lock, uint32_t holder, uint64_t *ret_word)
{
	struct lock_wait wait = {0};
	bool force = false;

	while (wait.changes < CHANGES_MAX) {
		uint64_t word = rt_load(lock);
		uint32_t other = word >> 32;

		if (!other || (force && word == wait.seen) || holder_gone(base, other, holder)) {
			*ret_word = (uint32_t)word | (uint64_t)holder << 32;
			if (__atomic_compare_exchange_n(lock, &word, *ret_word, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return true;
			wait.changes++;
			continue;
		}
		if (force || holder_is_self(base, other, holder))
			return false;
		force = !wait_turn(&wait, word);
	}
	return false;
}
