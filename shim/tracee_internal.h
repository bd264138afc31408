/* SPDX-License-Identifier: MIT */
/*
 * What tracee.c and tracee_call.c share.
 */
#pragma once

#include "shim/tracee.h"

#define TRACEE_NO_CALLER UINT32_MAX
#define TRACEE_SYSGOOD	 (SIGTRAP | 0x80)

/* tracee.c */

/** tracee_now_ms() - of the monotonic clock */
int64_t tracee_now_ms(void);

/**
 * tracee_wait_event_stop() - wait for one thread's stop of PTRACE_INTERRUPT
 *
 * Signals that arrive first are delivered on the way, which sets up their handlers and changes
 * nothing else. @deadline: ms. Errors: -ESRCH, -ETIMEDOUT.
 */
int tracee_wait_event_stop(pid_t tid, int64_t deadline);

/**
 * tracee_wait_all() - wait for all that were asked to stop
 * @sleeper_ms: after which a thread is passed over that sleeps where no stop reaches it; but not
 *	the one that is wanted
 */
#define TRACEE_SLEEPER_MS 20
int tracee_wait_all(struct tracee *tracee, int64_t deadline, int sleeper_ms);

/** tracee_pick_caller() - one of its own threads, or one that makes calls in the same memory.
 *  Errors: -ETIMEDOUT none has stopped. */
int tracee_pick_caller(struct tracee *tracee);

/** tracee_read_syscall() - what a sleeper shows in /proc: "NR ARGS... SP PC", or "-1 SP PC" outside
 *  of system calls @ret_text: owned by the caller */
int tracee_read_syscall(const struct tracee_thread *thread, char **ret_text);

/* tracee_call.c */

/** tracee_leave_exec() - in the stop that reports an exec the kernel has yet to write the call's
 *  result to a register: go on to the end of the call */
int tracee_leave_exec(pid_t tid);

/** tracee_end_calls() - the thread that made them has its own registers and signals again */
void tracee_end_calls(struct tracee *tracee);
