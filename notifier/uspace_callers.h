/* SPDX-License-Identifier: MIT */
/*
 * Processes that wait for an answer of ours cannot stop before they have it. A child has one stop
 * on its way out.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/reason.h"
#include "notifier/uspace.h"

struct shim_test_run;

/**
 * struct uspace_caller - one that is about to run a program
 * @child: has it do so
 * @reason_fd: where that says what went wrong; owned
 */
struct uspace_caller {
	pid_t child;
	int reason_fd;
};

/**
 * uspace_callers_visit() - @pid gets everything of @plan that it lacks by the time its call returns
 *
 * The caller holds @uspace->apply. Return: 0, also when it cannot be stopped, or -errno.
 */
int uspace_callers_visit(struct uspace *uspace, struct uspace_plan *plan, pid_t pid);

/** uspace_callers_reap() - children of visits end by themselves, soon after the answer; the caller
 *  holds @uspace->apply @wait: for all; else one is made room for at least */
void uspace_callers_reap(struct uspace *uspace, bool wait);

/**
 * uspace_callers_run() - the same as a visit, and @pid runs a program with that
 * @ret_caller: for uspace_callers_finish()
 *
 * Errors: -EAGAIN, -EMFILE; -EPERM it cannot be stopped.
 */
int uspace_callers_run(struct uspace_plan *plan, pid_t pid, const struct shim_test_run *run,
		       struct uspace_caller *ret_caller, struct reason *reason);

/** uspace_callers_finish() - wait until it has run, or cannot any more; after the answer
 *  @ret_reason: why it did not, as far as it is known */
void uspace_callers_finish(struct uspace_caller *caller, struct reason *ret_reason);
