/* SPDX-License-Identifier: MIT */
/*
 * Following one opener by ptrace; runs in a process of its own, whose end lets go of the opener.
 */
#include "shim/late_catch.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* System call stops that an opener is followed for: the dynamic loader maps a file within ten
 * calls. */
#define STEPS_MAX 200
#define TOTAL_MAX 10000

struct catch
{
	const struct late_ops *ops;
	void *data;
	int report_fd;
	pid_t tid;
	uint64_t fd; /* what the open gave */
	unsigned int steps, total;
	bool following; /* from one system call to the next */
	bool executed;	/* the exec is done but for its return */
};

static void say(int fd, enum late_word word, const char *why)
{
	char message[256];

	snprintf(message, sizeof(message), "%c%.250s", word, why ? why : "");
	(void)!send(fd, message, strlen(message), MSG_NOSIGNAL);
}

static pid_t tgid_of(pid_t tid)
{
	char path[40], line[128];
	pid_t tgid = tid;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	if (status)
		fclose(status);
	return tgid;
}

/* Hand the stopped thread over. Return: whether we are done with it. */
static bool hand_over(struct catch *catch)
{
	struct reason reason = {0};

	if (!catch->ops->stopped(tgid_of(catch->tid), catch->tid, catch->data, &reason))
		return false;
	ptrace(PTRACE_DETACH, catch->tid, NULL, 0);
	say(catch->report_fd, reason.text[0] ? LATE_WORD_MISSED : LATE_WORD_PATCHED, reason.text);
	return true;
}

static bool let_go(struct catch *catch)
{
	ptrace(PTRACE_DETACH, catch->tid, NULL, 0);
	say(catch->report_fd, LATE_WORD_UNUSED, NULL);
	return true;
}

static bool go_on(struct catch *catch, int signal)
{
	ptrace(catch->following ? PTRACE_SYSCALL : PTRACE_CONT, catch->tid, NULL, (long)signal);
	return false;
}

/* The stop we asked for: the open has returned, or an exec has failed. */
static bool asked_stop(struct catch *catch)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, catch->tid, NULL, &regs) < 0)
		return let_go(catch);
	if (regs.orig_rax == SYS_execve || regs.orig_rax == SYS_execveat || (int64_t)regs.rax < 0)
		return let_go(catch);
	catch->following = true;
	catch->fd = regs.rax;
	return go_on(catch, 0);
}

static bool is_open(uint64_t nr)
{
	return nr == SYS_open || nr == SYS_openat || nr == SYS_openat2;
}

/* Exit of a call that made memory executable: is the file among it? */
static bool call_stop(struct catch *catch)
{
	struct __ptrace_syscall_info info = {0};
	struct user_regs_struct regs;

	if (catch->executed)
		return hand_over(catch) || let_go(catch);
	if (++catch->steps > STEPS_MAX || ++catch->total > TOTAL_MAX)
		return let_go(catch);
	if (ptrace(PTRACE_GET_SYSCALL_INFO, catch->tid, sizeof(info), &info) < 0 ||
	    ptrace(PTRACE_GETREGS, catch->tid, NULL, &regs) < 0)
		return let_go(catch);
	/* It may have opened the file once more, which makes no second helper. */
	if (info.op == PTRACE_SYSCALL_INFO_EXIT && !info.exit.is_error && is_open(regs.orig_rax)) {
		catch->steps = 0;
		catch->fd = regs.rax;
	}
	/* A loader has mapped its code by then; who only reads the file is of no interest. */
	if (info.op == PTRACE_SYSCALL_INFO_EXIT && regs.orig_rax == SYS_close &&
	    regs.rdi == catch->fd)
		return let_go(catch);
	if (info.op == PTRACE_SYSCALL_INFO_EXIT && !info.exit.is_error &&
	    (regs.orig_rax == SYS_mmap || regs.orig_rax == SYS_mprotect) &&
	    (regs.rdx & PROT_EXEC) && hand_over(catch))
		return true;
	return go_on(catch, 0);
}

static bool is_group_stop(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* One stop of the opener. Return: whether that was the end. */
static bool one_stop(struct catch *catch, int status)
{
	int event = status >> 16, signal = WSTOPSIG(status);

	if (event == PTRACE_EVENT_EXEC) {
		/* The kernel still writes execve's result to a register: wait for its return. */
		catch->executed = catch->following = true;
		return go_on(catch, 0);
	}
	if (event == PTRACE_EVENT_STOP) {
		if (is_group_stop(signal)) {
			ptrace(PTRACE_LISTEN, catch->tid, NULL, 0);
			return false;
		}
		return catch->following ? go_on(catch, 0) : asked_stop(catch);
	}
	if (signal == (SIGTRAP | 0x80))
		return call_stop(catch);
	return go_on(catch, signal);
}

void late_catch(pid_t tid, int report_fd, const struct late_ops *ops, void *data)
{
	struct catch catch = {.ops = ops, .data = data, .report_fd = report_fd, .tid = tid};
	bool done = false;
	int status;

	/* Not seized by the time the reader's patience ends: then it is reported by the reader. */
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD) < 0) {
		say(report_fd, LATE_WORD_MISSED,
		    errno == EPERM ? "another process traces it" : strerrordesc_np(errno));
		return;
	}
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0) {
		say(report_fd, LATE_WORD_MISSED, strerrordesc_np(errno));
		return;
	}
	say(report_fd, LATE_WORD_HELD, NULL);
	while (!done) {
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0 || !WIFSTOPPED(status)) {
			say(report_fd, LATE_WORD_UNUSED, NULL);
			return;
		}
		catch.tid = pid;
		done = one_stop(&catch, status);
	}
}
