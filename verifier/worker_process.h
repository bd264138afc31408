/* SPDX-License-Identifier: MIT */
/*
 * The life of a worker's process, on the daemon's side: a thread starts it when it is wanted and
 * waits for its end. The thread is what the process dies with, so it must not be one that comes
 * and goes (prctl(2), PR_SET_PDEATHSIG).
 */
#pragma once

#include <time.h>

#include "base/reason.h"

struct process;

/** process_new() - nothing runs yet; @exe_fd is borrowed; @nice: added to the nice value */
int process_new(int exe_fd, int nice, struct process **ret_process);
/** process_free() - kill and forget. Accepts NULL. Return: NULL. */
struct process *process_free(struct process *process);

/** process_want() - start one if none runs, without waiting */
void process_want(struct process *process);

/**
 * process_socket() - the socket to the running process, started if need be
 * @until: on CLOCK_REALTIME
 *
 * Return: a duplicate owned by the caller (the thread closes its own at any time), -ETIMEDOUT, or
 * why it could not be started.
 */
int process_socket(struct process *process, const struct timespec *until);

/**
 * process_kill() - end it and wait until it is gone (bounded: a second)
 * @what: may be NULL; what became of it ("killed by signal 31 (Bad system call)")
 */
void process_kill(struct process *process, struct reason *what);
