/* SPDX-License-Identifier: MIT */
/*
 * Code of programs and records of probes that are gone stand in memory that processes execute and
 * believe. It is written over only when each of them was seen outside; until then new code stands
 * behind what there is, so that nobody is stopped for it but once in thousands of attachments.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/cgroup.h"
#include "notifier/pid_set.h"
#include "notifier/pool.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "notifier/uspace_plan.h"
#include "notifier/uspace_targets.h"
#include "shim/quiet.h"
#include "shim/targets.h"

#define ROUNDS 16

/* In a child, which becomes their tracer for a moment. One that is gone is nowhere. */
static bool look_at(struct uspace_plan *plan, const struct pid_set *all, uint32_t seen,
		    const struct shim_extent *extents, uint32_t cnt)
{
	const struct shim_region region = uspace_plan_region(plan);

	for (uint32_t i = seen; i < all->cnt; i++) {
		struct reason reason = {0};
		bool quiet = false;
		int r = shim_is_quiet(all->pids[i], &region, extents, cnt, plan->cgroup_fd, &quiet,
				      &reason);

		if (r == -ESRCH && !targets_living(all->pids[i]))
			continue;
		if (r < 0 || !quiet)
			return false;
	}
	return true;
}

static bool look(struct uspace_plan *plan, const struct pid_set *all, uint32_t seen,
		 const struct shim_extent *extents, uint32_t cnt)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		uspace_targets_child(plan, NULL);
		_exit(look_at(plan, all, seen, extents, cnt) ? 0 : 1);
	}
	if (child < 0)
		return false;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/*
 * Each process once. A child of one that was seen outside is outside, too; one of another is found
 * in the next round, when that one has been looked at.
 */
static bool are_quiet(struct uspace *uspace, const struct shim_extent *extents, uint32_t cnt)
{
	struct pid_set all = {0};
	uint32_t seen = 0;
	struct stat code;
	bool quiet = true;

	if (fstat(uspace->code_fd, &code) < 0)
		return false;
	for (int round = 0; quiet; round++) {
		quiet = round < ROUNDS && targets_find(uspace->tenant->cgroup->fd, code.st_dev,
						       code.st_ino, pid_set_add, &all) == 0;
		if (all.cnt == seen)
			break;
		/* Nobody has the region before there is a plan. */
		quiet = quiet && uspace->plan && look(uspace->plan, &all, seen, extents, cnt);
		seen = all.cnt;
	}
	free(all.pids);
	return quiet;
}

struct reclaim {
	struct pool_job job;
	struct uspace *uspace;
	int64_t since;
	struct shim_extent *extents;
	uint32_t cnt;
};

static void reclaim_run(struct pool_job *job)
{
	struct reclaim *reclaim = container_of(job, struct reclaim, job);
	struct uspace *uspace = reclaim->uspace;

	pthread_mutex_lock(&uspace->apply);
	if (are_quiet(uspace, reclaim->extents, reclaim->cnt))
		uspace_space_wake(uspace, &uspace->code, reclaim->since);
	else
		log_debug("tenant=%s: a process is in code that is to be written over",
			  uspace->tenant->name);
	pthread_mutex_unlock(&uspace->apply);
	free(reclaim->extents);
	free(reclaim);
}

void uspace_reclaim(struct uspace *uspace)
{
	struct reclaim *reclaim = calloc(1, sizeof(*reclaim));
	int cnt;

	if (!reclaim)
		return;
	cnt = uspace_space_resting(uspace, &uspace->code, &reclaim->since, &reclaim->extents);
	if (cnt <= 0) {
		free(reclaim);
		return;
	}
	reclaim->job.fn = reclaim_run;
	reclaim->uspace = uspace;
	reclaim->cnt = (uint32_t)cnt;
	/* Whoever loads a program now may be one of those that have to be stopped. */
	pool_submit(uspace->tenant->pool, &reclaim->job);
}
