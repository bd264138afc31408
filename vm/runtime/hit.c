/* SPDX-License-Identifier: MIT */
/*
 * A probed instruction was reached, or a probed function returns: run the programs attached there.
 * Called by entry.S in the traced process, in any thread, signal handler or state of its libc.
 */
#include <stddef.h>

#include "vm/runtime/entry.h"
#include "vm/runtime/local.h"

static_assert(REGION_VERSION_ASM == REGION_VERSION, "entry.h");
static_assert(REGION_STUB_BACK_ASM == REGION_STUB_BACK, "entry.h");
static_assert(REGION_STUB_IP == offsetof(struct region_stub, ip), "entry.h");
static_assert(PT_SIZE == sizeof(struct rt_regs), "entry.h");
static_assert(PT_AX == offsetof(struct rt_regs, ax), "entry.h");
static_assert(PT_DI == offsetof(struct rt_regs, di), "entry.h");
static_assert(PT_IP == offsetof(struct rt_regs, ip), "entry.h");
static_assert(PT_SP == offsetof(struct rt_regs, sp), "entry.h");
static_assert(PT_SS == offsetof(struct rt_regs, ss), "entry.h");

/* Functions that share a return slot by tail calls; deeper ones return without their programs. */
#define CHAIN_MAX 16

extern unsigned char __region_base[] __attribute__((visibility("hidden")));

typedef uint64_t (*rt_program)(void *ctx, struct rt_run *run);

void rt_hit(struct rt_regs *regs, const struct region_stub *stub);
uint64_t rt_hit_return(struct rt_regs *regs, uint64_t slot);

/* Programs of @site that run on entry (@flags 0) or on return. */
static void run_programs(unsigned char *base, const struct region_site *site, uint32_t returning,
			 struct rt_regs *regs, uint64_t ip)
{
	bool forked = rt_cache(base)->injected != 1;
	struct rt_run run = {.base = base, .stack = regs->sp, .ip = ip};
	int slot = rt_slot_claim(base, (uint64_t)__builtin_frame_address(0));

	for (uint32_t i = 0; i < site->cnt; i++) {
		const struct region_attach *attach = &site->attach[i];

		if ((attach->flags & REGION_ATTACH_RETURN) != returning ||
		    ((attach->flags & REGION_ATTACH_NO_FORK) && forked))
			continue;
		if (slot < 0) {
			__atomic_add_fetch(&rt_counter(base, 0, attach->counter)->missed, 1,
					   __ATOMIC_RELAXED);
			continue;
		}
		run.slot = (uint32_t)slot;
		run.cookie = attach->cookie;
		rt_counter(base, run.slot, attach->counter)->hits++;
		((rt_program)(base + attach->code))(regs, &run);
	}
	if (slot >= 0)
		rt_slot_release(base, (uint32_t)slot);
}

static uint64_t trampoline(const unsigned char *base)
{
	return (uint64_t)base + rt_header(base)->ret;
}

/* Have the function that is being entered return through us. */
static void hijack(unsigned char *base, const struct region_site *site, struct rt_regs *regs,
		   const struct region_stub *stub)
{
	uint64_t *slot = (uint64_t *)regs->sp;
	uint64_t address = *slot;

	/* A slot that holds an ordinary address has no pending return: what is in the table is of a
	 * frame that was left by longjmp. One that holds ours was reached by a tail call. */
	if (address != trampoline(base))
		rt_returns_drop(base, regs->sp);
	if (rt_returns_add(base, regs->sp, address, (uint64_t)stub)) {
		*slot = trampoline(base);
		return;
	}
	for (uint32_t i = 0; i < site->cnt; i++)
		if (site->attach[i].flags & REGION_ATTACH_RETURN)
			__atomic_add_fetch(&rt_counter(base, 0, site->attach[i].counter)->missed, 1,
					   __ATOMIC_RELAXED);
}

static const struct region_site *site_of(const unsigned char *base, const struct region_stub *stub)
{
	/* The daemon replaces the record as a whole: one load, or two records get mixed. */
	uint64_t site = __atomic_load_n(&stub->site, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&rt_header(base)->off, __ATOMIC_RELAXED) ? NULL : (const void *)site;
}

void rt_hit(struct rt_regs *regs, const struct region_stub *stub)
{
	unsigned char *base = __region_base;
	const struct region_site *site = site_of(base, stub);

	if (!site)
		return;
	if (site->returns < site->cnt)
		run_programs(base, site, 0, regs, stub->ip);
	if (site->returns)
		hijack(base, site, regs, stub);
}

uint64_t rt_hit_return(struct rt_regs *regs, uint64_t slot)
{
	unsigned char *base = __region_base;
	const struct region_stub *stubs[CHAIN_MAX];
	struct region_return entry;
	uint32_t cnt = 0;

	do {
		/* There is one, or the function could not have returned to us. */
		if (!rt_returns_take(base, slot, &entry))
			__builtin_trap();
		if (cnt < CHAIN_MAX)
			stubs[cnt++] = (const void *)entry.stub;
	} while (entry.address == trampoline(base));
	regs->ip = entry.address;
	for (uint32_t i = 0; i < cnt; i++) {
		const struct region_site *site = site_of(base, stubs[i]);

		if (site && site->returns)
			run_programs(base, site, REGION_ATTACH_RETURN, regs, stubs[i]->ip);
	}
	return entry.address;
}
