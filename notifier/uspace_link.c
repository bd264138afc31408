/* SPDX-License-Identifier: MIT */
/*
 * Attachments whose programs run in the traced processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "notifier/uspace_late.h"
#include "notifier/uspace_targets.h"
#include "notifier/uspace_tier.h"

/* A point that was taken away, to be put back. @file_fd: owned */
struct suspended {
	struct shim_want want;
	struct uspace_point point;
	int file_fd;
};

/*
 * @prog_fd: the kernel object that holds the program's maps while it is attached
 * @dev, @ino: of the file
 * @counter: of hits, shared by all points
 * @suspended: its points while it is suspended; owned
 * @settled: it is counted among the users of its program's maps
 */
struct uspace_link {
	struct uspace *uspace;
	struct uspace_prog *prog;
	int prog_fd;
	dev_t dev;
	ino_t ino;
	uint32_t counter;
	struct uspace_reach reach;
	struct suspended *suspended;
	uint32_t suspended_cnt, point_cnt;
	bool settled;
	struct uspace_point *points[];
};

static struct region_counter *counter_of(const struct uspace *uspace, uint32_t slot,
					 uint32_t counter)
{
	struct region_counter *counters = (void *)(uspace->base + REGION_SHARED + REGION_COUNTERS);

	return &counters[slot * REGION_ATTACH_MAX + counter];
}

static uint32_t slots_of(const struct uspace *uspace)
{
	return (uint32_t)sysconf(_SC_NPROCESSORS_CONF);
}

static int counter_take(struct uspace *uspace, uint32_t *ret_counter)
{
	int r = -ENOSPC;

	pthread_mutex_lock(&uspace->lock);
	for (uint32_t i = 0; i < REGION_ATTACH_MAX && r < 0; i++) {
		uint64_t bit = 1ull << (i % 64);

		if (uspace->counters_used[i / 64] & bit)
			continue;
		uspace->counters_used[i / 64] |= bit;
		*ret_counter = i;
		r = 0;
	}
	pthread_mutex_unlock(&uspace->lock);
	for (uint32_t slot = 0; r == 0 && slot < slots_of(uspace); slot++)
		*counter_of(uspace, slot, *ret_counter) = (struct region_counter){0};
	return r;
}

static void counter_give(struct uspace *uspace, uint32_t counter)
{
	pthread_mutex_lock(&uspace->lock);
	uspace->counters_used[counter / 64] &= ~(1ull << (counter % 64));
	pthread_mutex_unlock(&uspace->lock);
}

static int add_points(struct uspace_link *link, const struct uspace_link_request *request,
		      const struct uspace_checked *checked, struct reason *reason)
{
	int r = 0;

	if (checked->unwinder.offset)
		r = uspace_targets_add_unwinder(link->uspace, request->file_fd, &checked->unwinder,
						reason);
	for (uint32_t i = 0; i < request->cnt && r == 0; i++) {
		struct uspace_point point = {.prog = link->prog,
					     .cookie = request->cookies ? request->cookies[i] : 0,
					     .counter = link->counter,
					     .at_return = request->at_return,
					     .pid = request->pid};

		r = uspace_targets_add(link->uspace, request->file_fd, &checked->wants[i],
				       request->semaphores ? request->semaphores[i] : 0, &point,
				       &link->points[i], reason);
		link->point_cnt += r == 0;
	}
	return r;
}

/* The caller holds @uspace->apply. */
static void remove_points(struct uspace_link *link)
{
	for (uint32_t i = 0; i < link->point_cnt; i++)
		uspace_targets_remove(link->uspace, link->points[i]);
	link->point_cnt = 0;
}

/* Its maps are in use for it no longer, if they were. The caller holds @uspace->apply. */
static void leave(struct uspace_link *link)
{
	if (link->settled)
		uspace_prog_leave(link->prog);
	link->settled = false;
}

static int attach(struct uspace_link *link, const struct uspace_link_request *request,
		  struct reason *reason)
{
	struct uspace *uspace = link->uspace;
	struct uspace_checked checked;
	struct uspace_reach undone;
	int r;

	r = uspace_check(request->file_fd, request->offsets, request->cnt, request->at_return,
			 &checked, reason);
	if (r < 0)
		return r;
	/* It read the file's symbols and may be followed for that; from here to its answer it does
	 * nothing, and whoever holds the lock may have to stop it. */
	uspace_late_let_go(uspace, request->caller);
	pthread_mutex_lock(&uspace->apply);
	r = uspace_prog_settle(link->prog, reason);
	link->settled = r == 0;
	if (r == 0 && link->prog->prints)
		r = uspace_events_start(uspace);
	if (r == 0)
		r = add_points(link, request, &checked, reason);
	if (r == 0)
		r = uspace_targets_apply(uspace, request->caller, &link->reach, reason);
	if (r == 0 && request->whole && link->reach.failed)
		r = reason_set(reason, -EOPNOTSUPP, "%s", link->reach.reason.text);
	if (r < 0) {
		remove_points(link);
		uspace_targets_apply(uspace, request->caller, &undone, NULL);
	}
	if (r < 0)
		leave(link);
	pthread_mutex_unlock(&uspace->apply);
	free(checked.wants);
	return r;
}

int uspace_link_new(struct uspace *uspace, const struct uspace_link_request *request,
		    struct uspace_link **ret_link, struct reason *reason)
{
	struct uspace_link *link;
	struct stat st;
	int r;

	if (!request->prog->code)
		return reason_set(reason, -EOPNOTSUPP, "%s", request->prog->why_not.text);
	if (fstat(request->file_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	link = calloc(1, sizeof(*link) + request->cnt * sizeof(link->points[0]));
	if (!link)
		return -ENOMEM;
	link->uspace = uspace;
	link->dev = st.st_dev;
	link->ino = st.st_ino;
	link->prog = uspace_prog_ref(request->prog);
	link->prog_fd = fcntl(request->prog_fd, F_DUPFD_CLOEXEC, 0);
	r = link->prog_fd < 0 ? -errno : counter_take(uspace, &link->counter);
	if (r == -ENOSPC)
		reason_set(reason, r, "%u attachments in traced processes is all there is room for",
			   REGION_ATTACH_MAX);
	if (r == 0) {
		r = attach(link, request, reason);
		if (r < 0)
			counter_give(uspace, link->counter);
	}
	if (r < 0) {
		close_fd(link->prog_fd);
		uspace_prog_unref(link->prog);
		free(link);
		return r;
	}
	if (link->reach.failed)
		log_notice("tenant=%s: %u processes run on without the probe: %s",
			   uspace->tenant->name, link->reach.failed, link->reach.reason.text);
	tiers_want(uspace->tiers, link->prog);
	*ret_link = link;
	return 0;
}

static void drop(struct uspace_link *link)
{
	for (uint32_t i = 0; i < link->suspended_cnt; i++)
		close_fd(link->suspended[i].file_fd);
	free(link->suspended);
	counter_give(link->uspace, link->counter);
	close_fd(link->prog_fd);
	uspace_prog_unref(link->prog);
	free(link);
}

int uspace_link_suspend(struct uspace_link *link)
{
	link->suspended = calloc(link->point_cnt + 1, sizeof(*link->suspended));
	if (!link->suspended)
		return -ENOMEM;
	for (uint32_t i = 0; i < link->point_cnt; i++) {
		const struct uspace_point *point = link->points[i];
		int fd = fcntl(point->site->file_fd, F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			int error = -errno;

			while (link->suspended_cnt)
				close_fd(link->suspended[--link->suspended_cnt].file_fd);
			free(take_ptr(&link->suspended));
			return error;
		}
		link->suspended[link->suspended_cnt++] =
			(struct suspended){point->site->want, *point, fd};
	}
	for (uint32_t i = 0; i < link->point_cnt; i++)
		uspace_targets_withdraw(link->points[i]);
	link->point_cnt = 0;
	leave(link);
	return 0;
}

int uspace_link_resume(struct uspace_link *link, struct reason *reason)
{
	int r = uspace_prog_settle(link->prog, reason);

	link->settled = r == 0;
	for (uint32_t i = 0; i < link->suspended_cnt && r == 0; i++) {
		const struct suspended *point = &link->suspended[i];

		r = uspace_targets_add(link->uspace, point->file_fd, &point->want,
				       point->want.semaphore, &point->point, &link->points[i],
				       reason);
		link->point_cnt += r == 0;
	}
	for (uint32_t i = 0; i < link->suspended_cnt; i++)
		close_fd(link->suspended[i].file_fd);
	link->suspended_cnt = 0;
	free(take_ptr(&link->suspended));
	return r;
}

void uspace_link_forget(struct uspace_link *link)
{
	drop(link);
}

struct uspace_prog *uspace_link_prog(const struct uspace_link *link)
{
	return link->prog;
}

int uspace_link_prog_fd(const struct uspace_link *link)
{
	return link->prog_fd;
}

uint64_t uspace_link_cookie(const struct uspace_link *link)
{
	if (link->suspended_cnt)
		return link->suspended[0].point.cookie;
	return link->point_cnt ? link->points[0]->cookie : 0;
}

/* The caller holds the region's @apply. */
static bool same_file(const struct uspace_point *a, const struct uspace_point *b)
{
	return a->site->want.dev == b->site->want.dev && a->site->want.ino == b->site->want.ino;
}

bool uspace_link_is_in(const struct uspace_link *link, dev_t dev, ino_t ino)
{
	for (uint32_t i = 0; i < link->point_cnt; i++)
		if (link->points[i]->site->want.dev == dev &&
		    link->points[i]->site->want.ino == ino)
			return true;
	return false;
}

bool uspace_link_touches(const struct uspace_link *a, const struct uspace_link *b)
{
	for (uint32_t i = 0; i < a->prog->map_cnt; i++)
		for (uint32_t k = 0; k < b->prog->map_cnt; k++)
			if (a->prog->maps[i] == b->prog->maps[k])
				return true;
	for (uint32_t i = 0; i < a->point_cnt; i++)
		for (uint32_t k = 0; k < b->point_cnt; k++)
			if (same_file(a->points[i], b->points[k]))
				return true;
	return false;
}

struct uspace_link *uspace_link_free(struct uspace_link *link)
{
	struct uspace_reach reach;
	struct reason reason = {0};
	int r;

	if (!link)
		return NULL;
	pthread_mutex_lock(&link->uspace->apply);
	remove_points(link);
	r = uspace_targets_apply(link->uspace, 0, &reach, &reason);
	leave(link);
	pthread_mutex_unlock(&link->uspace->apply);
	if (r < 0 || reach.failed)
		log_notice("tenant=%s: %u processes keep an idle probe: %s",
			   link->uspace->tenant->name, reach.failed,
			   r == 0	    ? reach.reason.text
			   : reason.text[0] ? reason.text
					    : strerrordesc_np(-r));
	drop(link);
	return NULL;
}

void uspace_link_stats(struct uspace_link *link, struct uspace_link_stats *ret_stats)
{
	*ret_stats = (struct uspace_link_stats){
		.unreached = link->reach.failed + atomic_load(&link->uspace->missed),
		.full = __atomic_load_n(&link->prog->full, __ATOMIC_RELAXED)};
	ret_stats->targets =
		uspace_targets_count(link->uspace, link->dev, link->ino, &ret_stats->filtered);
	for (uint32_t slot = 0; slot < slots_of(link->uspace); slot++) {
		const struct region_counter *counter =
			counter_of(link->uspace, slot, link->counter);

		ret_stats->hits += __atomic_load_n(&counter->hits, __ATOMIC_RELAXED);
		ret_stats->missed += __atomic_load_n(&counter->missed, __ATOMIC_RELAXED);
	}
}
