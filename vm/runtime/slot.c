/* SPDX-License-Identifier: MIT */
/*
 * Claiming a CPU slot when the one of this CPU is taken: by a thread that was preempted in a
 * program, by one that died or jumped out of it, or by one that is stopped.
 *
 * Waiting is for owners that make progress. A slot that did not change hands during a whole wait is
 * marked stalled, and nobody waits for that ownership again: a stopped thread costs one wait, not
 * one per hit.
 *
 * A run in a signal handler that interrupted another keeps that one's slot from everybody. Threads
 * that wait in handlers may wait for one another, so each gives up soon, and its handler goes on.
 */
#include "vm/runtime/slot.h"

#include <errno.h>
#include <linux/fcntl.h>
#include <linux/time.h>

#include "vm/runtime/patience.h"

#define WAIT_NS	       500000000ull /* without any slot changing hands */
#define WAIT_MOST      8	    /* times that, whatever happens */
#define WAIT_LEAST     4000000ull
#define STALLS_MAX     7	/* waits halve after each that was in vain, down to 4 ms */
#define NESTED_NS      50000ull /* in all, in a signal handler that interrupted a run */
#define YIELDS	       32	/* rounds before sleeping */
#define SLEEP_NS       50000
#define SLEEP_MAX_NS   1000000
#define ALL_NS	       100000 /* for all slots together: many times a run */
#define ALL_SPINS      64u
#define DEAD_ROUNDS    16	   /* owners' lives are checked every so many rounds */
#define LOOK_NS	       10000000ull /* between checks where nobody is waited for */
#define OWNER_NS_SHIFT 20
#define OWNER_NS_MASK  0xfffull
#define SS_ON_STACK    1

/** struct slot_claim - what is wanted @word: for the owner field @slot: to begin with
 *  @nested: this thread has a slot already */
struct slot_claim {
	uint64_t word, sp;
	uint32_t slot;
	bool nested;
};

struct wait {
	uint64_t first;	   /* when it began, 0: not waiting yet */
	uint64_t start;	   /* when the last change was seen */
	uint64_t limit;	   /* end of patience in any case */
	uint64_t budget;   /* ns without change */
	uint64_t progress; /* sum of all episodes at start */
	uint32_t round;
};

/*
 * Number of the process' pid namespace, in 12 bits; 0 if unknown. Pids of owners in other
 * namespaces mean nothing here, and those of the dead must not be guessed.
 */
static uint64_t pid_namespace(void)
{
	char path[] = "/proc/self/ns/pid";
	char text[32];
	uint64_t number = 0;
	long len;

	len = rt_syscall4(__NR_readlinkat, AT_FDCWD, (long)path, (long)text, sizeof(text));
	for (long i = 0; i < len; i++) {
		if (text[i] >= '0' && text[i] <= '9')
			number = number * 10 + (uint64_t)(text[i] - '0');
	}
	return number & OWNER_NS_MASK;
}

/* The upper part of this process' owner words; asked for once, and again after a fork. */
static uint64_t own_word(unsigned char *base)
{
	struct region_cache *cache = region_cache(base);
	uint64_t owner = rt_load(&cache->owner);
	uint64_t pid;

	if (rt_likely(owner))
		return owner;
	pid = (uint64_t)rt_syscall4(__NR_getpid, 0, 0, 0, 0);
	owner = pid << 32 | pid_namespace() << OWNER_NS_SHIFT;
	rt_store(&cache->pid, pid);
	rt_store(&cache->owner, owner);
	return owner;
}

static bool on_signal_stack(void)
{
	struct {
		uint64_t sp;
		uint32_t flags, pad;
		uint64_t size;
	} stack = {0, SS_ON_STACK, 0, 0};

	rt_syscall4(__NR_sigaltstack, 0, (long)&stack, 0, 0);
	return stack.flags & SS_ON_STACK;
}

enum mine {
	MINE_NOT,   /* another thread's, as far as one can tell */
	MINE_BELOW, /* this thread's, further up the stack: a signal handler interrupted it */
	MINE_LEFT,  /* this thread's, and over: a signal handler left it by siglongjmp */
};

/*
 * Whether a run of this very thread owns @slot. One that stands as deep on the same stack as we do,
 * or deeper, cannot be going on. The distance keeps other stacks of this thread (coroutines) apart;
 * from a signal stack nothing can be told.
 */
static enum mine slot_mine(const struct region_slot *slot, const struct slot_claim *claim,
			   uint64_t owner, uint64_t *ret_sp)
{
	uint64_t sp = rt_load(&slot->sp);

	*ret_sp = sp;
	if (!slot_same_thread(owner, claim->word))
		return MINE_NOT;
	/* Without a place: it was interrupted just before it had one, or after. */
	if (!sp || on_signal_stack())
		return MINE_BELOW;
	if (!slot_near(sp, claim->sp))
		return MINE_NOT;
	return sp > claim->sp ? MINE_BELOW : MINE_LEFT;
}

/* Exchanging the word @sp, not @owner, decides between this run and one in a signal handler that
 * comes just now. */
static bool take_from_self(struct region_slot *slot, const struct slot_claim *claim, uint64_t sp)
{
	if (!__atomic_compare_exchange_n(&slot->sp, &sp, claim->sp, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	rt_store(&slot->episodes, rt_load(&slot->episodes) + 1);
	return true;
}

/*
 * The owner is a zombie that nobody has waited for: kill() finds it, its memory is gone. So is that
 * of a process whose first thread alone has ended, hence only after a whole wait in vain.
 */
static bool is_zombie(uint32_t pid)
{
	unsigned char byte;
	uint64_t local[2] = {(uint64_t)&byte, 1}, remote[2] = {0, 1};

	return rt_syscall6(__NR_process_vm_readv, (long)pid, (long)local, 1, (long)remote, 1, 0) ==
	       -ESRCH;
}

static bool take_from_dead(struct region_slot *slot, const struct slot_claim *claim, uint64_t owner,
			   bool zombies)
{
	uint64_t word = claim->word;
	uint64_t ns = owner >> OWNER_NS_SHIFT & OWNER_NS_MASK;
	uint32_t pid = owner >> 32;

	if (!ns || ns != (word >> OWNER_NS_SHIFT & OWNER_NS_MASK) || pid == word >> 32)
		return false;
	if (!pid || pid > INT32_MAX)
		return false;
	if (rt_syscall4(__NR_kill, (long)pid, 0, 0, 0) != -ESRCH && !(zombies && is_zombie(pid)))
		return false;
	if (!__atomic_compare_exchange_n(&slot->owner, &owner, word, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	rt_store(&slot->sp, claim->sp);
	rt_store(&slot->episodes, rt_load(&slot->episodes) + 1);
	return true;
}

enum round {
	ROUND_FREE,    /* free slots, and what this thread left behind */
	ROUND_DEAD,    /* and those of dead processes */
	ROUND_ZOMBIES, /* and those of dead processes nobody has waited for */
};

/* One slot. @ret_waitable: set to true if it is worth waiting for. */
static bool claim_one(struct region_slot *slot, enum round round, struct slot_claim *claim,
		      bool *ret_waitable)
{
	uint64_t owner = rt_load(&slot->owner), sp;
	enum mine mine;

	if (!owner && slot_try(slot, claim->word, claim->sp))
		return true;
	mine = slot_mine(slot, claim, owner, &sp);
	if (mine == MINE_LEFT && take_from_self(slot, claim, sp))
		return true;
	if (owner && round != ROUND_FREE &&
	    take_from_dead(slot, claim, owner, round == ROUND_ZOMBIES))
		return true;
	if (mine == MINE_BELOW)
		claim->nested = true;
	else if (rt_load(&slot->stalled) != rt_load(&slot->episodes) + 1)
		*ret_waitable = true;
	return false;
}

/* All slots once. */
static bool claim_round(unsigned char *base, enum round round, struct slot_claim *claim,
			bool *ret_waitable)
{
	uint32_t slots = region_header(base)->slots;
	uint32_t nr = claim->slot;

	*ret_waitable = false;
	for (uint32_t i = 0; i < slots; i++, nr = nr + 1 < slots ? nr + 1 : 0) {
		if (claim_one(&region_shared(base)->slots[nr], round, claim, ret_waitable)) {
			claim->slot = nr;
			return true;
		}
	}
	return false;
}

static uint64_t progress(unsigned char *base)
{
	uint32_t slots = region_header(base)->slots;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < slots; i++)
		sum += rt_load(&region_shared(base)->slots[i].episodes);
	return sum;
}

/* The episodes of slots that were held all the time; a release in between only costs one mark. */
static void mark_stalled(unsigned char *base)
{
	uint32_t slots = region_header(base)->slots;

	for (uint32_t i = 0; i < slots; i++) {
		struct region_slot *slot = &region_shared(base)->slots[i];

		rt_store(&slot->stalled, rt_load(&slot->episodes) + 1);
	}
}

/* The same in a handler: the next signal may be pending already, so that what was interrupted goes
 * on only between two short ones. */
static bool wait_nested(struct wait *wait)
{
	uint64_t time = rt_monotonic();

	if (!wait->start)
		wait->start = time;
	__builtin_ia32_pause();
	return time - wait->start < NESTED_NS;
}

/* One turn of waiting. Return: false when it has been long enough. */
static bool wait_turn(unsigned char *base, struct wait *wait)
{
	uint64_t sum, time, sleep[2] = {0, SLEEP_NS};

	if (wait->round++ < YIELDS) {
		rt_syscall4(__NR_sched_yield, 0, 0, 0, 0);
		return true;
	}
	time = rt_monotonic();
	sum = progress(base);
	if (!wait->first) {
		wait->first = time;
		wait->limit =
			patience_left(region_cache(base), time, WAIT_NS * WAIT_MOST, WAIT_LEAST);
		if (wait->budget > wait->limit)
			wait->budget = wait->limit;
		if (wait->limit > wait->budget * WAIT_MOST)
			wait->limit = wait->budget * WAIT_MOST;
		wait->limit += time;
	}
	if (!wait->start || sum != wait->progress) {
		wait->start = time;
		wait->progress = sum;
	}
	if (time - wait->start >= wait->budget || time >= wait->limit)
		return false;
	sleep[1] = SLEEP_NS * (wait->round - YIELDS);
	if (sleep[1] > SLEEP_MAX_NS)
		sleep[1] = SLEEP_MAX_NS;
	rt_syscall4(__NR_nanosleep, (long)sleep, 0, 0, 0);
	return true;
}

/* Nobody is waited for any longer; but who was stopped may have been killed since. */
static bool claim_left(unsigned char *base, struct slot_claim *claim)
{
	struct region_cache *cache = region_cache(base);
	uint64_t time = rt_monotonic();
	bool waitable;

	if (time - rt_load(&cache->looked) < LOOK_NS)
		return false;
	rt_store(&cache->looked, time);
	return claim_round(base, ROUND_ZOMBIES, claim, &waitable);
}

static bool claim_waiting(unsigned char *base, struct wait *wait, struct slot_claim *claim,
			  bool *ret_waited)
{
	bool waitable;

	for (;;) {
		bool look = wait->round % DEAD_ROUNDS == DEAD_ROUNDS - 1;

		if (claim_round(base, look ? ROUND_DEAD : ROUND_FREE, claim, &waitable))
			return true;
		*ret_waited = waitable;
		if (!waitable)
			return claim_left(base, claim);
		if (claim->nested ? wait_nested(wait) : wait_turn(base, wait))
			continue;
		if (claim_round(base, ROUND_ZOMBIES, claim, &waitable))
			return true;
		if (claim->nested)
			*ret_waited = false;
		else if (progress(base) == wait->progress)
			mark_stalled(base);
		return false;
	}
}

uint32_t slot_claim_slow(unsigned char *base, uint32_t first, uint64_t sp)
{
	const struct region_header *header = region_header(base);
	struct region_cache *cache = region_cache(base);
	uint64_t stalls = rt_load(&cache->stalls);
	struct wait wait = {.budget = WAIT_NS >> (stalls < STALLS_MAX ? stalls : STALLS_MAX)};
	struct slot_claim claim = {.word = own_word(base) | slot_thread(header->features),
				   .sp = sp};
	bool waited, claimed;
	uint64_t time;

	if (!header->slots)
		return SLOT_NONE;
	claim.slot = first % header->slots;
	claimed = claim_waiting(base, &wait, &claim, &waited);
	if (wait.first) {
		time = rt_monotonic();
		patience_charge(cache, wait.first, time);
		/* What was had after so long says nothing about the next time. */
		if (claimed && time - wait.first >= PATIENCE_FREE_NS)
			return claim.slot;
	}
	if (claimed && stalls)
		rt_store(&cache->stalls, 0);
	else if (!claimed && waited)
		rt_store(&cache->stalls, stalls + 1);
	return claimed ? claim.slot : SLOT_NONE;
}

void slot_wait_all(unsigned char *base)
{
	const struct region_slot *slots = region_shared(base)->slots;
	uint64_t start = 0;
	uint32_t round = 0;

	/* Either a run that comes now sees what was stored before, or we see that it has a slot. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < region_header(base)->slots && i < REGION_SLOTS_MAX; i++) {
		uint64_t episodes = __atomic_load_n(&slots[i].episodes, __ATOMIC_ACQUIRE);

		while (__atomic_load_n(&slots[i].owner, __ATOMIC_ACQUIRE) &&
		       __atomic_load_n(&slots[i].episodes, __ATOMIC_ACQUIRE) == episodes) {
			if (round++ < ALL_SPINS) {
				__builtin_ia32_pause();
				continue;
			}
			if (!start)
				start = rt_monotonic();
			if (rt_monotonic() - start >= ALL_NS)
				return;
			rt_syscall4(__NR_sched_yield, 0, 0, 0, 0);
		}
	}
}
