/* SPDX-License-Identifier: MIT */
/*
 * The kernel's count of ticks, told by a clock.
 */
#pragma once

#include <stdint.h>

/**
 * jiffies_find() - how bpf_jiffies64() follows from the monotonic clock
 * @ret_tick_ns: length of a tick (ns)
 * @ret_at_zero: lower half of the count when that clock was 0
 *
 * Takes some milliseconds at most.
 *
 * Return: 0 or -errno; the kernel is asked by a program.
 */
int jiffies_find(uint32_t *ret_tick_ns, uint32_t *ret_at_zero);
