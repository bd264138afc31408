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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/call.h"
#include "base/sys.h"
#include "notifier/cgroup.h"
#include "notifier/pid_set.h"
#include "notifier/tenant.h"
#include "notifier/uspace_callers.h"
#include "notifier/uspace_late.h"
#include "notifier/uspace_plan.h"
#include "shim/targets.h"
#include "shim/tracee.h"

/* Processes forked while the others were visited are found by looking again, so many times. */
#define ROUNDS	       8
#define EXECUTING_MS   5 /* for execve() to come to its end before the process is visited again */
#define UNMAPPED_TRIES 4 /* looks at a process that does not map the file yet */

static struct uspace_site *find_site(struct uspace *uspace, const struct shim_want *want)
{
	struct uspace_site *site;

	list_for_each(site, &uspace->sites,
		      node) if (site->want.dev == want->dev && site->want.ino == want->ino &&
				site->want.offset == want->offset) return site;
	return NULL;
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

int uspace_targets_add_unwinder(struct uspace *uspace, int file_fd, const struct shim_want *want,
				struct reason *reason)
{
	struct uspace_site *site;
	int r;

	if (find_site(uspace, want))
		return 0;
	r = add_site(uspace, file_fd, want, &site, reason);
	if (r == 0)
		site->unwinder = site->changed = true;
	return r;
}

int uspace_targets_add(struct uspace *uspace, int file_fd, const struct shim_want *want,
		       uint64_t semaphore, const struct uspace_point *point,
		       struct uspace_point **ret_point, struct reason *reason)
{
	struct uspace_site *site = find_site(uspace, want);
	struct uspace_point *made = malloc(sizeof(*made));
	int r = 0;

	if (!made)
		return -ENOMEM;
	if (!site)
		r = add_site(uspace, file_fd, want, &site, reason);
	/* As insert_uprobe(), kernel/events/uprobes.c, 6.18: one counter per instruction, or none.
	 */
	else if (!list_empty(&site->points) && site->want.semaphore != semaphore)
		r = reason_set(reason, -EINVAL,
			       "it is probed with another semaphore, or without one");
	if (r < 0) {
		free(made);
		return r;
	}
	*made = *point;
	made->site = site;
	if (list_empty(&site->points))
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
	uspace_targets_withdraw(point);
}

void uspace_targets_withdraw(struct uspace_point *point)
{
	list_remove(&point->node);
	point->site->changed = true;
	free(point);
}

void uspace_targets_recode(struct uspace *uspace, uint64_t from, uint64_t to)
{
	const struct uspace_site *site;

	list_for_each(site, &uspace->sites, node)
	{
		plan_site_recode(uspace, site->records, from, to);
		plan_site_recode(uspace, site->retired, from, to);
		plan_site_recode(uspace, site->stale, from, to);
	}
}

/* Processes to visit, and what came of it; negative: to be visited again, by another child. In
 * memory shared with the child that visits them.
 * @next: the one it is at: should it die, it is known where */
struct visit {
	uint32_t cnt, next, done, failed;
	struct reason reason;
	pid_t pids[];
};

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

void uspace_targets_child(struct uspace_plan *plan, int *keep)
{
	/* Above the numbers that they get. */
	int moved = keep ? fcntl(*keep, F_DUPFD_CLOEXEC, 6) : -1;
	int cgroup_fd = fcntl(plan->cgroup_fd, F_DUPFD_CLOEXEC, 6);
	unsigned int first = 5;
	sigset_t all;

	/* Neither the terminal's job nor what is sent to the daemon's group: whoever ends or stops
	 * it in the middle leaves a target with our registers in it. */
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* It outlives a daemon that is killed, to finish with the process it has stopped; then
	 * nobody must wait for an answer on a listener that only it still holds. */
	dup3(plan->segments[0].fd, 3, O_CLOEXEC);
	dup3(cgroup_fd, 4, O_CLOEXEC);
	plan->segments[0].fd = 3;
	plan->cgroup_fd = 4;
	if (keep) {
		dup3(moved, 5, O_CLOEXEC);
		*keep = 5;
		first = 6;
	}
	write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
	close_range(first, ~0u, 0);
	prctl(PR_SET_NAME, "bpfshim-shim");
}

static void visit_failed(struct visit *visit, const char *why)
{
	if (!visit->failed++)
		reason_set(&visit->reason, 0, "process %d: %s", visit->pids[visit->next], why);
}

/* One process; in the child. */
static void visit_next(struct uspace_plan *plan, uint32_t site_cnt, struct visit *visit)
{
	struct reason reason = {0};
	enum shim_state state;
	int r = uspace_plan_run(plan, site_cnt, visit->pids[visit->next], 0, -1, &state, &reason);

	if (r == -ERESTART) {
		visit->pids[visit->next] = -visit->pids[visit->next];
		return;
	}
	/* Gone while we came, or a zombie: nobody to miss a probe. */
	if (r == -ESRCH || (r == 0 && state == SHIM_ABSENT))
		return;
	if (r == 0 && (state == SHIM_DONE || state == SHIM_EARLY))
		visit->done++;
	else
		visit_failed(visit, reason.text[0] ? reason.text
				    : r < 0	   ? strerrordesc_np(-r)
						   : "other code stands at the site");
}

/* The same for all that are left, in the child of a hold: they stay stopped until the pipe is
 * closed whose end is @fd, or the daemon that has the other ends. */
static void visit_and_hold(struct uspace_plan *plan, uint32_t site_cnt, struct visit *visit, int fd)
{
	struct shim_held **held = calloc(visit->cnt, sizeof(struct shim_held *));
	char byte = 'x';

	for (; held && visit->next < visit->cnt; visit->next++) {
		plan->ret_held = &held[visit->next];
		visit_next(plan, site_cnt, visit);
	}
	(void)!write(fd, &byte, 1);
	(void)!read(fd, &byte, 1);
	for (uint32_t i = 0; held && i < visit->cnt; i++)
		shim_let_go(held[i]);
	_exit(0);
}

/* Until it has visited all. Return: whether it lives. */
static bool wait_held(struct uspace_hold *hold, pid_t child, int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1) {
		close_fd(fd);
		return false;
	}
	hold->holders[hold->cnt++] = (struct uspace_holder){child, fd};
	return true;
}

/* Visit what is left, in a child: it becomes their tracer for a moment, or, with @hold, until they
 * are let go. */
static int visit_rest(struct uspace_plan *plan, uint32_t site_cnt, struct visit *visit,
		      struct uspace_hold *hold)
{
	int status = 0, fds[2] = {-1, -1};
	pid_t child;

	if (hold && hold->cnt == ARRAY_SIZE(hold->holders))
		return -EAGAIN;
	if (hold && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		uspace_targets_child(plan, hold ? &fds[1] : NULL);
		if (hold)
			visit_and_hold(plan, site_cnt, visit, fds[1]);
		for (; visit->next < visit->cnt; visit->next++)
			visit_next(plan, site_cnt, visit);
		_exit(0);
	}
	close_fd(fds[1]);
	if (child < 0) {
		close_fd(fds[0]);
		return -EAGAIN;
	}
	if (hold && wait_held(hold, child, fds[0]))
		return 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (visit->next == visit->cnt)
		return 0;
	/* Its tracer is gone, so the process runs on, as it happens to be. The others are visited
	 * by the next child. */
	visit_failed(visit, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
				    ? "who was to change it was killed"
				    : "who was to change it failed");
	visit->next++;
	return 0;
}

/* Visit processes from @from on. */
static int visit_targets(struct uspace_plan *plan, uint32_t site_cnt, struct pid_set *set,
			 uint32_t from, struct uspace_hold *hold, struct uspace_reach *reach)
{
	uint32_t cnt = set->cnt - from;
	size_t size = sizeof(struct visit) + cnt * sizeof(pid_t);
	struct visit *visit;
	int r = 0;

	visit = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (visit == MAP_FAILED)
		return -errno;
	visit->cnt = cnt;
	memcpy(visit->pids, set->pids + from, cnt * sizeof(pid_t));
	while (visit->next < visit->cnt && r == 0)
		r = visit_rest(plan, site_cnt, visit, hold);
	/* They are found again if they still map the file. */
	for (uint32_t i = 0; i < cnt; i++)
		if (visit->pids[i] < 0 && take_pid(set, from, -visit->pids[i]))
			reach->executing++;
	reach->targets += visit->done;
	if (visit->failed && !reach->failed)
		reach->reason = visit->reason;
	reach->failed += visit->failed;
	munmap(visit, size);
	return r;
}

/*
 * @later: the caller is left to its test run
 * @hold: they stay stopped. The caller, too: it waits for us and need make no call
 */
static int visit_all(struct uspace *uspace, struct uspace_plan *plan, pid_t caller, bool later,
		     struct uspace_hold *hold, struct uspace_reach *reach)
{
	const struct timespec pause = {.tv_nsec = EXECUTING_MS * 1000000l};
	bool caller_maps = false;
	struct pid_set set = {0};
	int r = 0;

	for (int round = 0; round < ROUNDS && r == 0; round++) {
		uint32_t before = set.cnt;

		if (reach->executing)
			nanosleep(&pause, NULL);
		reach->executing = 0;
		r = find_targets(uspace, plan, &set);
		if (r < 0 || set.cnt == before)
			break;
		if (!hold)
			caller_maps |= take_pid(&set, before, caller);
		if (set.cnt > before)
			r = visit_targets(plan, plan->changed_cnt, &set, before, hold, reach);
	}
	if (reach->executing && !reach->failed)
		reason_set(&reach->reason, 0, "a process executes others all the time");
	reach->failed += reach->executing;
	free(set.pids);
	uspace_callers_reap(uspace, false);
	if (r == 0 && caller_maps) {
		r = later ? 0 : uspace_callers_visit(uspace, plan, caller);
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
	int tries;
};

static void revisit_run(struct pool_job *job)
{
	struct revisit *revisit = container_of(job, struct revisit, job);
	struct uspace *uspace = revisit->uspace;
	struct pid_set set = {.pids = &revisit->pid, .cnt = 1};
	const struct timespec pause = {.tv_nsec = EXECUTING_MS * 1000000l};
	struct uspace_reach reach = {0};
	bool again;

	pthread_mutex_lock(&uspace->apply);
	if (uspace->plan)
		visit_targets(uspace->plan, uspace->plan->site_cnt, &set, 0, NULL, &reach);
	/* Caught when it opened the file, it maps it in a moment. */
	again = reach.executing ||
		(!reach.targets && !reach.failed && revisit->tries < UNMAPPED_TRIES);
	pthread_mutex_unlock(&uspace->apply);
	if (reach.failed)
		log_notice("tenant=%s: %s runs on without its latest probes", uspace->tenant->name,
			   reach.reason.text);
	/* In a pool, where it holds up nobody. */
	if (again && revisit->tries++ < ROUNDS) {
		nanosleep(&pause, NULL);
		pool_submit(uspace->tenant->pool, &revisit->job);
		return;
	}
	free(revisit);
}

void uspace_targets_revisit(struct uspace *uspace, pid_t pid)
{
	struct revisit *revisit = malloc(sizeof(*revisit));

	if (!revisit)
		return;
	*revisit = (struct revisit){.job.fn = revisit_run, .uspace = uspace, .pid = pid};
	/* We are the reader of late.h. */
	pool_submit_outside(uspace->tenant->pool, &revisit->job);
}

bool uspace_targets_is_latest(struct uspace *uspace, const struct uspace_plan *plan)
{
	return __atomic_load_n(&generation_of(uspace)->generation, __ATOMIC_ACQUIRE) ==
	       plan->generation;
}

bool uspace_targets_is_withdrawn(struct uspace *uspace, const struct uspace_plan *plan)
{
	return __atomic_load_n(&generation_of(uspace)->withdrawn, __ATOMIC_SEQ_CST) >
	       plan->generation;
}

/*
 * From now on catches of late targets by older plans put no jumps anywhere; who has done so maps
 * the file, and is found by the visits that follow.
 */
static void withdraw(struct uspace *uspace, const struct uspace_plan *plan)
{
	for (uint32_t i = 0; i < plan->changed_cnt; i++)
		if (!plan->sites[i].want.site && !plan->sites[i].filter_cnt)
			__atomic_store_n(&generation_of(uspace)->withdrawn, plan->generation,
					 __ATOMIC_SEQ_CST);
}

static int apply(struct uspace *uspace, pid_t caller, bool later, struct uspace_hold *hold,
		 struct uspace_reach *ret_reach, struct reason *reason)
{
	struct uspace_plan *plan, *old;
	struct uspace_site *site;
	int r;

	*ret_reach = (struct uspace_reach){0};
	r = uspace_plan_new(uspace, &plan, reason);
	if (r < 0)
		return r;
	/* All are visited then: to give back what they need no more, or because entries of tables
	 * are for who has as much as the last plan says. */
	if (uspace_plan_shrinks(plan, uspace->plan) ||
	    (atomic_load(&uspace->tables) && uspace_plan_grows(plan, uspace->plan))) {
		uspace_plan_free(plan);
		list_for_each(site, &uspace->sites, node) site->changed = true;
		r = uspace_plan_new(uspace, &plan, reason);
		if (r < 0)
			return r;
	}
	if (uspace_plan_grows(plan, uspace->plan))
		uspace->mapped++;
	plan->mapped = uspace->mapped;
	pthread_mutex_lock(&uspace->lock);
	old = uspace->plan;
	plan->generation = ++generation_of(uspace)->generation;
	withdraw(uspace, plan);
	__atomic_store_n(&uspace->plan, plan, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&uspace->lock);
	uspace_plan_free(old);
	r = visit_all(uspace, plan, caller, later, hold, ret_reach);
	if (ret_reach->failed)
		atomic_store(&uspace->left_behind, true);
	settle_sites(uspace, r == 0 && !ret_reach->failed && !ret_reach->unsure);
	return r;
}

int uspace_targets_apply(struct uspace *uspace, pid_t caller, struct uspace_reach *ret_reach,
			 struct reason *reason)
{
	return apply(uspace, caller, false, NULL, ret_reach, reason);
}

int uspace_targets_hold(struct uspace *uspace, struct uspace_hold *ret_hold,
			struct uspace_reach *ret_reach, struct reason *reason)
{
	*ret_hold = (struct uspace_hold){.cnt = 0};
	return apply(uspace, 0, false, ret_hold, ret_reach, reason);
}

void uspace_targets_let_go(struct uspace_hold *hold)
{
	for (uint32_t i = 0; i < hold->cnt; i++)
		close_fd(hold->holders[i].fd);
	for (uint32_t i = 0; i < hold->cnt; i++)
		while (waitpid(hold->holders[i].child, NULL, 0) < 0 && errno == EINTR)
			;
	hold->cnt = 0;
}

/* Whether processes have to map more than they do; or -errno. */
static int grows(struct uspace *uspace, struct reason *reason)
{
	struct uspace_plan *plan;
	int r = uspace_plan_new(uspace, &plan, reason);

	if (r < 0)
		return r;
	r = uspace_plan_grows(plan, uspace->plan);
	uspace_plan_free(plan);
	return r;
}

static int cover(struct uspace *uspace, pid_t caller, bool later, struct uspace_reach *ret_reach,
		 struct reason *reason)
{
	struct uspace_site *site;
	int r = grows(uspace, reason);

	*ret_reach = (struct uspace_reach){0};
	if (r <= 0)
		return r;
	list_for_each(site, &uspace->sites, node) site->changed = true;
	return apply(uspace, caller, later, NULL, ret_reach, reason);
}

int uspace_targets_cover(struct uspace *uspace, pid_t caller, struct uspace_reach *ret_reach)
{
	*ret_reach = (struct uspace_reach){0};
	return uspace->plan ? cover(uspace, caller, false, ret_reach, NULL) : 0;
}

int uspace_targets_test_run(struct uspace *uspace, struct uspace_prog *prog, pid_t caller,
			    const struct shim_test_run *run, struct uspace_caller *ret_caller,
			    struct reason *reason)
{
	struct uspace_reach reach;
	int r;

	uspace->test_run = prog;
	r = cover(uspace, caller, true, &reach, reason);
	if (r == 0)
		r = uspace_callers_run(uspace->plan, caller, run, ret_caller, reason);
	uspace->test_run = NULL;
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

uint32_t uspace_targets_count(struct uspace *uspace, dev_t dev, ino_t ino, uint32_t *ret_filtered)
{
	struct count count = {.cnt = 0};

	*ret_filtered = 0;
	if (__atomic_load_n(&generation_of(uspace)->own_filters, __ATOMIC_ACQUIRE))
		count.limit = uspace->seccomp_filters;

	if (fstat(uspace->code_fd, &count.code) < 0 ||
	    targets_find(uspace->tenant->cgroup->fd, dev, ino, count_one, &count) < 0)
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
	uspace_callers_reap(uspace, true);
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
 * the tenant can be. And the call must be one that the thread was made to make: it may be followed
 * while it runs its own code, and can have seen in another what such a call looks like. */
static bool called_by_us(const struct tenant *tenant, pid_t tid)
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
	return parent == getpid() && !tenant_has_pid(tenant, tracer) &&
	       tracee_is_calling(tracer, tid);
}

int uspace_give_fd(struct call *call)
{
	struct uspace *uspace = call->tenant->uspace;
	uint64_t offset = call->notif.data.args[1];
	int fd = -1;

	if (!uspace || call->notif.data.args[2] != uspace->nonce ||
	    !called_by_us(call->tenant, (pid_t)call->notif.pid) || !guest_valid(&call->guest))
		return -EINVAL;
	if (offset == REGION_SIZE)
		fd = fcntl(uspace->void_fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_lock(&uspace->lock);
	for (uint32_t i = 0; fd < 0 && uspace->plan && i < uspace->plan->segment_cnt; i++) {
		const struct shim_segment *segment = &uspace->plan->segments[i];

		if (segment->offset == offset && segment->fd >= 0)
			fd = fcntl(segment->fd, F_DUPFD_CLOEXEC, 0);
	}
	pthread_mutex_unlock(&uspace->lock);
	return fd < 0 ? -EINVAL : call_reply_fd(call, fd);
}
