/* SPDX-License-Identifier: MIT */
/*
 * A process held by ptrace for a moment: all of its threads stopped, one of them making system
 * calls for us. The calling thread is the tracer; its end lets go of everything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/reason.h"
#include "shim/maps.h"
#include "shim/rescue.h"

/**
 * struct tracee_thread
 * @pid: its process: the tracee's, or one that shares its memory
 * @regs: as it stopped
 * @stopped: in a stop of ours, else asleep in the kernel where no stop reaches it (vfork)
 * @borrowed: stopped by our caller, who also lets go of it
 */
struct tracee_thread {
	pid_t tid, pid;
	bool stopped, borrowed;
	struct user_regs_struct regs;
};

/**
 * struct tracee
 * @threads: owned
 * @caller: index of the thread that makes system calls
 * @wanted: the only one that may; 0 any
 * @syscall_at: address of a syscall instruction in the process
 * @rescue: of that thread, to be used for its calls while it lies there
 * @mem_fd: /proc/PID/mem; owned
 */
struct tracee {
	pid_t pid, wanted;
	struct tracee_thread *threads;
	uint32_t cnt, cap, caller;
	uint64_t syscall_at, sigmask;
	struct rescue rescue;
	int mem_fd;
	bool calling, masked;
};

/**
 * struct tracee_how
 * @cgroup_fd: where processes that share the memory are looked for (targets.h), borrowed; -1 for
 *	none
 * @armed_fd: -1, or: a thread waits in a system call for an answer of ours, and stops on its way
 *	out of it. One byte is written here when that is certain, and the answer may be given.
 * @wanted: that thread, which makes the calls then; 0 not known
 */
struct tracee_how {
	int cgroup_fd, armed_fd;
	pid_t wanted;
};

/**
 * tracee_stop() - stop all threads of @pid, and of other processes that share its memory
 * @ret_busy: with -EBUSY, one that shares the memory and is traced by somebody else
 *
 * Errors: -ESRCH, -EPERM somebody else traces it, -ETIMEDOUT, -EBUSY and -EAGAIN with a reason;
 * nothing is held then.
 */
int tracee_stop(pid_t pid, const struct tracee_how *how, struct tracee *ret_tracee, pid_t *ret_busy,
		struct reason *reason);

/** tracee_borrow() - the same for a process whose threads all are in ptrace stops of the caller's,
 * who goes on to have them; @tid makes the calls */
int tracee_borrow(pid_t pid, pid_t tid, int cgroup_fd, struct tracee *ret_tracee, pid_t *ret_busy,
		  struct reason *reason);

/** tracee_thread_place() - where thread @index goes on in its own code, and on which stack. Return:
 *  whether that is known */
bool tracee_thread_place(const struct tracee *tracee, uint32_t index, uint64_t *ret_ip,
			 uint64_t *ret_sp);
/** tracee_thread_ip() - where thread @index goes on in its own code; 0 unknown */
uint64_t tracee_thread_ip(const struct tracee *tracee, uint32_t index);

/**
 * tracee_let_go() - detach a thread that was interrupted, for others than those of a struct tracee
 * @signal: it stopped in front of, or 0
 */
void tracee_let_go(pid_t tid, int signal);

/** tracee_release() - registers and signals as they were, threads run on but for borrowed ones */
void tracee_release(struct tracee *tracee);

/**
 * tracee_nudge() - let thread @index run for about @us microseconds; before any call is made
 *
 * Return: 0, or 1: it has ended, and another has its index; -ESRCH: it was the last one.
 */
int tracee_nudge(struct tracee *tracee, uint32_t index, uint32_t us);

/** tracee_set_ip() - where thread @index continues */
int tracee_set_ip(struct tracee *tracee, uint32_t index, uint64_t ip);

/**
 * tracee_syscall() - have the process make a system call
 * @args: six
 * @ret_result: what it returned
 *
 * Return: 0, or -errno when the call could not be made (-ESRCH: it was killed meanwhile).
 */
int tracee_syscall(struct tracee *tracee, long nr, const uint64_t *args, int64_t *ret_result);

/**
 * tracee_run() - have the thread that makes calls run code of the region
 * @ip, @arg, @sp: where it begins, with what in its first argument's register, on which stack
 * @end: address behind the system call it ends with; others it makes are passed over
 * @timeout_ms: after which it is taken away wherever it is
 *
 * After a tracee_syscall(); another may follow. Errors: -ESRCH it was killed meanwhile; -ETIMEDOUT;
 * -EIO it ran into a fault.
 */
int tracee_run(struct tracee *tracee, uint64_t ip, uint64_t arg, uint64_t sp, uint64_t end,
	       int timeout_ms);

/** tracee_rescue_sp() - the stack pointer with which a `ret` leads the thread back, if it is left
 *  alone in a tracee_run(); 0: nothing does */
uint64_t tracee_rescue_sp(const struct tracee *tracee);

/** tracee_set_result() - what the system call returns that the thread which makes calls stopped at
 *  the end of */
int tracee_set_result(struct tracee *tracee, int64_t result);

/**
 * tracee_is_calling() - whether thread @tid is in a system call that it makes for @tracer
 * @tracer: a fork of the caller
 *
 * Not so for a thread that @tracer follows or has stopped, whatever that one is doing.
 */
bool tracee_is_calling(pid_t tracer, pid_t tid);

/**
 * tracee_prepare() - choose a thread and an instruction to make calls with; once, before the first
 * @maps: of the process
 *
 * Errors: -EOPNOTSUPP there is no such instruction, -ETIMEDOUT all threads sleep on, or the one
 * that is wanted does, -ERESTART likewise and one in execve(), perhaps for as long as the caller
 * traces it, -ESRCH.
 */
int tracee_prepare(struct tracee *tracee, const struct maps *maps);

/* Memory. Return: 0 or -EFAULT. Writing goes through protections, copy-on-write. */
int tracee_read(const struct tracee *tracee, uint64_t address, void *buf, size_t len);
int tracee_write(const struct tracee *tracee, uint64_t address, const void *buf, size_t len);
