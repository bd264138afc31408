/* SPDX-License-Identifier: MIT */
/*
 * Calls that a stopped thread makes for us; see tracee.h.
 */
#include "shim/tracee_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define ANSWER_MS  300	    /* for one that waits for an answer, if a call has to be made */
#define CHOICE_MAX 16	    /* threads to choose from */
#define SPINS	   1000	    /* looks at a thread that runs before we sleep in between */
#define CLEARED	   0x500ull /* of its flags: TF, DF */
/* What the kernel's functions return for a call that is to be made again. */
#define RESTART_FIRST 512
#define RESTART_LAST  516

/* The thread that makes a call for this process; others that were forked by the same one look at it
 * where they have it themselves. */
static pid_t calling;

/*
 * Run to the next system call stop.
 *
 * SIGSTOP, which nobody can block, is handed over as it comes: the kernel then begins the group
 * stop, which a SIGCONT ends in time, and keeps the thread's part of it until we let go; its stop
 * is passed over. Any other signal was forced upon our call and means nothing to the program.
 *
 * Without a time limit: the thread has our registers, and giving up would leave it with them. A
 * call that waits for the daemon returns at the latest when that ends.
 */
static int run_to_syscall_stop(pid_t tid)
{
	long signal = 0;

	for (;;) {
		int status;
		pid_t r;

		if (ptrace(PTRACE_SYSCALL, tid, NULL, signal) < 0)
			return -ESRCH;
		do
			r = waitpid(tid, &status, __WALL);
		while (r < 0 && errno == EINTR);
		if (r < 0 || !WIFSTOPPED(status))
			return -ESRCH;
		if (WSTOPSIG(status) == TRACEE_SYSGOOD)
			return 0;
		signal = status >> 16 == 0 && WSTOPSIG(status) == SIGSTOP ? SIGSTOP : 0;
	}
}

/* In the stop that reports an exec the kernel has yet to write the call's result to a register: go
 * on to the end of the call. */
int tracee_leave_exec(pid_t tid)
{
	struct user_regs_struct regs;
	struct __ptrace_syscall_info info = {0};

	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0 ||
	    ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
		return -ESRCH;
	/* No result yet: what every call shows from its entry on. */
	if (info.op != PTRACE_SYSCALL_INFO_NONE || (int64_t)regs.rax != -ENOSYS ||
	    (regs.orig_rax != SYS_execve && regs.orig_rax != SYS_execveat))
		return 0;
	return run_to_syscall_stop(tid);
}

static int set_mask(pid_t tid, uint64_t mask)
{
	return ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask) < 0 ? -errno : 0;
}

/* Whether somebody sleeps in execve(): perhaps until a catcher of late targets may trace him. */
static bool is_executing(const struct tracee *tracee)
{
	for (uint32_t i = 0; i < tracee->cnt; i++) {
		cleanup_free char *text = NULL;
		long nr;

		if (tracee->threads[i].stopped ||
		    tracee_read_syscall(&tracee->threads[i], &text) < 0)
			continue;
		nr = strtol(text, NULL, 10);
		if (nr == SYS_execve || nr == SYS_execveat)
			return true;
	}
	return false;
}

/*
 * A thread that stopped inside a restartable sequence (rseq(2)) goes on at its abort handler: the
 * kernel would have led it there now, but sees our registers instead and takes the sequence for
 * done.
 */
static void abort_sequence(const struct tracee *tracee, struct tracee_thread *thread)
{
	struct __ptrace_rseq_configuration rseq;
	struct {
		uint32_t version, flags;
		uint64_t start, len, abort;
	} sequence;
	uint64_t address;
	uint32_t signature;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, thread->tid, sizeof(rseq), &rseq) < 0 ||
	    !rseq.rseq_abi_pointer ||
	    tracee_read(tracee, rseq.rseq_abi_pointer + 8, &address, sizeof(address)) < 0 ||
	    !address || tracee_read(tracee, address, &sequence, sizeof(sequence)) < 0)
		return;
	if (thread->regs.rip - sequence.start < sequence.len &&
	    tracee_read(tracee, sequence.abort - 4, &signature, sizeof(signature)) == 0 &&
	    signature == rseq.signature)
		thread->regs.rip = sequence.abort;
}

/* From now on the thread has registers of ours. */
static int begin_calls(struct tracee *tracee)
{
	struct tracee_thread *thread = &tracee->threads[tracee->caller];

	if (tracee->calling)
		return 0;
	if (ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof(tracee->sigmask), &tracee->sigmask) < 0)
		return -errno;
	abort_sequence(tracee, thread);
	if (tracee->rescue.syscall_at)
		rescue_arm(&tracee->rescue, tracee->mem_fd, thread->tid, &thread->regs,
			   tracee->sigmask);
	tracee->calling = true;
	return 0;
}

/*
 * Back into a stop of signal delivery, where registers can be restored without loss. Signals come
 * first and the frame goes last, so that the thread could go on by itself at any time.
 */
void tracee_end_calls(struct tracee *tracee)
{
	struct tracee_thread *thread;

	if (!tracee->calling)
		return;
	thread = &tracee->threads[tracee->caller];
	tracee->calling = false;
	ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL);
	ptrace(PTRACE_CONT, thread->tid, NULL, 0);
	tracee_wait_event_stop(thread->tid, INT64_MAX);
	set_mask(thread->tid, tracee->sigmask);
	ptrace(PTRACE_SETREGS, thread->tid, NULL, &thread->regs);
	rescue_disarm(&tracee->rescue, tracee->mem_fd);
}

/* From here through one whole call. A thread that was stopped inside of another (execve) shows the
 * end of that one first. */
static int run_through_syscall(pid_t tid)
{
	bool entered = false;

	for (;;) {
		struct __ptrace_syscall_info info = {0};
		int r = run_to_syscall_stop(tid);

		if (r < 0)
			return r;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
			return -ESRCH;
		if (info.op == PTRACE_SYSCALL_INFO_EXIT && entered)
			return 0;
		entered = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	}
}

static int call_once(struct tracee *tracee, long nr, const uint64_t *args, int64_t *ret_result)
{
	struct tracee_thread *thread = &tracee->threads[tracee->caller];
	struct user_regs_struct regs = thread->regs;
	int r;

	regs.rip = tracee->syscall_at;
	/* Not a call in progress: nothing for the kernel to restart. */
	regs.orig_rax = (uint64_t)-1;
	regs.rax = (uint64_t)nr;
	regs.rdi = args[0];
	regs.rsi = args[1];
	regs.rdx = args[2];
	regs.r10 = args[3];
	regs.r8 = args[4];
	regs.r9 = args[5];
	regs.eflags &= ~0x100ull;
	if (tracee->rescue.sp && rescue_holds(&tracee->rescue, tracee->mem_fd)) {
		regs.rip = tracee->rescue.syscall_at;
		regs.rsp = tracee->rescue.sp;
	}
	if (ptrace(PTRACE_SETREGS, thread->tid, NULL, &regs) < 0)
		return -ESRCH;
	/* From now on no signal but those that cannot be blocked gets between us and the thread. */
	if (!tracee->masked && set_mask(thread->tid, ~0ull) < 0)
		return -ESRCH;
	tracee->masked = true;
	__atomic_store_n(&calling, thread->tid, __ATOMIC_SEQ_CST);
	r = run_through_syscall(thread->tid);
	__atomic_store_n(&calling, 0, __ATOMIC_SEQ_CST);
	if (r == 0 && ptrace(PTRACE_GETREGS, thread->tid, NULL, &regs) < 0)
		r = -ESRCH;
	if (r == 0)
		*ret_result = (int64_t)regs.rax;
	return r;
}

int tracee_syscall(struct tracee *tracee, long nr, const uint64_t *args, int64_t *ret_result)
{
	int r = begin_calls(tracee);

	/* A stop interrupts what waits, and the kernel would make it again. */
	do
		r = r < 0 ? r : call_once(tracee, nr, args, ret_result);
	while (r == 0 && *ret_result <= -RESTART_FIRST && *ret_result >= -RESTART_LAST);
	return r;
}

/*
 * As run_to_syscall_stop(), with a time limit, for a thread in code of ours. A fault is ours, too,
 * and would come again.
 */
static int run_code(pid_t tid, int64_t deadline)
{
	const struct timespec nap = {.tv_nsec = 50000};
	long signal = 0;

	for (;;) {
		int status, r = 0;

		if (ptrace(PTRACE_SYSCALL, tid, NULL, signal) < 0)
			return -ESRCH;
		for (int i = 0; r == 0; i++) {
			r = waitpid(tid, &status, __WALL | WNOHANG);
			if (r == 0 && tracee_now_ms() > deadline)
				return -ETIMEDOUT;
			if (r == 0 && i > SPINS)
				nanosleep(&nap, NULL);
		}
		if (r < 0 || !WIFSTOPPED(status))
			return -ESRCH;
		if (WSTOPSIG(status) == TRACEE_SYSGOOD)
			return 0;
		signal = status >> 16 == 0 && WSTOPSIG(status) == SIGSTOP ? SIGSTOP : 0;
		if (status >> 16 == 0 && !signal)
			return -EIO;
	}
}

int tracee_run(struct tracee *tracee, uint64_t ip, uint64_t arg, uint64_t sp, uint64_t end,
	       int timeout_ms)
{
	const pid_t tid = tracee->threads[tracee->caller].tid;
	struct user_regs_struct regs = tracee->threads[tracee->caller].regs;
	int64_t deadline = tracee_now_ms() + timeout_ms;
	struct __ptrace_syscall_info info = {0};

	regs.rip = ip;
	regs.rdi = arg;
	regs.rsp = sp;
	regs.orig_rax = (uint64_t)-1;
	regs.eflags &= ~CLEARED;
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0)
		return -ESRCH;
	do {
		int r = run_code(tid, deadline);

		if (r == -ETIMEDOUT && (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 ||
					tracee_wait_event_stop(tid, INT64_MAX) < 0))
			return -ESRCH;
		if (r < 0)
			return r;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
			return -ESRCH;
	} while (info.op != PTRACE_SYSCALL_INFO_ENTRY || info.instruction_pointer != end);
	return run_to_syscall_stop(tid);
}

uint64_t tracee_rescue_sp(const struct tracee *tracee)
{
	return tracee->rescue.sp && rescue_holds(&tracee->rescue, tracee->mem_fd)
		       ? tracee->rescue.sp
		       : 0;
}

int tracee_set_result(struct tracee *tracee, int64_t result)
{
	struct tracee_thread *thread = &tracee->threads[tracee->caller];

	thread->regs.rax = (uint64_t)result;
	if (!tracee->calling)
		return ptrace(PTRACE_SETREGS, thread->tid, NULL, &thread->regs) < 0 ? -errno : 0;
	return tracee->rescue.sp ? rescue_update(&tracee->rescue, tracee->mem_fd, &thread->regs,
						 tracee->sigmask)
				 : 0;
}

bool tracee_is_calling(pid_t tracer, pid_t tid)
{
	pid_t found;

	return tid > 0 &&
	       sys_process_read(tracer, (uint64_t)&calling, &found, sizeof(found)) ==
		       sizeof(found) &&
	       found == tid;
}

/* Look for the instruction in one mapping. */
static uint64_t find_in(const struct tracee *tracee, const struct map_entry *entry)
{
	unsigned char bytes[65536];
	size_t len = entry->end - entry->start;

	if (len > sizeof(bytes))
		len = sizeof(bytes);
	if (tracee_read(tracee, entry->start, bytes, len) < 0)
		return 0;
	for (size_t i = 0; i + 1 < len; i++)
		if (bytes[i] == 0x0f && bytes[i + 1] == 0x05)
			return entry->start + i;
	return 0;
}

static int find_syscall(struct tracee *tracee, const struct maps *maps)
{
	/* The vDSO has one and nobody unmaps it; failing that, any executable mapping. */
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < maps->cnt; i++) {
			const struct map_entry *entry = &maps->entries[i];

			if (!entry->executable || entry->vdso != (pass == 0))
				continue;
			tracee->syscall_at = find_in(tracee, entry);
			if (tracee->syscall_at)
				return 0;
		}
	return -EOPNOTSUPP;
}

/*
 * How good a thread is for calls. One that sleeps in a call of its own is in the middle of nothing.
 * One whose sleep the kernel continues for the second time comes last: if that had to be done by
 * the thread itself, nothing would tell which call it was.
 */
static int fitness(const struct tracee_thread *thread)
{
	if ((int64_t)thread->regs.orig_rax < 0)
		return 2;
	return thread->regs.orig_rax == SYS_restart_syscall ? 1 : 3;
}

/* A thread that can be rescued, of the process that was picked. Return: whether there is one. */
static bool choose_caller(struct tracee *tracee, const struct maps *maps)
{
	const pid_t pid = tracee->threads[tracee->caller].pid;
	uint32_t end = tracee->threads[0].borrowed ? 1 : tracee->cnt;
	int best = 0;

	for (uint32_t i = 0; i < end && i < CHOICE_MAX; i++) {
		const struct tracee_thread *thread = &tracee->threads[i];

		if (!thread->stopped || thread->pid != pid || fitness(thread) <= best ||
		    !rescue_fits(maps, &thread->regs))
			continue;
		best = fitness(thread);
		tracee->caller = i;
	}
	return best > 0;
}

/* The thread that is wanted, whatever it is fit for. Return: whether it can be rescued, or -errno
 */
static int take_wanted(struct tracee *tracee, const struct maps *maps)
{
	for (uint32_t i = 0; i < tracee->cnt; i++) {
		const struct tracee_thread *thread = &tracee->threads[i];

		if (thread->tid != tracee->wanted)
			continue;
		if (!thread->stopped)
			return -ETIMEDOUT;
		tracee->caller = i;
		return rescue_fits(maps, &thread->regs);
	}
	return -ESRCH;
}

int tracee_prepare(struct tracee *tracee, const struct maps *maps)
{
	int fits;

	if (tracee->caller == TRACEE_NO_CALLER && is_executing(tracee))
		return -ERESTART;
	if (tracee->caller == TRACEE_NO_CALLER) {
		int r = tracee_wait_all(tracee, tracee_now_ms() + ANSWER_MS, ANSWER_MS);
		if (r == 0)
			r = tracee_pick_caller(tracee);
		if (r < 0)
			return r;
	}
	fits = tracee->wanted ? take_wanted(tracee, maps) : choose_caller(tracee, maps);
	if (fits < 0)
		return fits;
	if (fits)
		rescue_find(&tracee->rescue, tracee->mem_fd, maps);
	return find_syscall(tracee, maps);
}
