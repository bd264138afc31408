/* SPDX-License-Identifier: MIT */
/*
 * What the tenant wants with processes that load a probed file: all of its own, brought to the plan
 * as it was when they were caught.
 */
#include "notifier/uspace_late.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "notifier/uspace_plan.h"
#include "shim/late.h"

static bool is_ours(pid_t tid, void *data)
{
	const struct uspace *uspace = data;

	return tenant_has_pid(uspace->tenant, tid);
}

static const struct uspace_plan *plan_of(struct uspace *uspace)
{
	/* In a child: the plan that stood when it was forked. */
	return __atomic_load_n(&uspace->plan, __ATOMIC_ACQUIRE);
}

static void enter_child(int *keep, void *data)
{
	uspace_targets_child(plan_of(data), keep);
}

static bool patch_stopped(pid_t pid, pid_t tid, void *data, struct reason *reason)
{
	const struct uspace_plan *plan = plan_of(data);
	enum shim_state state;
	int r;

	if (!plan)
		return false;
	r = uspace_plan_run(plan, plan->site_cnt, pid, tid, -1, &state, reason);
	if (r == 0 && state == SHIM_FOREIGN)
		reason_set(reason, 0, "other code stands at the site");
	else if (r < 0 && !reason->text[0])
		reason_set(reason, r, "%s", strerrordesc_np(-r));
	return r < 0 || state != SHIM_ABSENT;
}

static void ended(pid_t tid, enum late_end end, const char *why, void *data)
{
	struct uspace *uspace = data;

	if (end != LATE_MISSED)
		return;
	atomic_fetch_add(&uspace->missed, 1);
	log_notice("tenant=%s pid=%d: loads a probed file and runs on without the probe: %s",
		   uspace->tenant->name, tid, why);
}

static const struct late_ops ops = {
	.wanted = is_ours,
	.enter = enter_child,
	.stopped = patch_stopped,
	.ended = ended,
};

int uspace_late_watch(struct uspace *uspace, int file_fd, struct reason *reason)
{
	int r = 0;

	if (!uspace->late)
		r = late_new(&ops, uspace, &uspace->late);
	if (r < 0)
		return reason_set(reason, r,
				  "processes that start later cannot be caught: no fanotify: %s",
				  strerrordesc_np(-r));
	return late_watch(uspace->late, file_fd, reason);
}

void uspace_late_unwatch(struct uspace *uspace, dev_t dev, ino_t ino)
{
	if (uspace->late)
		late_unwatch(uspace->late, dev, ino);
}

void uspace_late_stop(struct uspace *uspace)
{
	uspace->late = late_free(uspace->late);
}

void uspace_late_let_go(struct uspace *uspace, pid_t pid)
{
	if (uspace->late)
		late_let_go(uspace->late, pid);
}
