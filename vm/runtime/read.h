/* SPDX-License-Identifier: MIT */
/*
 * What is known of the application's memory.
 */
#pragma once

#include "vm/runtime/internal.h"

/** rt_mapped_from() - how many bytes from @address on are mapped for certain: on the stack, from its
 *  pointer to the end of the page */
rt_inline uint64_t rt_mapped_from(const struct rt_run *run, uint64_t address)
{
	uint64_t end = (run->stack | (RT_PAGE - 1)) + 1;

	return run->stack && address >= run->stack && address < end ? end - address : 0;
}
