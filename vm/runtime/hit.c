/* SPDX-License-Identifier: MIT */
/*
 * A hit: entry.S calls rt_hit() with the registers at a probed instruction, and rt_hit_return()
 * when a function comes back whose return address was replaced. Only part of the image: the
 * region's base is found as the image's first byte.
 */
#include <asm/ptrace.h>

#include "vm/runtime/act.h"
#include "vm/runtime/entry.h"
#include "vm/runtime/shadow.h"
#include "vm/runtime/slot.h"

static_assert(ENTRY_VERSION == REGION_VERSION, "entry.h");
static_assert(ENTRY_STUB_BACK == REGION_STUB_BACK, "entry.h");
static_assert(ENTRY_STUB_IP == offsetof(struct region_stub, ip), "entry.h");
static_assert(ENTRY_CACHE_STACKS == REGION_CACHE + offsetof(struct region_cache, stacks) &&
		      ENTRY_STACKS == REGION_STACKS &&
		      1ull << ENTRY_STACK_SHIFT == REGION_STACK_SIZE,
	      "entry.h");
static_assert(ENTRY_TEST_RUN_FRAME == offsetof(struct region_test_run, frame), "entry.h");
static_assert(sizeof(struct pt_regs) == 168, "the kernel's layout");

extern unsigned char __region_base[] __attribute__((visibility("hidden")));
extern const char rt_return[] __attribute__((visibility("hidden")));

void rt_hit(struct pt_regs *regs, const struct region_stub *stub);
uint64_t rt_hit_return(struct pt_regs *regs, uint64_t slot);

typedef uint64_t (*prog_fn)(void *ctx, struct rt_run *run);

/* Whether @attach runs now. @kind: 0 or REGION_ATTACH_RETURN */
rt_inline bool attach_runs(const struct region_attach *attach, uint32_t kind, uint64_t injected)
{
	uint32_t flags = rt_load(&attach->flags);

	if ((flags & (REGION_ATTACH_RETURN | REGION_ATTACH_OFF)) != kind)
		return false;
	return !(flags & REGION_ATTACH_NO_FORK) || injected == 1;
}

/* On any slot: only the sum over all of them is looked at. */
static __attribute__((noinline)) void count_missed(unsigned char *base,
						   const struct region_site *site, uint32_t kind)
{
	uint64_t injected = rt_load(&region_cache(base)->injected);

	for (uint32_t i = 0; i < site->cnt; i++) {
		if (attach_runs(&site->attach[i], kind, injected))
			__atomic_fetch_add(
				&region_counter(base, 0, site->attach[i].counter)->missed, 1,
				__ATOMIC_RELAXED);
	}
}

rt_inline void run_attach(unsigned char *base, struct pt_regs *regs, struct rt_run *run,
			  const struct region_attach *attach)
{
	prog_fn prog = (prog_fn)RT_PTR(base, __atomic_load_n(&attach->code, __ATOMIC_ACQUIRE));

	run->cookie = attach->cookie;
	run->counter = attach->counter;
	run->tail_calls = run->test_run = run->turns = 0;
	region_counter(base, run->slot, attach->counter)->hits++;
	prog(regs, run);
}

static void run_site(unsigned char *base, struct pt_regs *regs, const struct region_site *site,
		     uint32_t kind, const struct region_stub *stub)
{
	uint64_t injected = rt_load(&region_cache(base)->injected);
	struct rt_run run = {.base = base, .stack = regs->rsp, .stub = (uint64_t)stub};

	run.slot = slot_claim(base, regs->rsp);
	if (rt_unlikely(run.slot == SLOT_NONE)) {
		count_missed(base, site, kind);
		return;
	}
	for (uint32_t i = 0; i < site->cnt; i++) {
		if (attach_runs(&site->attach[i], kind, injected))
			run_attach(base, regs, &run, &site->attach[i]);
	}
	slot_release(&region_shared(base)->slots[run.slot]);
	act_finish(&run);
}

/* Replaces the return address of the function that is being entered. */
static void hijack(unsigned char *base, struct pt_regs *regs, const struct region_site *site,
		   const struct region_stub *stub)
{
	uint64_t injected = rt_load(&region_cache(base)->injected);
	bool wanted = false;

	for (uint32_t i = 0; i < site->cnt; i++)
		wanted |= attach_runs(&site->attach[i], REGION_ATTACH_RETURN, injected);
	if (wanted && !shadow_push(base, regs->rsp, (uint64_t)stub, (uint64_t)rt_return))
		count_missed(base, site, REGION_ATTACH_RETURN);
}

/*
 * _Unwind_Find_FDE(pc, bases) is being entered, where @bases is part of the unwinder's context:
 * three words with the frame's CFA, return address and language data stand before it (struct
 * _Unwind_Context of libgcc's unwind-dw2.c, the same since gcc 3.0). If the address is the
 * trampoline's, the real one takes its place, there and in @pc, and the unwinder goes on as if it
 * had never been replaced.
 */
static __attribute__((noinline)) void rt_unwind(struct pt_regs *regs)
{
	uint64_t trampoline = (uint64_t)rt_return, address;
	uint64_t *bases = (uint64_t *)regs->rsi;

	/* A call's frame is looked for by the byte before its return address. */
	if (regs->rdi != trampoline - 1 || bases[-2] != trampoline)
		return;
	address = shadow_peek(__region_base, bases[-3] - sizeof(uint64_t), trampoline);
	if (!address)
		return;
	bases[-2] = address;
	regs->rdi = address - 1;
}

static __attribute__((noinline)) void
hit_general(struct pt_regs *regs, const struct region_stub *stub, const struct region_site *site)
{
	unsigned char *base = __region_base;

	/* Functions that were entered before all was switched off still are to be unwound. */
	if (site && !site->cnt) {
		rt_unwind(regs);
		return;
	}
	if (!site || rt_load(&region_header(base)->off))
		return;
	if (site->cnt != site->returns)
		run_site(base, regs, site, 0, stub);
	if (site->returns)
		hijack(base, regs, site, stub);
}

/*
 * The usual case stands apart: one program, and the slot of this CPU is free. Nothing but the slot
 * is needed behind a call, so that hardly a register has to be saved once more.
 */
void rt_hit(struct pt_regs *regs, const struct region_stub *stub)
{
	unsigned char *base = __region_base;
	const struct region_site *site =
		(const void *)__atomic_load_n(&stub->site, __ATOMIC_ACQUIRE);
	struct region_slot *slot;
	struct rt_run run;

	if (rt_unlikely(!site || rt_load(&region_header(base)->off) || site->cnt != 1 ||
			rt_load(&site->attach[0].flags) != 0)) {
		hit_general(regs, stub, site);
		return;
	}
	slot = slot_claim_own(base, regs->rsp, &run.slot);
	if (rt_unlikely(!slot)) {
		hit_general(regs, stub, site);
		return;
	}
	run.base = base;
	run.stack = regs->rsp;
	run.stub = (uint64_t)stub;
	run.signals = 0;
	run_attach(base, regs, &run, &site->attach[0]);
	slot_release(slot);
	act_finish(&run);
}

static void run_return(unsigned char *base, struct pt_regs *regs, const struct region_stub *stub)
{
	const struct region_site *site =
		(const void *)__atomic_load_n(&stub->site, __ATOMIC_ACQUIRE);

	if (site && site->returns && !rt_load(&region_header(base)->off))
		run_site(base, regs, site, REGION_ATTACH_RETURN, stub);
}

/*
 * Return: where the function returns to. A function that was jumped to at the end of another has
 * its own entry for the same slot; the kernel shows the final address to all of them, too.
 */
uint64_t rt_hit_return(struct pt_regs *regs, uint64_t slot)
{
	unsigned char *base = __region_base;
	struct shadow_pending pending[SHADOW_CHAIN_MAX];
	uint64_t address;
	uint32_t cnt;

	cnt = shadow_pop(base, slot, (uint64_t)rt_return, pending, &address);
	regs->rip = address;
	for (uint32_t i = 0; i < cnt; i++)
		run_return(base, regs, (const void *)pending[i].stub);
	return address;
}
