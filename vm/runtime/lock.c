/* SPDX-License-Identifier: MIT */
/*
 * Locks that survive their holders; see lock.h.
 *
 * The owner of a CPU slot signs with the slot and the number of its episode: once the slot has been
 * given back or taken over, the run that held the lock is gone. Everybody else (the daemon) signs
 * with a time stamp, which only tells one holding from the next.
 *
 * Another process may write to a lock all the time. Waits that were in vain, or ended by taking the
 * lock from whoever had it, are a debt of the process that is paid back many times over by time
 * that passes; while it lasts, waits are shorter. Long waits that were not in vain count, too, by a
 * lower rate (patience.h). Whoever waits its turn among honest users owes nothing and has all the
 * patience there is.
 */
#include "vm/runtime/lock.h"

#include "vm/runtime/patience.h"
#include "vm/runtime/slot.h"

#define BUSY	     0x80000000u
#define ANONYMOUS    0x40000000u
#define SLOT_SHIFT   22
#define EPISODE_MASK 0x3fffffu
#define STAMP_MASK   0x3fffffffu

#define SPINS	     128u
#define YIELDS	     64u
#define HOLD_NS	     100000000ull /* far beyond what a preempted holder needs */
#define LIMIT_NS     (RT_NSEC_PER_SEC / 2)
#define FLOOR_NS     2000000ull /* of the limit, whatever is owed */
#define PAY	     64		/* times the wait, until it is paid back */
#define SLEEP_NS     50000
#define CHANGES_LOOK 1024u /* lost races; hostile memory may lose them for ever */
#define MS_NS	     1000000ull

/**
 * struct lock_wait
 * @start: since when the word is the same
 * @first: since when we wait, 0: not long enough to look at the clock
 * @limit: ns, set with @first
 */
struct lock_wait {
	struct region_cache *cache;
	const uint64_t *lock;
	uint64_t start, first, limit, seen;
	uint32_t round, changes;
};

enum turn {
	TURN_WAIT,
	TURN_FORCE, /* the word has been the same for long enough */
	TURN_OVER,
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

static uint64_t debt(const struct lock_wait *wait, uint64_t time)
{
	uint64_t until = rt_load(&wait->cache->lock_debt);

	if (until <= time)
		return 0;
	return until - time < LIMIT_NS * PAY ? until - time : LIMIT_NS * PAY;
}

static void owe(const struct lock_wait *wait, uint64_t time)
{
	uint64_t more = debt(wait, time) + (time - wait->first) * PAY;

	rt_store(&wait->cache->lock_debt, time + (more < LIMIT_NS * PAY ? more : LIMIT_NS * PAY));
}

static bool is_over(struct lock_wait *wait, uint64_t time)
{
	if (!wait->first) {
		uint64_t less = debt(wait, time) / PAY;

		wait->first = time;
		wait->limit = less < LIMIT_NS - FLOOR_NS ? LIMIT_NS - less : FLOOR_NS;
		less = patience_left(wait->cache, time, LIMIT_NS, FLOOR_NS);
		wait->limit = less < wait->limit ? less : wait->limit;
	}
	return time - wait->first >= wait->limit;
}

/*
 * Since when the lock holds @word, as far as this process knows: also from earlier waits that were
 * too short to take it over. One word, so that threads cannot mix theirs.
 */
static uint64_t same_since(const struct lock_wait *wait, uint64_t word, uint64_t time)
{
	uint64_t mixed = (word ^ (uint64_t)wait->lock) * 0x9e3779b97f4a7c15ull;
	uint64_t tag = mixed >> 32 | 1, known = rt_load(&wait->cache->lock_seen);
	uint32_t now_ms = (uint32_t)(time / MS_NS);

	if (known >> 32 == tag)
		return time - (uint64_t)(now_ms - (uint32_t)known) * MS_NS;
	rt_store(&wait->cache->lock_seen, tag << 32 | now_ms);
	return time;
}

static enum turn wait_turn(struct lock_wait *wait, uint64_t word)
{
	uint64_t sleep[2] = {0, SLEEP_NS};
	uint64_t time;

	if (word != wait->seen) {
		wait->seen = word;
		wait->start = 0;
	}
	if (wait->round++ < SPINS) {
		__builtin_ia32_pause();
		return TURN_WAIT;
	}
	time = rt_monotonic();
	if (!wait->start)
		wait->start = same_since(wait, word, time);
	if (is_over(wait, time) || time - wait->start >= HOLD_NS) {
		owe(wait, time);
		return time - wait->start >= HOLD_NS ? TURN_FORCE : TURN_OVER;
	}
	/* On a busy machine, either may take longer than the limit. */
	if (wait->round < SPINS + YIELDS)
		rt_syscall4(__NR_sched_yield, 0, 0, 0, 0);
	else
		rt_syscall4(__NR_nanosleep, (long)sleep, 0, 0, 0);
	return TURN_WAIT;
}

/* Somebody was faster. Return: false when that has gone on for too long. */
static bool may_try_again(struct lock_wait *wait)
{
	uint64_t time;

	if (++wait->changes % CHANGES_LOOK)
		return true;
	time = rt_monotonic();
	if (!is_over(wait, time))
		return true;
	owe(wait, time);
	return false;
}

bool lock_take_slow(unsigned char *base, uint64_t *lock, uint32_t holder, uint64_t *ret_word)
{
	struct lock_wait wait = {.cache = region_cache(base), .lock = lock};
	enum turn turn = TURN_WAIT;

	for (;;) {
		uint64_t word = rt_load(lock);
		uint32_t other = word >> 32;

		if (!other || (turn == TURN_FORCE && word == wait.seen) ||
		    holder_gone(base, other, holder)) {
			*ret_word = (uint32_t)word | (uint64_t)holder << 32;
			if (__atomic_compare_exchange_n(lock, &word, *ret_word, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
				if (wait.first)
					patience_charge(wait.cache, wait.first, rt_monotonic());
				return true;
			}
			if (!may_try_again(&wait))
				return false;
			continue;
		}
		if (holder_is_self(base, other, holder))
			return false;
		turn = wait_turn(&wait, word);
		if (turn == TURN_OVER)
			return false;
	}
}
