/* SPDX-License-Identifier: MIT */
/*
 * One process, from what it is to what it is to be.
 */
#include "shim/apply.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/inject.h"
#include "shim/steady.h"
#include "shim/stub.h"
#include "shim/targets.h"
#include "shim/test_run.h"
#include "shim/unwind.h"

#define JUMP_SIZE     5u
#define SIBLING_MS    500
#define STOP_TRIES    4
#define OUTSIDE_TRIES 5000u /* of some ten microseconds each */

/* Files by an unwinder's name are looked at while the process stands: this much of each, and so
 * many. */
#define UNWINDER_BUDGET (4u << 20)
#define UNWINDERS_MAX	16u

/* One application on its way. @maps is read again after something was mapped. */
struct work {
	struct tracee tracee;
	struct maps maps;
	const struct shim_plan *plan;
	bool late;	 /* caught while it loads what it needs */
	bool unwindable; /* all unwinders that are known there pass return probes */
	bool no_returns; /* some return probes were left out */
	uint64_t base;
	bool injected; /* this time */
	bool prepared; /* to make calls */
	bool hold;     /* it need make none */
	struct steady steady;
};

static bool is_32bit(const struct maps *maps)
{
	/* Nothing of a 32-bit process lies above 4 GiB, and something of any other does. */
	return maps->cnt && maps->entries[maps->cnt - 1].end <= 1ull << 32;
}

static unsigned int filters_in(const char *status)
{
	const char *line = strstr(status, "\nSeccomp_filters:");
	unsigned int filters;

	return line && sscanf(line, "\nSeccomp_filters: %u", &filters) == 1 ? filters : 0;
}

/* Whether a thread is inside of the call that gives it a filter. */
static bool gets_filter(pid_t pid, const char *tid)
{
	cleanup_free char *text = NULL;
	unsigned long op, mode;
	char path[300];
	long nr;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/syscall", pid, tid);
	if (read_file(AT_FDCWD, path, 4096, &text, NULL) < 0 ||
	    sscanf(text, "%ld %lx %lx", &nr, &op, &mode) != 3)
		return false;
	return (nr == SYS_seccomp && (uint32_t)op == SECCOMP_SET_MODE_FILTER) ||
	       (nr == SYS_prctl && (uint32_t)op == PR_SET_SECCOMP && mode == SECCOMP_MODE_FILTER);
}

static bool thread_has_filters(pid_t pid, const char *tid, uint32_t limit)
{
	cleanup_free char *text = NULL;
	char path[300];

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, tid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return false;
	return filters_in(text) > limit || gets_filter(pid, tid);
}

bool shim_has_filters(pid_t pid, uint32_t limit)
{
	struct dirent *entry;
	bool found = false;
	char path[40];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = limit ? opendir(path) : NULL;
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && thread_has_filters(pid, entry->d_name, limit);
	closedir(dir);
	return found;
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

static int reread_maps(struct work *work)
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

static int ensure_region(struct work *work, struct reason *reason)
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
	r = reread_maps(work);
	return r < 0 ? r : steady_add(&work->tracee, &work->maps, work->base, &work->steady);
}

/* Threads that stand between the first and the last of the displaced instructions go on in the
 * stub. */
static int move_threads(struct work *work, uint64_t site, uint64_t moved,
			const struct move_map *map)
{
	for (uint32_t i = 0; i < work->tracee.cnt; i++) {
		uint64_t ip = tracee_thread_ip(&work->tracee, i);

		if (ip <= site || ip >= site + JUMP_SIZE)
			continue;
		/* Asleep there for a page of memory. */
		if (!work->tracee.threads[i].stopped)
			return -EBUSY;
		for (uint32_t k = 0; k < map->cnt; k++) {
			int r = 0;

			if (ip == site + map->at[k].from)
				r = tracee_set_ip(&work->tracee, i, moved + map->at[k].to);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The record that this process gets. */
static uint64_t record_of(struct work *work, const struct shim_want *want)
{
	if (want->site == want->without_returns || work->unwindable)
		return want->site;
	work->no_returns = true;
	return want->without_returns;
}

static int patch(struct work *work, const struct shim_want *want, uint64_t site, uint64_t record,
		 struct reason *reason)
{
	unsigned char jump[JUMP_SIZE];
	struct move_map map;
	uint64_t moved;
	int r;

	r = ensure_region(work, reason);
	if (r < 0)
		return r;
	r = stub_new(&work->tracee, &work->maps, site, want, work->base,
		     work->base + (want->check_len ? work->plan->region.enter_small
						   : work->plan->region.enter),
		     work->base + record, jump, &moved, &map);
	/* An area may have been mapped. */
	if (r == 0)
		r = reread_maps(work);
	if (r == 0)
		r = move_threads(work, site, moved, &map);
	if (r == 0)
		r = tracee_write(&work->tracee, site, jump, sizeof(jump));
	if (r < 0 && r != -ESRCH && r != -ERESTART)
		return reason_set(reason, -EOPNOTSUPP, "no stub can be made near its code: %s",
				  strerrordesc_np(-r));
	return r;
}

/* Where the process has the semaphore. Source: valid_ref_ctr_vma(), kernel/events/uprobes.c, 6.18.
 */
static uint64_t semaphore_address(const struct work *work, const struct shim_want *want)
{
	for (uint32_t i = 0; i < work->maps.cnt; i++) {
		const struct map_entry *entry = &work->maps.entries[i];
		uint64_t at = want->semaphore - entry->offset;

		if (entry->ino && entry->writable && !entry->shared &&
		    want->semaphore >= entry->offset &&
		    at + sizeof(uint16_t) <= entry->end - entry->start &&
		    maps_is_file(&work->maps, entry, want->dev, want->ino))
			return entry->start + at;
	}
	return 0;
}

static int add_semaphore(const struct work *work, uint64_t address, int change)
{
	uint16_t value;
	int r = tracee_read(&work->tracee, address, &value, sizeof(value));

	/* The program may have written to it; what it made of it is not turned around. */
	if (r < 0 || (change < 0 ? value == 0 : value == UINT16_MAX))
		return r;
	value = (uint16_t)(value + change);
	return tracee_write(&work->tracee, address, &value, sizeof(value));
}

/* Once for each stub: children that inherit the stub inherit the semaphore as it is then. */
static int raise_semaphore(const struct work *work, const struct shim_want *want, uint64_t site,
			   enum shim_state *state)
{
	unsigned char jump[JUMP_SIZE];
	struct region_stub stub;
	uint64_t address, semaphore;
	int r;

	if (!want->semaphore)
		return 0;
	r = tracee_read(&work->tracee, site, jump, sizeof(jump));
	if (r < 0 || !stub_behind(&work->tracee, &work->maps, site, jump, &address, &stub) ||
	    stub.semaphore)
		return r;
	semaphore = semaphore_address(work, want);
	if (!semaphore) {
		*state = SHIM_EARLY;
		return 0;
	}
	r = add_semaphore(work, semaphore, 1);
	return r < 0 ? r : stub_set_semaphore(&work->tracee, address, semaphore);
}

static int unpatch(struct work *work, const struct shim_want *want, uint64_t site, uint64_t address,
		   const struct region_stub *stub)
{
	int r = stub_set_record(&work->tracee, address, 0);

	if (r == 0)
		r = tracee_write(&work->tracee, site, want->original, JUMP_SIZE);
	if (r < 0 || !stub->semaphore)
		return r;
	r = stub_set_semaphore(&work->tracee, address, 0);
	/* The library that it was in may have gone. */
	if (r == 0 && semaphore_address(work, want) == stub->semaphore)
		r = add_semaphore(work, stub->semaphore, -1);
	return r;
}

/* One want in one mapping. */
static int apply_at(struct work *work, const struct shim_want *want, uint64_t site,
		    enum shim_state *state, struct reason *reason)
{
	unsigned char bytes[sizeof(want->original)];
	uint64_t address, record = record_of(work, want);
	struct region_stub stub;
	int r = 0;

	if (tracee_read(&work->tracee, site, bytes, want->original_len) < 0)
		return -EFAULT;
	if (memcmp(bytes, want->original, want->original_len) == 0) {
		r = record ? patch(work, want, site, record, reason) : 0;
	} else if (stub_behind(&work->tracee, &work->maps, site, bytes, &address, &stub)) {
		if (record)
			r = ensure_region(work, reason);
		if (r == 0)
			r = record ? stub_set_record(&work->tracee, address, work->base + record)
				   : unpatch(work, want, site, address, &stub);
	} else {
		*state = SHIM_FOREIGN;
		return 0;
	}
	if (r == 0 && *state == SHIM_ABSENT)
		*state = SHIM_DONE;
	return r == 0 && record ? raise_semaphore(work, want, site, state) : r;
}

/* One want in every executable mapping of its file. */
static int apply_want(struct work *work, const struct shim_want *want, enum shim_state *state,
		      struct reason *reason)
{
	int r = 0;

	*state = SHIM_ABSENT;
	for (uint32_t i = 0; i < work->maps.cnt && r == 0; i++) {
		const struct map_entry entry = work->maps.entries[i];
		uint64_t site = maps_at(&work->maps, i, want->offset);

		if (site && maps_is_file(&work->maps, &entry, want->dev, want->ino))
			r = apply_at(work, want, site, state, reason);
	}
	if (r < 0)
		*state = SHIM_FAILED;
	return r;
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
		r = apply_at(work, &want, maps_at(&work->maps, index, want.offset), &state, reason);
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
		r = apply_want(work, want, &ret_states[i], reason);
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
	if (!work->base || work->hold || !inject_has_arrays(&work->tracee, plan, work->base, true) ||
	    reread_maps(work) < 0)
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
	int r = ensure_region(work, reason);

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

/* Make idle what stands at one unwanted site. */
static void disable_at(const struct tracee *tracee, const struct maps *maps, uint64_t site)
{
	struct region_stub stub;
	unsigned char jump[JUMP_SIZE];
	uint64_t address;

	if (tracee_read(tracee, site, jump, sizeof(jump)) == 0 &&
	    stub_behind(tracee, maps, site, jump, &address, &stub))
		stub_set_record(tracee, address, 0);
}

/*
 * Unwanted probes stop running programs at once, whether the process can be stopped or not: a
 * debugger may have it. Putting the bytes back comes later.
 */
static void disable_unwanted(pid_t pid, const struct shim_plan *plan)
{
	struct tracee tracee = {.pid = pid, .mem_fd = -1};
	struct maps maps;
	char path[40];

	if (maps_read(pid, &maps) < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/mem", maps.pid);
	tracee.mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (tracee.mem_fd >= 0) {
		for (uint32_t i = 0; i < maps.cnt; i++)
			for (uint32_t k = 0; k < plan->want_cnt; k++) {
				const struct shim_want *want = &plan->wants[k];

				if (!want->site && maps_at(&maps, i, want->offset) &&
				    maps_is_file(&maps, &maps.entries[i], want->dev, want->ino))
					disable_at(&tracee, &maps, maps_at(&maps, i, want->offset));
			}
	}
	maps_deinit(&maps);
	close_fd(tracee.mem_fd);
}

uint32_t shim_lower_semaphores(pid_t pid)
{
	struct tracee tracee = {.pid = pid};
	uint32_t lowered = 0;
	struct maps maps;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	tracee.mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (tracee.mem_fd >= 0 && maps_read(pid, &maps) == 0) {
		lowered = stub_lower_semaphores(&tracee, &maps);
		maps_deinit(&maps);
	}
	close_fd(tracee.mem_fd);
	return lowered;
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
	disable_unwanted(pid, plan);
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
