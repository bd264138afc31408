/* SPDX-License-Identifier: MIT */
/*
 * Sites, and bringing the tenant's processes to what they are to look like.
 */
#include "notifier/uspace_targets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/call.h"
#include "base/sys.h"
#include "notifier/cgroup.h"
#include "notifier/tenant.h"
#include "notifier/uspace_late.h"
#include "notifier/uspace_plan.h"
#include "shim/targets.h"
#include "shim/unwind.h"

/* Processes forked while the others were visited are found by looking again, so many times. */
#define ROUNDS 8

static struct uspace_site *find_site(struct uspace *uspace, const struct shim_want *want)
{
	struct uspace_site *site;

	list_for_each(site, &uspace->sites,
		      node) if (site->want.dev == want->dev && site->want.ino == want->ino &&
				site->want.offset == want->offset) return site;
	return NULL;
}

/* What the file itself rules out. */
static int check_traits(unsigned int traits, struct reason *reason)
{
	if (traits & SHIM_TRAIT_GO)
		return reason_set(reason, -EOPNOTSUPP,
				  "stacks of Go programs are too small for it so far");
	return 0;
}

static int open_file(int file_fd)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static int add_site(struct uspace *uspace, int file_fd, const struct shim_want *want,
		    struct uspace_site **ret_site, struct reason *reason)
{
	struct uspace_site *site;
	int r;

	site = calloc(1, sizeof(*site));
	if (!site)
		return -ENOMEM;
	list_init(&site->points);
	site->want = *want;
	r = uspace_late_watch(uspace, file_fd, reason);
	site->file_fd = fcntl(file_fd, F_DUPFD_CLOEXEC, 0);
	if (r < 0) {
		close_fd(site->file_fd);
		free(site);
		return r;
	}
	list_append(&uspace->sites, &site->node);
	*ret_site = site;
	return 0;
}

/* A file that throws by code of its own: its own unwinder must pass return probes. */
static int add_unwinder(struct uspace *uspace, int file_fd, int fd, const struct shim_want *probed,
			struct reason *reason)
{
	struct shim_want want = {.dev = probed->dev, .ino = probed->ino, .unwinder = true};
	struct uspace_site *site;
	int r = shim_unwind_check(fd, &want, reason);

	if (r == -ENOENT)
		return reason_set(reason, -EOPNOTSUPP,
				  "exceptions could not pass a probed return of this file: it has no "
				  "symbol of the unwinder");
	if (r < 0 || find_site(uspace, &want))
		return r;
	r = add_site(uspace, file_fd, &want, &site, reason);
	if (r == 0)
		site->unwinder = site->changed = true;
	return r;
}

int uspace_targets_add(struct uspace *uspace, int file_fd, uint64_t offset, uint64_t semaphore,
		       const struct uspace_point *point, struct uspace_point **ret_point,
		       struct reason *reason)
{
	struct shim_want want = {.offset = offset};
	struct uspace_point *made;
	cleanup_fd int fd = open_file(file_fd);
	struct uspace_site *site;
	unsigned int traits;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(file_fd, &st) < 0)
		return -errno;
	want.dev = st.st_dev;
	want.ino = st.st_ino;
	traits = shim_file_traits(fd);
	r = check_traits(traits, reason);
	if (r == 0 && point->at_return && (traits & SHIM_TRAIT_THROWS))
		r = add_unwinder(uspace, file_fd, fd, &want, reason);
	if (r < 0)
		return r;
	made = malloc(sizeof(*made));
	if (!made)
		return -ENOMEM;
	site = find_site(uspace, &want);
	if (!site)
		r = shim_site_check(fd, &want, reason);
	if (r == 0 && !site)
		r = add_site(uspace, file_fd, &want, &site, reason);
	if (r < 0) {
		free(made);
		return r;
	}
	*made = *point;
	made->site = site;
	if (semaphore)
		site->want.semaphore = semaphore;
	list_append(&site->points, &made->node);
	site->changed = true;
	*ret_point = made;
	return 0;
}

void uspace_targets_remove(struct uspace *uspace, struct uspace_point *point)
{
	struct uspace_site *site = point->site;

	plan_site_switch_off(uspace, site->records, point);
	plan_site_switch_off(uspace, site->retired, point);
	plan_site_switch_off(uspace, site->stale, point);
	list_remove(&point->node);
	site->changed = true;
	free(point);
}

/* Processes to visit, and what came of it. In memory shared with the child that visits them. */
struct visit {
	uint32_t cnt, done, failed;
	struct reason reason;
	pid_t pids[];
};

/* Processes found in one round; those visited before are left out. */
struct pid_set {
	pid_t *pids;
	uint32_t cnt, cap;
};

static int pid_set_add(pid_t pid, void *data)
{
	struct pid_set *set = data;

	for (uint32_t i = 0; i < set->cnt; i++)
		if (set->pids[i] == pid)
			return 0;
	if (set->cnt == set->cap) {
		uint32_t cap = set->cap ? set->cap * 2 : 64;
		pid_t *grown = realloc(set->pids, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		set->pids = grown;
		set->cap = cap;
	}
	set->pids[set->cnt++] = pid;
	return 0;
}

/* Take a process out of those from @from on. Return: whether it was among them. */
static bool take_pid(struct pid_set *set, uint32_t from, pid_t pid)
{
	for (uint32_t i = from; i < set->cnt; i++) {
		if (set->pids[i] != pid)
			continue;
		set->pids[i] = set->pids[--set->cnt];
		return true;
	}
	return false;
}

/* All processes that map one of the changed sites' files. */
static int find_targets(struct uspace *uspace, const struct uspace_plan *plan, struct pid_set *set)
{
	int r = 0;

	for (uint32_t i = 0; i < plan->changed_cnt && r == 0; i++) {
		const struct shim_want *want = &plan->sites[i].want;

		/* Sites of one file come together. */
		if (i > 0 && want->dev == plan->sites[i - 1].want.dev &&
		    want->ino == plan->sites[i - 1].want.ino)
			continue;
		r = targets_find(uspace->tenant->cgroup->fd, want->dev, want->ino, pid_set_add,
				 set);
	}
	return r;
}

void uspace_targets_child(const struct uspace_plan *plan, int *keep)
{
	unsigned int first = 4;
	sigset_t none;

	/* It outlives a daemon that is killed, to finish with the process it has stopped; then
	 * nobody must wait for an answer on a listener that only it still holds. */
	if (keep) {
		/* Above the number that the other one gets. */
		int moved = fcntl(*keep, F_DUPFD_CLOEXEC, 5);

		dup3(plan->segments[0].fd, 3, O_CLOEXEC);
		dup3(moved, 4, O_CLOEXEC);
		*keep = 4;
		first = 5;
	} else {
		dup3(plan->segments[0].fd, 3, O_CLOEXEC);
	}
	plan->segments[0].fd = 3;
	/* Whoever kills it in the middle leaves a target with our registers in it. */
	write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
	close_range(first, ~0u, 0);
	prctl(PR_SET_NAME, "bpfshim-shim");
	/* Nobody may be left to listen, and a target to let go of. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void visit_child(const struct uspace_plan *plan, uint32_t site_cnt,
					  struct visit *visit)
{
	uspace_targets_child(plan, NULL);
	for (uint32_t i = 0; i < visit->cnt; i++) {
		struct reason reason = {0};
		enum shim_state state;
		int r = uspace_plan_run(plan, site_cnt, visit->pids[i], 0, -1, &state,
					&reason);

		/* Gone while we came, or a zombie: nobody to miss a probe. */
		if (r == -ESRCH || (r == 0 && state == SHIM_ABSENT))
			continue;
		if (r == 0 && (state == SHIM_DONE || state == SHIM_EARLY)) {
			visit->done++;
			continue;
		}
		if (!visit->failed++)
			reason_set(&visit->reason, 0, "process %d: %s", visit->pids[i],
				   reason.text[0] ? reason.text
				   : r < 0	  ? strerrordesc_np(-r)
						  : "other code stands at the site");
	}
	_exit(0);
}

/* Visit processes from @from on, in a child: it becomes their tracer for a moment. */
static int visit_targets(const struct uspace_plan *plan, uint32_t site_cnt,
			 const struct pid_set *set, uint32_t from,
			 struct uspace_reach *reach)
{
	uint32_t cnt = set->cnt - from;
	size_t size = sizeof(struct visit) + cnt * sizeof(pid_t);
	struct visit *visit;
	pid_t child;

	visit = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (visit == MAP_FAILED)
		return -errno;
	visit->cnt = cnt;
	memcpy(visit->pids, set->pids + from, cnt * sizeof(pid_t));
	child = fork();
	if (child == 0)
		visit_child(plan, site_cnt, visit);
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	reach->targets += visit->done;
	if (visit->failed && !reach->failed)
		reach->reason = visit->reason;
	reach->failed += visit->failed;
	munmap(visit, size);
	return child < 0 ? -EAGAIN : 0;
}

/*
 * The process whose call this is cannot stop before it has its answer. A child has it stop on its
 * way out, and gives it everything it lacks, also what others could not while it waited.
 */
static int visit_caller(struct uspace *uspace, const struct uspace_plan *plan, pid_t pid)
{
	int fds[2];
	pid_t child;
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		struct reason reason = {0};
		enum shim_state state;

		uspace_targets_child(plan, &fds[1]);
		uspace_plan_run(plan, plan->site_cnt, pid, 0, fds[1], &state, &reason);
		_exit(0);
	}
	close_fd(fds[1]);
	if (child > 0) {
		/* Armed, or it has ended without. */
		(void)!read(fds[0], &byte, 1);
		uspace->callers[uspace->caller_cnt++] = child;
	}
	close_fd(fds[0]);
	return child < 0 ? -EAGAIN : 0;
}

/* Children of visit_caller() end by themselves, soon after the answer. */
static void reap_callers(struct uspace *uspace, bool wait)
{
	for (uint32_t i = 0; i < uspace->caller_cnt;) {
		if (waitpid(uspace->callers[i], NULL, wait ? 0 : WNOHANG) == 0)
			i++;
		else
			uspace->callers[i] = uspace->callers[--uspace->caller_cnt];
	}
}

static int visit_all(struct uspace *uspace, const struct uspace_plan *plan, pid_t caller,
		     struct uspace_reach *reach)
{
	bool caller_maps = false;
	struct pid_set set = {0};
	int r = 0;

	for (int round = 0; round < ROUNDS && r == 0; round++) {
		uint32_t before = set.cnt;

		r = find_targets(uspace, plan, &set);
		if (r < 0 || set.cnt == before)
			break;
		caller_maps |= take_pid(&set, before, caller);
		if (set.cnt > before)
			r = visit_targets(plan, plan->changed_cnt, &set, before, reach);
	}
	free(set.pids);
	reap_callers(uspace, uspace->caller_cnt == ARRAY_SIZE(uspace->callers));
	if (r == 0 && caller_maps) {
		r = visit_caller(uspace, plan, caller);
		reach->unsure = true;
		reach->targets += r == 0;
	}
	return r;
}

/* A process that could not be changed still has the old records. */
static void retire(struct uspace *uspace, struct uspace_site *site, bool reached)
{
	struct plan_site *retired = site->retired;

	site->retired = NULL;
	if (reached && site->changed) {
		plan_site_free(uspace, site->stale);
		site->stale = NULL;
	}
	if (reached || !retired) {
		plan_site_free(uspace, retired);
		return;
	}
	retired->older = site->stale;
	site->stale = retired;
}

/* What is as it should be is not changed any more; sites without points are forgotten. */
static void settle_sites(struct uspace *uspace, bool reached)
{
	struct uspace_site *site, *tmp;

	list_for_each_safe(site, tmp, &uspace->sites, node)
	{
		retire(uspace, site, reached);
		site->changed = false;
		if (!list_empty(&site->points) || site->unwinder)
			continue;
		plan_site_free(reached ? uspace : NULL, site->records);
		plan_site_free(NULL, site->stale);
		uspace_late_unwatch(uspace, site->file_fd);
		close_fd(site->file_fd);
		list_remove(&site->node);
		free(site);
	}
}

static struct region_header *generation_of(struct uspace *uspace)
{
	return (void *)uspace->base;
}

/* One process that was brought to an old plan, because it was caught while the plan changed. */
struct revisit {
	struct pool_job job;
	struct uspace *uspace;
	pid_t pid;
};

static void revisit_run(struct pool_job *job)
{
	struct revisit *revisit = container_of(job, struct revisit, job);
	struct uspace *uspace = revisit->uspace;
	struct pid_set set = {.pids = &revisit->pid, .cnt = 1};
	struct uspace_reach reach = {0};

	pthread_mutex_lock(&uspace->apply);
	if (uspace->plan)
		visit_targets(uspace->plan, uspace->plan->site_cnt, &set, 0, &reach);
	pthread_mutex_unlock(&uspace->apply);
	if (reach.failed)
		log_notice("tenant=%s: %s runs on without its latest probes", uspace->tenant->name,
			   reach.reason.text);
	free(revisit);
}

void uspace_targets_revisit(struct uspace *uspace, pid_t pid)
{
	struct revisit *revisit = malloc(sizeof(*revisit));

	if (!revisit)
		return;
	*revisit = (struct revisit){.job.fn = revisit_run, .uspace = uspace, .pid = pid};
	pool_submit(uspace->tenant->pool, &revisit->job);
}

bool uspace_targets_is_latest(struct uspace *uspace, const struct uspace_plan *plan)
{
	return __atomic_load_n(&generation_of(uspace)->generation, __ATOMIC_ACQUIRE) ==
	       plan->generation;
}

int uspace_targets_apply(struct uspace *uspace, pid_t caller, struct uspace_reach *ret_reach,
			 struct reason *reason)
{
	struct uspace_plan *plan, *old;
	int r;

	*ret_reach = (struct uspace_reach){0};
	r = uspace_plan_new(uspace, &plan, reason);
	if (r < 0)
		return r;
	pthread_mutex_lock(&uspace->lock);
	old = uspace->plan;
	plan->generation = ++generation_of(uspace)->generation;
	__atomic_store_n(&uspace->plan, plan, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&uspace->lock);
	uspace_plan_free(old);
	r = visit_all(uspace, plan, caller, ret_reach);
	settle_sites(uspace, r == 0 && !ret_reach->failed && !ret_reach->unsure);
	return r;
}

struct count {
	struct stat code;
	uint32_t limit; /* of seccomp filters; 0: nobody has any of its own */
	uint32_t cnt, filtered;
};

static int count_one(pid_t pid, void *data)
{
	struct count *count = data;

	if (targets_maps(pid, count->code.st_dev, count->code.st_ino, true) <= 0)
		return 0;
	if (shim_has_filters(pid, count->limit))
		count->filtered++;
	else
		count->cnt++;
	return 0;
}

uint32_t uspace_targets_count(struct uspace *uspace, const struct uspace_point *point,
			      uint32_t *ret_filtered)
{
	struct count count = {.cnt = 0};

	*ret_filtered = 0;
	if (__atomic_load_n(&generation_of(uspace)->own_filters, __ATOMIC_ACQUIRE))
		count.limit = uspace->seccomp_filters;

	if (fstat(uspace->code_fd, &count.code) < 0 ||
	    targets_find(uspace->tenant->cgroup->fd, point->site->want.dev, point->site->want.ino,
			 count_one, &count) < 0)
		return 0;
	*ret_filtered = count.filtered;
	return count.cnt;
}

bool uspace_targets_overlap(struct uspace *uspace, dev_t dev, ino_t ino, uint64_t offset)
{
	const struct uspace_site *site;
	bool found = false;

	pthread_mutex_lock(&uspace->apply);
	list_for_each(site, &uspace->sites, node) found |=
		site->want.dev == dev && site->want.ino == ino && offset >= site->want.offset &&
		offset - site->want.offset < site->want.displaced;
	pthread_mutex_unlock(&uspace->apply);
	return found;
}

void uspace_targets_deinit(struct uspace *uspace)
{
	struct uspace_site *site, *tmp;

	uspace_late_stop(uspace);
	reap_callers(uspace, true);
	list_for_each_safe(site, tmp, &uspace->sites, node)
	{
		list_remove(&site->node);
		plan_site_free(NULL, site->records);
		plan_site_free(NULL, site->retired);
		plan_site_free(NULL, site->stale);
		close_fd(site->file_fd);
		free(site);
	}
	uspace->plan = uspace_plan_free(uspace->plan);
}

/* A traced thread's tracer must be one of the children that this daemon forks for it: no process of
 * the tenant can be. */
static bool stopped_by_us(const struct tenant *tenant, pid_t tid)
{
	cleanup_free char *text = NULL;
	const char *line;
	char path[40];
	pid_t tracer, parent;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return false;
	line = strstr(text, "\nTracerPid:");
	if (!line || sscanf(line, "\nTracerPid: %d", &tracer) != 1 || tracer <= 0)
		return false;
	free(take_ptr(&text));
	snprintf(path, sizeof(path), "/proc/%d/status", tracer);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return false;
	line = strstr(text, "\nPPid:");
	if (!line || sscanf(line, "\nPPid: %d", &parent) != 1)
		return false;
	return parent == getpid() && !tenant_has_pid(tenant, tracer);
}

int uspace_give_fd(struct call *call)
{
	struct uspace *uspace = call->tenant->uspace;
	uint64_t offset = call->notif.data.args[1];
	int fd = -1;

	if (!uspace || call->notif.data.args[2] != uspace->nonce ||
	    !stopped_by_us(call->tenant, (pid_t)call->notif.pid) || !guest_valid(&call->guest))
		return -EINVAL;
	pthread_mutex_lock(&uspace->lock);
	for (uint32_t i = 0; uspace->plan && i < uspace->plan->segment_cnt; i++) {
		const struct shim_segment *segment = &uspace->plan->segments[i];

		if (segment->offset == offset && segment->fd >= 0)
			fd = fcntl(segment->fd, F_DUPFD_CLOEXEC, 0);
	}
	pthread_mutex_unlock(&uspace->lock);
	return fd < 0 ? -EINVAL : call_reply_fd(call, fd);
}
