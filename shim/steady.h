/* SPDX-License-Identifier: MIT */
/*
 * Memory that a process keeps as long as it runs, so that programs may read it without asking the
 * kernel: code and constants of its executable, of the loader and of the libraries it was linked
 * with (which dlclose() leaves where they are), and the stack it began on. Neither variables, pages
 * of which may be protected, nor heaps and other threads' stacks: they go back to the kernel at any
 * time.
 *
 * What stands in the process' memory about its objects is only believed as far as the kernel's list
 * of mappings agrees.
 */
#pragma once

#include "shim/maps.h"
#include "shim/region.h"
#include "shim/tracee.h"

/**
 * struct steady - ascending by nothing in particular; the most likely ones first
 * @cnt: of @ranges; each is mapped and readable from its start to its end
 */
struct steady {
	uint32_t cnt;
	struct region_range ranges[REGION_STEADY_MAX];
};

/**
 * steady_find() - what can be told of the process, running or stopped
 * @begun: it has run code of its own; before that a static executable may be one that replaces
 *	itself (executable packers)
 *
 * Errors are silence: what cannot be read is left out.
 */
void steady_find(const struct maps *maps, bool begun, struct steady *ret_steady);

/**
 * steady_add() - make ranges known to the runtime in the stopped process
 * @maps: of now; what is not mapped any more is left out
 * @base: of its region
 *
 * Ranges are only ever added, because a thread may stand in the middle of looking through them.
 * Return: 0, or -errno of writing.
 */
int steady_add(const struct tracee *tracee, const struct maps *maps, uint64_t base,
	       const struct steady *steady);
