/* SPDX-License-Identifier: MIT */
/*
 * Calls made in a thread that outlive whoever has them made: if the tracer is killed in the middle,
 * the thread returns to what it did by itself.
 *
 * While it makes calls for us the thread stands at an instruction of its own program: `syscall`
 * followed by `ret`. Its stack pointer is at a signal frame that we lay below its stack's red zone
 * and that holds all it had: registers, signal mask, floating point. As long as we live we take the
 * thread away after each call. If nobody does, `ret` leads to the C library's own return from
 * signal handlers, and the kernel restores everything from the frame.
 *
 * Without these instructions, or on a stack that is not surely one (coroutines, small ones on
 * heaps), calls are made all the same, and a thread whose tracer is killed then is lost.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "shim/maps.h"

/**
 * struct rescue
 * @syscall_at, @restorer: addresses of `syscall; ret` and of the return from handlers; 0: none
 * @sp: stack pointer for calls, 0 while there is no frame
 * @saved: what lay at @sp, @len bytes; owned
 */
struct rescue {
	uint64_t syscall_at, restorer;
	uint64_t sp;
	unsigned char *saved;
	size_t len;
};

/** rescue_find() - look for the instructions. Return: whether they are there. */
bool rescue_find(struct rescue *rescue, int mem_fd, const struct maps *maps);

/** rescue_fits() - whether a thread with these registers stands on a stack with room for a frame */
bool rescue_fits(const struct maps *maps, const struct user_regs_struct *regs);

/**
 * rescue_arm() - lay the frame
 * @tid: in a ptrace stop of ours
 * @regs: what it is to go on with
 * @sigmask: what it is to block then
 *
 * Return: 0 or -errno, and there is none.
 */
int rescue_arm(struct rescue *rescue, int mem_fd, pid_t tid, const struct user_regs_struct *regs,
	       uint64_t sigmask);

/** rescue_update() - other registers for a frame that lies there */
int rescue_update(const struct rescue *rescue, int mem_fd, const struct user_regs_struct *regs,
		  uint64_t sigmask);

/** rescue_holds() - whether the instructions are still what they were: probes may stand there */
bool rescue_holds(const struct rescue *rescue, int mem_fd);

/** rescue_disarm() - the thread has its own registers again; so has its stack what lay there */
void rescue_disarm(struct rescue *rescue, int mem_fd);
