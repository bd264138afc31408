/* SPDX-License-Identifier: MIT */
/*
 * Which processes have which sites. A site is an instruction of a file; the points at it are the
 * attachments. What targets are to look like is published as a plan that is never changed, so that
 * a child forked at any moment, to stop a process that just started, finds a whole one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/reason.h"
#include "notifier/uspace.h"
#include "shim/apply.h"

struct plan_site;
struct shim_test_run;
struct uspace_caller;

/**
 * struct uspace_site - one probed instruction of one file
 * @want: dev, ino, offset, original bytes; what shim_site_check() found
 * @file_fd: the file, O_PATH; owned
 * @records: what its points were written as; owned
 * @retired: what they were before the change that is under way; owned
 * @stale: what a process that could not be changed may still have; owned
 * @changed: differs from what targets have
 * @unwinder: no probe, but the entry of an unwinder in the file of one; stays as long as the tenant
 */
struct uspace_site {
	struct list node;
	struct list points;
	struct shim_want want;
	int file_fd;
	bool changed, unwinder;
	struct plan_site *records, *retired, *stale;
};

/**
 * struct uspace_point - one attachment at one site
 * @pid: one process in our numbering, or -1
 */
struct uspace_point {
	struct list node;
	struct uspace_site *site;
	struct uspace_prog *prog;
	uint64_t cookie;
	uint32_t counter;
	bool at_return;
	pid_t pid;
};

/** struct uspace_reach - how a change fared */

struct uspace_reach {
	uint32_t targets;     /* processes that have it now */
	bool unsure;	      /* one was left to a child that works on after the answer */
	uint32_t executing;   /* that are to be visited again, between two looks */
	uint32_t failed;      /* that map the file and do not */
	struct reason reason; /* of the first of them */
};

/**
 * struct uspace_checked - what a file says about the sites of one request
 * @wants: one per offset; owned
 * @unwinder: entry of the unwinder in the file, which must pass its return probes; offset 0: none
 */
struct uspace_checked {
	struct shim_want *wants;
	struct shim_want unwinder;
};

/**
 * uspace_check() - judge @cnt sites by their file; without any lock: it takes its time
 * (uspace_check.c)
 * @file_fd: the probed file, O_PATH or readable
 *
 * Errors: those of shim_site_check(), -EINVAL no ELF file, -ENOMEM.
 */
int uspace_check(int file_fd, const uint64_t *offsets, uint32_t cnt, bool at_return,
		 struct uspace_checked *ret_checked, struct reason *reason);

/**
 * uspace_targets_add() - a point at a site of the file; not yet in any target
 * @file_fd: as above
 * @want: of uspace_check()
 * @semaphore: offset of a USDT semaphore, or 0; it stays raised while the site has any point
 *
 * The caller holds @uspace->apply. Errors: those of uspace_late_watch(), -EINVAL the site has
 * points with another semaphore, -ENOMEM.
 */
int uspace_targets_add(struct uspace *uspace, int file_fd, const struct shim_want *want,
		       uint64_t semaphore, const struct uspace_point *point,
		       struct uspace_point **ret_point, struct reason *reason);

/** uspace_targets_add_unwinder() - likewise, the file's own unwinder */
int uspace_targets_add_unwinder(struct uspace *uspace, int file_fd, const struct shim_want *want,
				struct reason *reason);

/** uspace_targets_remove() - the opposite of adding: the point runs no more, at once and also where
 *  it cannot be taken away. The caller holds @uspace->apply. */
void uspace_targets_remove(struct uspace *uspace, struct uspace_point *point);

/** uspace_targets_withdraw() - the same, but it runs until a process is brought to a plan without it */
void uspace_targets_withdraw(struct uspace_point *point);

/** uspace_targets_recode() - the program whose code is at @from has its code at @to, in all processes,
 *  without stopping any. The caller holds @uspace->apply. */
void uspace_targets_recode(struct uspace *uspace, uint64_t from, uint64_t to);

/**
 * uspace_targets_apply() - bring every process to the changed sites' new state
 *
 * @caller: process (in our numbering) that waits for the answer to this, 0 for none: it has the new
 *state by the time its call returns
 *
 * The caller holds @uspace->apply. Errors: -ENOSPC, -ENOMEM with a reason: nothing was changed;
 * processes that could not be changed are in @ret_reach.
 */
int uspace_targets_apply(struct uspace *uspace, pid_t caller, struct uspace_reach *ret_reach,
			 struct reason *reason);

/**
 * struct uspace_hold - processes that are kept stopped
 * @holders: children that do, and our ends of the sockets by whose end they let go
 */
struct uspace_hold {
	struct uspace_holder {
		pid_t child;
		int fd;
	} holders[16];
	uint32_t cnt;
};

/**
 * uspace_targets_hold() - as uspace_targets_apply(), and all that were changed stay stopped, outside
 * of programs, until uspace_targets_let_go(), whatever is returned
 */
int uspace_targets_hold(struct uspace *uspace, struct uspace_hold *ret_hold,
			struct uspace_reach *ret_reach, struct reason *reason);
void uspace_targets_let_go(struct uspace_hold *hold);

/**
 * uspace_targets_cover() - bring every process with a site to mapping what programs in it may reach
 * now, through maps of programs and of maps; nothing is done when they do
 *
 * As uspace_targets_apply() otherwise.
 */
int uspace_targets_cover(struct uspace *uspace, pid_t caller, struct uspace_reach *ret_reach);

/**
 * uspace_targets_test_run() - have @caller run a program once it has its answer, and bring it up to
 * date with that
 * @ret_caller: for uspace_callers_finish(), after the answer: that is what the call returns if
 *	whoever has it run is killed
 *
 * As uspace_targets_apply() otherwise. Errors: -EPERM with a reason when it cannot be stopped.
 */
int uspace_targets_test_run(struct uspace *uspace, struct uspace_prog *prog, pid_t caller,
			    const struct shim_test_run *run, struct uspace_caller *ret_caller,
			    struct reason *reason);

/** uspace_targets_child() - first thing in a child that stops targets: let go of what it must not
 * hold
 *  @keep: descriptor to keep, its number may change; may be NULL */
void uspace_targets_child(struct uspace_plan *plan, int *keep);

/** uspace_targets_is_latest() - whether @plan still is what targets are to look like; also in a
 * child */
bool uspace_targets_is_latest(struct uspace *uspace, const struct uspace_plan *plan);
/** uspace_targets_is_withdrawn() - whether a site was given up after @plan: the kernel may have a
 *  breakpoint there now, so nothing is to be patched by it; also in a child */
bool uspace_targets_is_withdrawn(struct uspace *uspace, const struct uspace_plan *plan);
/** uspace_targets_revisit() - bring one process to the latest plan, soon */
void uspace_targets_revisit(struct uspace *uspace, pid_t pid);

/** uspace_targets_count() - processes of the tenant that map a file and have the region
 * @ret_filtered: not counted among them: those whose own seccomp filters ended it
 */
uint32_t uspace_targets_count(struct uspace *uspace, dev_t dev, ino_t ino, uint32_t *ret_filtered);

/** uspace_targets_overlap() - whether a jump of ours covers byte @offset of the file */
bool uspace_targets_overlap(struct uspace *uspace, dev_t dev, ino_t ino, uint64_t offset);

/** uspace_targets_deinit() - stop watching, forget all sites */
void uspace_targets_deinit(struct uspace *uspace);
