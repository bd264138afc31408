/* SPDX-License-Identifier: MIT */
/*
 * Which calls report EINTR after a stop: signal(7), and the kernel's sources.
 */
#include "shim/interrupted.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In the place of EINTR: to be made again unless a handler runs. */
#define ERESTARTNOHAND 514
/* In such code numbers of system calls mean others. */
#define USER32_CS 0x23

/* Calls that show EINTR after a stop although the kernel would never have ended them for it. */
static bool never_restarted(uint64_t nr)
{
	switch (nr) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_rt_sigtimedwait:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_io_getevents:
	case SYS_io_uring_enter:
	case SYS_msgrcv:
	case SYS_msgsnd:
		return true;
	default:
		return false;
	}
}

/* Calls that do so on some descriptors (sockets with a time limit, inotify), having done nothing
 * yet. Return: how many of the arguments from the first on may be such a descriptor. */
static uint32_t descriptors_of(uint64_t nr)
{
	switch (nr) {
	case SYS_read:
	case SYS_readv:
	case SYS_preadv2:
	case SYS_write:
	case SYS_writev:
	case SYS_pwritev2:
		return 1;
	case SYS_sendfile:
		return 2;
	case SYS_splice:
		return 3; /* the second is an offset */
	default:
		return 0;
	}
}

/* Neither a device nor a file of a file system, which may have an EINTR of their own. The link is
 * only read: asking about the file could ask a server that we have stopped. */
static bool is_socket_or_anonymous(pid_t tid, uint64_t fd)
{
	char path[40], target[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, (int)fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strncmp(target, "socket:[", 8) == 0 || strncmp(target, "anon_inode:", 11) == 0;
}

static bool ended_by_stop(pid_t tid, const struct user_regs_struct *regs)
{
	const uint64_t args[] = {regs->rdi, regs->rsi, regs->rdx};
	uint32_t cnt;

	if (regs->cs == USER32_CS || (int64_t)regs->orig_rax < 0 || (int64_t)regs->rax != -EINTR)
		return false;
	cnt = descriptors_of(regs->orig_rax);
	for (uint32_t i = 0; i < cnt; i++)
		if (is_socket_or_anonymous(tid, args[i]))
			return true;
	return never_restarted(regs->orig_rax);
}

void interrupted_repair(pid_t tid, struct user_regs_struct *regs)
{
	if (!ended_by_stop(tid, regs))
		return;
	regs->rax = (uint64_t)-ERESTARTNOHAND;
	ptrace(PTRACE_SETREGS, tid, NULL, regs);
}
