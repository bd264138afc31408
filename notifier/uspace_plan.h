/* SPDX-License-Identifier: MIT */
/*
 * What targets are to look like, as one piece of memory that is never changed once it is published.
 * For uspace_targets.c only.
 */
#pragma once

#include <sys/types.h>

#include "notifier/uspace.h"
#include "notifier/uspace_targets.h"
#include "shim/apply.h"

/** struct plan_filter - another record for one process */
struct plan_filter {
	pid_t pid;
	uint64_t record, without_returns;
};

/**
 * struct plan_site
 * @want: for processes without a filter of their own; its site is 0 when only filters are left
 * @filters, @filter_cnt: owned
 * @older: records that some process may have besides these; owned
 */
struct plan_site {
	struct shim_want want;
	struct plan_filter *filters;
	uint32_t filter_cnt;
	struct plan_site *older;
};

/**
 * struct uspace_plan
 * @segments: of the region; descriptors of kernel arrays are owned
 * @cgroup_fd: the tenant's; borrowed
 * @mapped: number of the segments as a whole (struct region_config)
 * @generation: counts plans; a catch of a late target tells by it that its plan is an old one
 * @sites: changed ones first, @changed_cnt of them
 * @void_ino: see struct shim_region
 * @test_run: set in the child that brings a process to it, see struct shim_plan
 * @ret_held: likewise: the process stays stopped
 */
struct uspace_plan {
	struct shim_segment *segments;
	uint32_t segment_cnt, fixed_segments, mapped;
	uint64_t enter, enter_small, nonce, cgroup_id, generation;
	uint32_t seccomp_filters;
	const uint64_t *own_filters;
	int cgroup_fd;
	struct plan_site *sites;
	uint32_t site_cnt, changed_cnt;
	ino_t void_ino;
	const struct shim_test_run *test_run;
	struct shim_held **ret_held;
};

/** uspace_plan_region() - the region as targets are to have it; as long as @plan */
struct shim_region uspace_plan_region(const struct uspace_plan *plan);

/** plan_site_free() - a site's records and the older ones, which nobody is sent to any more.
 * @uspace NULL: some process may be, so their room is not used again. Accepts NULL. */
void plan_site_free(struct uspace *uspace, struct plan_site *site);

/** plan_site_switch_off() - a point runs no more in any process that has one of these records,
 * whether it can be stopped or not. Accepts NULL. */
void plan_site_switch_off(struct uspace *uspace, const struct plan_site *site,
			  const struct uspace_point *point);

/** plan_site_recode() - what runs at @from runs at @to, with the next hit. Accepts NULL. */
void plan_site_recode(struct uspace *uspace, const struct plan_site *site, uint64_t from,
		      uint64_t to);

/** uspace_plan_new() - of the sites as they are now. Errors: -ENOMEM, -ENOSPC with a reason. */
int uspace_plan_new(struct uspace *uspace, struct uspace_plan **ret_plan, struct reason *reason);

/** uspace_plan_grows() - whether it has segments that @old (or NULL) has not */
bool uspace_plan_grows(const struct uspace_plan *plan, const struct uspace_plan *old);

/** uspace_plan_shrinks() - whether @old (or NULL) has segments that it has not */
bool uspace_plan_shrinks(const struct uspace_plan *plan, const struct uspace_plan *old);

/** uspace_plan_wants() - whether anything is wanted in a file. @plan may be NULL. */
bool uspace_plan_wants(const struct uspace_plan *plan, dev_t dev, ino_t ino);

/** uspace_plan_free() - accepts NULL. Return: NULL. */
struct uspace_plan *uspace_plan_free(struct uspace_plan *plan);

/**
 * uspace_plan_run() - apply the first @cnt sites to one process, in the process that may trace it
 * @stopped: 0, or the thread of @pid that the caller has stopped already
 * @armed_fd: -1, or see struct shim_plan
 * @ret_state: the worst of the sites' states
 */
int uspace_plan_run(const struct uspace_plan *plan, uint32_t cnt, pid_t pid, pid_t stopped,
		    int armed_fd, enum shim_state *ret_state, struct reason *reason);
