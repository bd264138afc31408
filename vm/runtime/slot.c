/* SPDX-License-Identifier: MIT */
/*
 * CPU slots: who owns one has what a kernel program has by running on its CPU with preemption off.
 *
 * A claim is one compare-and-swap on the slot of the CPU we are on. An owner that was preempted
 * keeps its slot for a while, so others try the rest; when all are taken the owners need the CPU,
 * and get it by our yielding. Owners may also be stopped or dead, so nobody waits without bound:
 * the dead are replaced, and after a wait that brought nothing the same owners are not waited for
 * again.
 */
#include "vm/runtime/local.h"

#include <linux/errno.h>
#include <sys/syscall.h>

#define YIELDS	   256u		/* before the clock and the owners are looked at */
#define WAIT_NS	   200000000ull /* longest wait for a slot */
#define NEAR	   0x4000u	/* bytes of stack between a jump's origin and its aim */
#define CLOCK_MONO 1

static uint64_t own_word(unsigned char *base, uint64_t sp)
{
	struct region_cache *cache = rt_cache(base);

	if (!cache->pid)
		cache->pid = (uint64_t)rt_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
	/* The stack pointer is 16-byte aligned, bit 0 tells the word from a free slot. */
	return cache->pid << 32 | (uint32_t)sp | 1;
}

static uint32_t current_cpu(const unsigned char *base)
{
	uint64_t cpu;
	unsigned int number = 0;

	if (rt_header(base)->features & REGION_HAS_RDPID) {
		__asm__ volatile("rdpid %0" : "=r"(cpu));
		return (uint32_t)cpu & 0xfff;
	}
	rt_syscall(SYS_getcpu, (long)&number, 0, 0, 0, 0, 0);
	return number;
}

static bool swap(struct region_slot *slot, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&slot->owner, &from, to, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/*
 * Left by siglongjmp out of a program: the owner is this process, and its program ran deeper on the
 * stack that we are on. An owner that still runs and was interrupted by us lies higher up.
 */
static bool left_behind(uint64_t owner, uint64_t mine)
{
	uint32_t depth = (uint32_t)mine - (uint32_t)owner;

	return owner >> 32 == mine >> 32 && depth && depth < NEAR;
}

static bool dead(uint64_t owner)
{
	return rt_syscall(SYS_kill, (long)(owner >> 32), 0, 0, 0, 0, 0) == -ESRCH;
}

static int try_all(struct region_shared *shared, uint32_t slots, uint32_t first, uint64_t mine)
{
	for (uint32_t i = 0; i < slots; i++) {
		uint32_t at = first + i < slots ? first + i : first + i - slots;
		uint64_t owner = __atomic_load_n(&shared->slots[at].owner, __ATOMIC_RELAXED);

		if ((!owner || left_behind(owner, mine)) && swap(&shared->slots[at], owner, mine))
			return (int)at;
	}
	return -1;
}

static int replace_dead(struct region_shared *shared, uint32_t slots, uint64_t mine,
			uint64_t *ret_owners)
{
	*ret_owners = 0;
	for (uint32_t at = 0; at < slots; at++) {
		uint64_t owner = __atomic_load_n(&shared->slots[at].owner, __ATOMIC_RELAXED);

		if (owner && dead(owner) && swap(&shared->slots[at], owner, mine))
			return (int)at;
		*ret_owners = *ret_owners * 31 + owner;
	}
	return -1;
}

static uint64_t now(void)
{
	long time[2] = {0, 0};

	rt_syscall(SYS_clock_gettime, CLOCK_MONO, (long)time, 0, 0, 0, 0);
	return (uint64_t)time[0] * 1000000000 + (uint64_t)time[1];
}

/* All slots are taken. */
static __attribute__((noinline, cold)) int wait_for_slot(unsigned char *base, uint32_t slots,
							 uint64_t mine)
{
	struct region_shared *shared = rt_shared(base);
	struct region_cache *cache = rt_cache(base);
	uint64_t start = 0, owners;

	for (;;) {
		int slot;

		for (uint32_t i = 0; i < YIELDS; i++) {
			slot = try_all(shared, slots, current_cpu(base) % slots, mine);
			if (slot >= 0)
				return slot;
			if (cache->stalled && i == 0)
				break;
			rt_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		}
		slot = replace_dead(shared, slots, mine, &owners);
		if (slot >= 0)
			return slot;
		if (cache->stalled && cache->stalled == owners)
			return -1;
		cache->stalled = 0;
		if (!start)
			start = now();
		else if (now() - start > WAIT_NS)
			break;
	}
	cache->stalled = owners;
	return -1;
}

int rt_slot_claim(unsigned char *base, uint64_t sp)
{
	struct region_shared *shared = rt_shared(base);
	uint32_t slots = rt_header(base)->slots, first = current_cpu(base);
	uint64_t mine = own_word(base, sp);
	int slot;

	if (first >= slots)
		first %= slots;
	if (swap(&shared->slots[first], 0, mine))
		return (int)first;
	slot = try_all(shared, slots, first, mine);
	return slot >= 0 ? slot : wait_for_slot(base, slots, mine);
}

void rt_slot_release(unsigned char *base, uint32_t slot)
{
	/* What the program wrote is seen by the slot's next owner. */
	__atomic_store_n(&rt_shared(base)->slots[slot].owner, 0, __ATOMIC_RELEASE);
}
