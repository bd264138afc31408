/* SPDX-License-Identifier: MIT */
/*
 * A program that runs because its owner asks for it, in the thread that does (struct
 * region_test_run). Only part of the image, as hits are.
 */
#include <asm/ptrace.h>
#include <errno.h>

#include "vm/runtime/act.h"
#include "vm/runtime/slot.h"

static_assert(sizeof(((struct region_test_run *)0)->regs) == sizeof(struct pt_regs) &&
		      offsetof(struct region_test_run, ctx) ==
			      offsetof(struct region_test_run, regs) + sizeof(struct pt_regs),
	      "what is in front of the context");

extern unsigned char __region_base[] __attribute__((visibility("hidden")));

void rt_test_run(struct region_test_run *test);

typedef uint64_t (*prog_fn)(void *ctx, struct rt_run *run);

void rt_test_run(struct region_test_run *test)
{
	unsigned char *base = __region_base;
	const prog_fn prog = (prog_fn)RT_PTR(base, test->code);
	const uint64_t sp = (uint64_t)test;
	struct rt_run run = {.base = base,
			     .stack = ((const struct pt_regs *)test->regs)->rsp,
			     .test_run = 1};
	uint64_t from;

	run.slot = test->cpu == REGION_TEST_RUN_ANY_CPU ? slot_claim(base, sp)
							: slot_claim_slow(base, test->cpu, sp);
	if (run.slot == SLOT_NONE) {
		test->error = -EBUSY;
		return;
	}
	rt_store(&test->slot, run.slot);
	from = rt_monotonic();
	for (uint32_t i = 0; i < test->repeat; i++) {
		run.tail_calls = 0;
		test->retval = prog(test->ctx, &run);
	}
	test->time = rt_monotonic() - from;
	slot_release(&region_shared(base)->slots[run.slot]);
	act_finish(&run);
}
