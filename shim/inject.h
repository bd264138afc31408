/* SPDX-License-Identifier: MIT */
/*
 * The region in a target: mapped by system calls that the target makes for us.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"
#include "shim/apply.h"
#include "shim/tracee.h"

/** inject_find() - where the region is mapped in the process, or 0 */
uint64_t inject_find(const struct shim_region *region, const struct maps *maps);

/**
 * inject_region() - map what is missing of the region; the first time far away from everything else
 * @base: where it is, or 0
 * @ret_base: where it is now
 *
 * On failure the process has what it had. Errors: -EOPNOTSUPP with a reason, -ENOMEM, -ESRCH.
 */
int inject_region(struct tracee *tracee, const struct shim_plan *plan, const struct maps *maps,
		  uint64_t base, uint64_t *ret_base, struct reason *reason);

/**
 * inject_release() - take away arrays that @plan has no segment for; @all: and those it has
 *
 * After tracee_prepare(). What cannot be taken away stays.
 */
void inject_release(struct tracee *tracee, const struct shim_plan *plan, const struct maps *maps,
		    uint64_t base, bool all);

/** inject_has_arrays() - whether the process has any that inject_release() would take away */
bool inject_has_arrays(const struct tracee *tracee, const struct shim_plan *plan, uint64_t base,
		       bool all);

/** inject_anonymous() - @size bytes of private R-X memory at @address exactly. Return: 0 or -errno.
 */
int inject_anonymous(struct tracee *tracee, uint64_t address, uint64_t size);
