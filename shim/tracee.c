/* SPDX-License-Identifier: MIT */
/*
 * Stopping threads, and letting them go.
 *
 * The rules that keep system calls which we interrupted intact: threads are stopped by
 * PTRACE_INTERRUPT, whose stop lies inside the kernel's signal delivery; registers are put back
 * unmodified inside such a stop; then the kernel itself restarts the call or reports EINTR as it
 * would have done without us.
 */
#include "shim/tracee_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/interrupted.h"
#include "shim/targets.h"

#define STOP_MS 1500 /* for all threads to stop */
#define ROUNDS	32   /* in which other processes of the same memory are looked for */

int64_t tracee_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_event_stop(int status)
{
	return WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_STOP;
}

/* Who traces it, or 0. */
static pid_t tracer_of(pid_t tid)
{
	cleanup_free char *text = NULL;
	const char *line;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, "\nTracerPid:");
	return line ? atoi(line + strlen("\nTracerPid:")) : 0;
}

static int add_thread(struct tracee *tracee, const struct tracee_thread *thread)
{
	struct tracee_thread *grown;

	if (tracee->cnt == tracee->cap) {
		uint32_t cap = tracee->cap ? tracee->cap * 2 : 16;

		grown = realloc(tracee->threads, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		tracee->threads = grown;
		tracee->cap = cap;
	}
	tracee->threads[tracee->cnt++] = *thread;
	return 0;
}

/* Seize a thread of process @pid and ask it to stop. */
static int seize(struct tracee *tracee, pid_t pid, pid_t tid)
{
	const struct tracee_thread thread = {.tid = tid, .pid = pid};
	int r = add_thread(tracee, &thread);

	if (r < 0)
		return r;
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD) < 0) {
		int error = errno;

		/* One that slept when we let go of it, or of another process of its memory. */
		if (error != EPERM || tracer_of(tid) != getpid()) {
			tracee->cnt--;
			return -error;
		}
	}
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return -errno;
	return 0;
}

static bool known(const struct tracee *tracee, pid_t tid)
{
	for (uint32_t i = 0; i < tracee->cnt; i++)
		if (tracee->threads[i].tid == tid)
			return true;
	return false;
}

/* Threads of @pid that are not ours yet. Return: how many were seized, or -errno. */
static int seize_new(struct tracee *tracee, pid_t pid)
{
	struct dirent *entry;
	int found = 0, r = 0;
	char path[40];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -ESRCH;
	while (r == 0 && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid <= 0 || known(tracee, tid))
			continue;
		r = seize(tracee, pid, tid);
		if (r == 0)
			found++;
		/* A thread that ended between the listing and us, or the main thread long before.
		 */
		if ((r == -ESRCH && tid != pid) || (r == -EPERM && targets_state(tid) == 'Z'))
			r = 0;
	}
	closedir(dir);
	return r < 0 ? r : found;
}

/*
 * Wait for one thread's event stop; signals that arrive first are delivered on the way, which sets
 * up their handlers and changes nothing else.
 */
int tracee_wait_event_stop(pid_t tid, int64_t deadline)
{
	for (;;) {
		int status;
		pid_t r = waitpid(tid, &status, __WALL | WNOHANG);

		if (r < 0)
			return -ESRCH;
		if (r == 0) {
			struct timespec nap = {.tv_nsec = 50000};

			if (tracee_now_ms() > deadline)
				return -ETIMEDOUT;
			nanosleep(&nap, NULL);
			continue;
		}
		if (WIFEXITED(status) || WIFSIGNALED(status))
			return -ESRCH;
		if (is_event_stop(status))
			return 0;
		if (ptrace(PTRACE_CONT, tid, NULL,
			   (long)(WSTOPSIG(status) == TRACEE_SYSGOOD ? 0 : WSTOPSIG(status))) < 0)
			return -ESRCH;
	}
}

static void forget_thread(struct tracee *tracee, uint32_t index)
{
	tracee->threads[index] = tracee->threads[--tracee->cnt];
}

/* Of a thread that stopped; with a call repaired that ended for it. */
static int get_regs(struct tracee_thread *thread)
{
	if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &thread->regs) < 0)
		return -ESRCH;
	/* At once, so that it also holds if we die before we let go. */
	interrupted_repair(thread->tid, &thread->regs);
	return 0;
}

void tracee_let_go(pid_t tid, int signal)
{
	struct tracee_thread thread = {.tid = tid};

	get_regs(&thread);
	ptrace(PTRACE_DETACH, tid, NULL, (long)signal);
}

/* Wait for all that were asked to stop. */
int tracee_wait_all(struct tracee *tracee, int64_t deadline, int sleeper_ms)
{
	for (uint32_t i = 0; i < tracee->cnt;) {
		struct tracee_thread *thread = &tracee->threads[i];
		int64_t until = tracee_now_ms() + sleeper_ms;
		bool wanted = thread->tid == tracee->wanted;
		int r;

		if (thread->stopped) {
			i++;
			continue;
		}
		do
			r = tracee_wait_event_stop(thread->tid, until);
		while (r == -ETIMEDOUT && tracee_now_ms() < deadline &&
		       (wanted || targets_state(thread->tid) != 'D'));
		if (r == 0)
			r = get_regs(thread);
		if (r == -ESRCH) {
			if (thread->tid == tracee->pid && targets_state(tracee->pid) != 'Z')
				return -ESRCH;
			forget_thread(tracee, i);
			continue;
		}
		if (r < 0 && targets_state(thread->tid) != 'D')
			return r; /* runs and does not stop */
		thread->stopped = r == 0;
		i++;
	}
	return tracee->cnt ? 0 : -ESRCH;
}

/* One of its own threads, or one that makes calls in the same memory. */
int tracee_pick_caller(struct tracee *tracee)
{
	for (int own = 1; own >= 0; own--)
		for (uint32_t i = 0; i < tracee->cnt; i++) {
			const struct tracee_thread *thread = &tracee->threads[i];

			if (thread->stopped && (!own || thread->pid == tracee->pid)) {
				tracee->caller = i;
				return 0;
			}
		}
	return -ETIMEDOUT;
}

/* Processes of the same memory, on the way to be stopped; @busy: is traced by somebody else. */
struct share {
	struct tracee *tracee;
	int found;
	pid_t busy;
};

static int seize_sharer(pid_t pid, void *data)
{
	struct share *share = data;
	int found = seize_new(share->tracee, pid);

	if (found == -ESRCH)
		return 0;
	if (found == -EPERM)
		share->busy = pid;
	share->found += found > 0 ? found : 0;
	return found < 0 ? found : 0;
}

/* Those that have executed another program before they stopped have other memory now. */
static void drop_leavers(struct tracee *tracee)
{
	for (uint32_t i = tracee->cnt; i-- > 1;) {
		const struct tracee_thread *thread = &tracee->threads[i];

		if (thread->pid == tracee->pid ||
		    sys_same_memory(thread->tid, tracee->threads[0].tid))
			continue;
		if (thread->stopped)
			ptrace(PTRACE_DETACH, thread->tid, NULL, 0);
		forget_thread(tracee, i);
	}
}

/*
 * Other processes whose memory this is run the same code. They may make more of their kind until
 * they are stopped, so look until nobody new is there. A parent asleep in vfork() stops before it
 * is back in its code, and is passed over as every such thread is.
 */
static int stop_sharers(struct tracee *tracee, int cgroup_fd, int64_t deadline, pid_t *ret_busy,
			struct reason *reason)
{
	struct share share = {.tracee = tracee, .found = 1};
	int r = 0;

	for (int round = 0; r == 0 && share.found > 0 && cgroup_fd >= 0; round++) {
		if (round == ROUNDS)
			return reason_set(reason, -EAGAIN,
					  "processes that share its memory keep coming");
		share.found = 0;
		r = targets_sharing(cgroup_fd, tracee->pid, tracee->threads[0].tid, seize_sharer,
				    &share);
		if (r == 0 && share.found > 0)
			r = tracee_wait_all(tracee, deadline, TRACEE_SLEEPER_MS);
		if (r == 0)
			drop_leavers(tracee);
	}
	if (share.busy) {
		*ret_busy = share.busy;
		return reason_set(
			reason, -EBUSY,
			"process %d, which shares its memory, is traced by another process",
			share.busy);
	}
	/* Killed meanwhile: nobody was found by it, and its memory may live on in others. */
	if (r == 0 && !sys_same_memory(tracee->threads[0].tid, tracee->threads[0].tid))
		return -ESRCH;
	return r;
}

static int open_mem(struct tracee *tracee)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", targets_living(tracee->pid));
	tracee->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	return tracee->mem_fd < 0 ? -errno : 0;
}

int tracee_stop(pid_t pid, const struct tracee_how *how, struct tracee *ret_tracee, pid_t *ret_busy,
		struct reason *reason)
{
	struct tracee tracee = {.pid = pid, .mem_fd = -1, .wanted = how->wanted};
	int64_t deadline = tracee_now_ms() + STOP_MS;
	int r, found, sleeper_ms = TRACEE_SLEEPER_MS;
	bool armed = false;

	/* Others of its threads may wait for answers of ours, too: for one that comes when we are
	 * done. */
	if (how->armed_fd >= 0)
		sleeper_ms = how->wanted ? 1 : STOP_MS;

	do {
		found = seize_new(&tracee, pid);
		if (found > 0 && how->armed_fd >= 0 && !armed)
			armed = write(how->armed_fd, "x", 1) == 1;
		r = found < 0 ? found : tracee_wait_all(&tracee, deadline, sleeper_ms);
	} while (r == 0 && found > 0);
	if (r == 0)
		r = stop_sharers(&tracee, how->cgroup_fd, deadline, ret_busy, reason);
	/* All asleep in the kernel is as good as stopped while nobody has to make a call: they stop
	 * before they are back in their own code. */
	if (r == 0 && tracee_pick_caller(&tracee) < 0)
		tracee.caller = TRACEE_NO_CALLER;
	if (r == 0)
		r = open_mem(&tracee);
	if (r == -ETIMEDOUT)
		reason_set(reason, r, "its threads did not stop in time");
	if (r < 0) {
		tracee_release(&tracee);
		return r;
	}
	*ret_tracee = tracee;
	return 0;
}

/* Threads of the process that our caller holds, too: registers can be had of no others. */
static int add_held(struct tracee *tracee)
{
	struct dirent *entry;
	char path[40];
	DIR *dir;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", tracee->pid);
	dir = opendir(path);
	if (!dir)
		return -ESRCH;
	while (r == 0 && (entry = readdir(dir))) {
		struct tracee_thread thread = {.tid = atoi(entry->d_name),
					       .pid = tracee->pid,
					       .stopped = true,
					       .borrowed = true};

		if (thread.tid > 0 && !known(tracee, thread.tid) && get_regs(&thread) == 0)
			r = add_thread(tracee, &thread);
	}
	closedir(dir);
	return r;
}

int tracee_borrow(pid_t pid, pid_t tid, int cgroup_fd, struct tracee *ret_tracee, pid_t *ret_busy,
		  struct reason *reason)
{
	struct tracee tracee = {.pid = pid, .mem_fd = -1};
	struct tracee_thread caller = {.tid = tid, .pid = pid, .stopped = true, .borrowed = true};
	int r = tracee_leave_exec(tid);

	if (r == 0)
		r = get_regs(&caller);
	if (r == 0)
		r = add_thread(&tracee, &caller);
	if (r == 0)
		r = add_held(&tracee);
	if (r == 0)
		r = stop_sharers(&tracee, cgroup_fd, tracee_now_ms() + STOP_MS, ret_busy, reason);
	if (r == 0)
		r = open_mem(&tracee);
	if (r == -ETIMEDOUT)
		reason_set(reason, r, "processes that share its memory did not stop in time");
	if (r < 0) {
		tracee_release(&tracee);
		return r;
	}
	*ret_tracee = tracee;
	return 0;
}

/* What a sleeper shows in /proc: "NR ARGS... SP PC", or "-1 SP PC" outside of system calls. */
int tracee_read_syscall(const struct tracee_thread *thread, char **ret_text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", thread->pid, thread->tid);
	return read_file(AT_FDCWD, path, 4096, ret_text, NULL);
}

void tracee_release(struct tracee *tracee)
{
	tracee_end_calls(tracee);
	for (uint32_t i = 0; i < tracee->cnt; i++) {
		struct tracee_thread *thread = &tracee->threads[i];

		/* What has not stopped is let go of by the tracer's end. */
		if (thread->stopped && !thread->borrowed)
			ptrace(PTRACE_DETACH, thread->tid, NULL, 0);
	}
	close_fd(tracee->mem_fd);
	free(tracee->threads);
	*tracee = (struct tracee){.mem_fd = -1};
}

bool tracee_thread_place(const struct tracee *tracee, uint32_t index, uint64_t *ret_ip,
			 uint64_t *ret_sp)
{
	const struct tracee_thread *thread = &tracee->threads[index];
	int64_t deadline = tracee_now_ms() + TRACEE_SLEEPER_MS;

	*ret_ip = thread->regs.rip;
	*ret_sp = thread->regs.rsp;
	if (thread->stopped)
		return true;
	do {
		cleanup_free char *text = NULL;
		char *last;

		if (tracee_read_syscall(thread, &text) < 0)
			return false;
		/* "running": it has just woken up, and is on its way to the stop. */
		last = strrchr(text, ' ');
		*ret_ip = last ? strtoull(last, NULL, 16) : 0;
		if (last)
			*last = '\0';
		last = last ? strrchr(text, ' ') : NULL;
		*ret_sp = last ? strtoull(last, NULL, 16) : 0;
	} while ((!*ret_ip || !*ret_sp) && tracee_now_ms() < deadline);
	return *ret_ip && *ret_sp;
}

uint64_t tracee_thread_ip(const struct tracee *tracee, uint32_t index)
{
	uint64_t ip, sp;

	return tracee_thread_place(tracee, index, &ip, &sp) ? ip : 0;
}

int tracee_nudge(struct tracee *tracee, uint32_t index, uint32_t us)
{
	const struct timespec nap = {.tv_nsec = us * 1000l};
	struct tracee_thread *thread = &tracee->threads[index];

	if (!thread->stopped)
		return 0;
	if (ptrace(PTRACE_CONT, thread->tid, NULL, 0) == 0) {
		/* Interrupted at once it would not even have come to run. */
		nanosleep(&nap, NULL);
		if (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) == 0 &&
		    tracee_wait_event_stop(thread->tid, INT64_MAX) == 0 && get_regs(thread) == 0)
			return 0;
	}
	if (tracee->cnt == 1)
		return -ESRCH;
	forget_thread(tracee, index);
	return 1;
}

int tracee_set_ip(struct tracee *tracee, uint32_t index, uint64_t ip)
{
	struct tracee_thread *thread = &tracee->threads[index];

	thread->regs.rip = ip;
	if (tracee->calling && index == tracee->caller) /* restored with the rest */
		return tracee->rescue.sp ? rescue_update(&tracee->rescue, tracee->mem_fd,
							 &thread->regs, tracee->sigmask)
					 : 0;
	return ptrace(PTRACE_SETREGS, thread->tid, NULL, &thread->regs) < 0 ? -errno : 0;
}

int tracee_read(const struct tracee *tracee, uint64_t address, void *buf, size_t len)
{
	return pread(tracee->mem_fd, buf, len, (off_t)address) == (ssize_t)len ? 0 : -EFAULT;
}

int tracee_write(const struct tracee *tracee, uint64_t address, const void *buf, size_t len)
{
	return pwrite(tracee->mem_fd, buf, len, (off_t)address) == (ssize_t)len ? 0 : -EFAULT;
}
