/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_TEST_RUN of a program that runs in processes: in the one that asks.
 */
#include <errno.h>

#include "notifier/call.h"
#include "notifier/uspace_callers.h"
#include "notifier/uspace_late.h"
#include "notifier/uspace_targets.h"
#include "shim/test_run.h"

/*
 * The caller has its answer before the program runs, since it could not be stopped otherwise, and
 * the true result in the place of that before it returns. This one stays if whoever has it run is
 * killed.
 */
static int answer_and_run(struct call *call, struct uspace_prog *prog,
			  const struct shim_test_run *run)
{
	struct uspace *uspace = call->tenant->uspace;
	struct uspace_caller caller;
	int r = prog->prints ? uspace_events_start(uspace) : 0;

	if (r == 0)
		r = uspace_targets_test_run(uspace, prog, guest_tgid(&call->guest), run, &caller,
					    &call->reason);
	if (r < 0)
		return r;
	call_answer_early(call, -EAGAIN);
	uspace_callers_finish(&caller, &call->reason);
	return 0;
}

/* The plan holds what it has a segment of: maps that nobody else needs would live on in it. */
static void trim_plan(struct uspace *uspace, const struct uspace_prog *prog)
{
	struct uspace_reach reach;
	bool has = false;

	for (uint32_t i = 0; i < prog->map_cnt; i++)
		has |= prog->maps[i]->mapped || prog->maps[i]->table ||
		       prog->maps[i]->record.type == BPF_MAP_TYPE_RINGBUF;
	if (has)
		uspace_targets_apply(uspace, 0, &reach, NULL);
}

int uspace_test_run(struct call *call, struct uspace_prog *prog, struct shim_test_run *run)
{
	struct uspace *uspace = call->tenant->uspace;
	const struct region_header *header = (void *)uspace->base;
	int r;

	run->tid = call->guest.tid;
	run->enter = header->test_run;
	run->end = header->test_run_end;
	/* It may be followed for a file it read; whoever holds the lock may have to stop it. */
	uspace_late_let_go(uspace, guest_tgid(&call->guest));
	pthread_mutex_lock(&uspace->apply);
	r = uspace_prog_settle(prog, &call->reason);
	if (r == 0) {
		/* Not before: it may be replaced by better code. */
		run->code = prog->code;
		r = answer_and_run(call, prog, run);
		uspace_prog_leave(prog);
		trim_plan(uspace, prog);
	}
	pthread_mutex_unlock(&uspace->apply);
	return r;
}
