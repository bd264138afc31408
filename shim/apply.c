/* SPDX-License-Identifier: MIT */
/*
 * One process, from what it is to what it is to be.
 */
#include "shim/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/apply_internal.h"
#include "shim/inject.h"
#include "shim/steady.h"
#include "shim/stub.h"
#include "shim/targets.h"
#include "shim/test_run.h"
#include "shim/unwind.h"

#define SIBLING_MS    500
#define STOP_TRIES    4
#define OUTSIDE_TRIES 5000u /* of some ten microseconds each */

/* Files by an unwinder's name are looked at while the process stands: this much of each, and so
 * many. */
#define UNWINDER_BUDGET (4u << 20)
#define UNWINDERS_MAX	16u

static bool is_32bit(const struct maps *maps)
{
	/* Nothing of a 32-bit process lies above 4 GiB, and something of any other does. */
	return maps->cnt && maps->entries[maps->cnt - 1].end <= 1ull << 32;
}

static int refuse_filters(struct reason *reason)
{
	return reason_set(reason, -EOPNOTSUPP,
			  "it has seccomp filters of its own, which may not let it make the "
			  "calls that helpers need");
}

/*
 * Once its threads are stopped: what was seen before may have changed meanwhile, and a process
 * whose stubs were made idle because of its filters must not be woken.
 */
static int check_filters(const struct work *work, struct reason *reason)
{
	const struct shim_plan *plan = work->plan;
	bool found;

	if (!plan->own_filters || !__atomic_load_n(plan->own_filters, __ATOMIC_ACQUIRE))
		return 0;
	found = shim_has_filters(work->tracee.pid, plan->seccomp_filters);
	/* Processes that share its memory run into its stubs, too. */
	for (uint32_t i = 0; i < work->tracee.cnt && !found; i++)
		found = work->tracee.threads[i].pid != work->tracee.pid &&
			(i == 0 ||
			 work->tracee.threads[i].pid != work->tracee.threads[i - 1].pid) &&
			shim_has_filters(work->tracee.threads[i].pid, plan->seccomp_filters);
	return found ? refuse_filters(reason) : 0;
}

static int check_status(pid_t pid, const struct shim_plan *plan, bool borrowed,
			struct reason *reason)
{
	cleanup_free char *text = NULL;
	const char *line;
	char path[40];
	pid_t tracer;

	snprintf(path, sizeof(path), "/proc/%d/status", targets_living(pid));
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return -ESRCH;
	line = strstr(text, "\nTracerPid:");
	tracer = line ? atoi(line + sizeof("\nTracerPid:")) : 0;
	if (!borrowed && tracer > 0 && tracer != getpid())
		return reason_set(reason, -EPERM, "another process traces it");
	if (plan->seccomp_filters && filters_in(text) > plan->seccomp_filters)
		return refuse_filters(reason);
	return 0;
}

int work_reread_maps(struct work *work)
{
	maps_deinit(&work->maps);
	return maps_read(work->tracee.pid, &work->maps);
}

static int ensure_calls(struct work *work, struct reason *reason)
{
	int r = work->prepared ? 0 : tracee_prepare(&work->tracee, &work->maps);

	if (r == -EOPNOTSUPP)
		return reason_set(reason, r, "it has no syscall instruction");
	if (r == -ETIMEDOUT)
		return reason_set(reason, r, "its threads did not stop in time");
	work->prepared |= r == 0;
	return r;
}

int work_ensure_region(struct work *work, struct reason *reason)
{
	int r;

	if (work->injected)
		return 0;
	r = ensure_calls(work, reason);
	if (r < 0)
		return r;
	r = inject_region(&work->tracee, work->plan, &work->maps, work->base, &work->base, reason);
	if (r < 0)
		return r;
	work->injected = true;
	r = work_reread_maps(work);
	return r < 0 ? r : steady_add(&work->tracee, &work->maps, work->base, &work->steady);
}

/* The unwinder of one executable mapping; it stays changed as long as the process lives. */
static int hook_unwinder(struct work *work, uint32_t index, struct reason *reason)
{
	const struct map_entry entry = work->maps.entries[index];
	struct shim_want want = {.site = REGION_UNWINDER, .without_returns = REGION_UNWINDER};
	enum shim_state state = SHIM_ABSENT;
	cleanup_fd int fd = -1;
	struct elf_file file;
	char path[80];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", work->maps.pid, entry.start,
		 entry.end);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = elf_file_open(&file, fd, UNWINDER_BUDGET);
	if (r < 0)
		return r;
	r = shim_unwind_check(&file, &want, reason);
	elf_file_close(&file);
	if (r == 0 && maps_at(&work->maps, index, want.offset))
		r = work_want_at(work, &want, maps_at(&work->maps, index, want.offset), &state,
				 reason);
	return r < 0 || state != SHIM_FOREIGN ? r : -EBUSY;
}

/* Whether return probes are wanted in a file that the process maps. */
static bool wants_returns(const struct work *work)
{
	for (uint32_t i = 0; i < work->maps.cnt; i++)
		for (uint32_t k = 0; k < work->plan->want_cnt; k++) {
			const struct shim_want *want = &work->plan->wants[k];

			if (want->site != want->without_returns &&
			    maps_at(&work->maps, i, want->offset) &&
			    maps_is_file(&work->maps, &work->maps.entries[i], want->dev, want->ino))
				return true;
		}
	return false;
}

/* Before a return address is replaced, whoever unwinds must know of it. */
static void hook_unwinders(struct work *work)
{
	bool users = false, others = false;
	struct reason reason = {0};
	uint32_t gcc = 0;

	work->unwindable = true;
	if (!wants_returns(work))
		return;
	for (uint32_t i = 0; i < work->maps.cnt; i++) {
		const struct map_entry *entry = &work->maps.entries[i];

		users |= entry->unwinder == UNWINDER_USER;
		others |= entry->unwinder == UNWINDER_OTHER;
		if (entry->unwinder != UNWINDER_GCC || !entry->executable)
			continue;
		if (gcc++ >= UNWINDERS_MAX || hook_unwinder(work, i, &reason) < 0)
			others = true;
	}
	/* What is being loaded comes before what it needs, which is caught in its turn. */
	if (others || (users && !gcc && !work->late))
		work->unwindable = false;
}

/* Unwinders' entries, or all others. */
static int apply_wants(struct work *work, bool unwinders, enum shim_state *ret_states,
		       struct reason *reason)
{
	int worst = 0;

	for (uint32_t i = 0; i < work->plan->want_cnt; i++) {
		const struct shim_want *want = &work->plan->wants[i];
		int r;

		if (want->unwinder != unwinders)
			continue;
		r = work_want(work, want, &ret_states[i], reason);
		if (r == -ESRCH || r == -ERESTART)
			return r;
		if (r < 0)
			worst = r;
		if (unwinders && (r < 0 || ret_states[i] == SHIM_FOREIGN))
			work->unwindable = false;
	}
	return worst;
}

/* Whether the process maps a file in which something is wanted. */
static bool is_wanted(const struct work *work, const struct shim_want *wants, uint32_t cnt)
{
	for (uint32_t i = 0; i < work->maps.cnt; i++)
		for (uint32_t k = 0; k < cnt; k++)
			if (wants[k].site && !wants[k].unwinder &&
			    maps_at(&work->maps, i, wants[k].offset) &&
			    maps_is_file(&work->maps, &work->maps.entries[i], wants[k].dev,
					 wants[k].ino))
				return true;
	return false;
}

/* Arrays that nothing in this process needs any more; where it cannot be done now they stay. */
static void release_arrays(struct work *work)
{
	const struct shim_plan *plan = work->plan;
	struct reason reason;
	bool all;

	/* Hardly anybody has any. */
	if (!work->base || work->hold ||
	    !inject_has_arrays(&work->tracee, plan, work->base, true) || work_reread_maps(work) < 0)
		return;
	all = !plan->test_run && !is_wanted(work, plan->wants, plan->want_cnt) &&
	      !is_wanted(work, plan->rest, plan->rest_cnt);
	if (inject_has_arrays(&work->tracee, plan, work->base, all) &&
	    ensure_calls(work, &reason) == 0)
		inject_release(&work->tracee, plan, &work->maps, work->base, all);
}

/* What became of the probes is then only said by @reason, if anything is. */
static int test_run(struct work *work, struct reason *reason)
{
	int r = work_ensure_region(work, reason);

	return r < 0 ? r : shim_test_run(&work->tracee, work->base, work->plan->test_run, reason);
}

/* The thread that waits for what became of its run learns it. */
static void tell_result(struct work *work, int result)
{
	struct tracee *tracee = &work->tracee;

	for (uint32_t i = 0; i < tracee->cnt; i++) {
		if (tracee->threads[i].tid != tracee->wanted || !tracee->threads[i].stopped)
			continue;
		tracee->caller = i;
		tracee_set_result(tracee,
				  result == -EOPNOTSUPP || result == -ERESTART ? -EPERM : result);
	}
}

static int apply(struct work *work, enum shim_state *ret_states, struct reason *reason)
{
	int r, worst;

	r = maps_read(work->tracee.pid, &work->maps);
	if (r < 0)
		return r;
	if (is_32bit(&work->maps)) {
		maps_deinit(&work->maps);
		return reason_set(reason, -EOPNOTSUPP, "it is a 32-bit process");
	}
	work->base = inject_find(&work->plan->region, &work->maps);
	hook_unwinders(work);
	worst = apply_wants(work, true, ret_states, reason);
	if (worst != -ESRCH && worst != -ERESTART) {
		r = apply_wants(work, false, ret_states, reason);
		worst = r < 0 ? r : worst;
	}
	if (worst == 0 && work->no_returns)
		worst = reason_set(reason, -EOPNOTSUPP,
				   "exceptions could not pass a probed return in it, so return "
				   "probes are left out");
	if (work->plan->test_run && worst != -ESRCH && worst != -ERESTART)
		worst = test_run(work, reason);
	if (worst != -ESRCH && worst != -ERESTART)
		release_arrays(work);
	maps_deinit(&work->maps);
	return worst;
}

/* Whether it maps any of the files; most processes that are asked about do, or why ask. */
static bool concerns(pid_t pid, const struct shim_plan *plan)
{
	struct maps maps;
	bool found = false;

	if (maps_read(pid, &maps) < 0)
		return false;
	for (uint32_t i = 0; i < maps.cnt && !found; i++)
		for (uint32_t k = 0; k < plan->want_cnt && !found; k++)
			found = maps.entries[i].executable &&
				maps_is_file(&maps, &maps.entries[i], plan->wants[k].dev,
					     plan->wants[k].ino);
	maps_deinit(&maps);
	return found;
}

static void all_absent(const struct shim_plan *plan, enum shim_state *ret_states)
{
	for (uint32_t i = 0; i < plan->want_cnt; i++)
		ret_states[i] = SHIM_ABSENT;
}

static pid_t status_number(pid_t pid, const char *key)
{
	cleanup_free char *text = NULL;
	const char *line;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, key);
	return line ? atoi(line + strlen(key)) : 0;
}

/* A sibling of ours, who follows a process that opened the file, is done with it soon. */
static void wait_for_sibling(pid_t pid)
{
	const struct timespec nap = {.tv_nsec = 1000000};

	for (int i = 0; i < SIBLING_MS; i++) {
		pid_t tracer = status_number(targets_living(pid), "\nTracerPid:");

		if (!tracer || status_number(tracer, "\nPPid:") != getppid())
			return;
		nanosleep(&nap, NULL);
	}
}

/* Calls may have to be made by a thread of another process, in whose files they look different. */
static int check_caller(const struct work *work, struct reason *reason)
{
	const struct tracee *tracee = &work->tracee;
	pid_t pid =
		tracee->caller < tracee->cnt ? tracee->threads[tracee->caller].pid : tracee->pid;

	return pid == tracee->pid ? 0 : check_status(pid, work->plan, true, reason);
}

/* While the process runs: it may have many libraries. */
static void find_steady(struct work *work, pid_t pid)
{
	struct maps maps;

	if (maps_read(pid, &maps) < 0)
		return;
	steady_find(&maps, !work->late, &work->steady);
	maps_deinit(&maps);
}

/* Siblings of ours may come in between, and are done soon. */
static int stop(struct work *work, pid_t pid, struct reason *reason)
{
	const struct shim_plan *plan = work->plan;
	const struct tracee_how how = {.cgroup_fd = plan->cgroup_fd,
				       .armed_fd = plan->armed_fd,
				       .wanted = plan->test_run ? plan->test_run->tid : 0};
	pid_t busy = pid;
	int r = -EBUSY;

	for (int i = 0; (r == -EBUSY || r == -EPERM) && i < STOP_TRIES; i++) {
		*reason = (struct reason){0};
		wait_for_sibling(busy);
		busy = pid;
		r = check_status(pid, plan, false, reason);
		if (r == 0)
			r = tracee_stop(pid, &how, &work->tracee, &busy, reason);
	}
	if (r == -EPERM && !reason->text[0])
		reason_set(reason, r, "another process traces it");
	return r;
}

int shim_apply(pid_t pid, const struct shim_plan *plan, enum shim_state *ret_states,
	       struct reason *reason)
{
	struct work work = {.plan = plan};
	int r;

	all_absent(plan, ret_states);
	if (!plan->test_run && !concerns(pid, plan))
		return 0;
	idle_unwanted(pid, plan);
	find_steady(&work, pid);
	r = stop(&work, pid, reason);
	if (r < 0)
		return r;
	r = check_caller(&work, reason);
	if (r == 0)
		r = check_filters(&work, reason);
	if (r == 0)
		r = apply(&work, ret_states, reason);
	if (plan->test_run && r != -ESRCH)
		tell_result(&work, r);
	tracee_release(&work.tracee);
	return r;
}

/*
 * Let threads run that are in the region's code, or in a stub on the way there, each until it is
 * not; the others stand. Those whose program was interrupted by a signal are not seen.
 */
static int leave_programs(struct work *work, struct reason *reason)
{
	struct tracee *tracee = &work->tracee;
	bool inside = true;
	struct maps maps;
	uint64_t base;
	int r = maps_read(tracee->pid, &maps);

	if (r < 0)
		return r;
	base = inject_find(&work->plan->region, &maps);
	for (uint32_t try = 0; try < OUTSIDE_TRIES && inside && base && r >= 0; try++) {
		inside = false;
		for (uint32_t i = 0; i < tracee->cnt && r >= 0; i++) {
			uint64_t ip = tracee_thread_ip(tracee, i);

			if (ip - base >= REGION_SHARED && !stub_leads_in(tracee, &maps, ip))
				continue;
			inside = true;
			r = tracee_nudge(tracee, i, 10 + try % 8 * 10);
			i -= r > 0;
		}
	}
	maps_deinit(&maps);
	r = r > 0 ? 0 : r;
	if (r == 0 && inside && base)
		r = reason_set(reason, -EBUSY, "a thread does not leave a program");
	return r;
}

/* Stopped outside of programs: they end soon. */
static int stop_outside(struct work *work, pid_t pid, struct reason *reason)
{
	int r = stop(work, pid, reason);

	if (r < 0)
		return r;
	r = leave_programs(work, reason);
	if (r < 0)
		tracee_release(&work->tracee);
	return r;
}

struct shim_held {
	struct tracee tracee;
};

int shim_apply_hold(pid_t pid, const struct shim_plan *plan, enum shim_state *ret_states,
		    struct shim_held **ret_held, struct reason *reason)
{
	struct work work = {.plan = plan, .hold = true};
	struct shim_held *held;
	int r;

	*ret_held = NULL;
	all_absent(plan, ret_states);
	if (!concerns(pid, plan))
		return 0;
	held = malloc(sizeof(*held));
	if (!held)
		return -ENOMEM;
	r = stop_outside(&work, pid, reason);
	if (r == 0) {
		r = apply(&work, ret_states, reason);
		if (r < 0)
			tracee_release(&work.tracee);
	}
	if (r < 0) {
		free(held);
		return r;
	}
	held->tracee = work.tracee;
	*ret_held = held;
	return 0;
}

struct shim_held *shim_let_go(struct shim_held *held)
{
	if (held)
		tracee_release(&held->tracee);
	free(held);
	return NULL;
}

int shim_apply_stopped(pid_t pid, pid_t tid, const struct shim_plan *plan,
		       enum shim_state *ret_states, struct reason *reason)
{
	struct work work = {.plan = plan, .late = true};
	pid_t busy;
	int r;

	all_absent(plan, ret_states);
	if (!concerns(pid, plan))
		return 0;
	r = check_status(pid, plan, true, reason);
	if (r == 0)
		r = tracee_borrow(pid, tid, plan->cgroup_fd, &work.tracee, &busy, reason);
	if (r < 0)
		return r;
	r = check_filters(&work, reason);
	if (r == 0) {
		find_steady(&work, pid);
		r = apply(&work, ret_states, reason);
	}
	tracee_release(&work.tracee);
	return r;
}
