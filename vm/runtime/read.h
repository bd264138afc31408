/* SPDX-License-Identifier: MIT */
/*
 * What is known of the application's memory.
 */
#pragma once

#include "vm/runtime/internal.h"

/** rt_steady_from() - how many bytes from @address on lie in memory that the process keeps */
uint64_t rt_steady_from(unsigned char *base, uint64_t address);

/** rt_mapped_from() - how many bytes from @address on are mapped for certain: on the stack, from
 * its pointer to the end of the page it points into, which is none where a page begins: that may be
 * the stack's end; and where the process keeps its memory */
rt_inline uint64_t rt_mapped_from(const struct rt_run *run, uint64_t address)
{
	uint64_t end = (run->stack + RT_PAGE - 1) & ~(RT_PAGE - 1);

	if (!run->stack)
		return 0;
	if (address >= run->stack && address < end)
		return end - address;
	return rt_steady_from(run->base, address);
}
