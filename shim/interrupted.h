/* SPDX-License-Identifier: MIT */
/*
 * System calls that a stop by ptrace ended although nothing of the program's own interrupted them.
 */
#pragma once

#include <sys/types.h>
#include <sys/user.h>

/**
 * interrupted_repair() - have the kernel make such a call again
 * @tid: in the stop that ended it, before any signal was delivered
 * @regs: its registers; changed with them
 *
 * Most calls the kernel itself makes again. Some report EINTR after any stop; if a signal with a
 * handler comes at the same time they still do.
 */
void interrupted_repair(pid_t tid, struct user_regs_struct *regs);
