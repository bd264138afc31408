/* SPDX-License-Identifier: MIT */
/*
 * What the tenant wants with processes that load a probed file: all of its own, brought to the plan
 * as it was when they were caught.
 */
#include "notifier/uspace_late.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "notifier/cgroup.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "notifier/uspace_plan.h"
#include "shim/late.h"

/* As the reason of a catch that was done by a plan that is not the latest any more. */
#define STALE "plan changed"

static bool is_ours(pid_t tid, dev_t dev, ino_t ino, void *data)
{
	const struct uspace *uspace = data;

	return tenant_has_pid(uspace->tenant, tid);
}

static void lock_plan(void *data)
{
	struct uspace *uspace = data;

	pthread_mutex_lock(&uspace->lock);
}

static void unlock_plan(void *data)
{
	struct uspace *uspace = data;

	pthread_mutex_unlock(&uspace->lock);
}

/* The first segment's file, by which a region is recognised, and where others that share the memory
 * of a target are found. */
static uint32_t name_fds(int *ret_fds, void *data)
{
	const struct uspace *uspace = data;

	ret_fds[0] = uspace->code_fd;
	ret_fds[1] = uspace->tenant->cgroup->fd;
	return 2;
}

/* What is mapped is found, and nothing done to it. What unwinds stays: returns may be pending. */
static void want_nothing(struct uspace_plan *plan)
{
	for (uint32_t i = 0; i < plan->site_cnt; i++) {
		struct plan_site *site = &plan->sites[i];

		if (site->want.site == REGION_UNWINDER)
			continue;
		site->want.site = site->want.without_returns = 0;
		site->filter_cnt = 0;
	}
}

/* In the helper, which has the plan to itself. */
static int patch_stopped(const struct late_stop *stop, struct reason *reason, void *data)
{
	struct uspace *uspace = data;
	struct uspace_plan *plan = uspace->plan;
	struct late_others *others = NULL;
	enum shim_state state;
	int r;

	/* The first one is about to come: files are watched before. */
	if (!plan)
		return reason_set(reason, 0, STALE);
	if (stop->fds[0] < 0)
		return -EBADF;
	plan->segments[0].fd = stop->fds[0];
	/* A fresh program has its memory to itself. */
	plan->cgroup_fd = stop->exec ? -1 : stop->fds[1];
	/* As in uspace_targets_child(). */
	write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
	if (stop->threaded) {
		r = late_stop_others(stop, &others);
		if (r < 0)
			return reason_set(reason, r, "its other threads cannot be stopped: %s",
					  strerrordesc_np(-r));
	}
	/* A breakpoint of the kernel's may be where the jump would stand. */
	if (uspace_targets_is_withdrawn(uspace, plan))
		want_nothing(plan);
	r = uspace_plan_run(plan, plan->site_cnt, stop->pid, stop->tid, -1, &state, reason);
	late_release_others(others);
	if (r < 0 && !uspace_targets_is_latest(uspace, plan))
		/* What the old plan maps may be gone. */
		return reason_set(reason, r, STALE);
	if (r < 0)
		return r;
	if (state == SHIM_FOREIGN && uspace_targets_is_withdrawn(uspace, plan))
		return reason_set(reason, 0, STALE);
	if (state == SHIM_FOREIGN)
		return reason_set(reason, -EBUSY, "other code stands at the site");
	/* The plan may have changed since this process was forked: then the daemon has another look. */
	if ((state == SHIM_DONE || state == SHIM_EARLY) && !uspace_targets_is_latest(uspace, plan))
		reason_set(reason, 0, STALE);
	/* Which of a library's segments has the sites, or a semaphore, is not known before it is
	 * there. */
	if (uspace_unwind_is(uspace, stop->dev, stop->ino))
		return 0;
	return (state == SHIM_ABSENT || state == SHIM_EARLY) && !stop->exec && !stop->behind;
}

static void report(struct uspace *uspace, pid_t pid, const char *why)
{
	atomic_fetch_add(&uspace->missed, 1);
	log_notice("tenant=%s pid=%d: loads a probed file and runs on without the probe: %s",
		   uspace->tenant->name, pid, why);
}

static void caught(const struct late_stop *stop, int result, const char *reason, void *data)
{
	struct uspace *uspace = data;
	bool stale = strcmp(reason, STALE) == 0, wanted;

	if (stale)
		uspace_targets_revisit(uspace, stop->pid);
	pthread_mutex_lock(&uspace->lock);
	wanted = !stale || uspace_plan_wants(uspace->plan, stop->dev, stop->ino);
	pthread_mutex_unlock(&uspace->lock);
	if (result < 0 && wanted)
		report(uspace, stop->pid, reason[0] ? reason : strerrordesc_np(-result));
}

static void missed(pid_t pid, dev_t dev, ino_t ino, enum late_miss why, void *data)
{
	static const char *const texts[] = {
		[LATE_TRACED] = "another process traces it",
		[LATE_HELD] = "it could not be stopped before it ran",
		[LATE_BUSY] = "too many processes start at once",
		[LATE_LOST] = "its catcher ended early",
		[LATE_OFF] = "the watchdog ended all watching",
	};

	/* Most are readers of the file: copies, symbol tables. */
	if (why != LATE_UNMAPPED)
		report(data, pid, texts[why]);
}

static const struct late_ops ops = {
	.wanted = is_ours,
	.lock = lock_plan,
	.unlock = unlock_plan,
	.fds = name_fds,
	.stopped = patch_stopped,
	.caught = caught,
	.missed = missed,
};

int uspace_late_watch(struct uspace *uspace, int file_fd, struct reason *reason)
{
	int r = 0;

	if (!uspace->late)
		r = pool_ready(uspace->tenant->pool); /* for uspace_targets_revisit() */
	if (r == 0 && !uspace->late)
		r = late_new(&ops, uspace, &uspace->late, reason);
	if (r == 0)
		r = late_watch(uspace->late, file_fd);
	if (r < 0 && !(reason && reason->text[0]))
		reason_set(reason, r, "processes that load the file later cannot be caught: %s",
			   strerrordesc_np(-r));
	return r;
}

void uspace_late_unwatch(struct uspace *uspace, int file_fd)
{
	if (uspace->late)
		late_unwatch(uspace->late, file_fd);
}

void uspace_late_stop(struct uspace *uspace)
{
	uspace->late = late_free(uspace->late);
}

static pid_t status_number(const char *pid, const char *key)
{
	cleanup_free char *text = NULL;
	const char *line;
	char path[280];

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, key);
	return line ? atoi(line + strlen(key)) : 0;
}

/* One thread: a child of ours that follows it ends at this signal, unless it has work in hand. */
static void free_thread(const char *tid)
{
	const struct timespec nap = {.tv_nsec = 200000};
	pid_t tracer = status_number(tid, "\nTracerPid:");
	char number[16];

	snprintf(number, sizeof(number), "%d", tracer);
	if (!tracer || status_number(number, "\nPPid:") != getpid())
		return;
	kill(tracer, SIGALRM);
	for (int i = 0; i < 1000 && status_number(tid, "\nTracerPid:") == tracer; i++)
		nanosleep(&nap, NULL);
}

void uspace_late_let_go(struct uspace *uspace, pid_t pid)
{
	struct dirent *entry;
	char path[40];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = uspace->late ? opendir(path) : NULL;
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			free_thread(entry->d_name);
	if (dir)
		closedir(dir);
}
