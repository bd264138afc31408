/* SPDX-License-Identifier: MIT */
/*
 * Which PERF_EVENT programs may run outside of the tenant's tasks.
 *
 * A timer's program (bpftrace's interval:) fires in whatever task happens to run on its CPU, so
 * the guard prologue would silence it. It is exempt when it provably learns nothing about that
 * task: it never reads the context's registers and calls nothing that looks at the task.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

/* Longer programs are not looked at; bounds the time (states are revisited < 100 times). */
#define TASKFREE_MAX 65536u

/**
 * taskfree_check() - whether a PERF_EVENT program reads nothing of the interrupted task
 * @insns: hostile input, @cnt instructions
 *
 * Assumes only that the kernel's verifier accepts the program in addition.
 *
 * Return: true when proven; false when not, in doubt, malformed, too long or out of memory.
 */
bool taskfree_check(const struct bpf_insn *insns, uint32_t cnt);
