/* SPDX-License-Identifier: MIT */
/*
 * What the parts of bringing one process to its new state share.
 *
 *	apply.c		the process as a whole: stop it, judge it, one want after the other
 *	apply_site.c	one site: jump, stub, semaphore, and the threads that stand there
 *	apply_idle.c	what can be done without stopping it
 *	filters.c	seccomp filters that its threads have
 */
#pragma once

#include "shim/apply.h"
#include "shim/maps.h"
#include "shim/steady.h"
#include "shim/tracee.h"

#define JUMP_SIZE 5u

/* One application on its way. @maps is read again after something was mapped. */
struct work {
	struct tracee tracee;
	struct maps maps;
	const struct shim_plan *plan;
	bool late;	 /* caught while it loads what it needs */
	bool unwindable; /* all unwinders that are known there pass return probes */
	bool no_returns; /* some return probes were left out */
	uint64_t base;
	bool injected; /* this time */
	bool prepared; /* to make calls */
	bool hold;     /* it need make none */
	struct steady steady;
};

/* apply.c. Return: 0 or -errno with a reason */
/** work_reread_maps() - after something was mapped */
int work_reread_maps(struct work *work);
/** work_ensure_region() - it has all of the region, and can make calls */
int work_ensure_region(struct work *work, struct reason *reason);

/** work_want_at() - apply_site.c: one want at address @site of a mapping of its file */
int work_want_at(struct work *work, const struct shim_want *want, uint64_t site,
		 enum shim_state *state, struct reason *reason);
/** work_want() - likewise in every executable mapping of it */
int work_want(struct work *work, const struct shim_want *want, enum shim_state *state,
	      struct reason *reason);

/** idle_unwanted() - apply_idle.c: unwanted probes run no programs any more, whether or not the
 * process can be stopped: a debugger may have it. Putting the bytes back comes later. */
void idle_unwanted(pid_t pid, const struct shim_plan *plan);

/** filters_in() - filters.c: how many filters a thread has, by its /proc/PID/status */
unsigned int filters_in(const char *status);
