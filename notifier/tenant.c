/* SPDX-License-Identifier: MIT */
/*
 * Life of a tenant and its accounts.
 */
#include "notifier/tenant.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include "notifier/outputs.h"
#include "notifier/uspace.h"
#include "verifier/worker.h"

/* How long a dead object may stand in the table; its kernel resources went with its last holder. */
#define SWEEP_NS 500000000

/* Calls of one tenant carried out at the same time. */
#define THREADS	     16
#define STOP_TIME_MS 1000

/* Bytes that calls of one tenant hold at the same time: the largest program with its records and a
 * log of 16 MB, as veristat asks for, several times over. */
#define MEMORY_MAX (256ull << 20)

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

void tenant_sweep_objects(struct tenant *tenant)
{
	pthread_mutex_lock(&tenant->lock);
	object_sweep(&tenant->table);
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

/* Beside the daemon, whatever the tenant's or the caller's working directory is. */
static int open_worker(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 20);
	char *slash;
	int fd;

	if (len < 0)
		return -errno;
	path[len] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, "bpfshim-worker");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool needs_worker(const struct tenant *tenant)
{
	return tenant->verify_only || policy_prefers_user(tenant->policy) ||
	       policy_verifier(tenant->policy) != POLICY_VERIFIER_KERNEL;
}

/* Without it everything the policy lets into the kernel unverified still works. */
static void make_worker(struct tenant *tenant)
{
	int r = tenant->worker_fd = open_worker();

	if (r >= 0)
		r = worker_new(tenant->worker_fd, 0, &tenant->worker);
	if (r == 0) /* It is there by the time the first program is. */
		worker_warm(tenant->worker);
	else
		log_notice("tenant=%s: no bpfshim-worker: %s", tenant->name, strerrordesc_np(-r));
}

int tenant_init(struct tenant *tenant, int listener)
{
	struct reason reason = {0};
	int r;

	tenant->listener = listener;
	pthread_mutex_init(&tenant->lock, NULL);
	pthread_mutex_init(&tenant->moving, NULL);
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
	if (needs_worker(tenant))
		make_worker(tenant);
	if (policy_prefers_user(tenant->policy) || tenant->verify_only) {
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

void tenant_free_programs(struct tenant *tenant)
{
	tenant->uspace = uspace_free(tenant->uspace);
	if (tenant->worker)
		close_fd(tenant->worker_fd);
	tenant->worker = worker_free(tenant->worker);
}

bool tenant_has_pid(const struct tenant *tenant, pid_t pid)
{
	return cgroup_has_pid(tenant->cgroup, pid);
}

/* Links that only a pin keeps alive; those with an attachment are counted by that. */
static uint64_t count_pinned(struct tenant *tenant)
{
	struct object *object;
	uint64_t pinned = 0;

	list_for_each(object, &tenant->table.objects, node)
	{
		if (object->kind == KOBJECT_LINK && !attachment_by_real_id(tenant, object->real_id))
			pinned += object->size;
	}
	return pinned;
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
		list_for_each(attachment, &tenant->attachments, node) used +=
			attachment->kind == ATTACHMENT_LINK ? attachment->facts.weight : 0;
		return used + count_pinned(tenant);
	case POLICY_QUOTA_EVENTS:
		list_for_each(attachment, &tenant->attachments, node) used +=
			attachment->kind == ATTACHMENT_EVENT;
		return used + tenant->outputs;
	default:
		return 0;
	}
}

/* Not used + reserved as one sum: what a guest asks for may make it wrap around. */
static int check(struct tenant *tenant, enum policy_quota quota, uint64_t more,
		 struct reason *reason)
{
	uint64_t used;

	if (__builtin_add_overflow(quota_used(tenant, quota), tenant->reserved[quota], &used))
		used = UINT64_MAX;
	return policy_check_quota(tenant->policy, quota, used, more, reason);
}

int tenant_reserve(struct tenant *tenant, enum policy_quota quota, uint64_t more,
		   struct reason *reason)
{
	uint64_t outputs = 0;
	int r;

	pthread_mutex_lock(&tenant->lock);
	r = check(tenant, quota, more, NULL);
	pthread_mutex_unlock(&tenant->lock);
	/* Some of what is counted may be dead already. */
	if (r < 0 && quota == POLICY_QUOTA_EVENTS)
		outputs = outputs_count(tenant->cgroup->fd);
	pthread_mutex_lock(&tenant->lock);
	if (r < 0) {
		object_sweep(&tenant->table);
		if (quota == POLICY_QUOTA_EVENTS && outputs < tenant->outputs)
			tenant->outputs = outputs;
	}
	r = check(tenant, quota, more, reason);
	if (r == 0)
		tenant->reserved[quota] += more;
	pthread_mutex_unlock(&tenant->lock);
	return r;
}

void tenant_release(struct tenant *tenant, const uint64_t *amounts)
{
	pthread_mutex_lock(&tenant->lock);
	for (int quota = 0; quota < POLICY_QUOTA_COUNT; quota++)
		tenant->reserved[quota] -= amounts[quota];
	pthread_mutex_unlock(&tenant->lock);
}

int tenant_charge(struct tenant *tenant, uint64_t bytes, struct reason *reason)
{
	int r = 0;

	pthread_mutex_lock(&tenant->lock);
	if (bytes <= MEMORY_MAX - tenant->memory)
		tenant->memory += bytes;
	else
		r = reason_set(reason, -ENOMEM,
			       "calls of the tenant hold %llu bytes, %llu more exceed %llu",
			       (unsigned long long)tenant->memory, (unsigned long long)bytes,
			       MEMORY_MAX);
	pthread_mutex_unlock(&tenant->lock);
	return r;
}

void tenant_uncharge(struct tenant *tenant, uint64_t bytes)
{
	pthread_mutex_lock(&tenant->lock);
	tenant->memory -= bytes;
	pthread_mutex_unlock(&tenant->lock);
}

void tenant_count_output(struct tenant *tenant)
{
	pthread_mutex_lock(&tenant->lock);
	tenant->outputs++;
	pthread_mutex_unlock(&tenant->lock);
}
