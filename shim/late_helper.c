/* SPDX-License-Identifier: MIT */
/*
 * The helper process of one open event: traces the opening thread up to the point where the file is
 * mapped. See late.h for the sequence.
 *
 * Runs after fork() of a daemon with threads, so it keeps to simple code and takes no lock. Its
 * death at any moment (kill -9, its own time limit) makes the kernel let go of the thread, without
 * a stop or an interrupted system call. For that reason a time limit is a plain exit: interrupting
 * a thread that sleeps in a system call would be visible to it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "shim/late_internal.h"
#include "shim/targets.h"
#include "shim/tracee.h"

#define STEPS_MAX   128 /* system calls from the open to the mapping; the loader needs about six */
#define SECONDS_MAX 10	/* the same as time */
#define FREE_TRIES  3	/* for one that nobody traces any more */
#define EPERM_TRIES 800 /* milliseconds for another child of the daemon's to let go */

/* What a kernel function returns for a call that is to be made again; never seen by the caller. */
#define RESTART_FIRST 512
#define RESTART_LAST  516

/**
 * struct follow - the thread this helper is after
 * @behind: permission was given before the thread was traced
 * @exact: and yet it was found before it ran an instruction of the file
 * @decided: the stop that was requested has come, and was understood
 * @fd: what the open returned, -1 unknown
 * @shared: @fd may have a duplicate
 * @call: the system call it is in, as seen at its entry
 * @done: bit per file of the slot
 * @again: code of a file is mapped, but not all that is to be patched
 * @caught: reports to be sent once the thread runs again
 */
struct follow {
	struct late *late;
	struct late_slot *slot;
	uint32_t index;
	const int *fds;
	pid_t pid, tid;
	bool behind, exact, decided, shared, again;
	int64_t fd;
	uint64_t call, args[6];
	uint32_t steps, done, caught_cnt;
	struct late_message caught[LATE_FILES_MAX];
};

enum next { LET_GO, FOLLOW };

/* Set once, for the time limit's handler. */
static struct late_slot *slot_of_handler;

static void tell(const struct follow *f, struct late_message *message)
{
	message->slot = f->index;
	message->helper = getpid();
	/* A full pipe means that the reader hangs; the thread must not wait for it. */
	(void)!write(f->late->report_write, message, sizeof(*message));
}

static void tell_caught(struct follow *f)
{
	for (uint32_t i = 0; i < f->caught_cnt; i++)
		tell(f, &f->caught[i]);
	f->caught_cnt = 0;
}

static void tell_kind(const struct follow *f, enum late_message_kind kind, int result)
{
	struct late_message message = {.kind = kind, .result = result};
	uint32_t file = 0;

	/* The first that was not patched. */
	while (f->done & 1u << file && file + 1 < atomic_load(&f->slot->file_cnt))
		file++;
	message.stop.pid = f->pid;
	message.stop.tid = f->tid;
	message.stop.dev = f->slot->files[file].dev;
	message.stop.ino = f->slot->files[file].ino;
	tell(f, &message);
}

static _Noreturn void end(struct follow *f)
{
	tell_caught(f);
	if (!f->exact && (f->behind || atomic_load(&f->slot->state) == LATE_OVERDUE))
		tell_kind(f, LATE_MESSAGE_MISSED, LATE_HELD);
	tell_kind(f, LATE_MESSAGE_END, 0);
	_exit(0);
}

static _Noreturn void end_missed(struct follow *f, enum late_miss why)
{
	tell_caught(f);
	tell_kind(f, LATE_MESSAGE_MISSED, why);
	tell_kind(f, LATE_MESSAGE_END, 0);
	_exit(0);
}

/* The state changes first: what the thread opens once it is free is a new event. */
static void let_go(const struct follow *f)
{
	atomic_store(&f->slot->state, LATE_LETTING_GO);
	tracee_let_go(f->tid, 0);
}

static void on_time_limit(int sig)
{
	uint32_t state = atomic_exchange(&slot_of_handler->state, LATE_LETTING_GO);

	_exit(state == LATE_OVERDUE ? LATE_HELD : LATE_UNMAPPED);
}

static void limit_time(bool on)
{
	struct sigaction action = {.sa_handler = on ? on_time_limit : SIG_IGN};
	sigset_t alarm_only;

	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigaction(SIGALRM, &action, NULL);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
	alarm(on ? SECONDS_MAX : 0);
}

/* Fields of /proc/TID/status. Return: false when the thread is gone or a zombie. */
static bool read_status(pid_t tid, pid_t *ret_pid, pid_t *ret_tracer, int *ret_threads)
{
	char path[40], text[4096], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	close_fd(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* The first line is the name; the kernel escapes newlines in it. */
	at = strstr(text, "\nState:\t");
	if (!at || at[8] == 'Z' || at[8] == 'X')
		return false;
	at = strstr(text, "\nTgid:");
	if (!at || sscanf(at, "\nTgid: %d", ret_pid) != 1)
		return false;
	at = strstr(text, "\nTracerPid:");
	if (!at || sscanf(at, "\nTracerPid: %d", ret_tracer) != 1)
		return false;
	at = strstr(text, "\nThreads:");
	return at && sscanf(at, "\nThreads: %d", ret_threads) == 1;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* First of all: a helper must hold neither the fanotify group nor anybody's event. What is left is
 * the report pipe and what stopped() needs. */
static void close_others(struct late *late, const int *fds)
{
	int keep[LATE_FDS_MAX + 1], next = 3;

	for (int i = 0; i < next; i++)
		dup2(late->null_fd, i);
	memcpy(keep, fds, LATE_FDS_MAX * sizeof(*fds));
	keep[LATE_FDS_MAX] = late->report_write;
	qsort(keep, LATE_FDS_MAX + 1, sizeof(*keep), by_number);
	for (uint32_t i = 0; i <= LATE_FDS_MAX; i++) {
		if (keep[i] < next)
			continue; /* -1 */
		if (keep[i] > next)
			close_range((unsigned int)next, (unsigned int)keep[i] - 1, 0);
		next = keep[i] + 1;
	}
	close_range((unsigned int)next, ~0u, 0);
}

/* Nobody reads the report pipe any more: the kernel let the opener go, and it may be anywhere. */
static bool daemon_is_gone(const struct late *late)
{
	struct pollfd pfd = {.fd = late->report_write, .events = 0};

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLERR);
}

/* Another child of the daemon's, that visits processes or follows another open. */
static bool is_sibling(pid_t pid)
{
	char path[40], text[4096], *at;
	pid_t parent;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	close_fd(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	at = strstr(text, "\nPPid:");
	return at && sscanf(at, "\nPPid: %d", &parent) == 1 && parent == getppid();
}

/* Blocks for as long as the thread is inside execve() and holds cred_guard_mutex. */
static void seize(struct follow *f, pid_t previous)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int threads, tries = 0, free = 0;
	pid_t tracer = 0;

	while (ptrace(PTRACE_SEIZE, f->tid, NULL,
		      (void *)(PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)) < 0) {
		int error = errno;

		if (error != EPERM || !read_status(f->tid, &f->pid, &tracer, &threads))
			end(f); /* the thread is gone */
		/* 0: it has let go since, or nobody may trace it. */
		if (tracer ? tracer != previous && !is_sibling(tracer) : free++ == FREE_TRIES)
			end_missed(f, LATE_TRACED);
		if (tries++ == EPERM_TRIES)
			end_missed(f, LATE_TRACED);
		nanosleep(&pause, NULL);
	}
}

/* After this the thread stops before it runs another instruction of its program. */
static void begin(struct follow *f, pid_t previous)
{
	uint32_t state = LATE_STARTING;
	pid_t tracer;
	int threads;

	seize(f, previous);
	/* The number could have been given to somebody else; now it cannot any more. */
	if (!read_status(f->tid, &f->pid, &tracer, &threads) || daemon_is_gone(f->late) ||
	    !f->late->ops->wanted(f->tid, f->slot->files[0].dev, f->slot->files[0].ino,
				  f->late->data))
		end(f);
	if (ptrace(PTRACE_INTERRUPT, f->tid, NULL, NULL) < 0)
		end(f);
	if (!atomic_compare_exchange_strong(&f->slot->state, &state, LATE_READY)) {
		f->behind = true;
		atomic_store(&f->slot->state, LATE_READY);
	}
	tell_kind(f, LATE_MESSAGE_READY, 0);
}

/* Call stopped() for one file. Return: whether nothing is left to do for it. */
static bool patch(struct follow *f, const struct late_file *file, bool exec, bool behind)
{
	struct late_message *message = &f->caught[f->caught_cnt];
	struct reason reason = {0};
	pid_t pid, tracer;
	int threads = 1;

	if (!exec)
		read_status(f->tid, &pid, &tracer, &threads);
	message->kind = LATE_MESSAGE_CAUGHT;
	message->stop = (struct late_stop){
		.pid = f->pid,
		.tid = f->tid,
		.dev = file->dev,
		.ino = file->ino,
		.exec = exec,
		.threaded = threads > 1,
		.behind = behind,
		.fds = f->fds,
	};
	limit_time(false);
	message->result = f->late->ops->stopped(&message->stop, &reason, f->late->data);
	limit_time(true);
	message->stop.fds = NULL;
	if (message->result == 1 && !exec && !behind) {
		f->again = true;
		return false;
	}
	memcpy(message->reason, reason.text, sizeof(message->reason));
	f->caught_cnt++;
	return true;
}

/* Patch for every file that is mapped by now. Return: FOLLOW while there are others. */
static enum next patch_mapped(struct follow *f, bool exec, bool behind)
{
	uint32_t cnt = atomic_load(&f->slot->file_cnt);
	enum next next = LET_GO;

	for (uint32_t i = 0; i < cnt; i++) {
		const struct late_file *file = &f->slot->files[i];

		if (f->done & 1u << i)
			continue;
		if (targets_maps(f->pid, file->dev, file->ino, true) > 0 &&
		    patch(f, file, exec, behind))
			f->done |= 1u << i;
		else
			next = FOLLOW;
	}
	return next;
}

/* The start of a fresh program. A file it does not map was opened by the one before. */
static enum next at_exec(struct follow *f)
{
	f->decided = true;
	f->pid = f->tid;
	f->fd = -1;
	patch_mapped(f, true, false);
	f->exact = f->done;
	return LET_GO;
}

/* The requested stop: what has become of the open? Asked again after a stop by SIGSTOP. */
static enum next decide(struct follow *f)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof(regs)};
	int64_t result;

	if (ptrace(PTRACE_GETREGSET, f->tid, NT_PRSTATUS, &iov) < 0 || iov.iov_len != sizeof(regs))
		return LET_GO; /* a 32-bit program: the file is none of its libraries */
	result = (int64_t)regs.rax;
	if (regs.orig_rax == SYS_execve || regs.orig_rax == SYS_execveat) {
		if (result == 0)
			return at_exec(f);
		if (result <= -RESTART_FIRST && result >= -RESTART_LAST)
			return FOLLOW;
		f->exact = true; /* it failed: the file was not even mapped */
		return LET_GO;
	}
	if (f->behind) {
		f->exact = atomic_load(&f->slot->gated);
		patch_mapped(f, f->exact, !f->exact);
		return LET_GO;
	}
	if (result <= -RESTART_FIRST && result >= -RESTART_LAST)
		return FOLLOW; /* it will open the file again; the reader knows us */
	if (result < 0 && result >= -4095)
		return LET_GO;
	if (regs.orig_rax == SYS_open || regs.orig_rax == SYS_openat ||
	    regs.orig_rax == SYS_openat2)
		f->fd = result;
	return FOLLOW;
}

/* Whether the call maps something executable from a file, or what was missing so far, or makes a
 * mapping executable. */
static bool maps_code(const struct follow *f)
{
	if (f->call == SYS_mmap)
		return ((f->args[2] & PROT_EXEC) || f->again) && !(f->args[3] & MAP_ANONYMOUS);
	return (f->call == SYS_mprotect || f->call == SYS_pkey_mprotect) &&
	       (f->args[2] & PROT_EXEC);
}

/* Calls by which the descriptor may live on somewhere else. */
static bool duplicates(const struct follow *f)
{
	switch (f->call) {
	case SYS_dup:
	case SYS_dup2:
	case SYS_dup3:
	case SYS_fcntl:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_clone:
	case SYS_clone3:
	case SYS_fork:
	case SYS_vfork:
	case SYS_io_uring_register:
		return true;
	}
	return false;
}

static bool maps_any(const struct follow *f)
{
	uint32_t cnt = atomic_load(&f->slot->file_cnt);

	for (uint32_t i = 0; i < cnt; i++)
		if (targets_maps(f->pid, f->slot->files[i].dev, f->slot->files[i].ino, false) > 0)
			return true;
	return false;
}

static enum next at_syscall_exit(struct follow *f, int64_t result)
{
	if (duplicates(f))
		f->shared = true;
	if (maps_code(f) && (result >= 0 || result < -4095))
		return patch_mapped(f, false, false);
	/* Closed and not mapped: who wants to run code of it must open it again. */
	if (f->call == SYS_close && f->fd >= 0 && f->args[0] == (uint64_t)f->fd && !f->shared &&
	    atomic_load(&f->slot->file_cnt) == 1 && !maps_any(f))
		return LET_GO;
	return FOLLOW;
}

static enum next at_syscall(struct follow *f)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, f->tid, sizeof(info), &info) < 0)
		return LET_GO;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		return at_syscall_exit(f, info.exit.rval);
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return FOLLOW;
	f->call = info.entry.nr;
	memcpy(f->args, info.entry.args, sizeof(f->args));
	if (f->steps++ < STEPS_MAX)
		return FOLLOW;
	let_go(f);
	end_missed(f, LATE_UNMAPPED);
}

/* A stop by PTRACE_INTERRUPT or SIGCONT (signal SIGTRAP), or by a stopping signal. */
static enum next at_event_stop(struct follow *f, int signal, int *ret_request)
{
	/* The thread stays stopped for its parent's sake. Remote calls are impossible meanwhile, so
	 * all but the end waits for SIGCONT. */
	bool group = signal != SIGTRAP;

	if (group)
		*ret_request = PTRACE_LISTEN;
	if (f->decided || (group && f->behind))
		return FOLLOW;
	f->decided = !group;
	return decide(f);
}

/* Return: what to do; FOLLOW by @ret_request, with @ret_signal given to the thread. */
static enum next at_stop(struct follow *f, int status, int *ret_request, int *ret_signal)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	*ret_request = PTRACE_SYSCALL;
	*ret_signal = 0;
	if (event == PTRACE_EVENT_EXEC)
		return at_exec(f);
	if (event == PTRACE_EVENT_STOP)
		return at_event_stop(f, signal, ret_request);
	if (signal == (SIGTRAP | 0x80))
		return at_syscall(f);
	*ret_signal = signal;
	return FOLLOW;
}

/* Calls that it made for us may have met a SIGSTOP: then it now stands in the group's stop. */
static bool in_group_stop(pid_t tid)
{
	siginfo_t info;

	return ptrace(PTRACE_GETSIGINFO, tid, NULL, &info) == 0 &&
	       info.si_code >> 8 == PTRACE_EVENT_STOP && info.si_signo != SIGTRAP;
}

/* A thread that late_stop_others() asked to stop did so only now. */
static void let_other_go(pid_t tid, int status)
{
	if (WIFSTOPPED(status))
		tracee_let_go(tid, status >> 16 ? 0 : WSTOPSIG(status));
}

static void follow(struct follow *f)
{
	for (;;) {
		int status, request, signal;
		pid_t tid = waitpid(-1, &status, __WALL);

		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			end(f);
		if (tid != f->tid && status >> 16 != PTRACE_EVENT_EXEC) {
			let_other_go(tid, status);
			continue;
		}
		if (!WIFSTOPPED(status))
			end(f); /* the thread is gone */
		/* An exec makes any thread the leader: its number changes. */
		f->tid = tid;
		if (at_stop(f, status, &request, &signal) == LET_GO)
			break;
		if (!signal && in_group_stop(f->tid))
			request = PTRACE_LISTEN;
		ptrace(request, f->tid, NULL, (void *)(intptr_t)signal);
		tell_caught(f);
	}
	let_go(f);
	end(f);
}

_Noreturn void late_helper_main(struct late *late, uint32_t slot, pid_t tid, pid_t previous,
				const int *fds)
{
	struct follow f = {
		.late = late,
		.slot = &late->shared->slots[slot],
		.index = slot,
		.fds = fds,
		.pid = tid,
		.tid = tid,
		.fd = -1,
	};

	/* Not of the daemon's group, all of which may be killed. */
	setsid();
	close_others(late, fds);
	prctl(PR_SET_NAME, "bpfshim-late");
	slot_of_handler = f.slot;
	limit_time(true);
	begin(&f, previous);
	follow(&f);
	_exit(0);
}
