/* SPDX-License-Identifier: MIT */
/*
 * Life of a tenant and its accounts.
 */
#include "notifier/tenant.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/attachment.h"
#include "notifier/cgroup.h"
#include "notifier/crew.h"
#include "notifier/listener.h"
#include "notifier/uspace.h"

/* How long a dead object may stand in the table; its kernel resources went with its last holder. */
#define SWEEP_NS 500000000

/* Calls of one tenant carried out at the same time. */
#define THREADS	     16
#define STOP_TIME_MS 1000

static void tenant_sweep(struct loop_source *source, uint32_t events)
{
	struct tenant *tenant = container_of(source, struct tenant, sweep);
	struct itimerspec off = {0};
	uint64_t ticks;

	(void)!read(source->fd, &ticks, sizeof(ticks));
	pthread_mutex_lock(&tenant->lock);
	object_sweep(&tenant->table);
	if (list_empty(&tenant->table.objects)) {
		tenant->sweeping = false;
		timerfd_settime(source->fd, 0, &off, NULL);
	}
	pthread_mutex_unlock(&tenant->lock);
}

void tenant_watch_objects(struct tenant *tenant)
{
	struct itimerspec on = {.it_value.tv_nsec = SWEEP_NS, .it_interval.tv_nsec = SWEEP_NS};

	pthread_mutex_lock(&tenant->lock);
	if (!tenant->sweeping) {
		tenant->sweeping = true;
		timerfd_settime(tenant->sweep.fd, 0, &on, NULL);
	}
	pthread_mutex_unlock(&tenant->lock);
}

int tenant_init(struct tenant *tenant, int listener)
{
	struct reason reason = {0};
	int r;

	tenant->listener = listener;
	pthread_mutex_init(&tenant->lock, NULL);
	object_table_init(&tenant->table);
	list_init(&tenant->attachments);
	list_init(&tenant->anchors);
	tenant->sweep.fn = tenant_sweep;
	tenant->sweep.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (tenant->sweep.fd < 0) {
		r = -errno;
		close_fd(listener);
		return r;
	}
	listener_prepare(listener);
	if (policy_prefers_user(tenant->policy)) {
		/* Without it everything the policy lets into the kernel still works. */
		r = uspace_new(tenant, &tenant->uspace, &reason);
		if (r < 0)
			log_notice("tenant=%s: no programs in traced processes: %s", tenant->name,
				   reason.text[0] ? reason.text : strerrordesc_np(-r));
	}
	r = loop_add(tenant->loop, &tenant->sweep, EPOLLIN);
	if (r == 0)
		r = crew_new(tenant, THREADS, &tenant->crew);
	if (r < 0) {
		close_fd(tenant->sweep.fd);
		close_fd(listener);
	}
	return r;
}

int tenant_deinit(struct tenant *tenant)
{
	struct attachment *attachment;
	int r;

	r = crew_stop(tenant->crew, STOP_TIME_MS);
	loop_remove(tenant->loop, &tenant->sweep);
	close_fd(tenant->sweep.fd);
	if (r == 0)
		tenant->listener = close_fd(tenant->listener);
	pthread_mutex_lock(&tenant->lock);
	/* Calls still under way may use the structures; only the kernel objects go now. */
	list_for_each(attachment, &tenant->attachments, node) attachment->real_fd =
		close_fd(attachment->real_fd);
	object_table_deinit(&tenant->table);
	pthread_mutex_unlock(&tenant->lock);
	return r;
}

bool tenant_has_pid(const struct tenant *tenant, pid_t pid)
{
	return cgroup_has_pid(tenant->cgroup, pid);
}

/* How much of a quota is used up now; the caller holds the lock. */
static uint64_t quota_used(struct tenant *tenant, enum policy_quota quota)
{
	struct attachment *attachment;
	uint64_t used = 0;

	switch (quota) {
	case POLICY_QUOTA_PROGS:
		return object_count(&tenant->table, KOBJECT_PROG, NULL);
	case POLICY_QUOTA_MAPS:
		return object_count(&tenant->table, KOBJECT_MAP, NULL);
	case POLICY_QUOTA_MAP_BYTES:
		object_count(&tenant->table, KOBJECT_MAP, &used);
		return used;
	case POLICY_QUOTA_BTFS:
		return object_count(&tenant->table, KOBJECT_BTF, NULL);
	case POLICY_QUOTA_LINKS:
	case POLICY_QUOTA_EVENTS:
		list_for_each(attachment, &tenant->attachments, node) used +=
			(attachment->kind == ATTACHMENT_LINK) == (quota == POLICY_QUOTA_LINKS);
		return used;
	default:
		return 0;
	}
}

int tenant_check_quota(struct tenant *tenant, enum policy_quota quota, uint64_t more,
		       struct reason *reason)
{
	uint64_t used;
	int r;

	pthread_mutex_lock(&tenant->lock);
	used = quota_used(tenant, quota);
	r = policy_check_quota(tenant->policy, quota, used, more, NULL);
	if (r < 0) {
		/* Some of what is counted may be dead already. */
		object_sweep(&tenant->table);
		used = quota_used(tenant, quota);
		r = policy_check_quota(tenant->policy, quota, used, more, reason);
	}
	pthread_mutex_unlock(&tenant->lock);
	return r;
}
