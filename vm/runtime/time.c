/* SPDX-License-Identifier: MIT */
/*
 * Clocks. The vDSO is called where its address is known: it needs neither libc nor vector
 * registers, and costs a tenth of the system call.
 */
#include "vm/runtime/helpers.h"
#include "vm/runtime/internal.h"

#define CLOCK_MONOTONIC	       1
#define CLOCK_MONOTONIC_COARSE 6
#define CLOCK_BOOTTIME	       7
#define CLOCK_TAI	       11

typedef int (*clock_fn)(int clock, uint64_t *ts);

static uint64_t clock_read(unsigned char *base, int clock)
{
	clock_fn vdso = (clock_fn)rt_load(&region_config(base)->clock_gettime);
	uint64_t ts[2] = {0, 0};

	if (!vdso || vdso(clock, ts))
		return rt_clock(clock);
	return ts[0] * RT_NSEC_PER_SEC + ts[1];
}

uint64_t rt_ktime_get_ns(RT_HELPER_ARGS)
{
	return clock_read(run->base, CLOCK_MONOTONIC);
}

uint64_t rt_ktime_get_tai_ns(RT_HELPER_ARGS)
{
	return clock_read(run->base, CLOCK_TAI);
}

uint64_t rt_ktime_get_boot_ns(RT_HELPER_ARGS)
{
	return clock_read(run->base, CLOCK_BOOTTIME);
}

/* Of the last tick. */
uint64_t rt_ktime_get_coarse_ns(RT_HELPER_ARGS)
{
	return clock_read(run->base, CLOCK_MONOTONIC_COARSE);
}

/* The kernel counts a tick when it gets to it, we when it is due: some microseconds earlier. */
uint64_t rt_jiffies64(RT_HELPER_ARGS)
{
	const struct region_header *header = region_header(run->base);
	const uint32_t tick = header->tick_ns;

	if (!tick)
		return 0;
	return REGION_JIFFIES_START(tick) + (uint64_t)(int64_t)header->jiffies +
	       clock_read(run->base, CLOCK_MONOTONIC) / tick;
}
