/* SPDX-License-Identifier: MIT */
/*
 * Map values that have more in them than data. Source: check_map_prog_compatibility(),
 * process_spin_lock(), check_map_access(), kernel/bpf/verifier.c, Linux 6.12; words of 6.18. All
 * return 0 or -errno.
 */
#pragma once

#include "verifier/internal.h"

/** special_check_maps() - that programs of this type may use its maps */
int special_check_maps(struct walk *walk);

/** special_check_access() - that what is read or written of a value, from byte @min to below @end,
 *  is data */
int special_check_access(struct walk *walk, const struct btf_fields *fields, int64_t min,
			 int64_t end);

/** special_lock(), special_unlock() - of the lock that @regno points to */
int special_lock(struct walk *walk, uint32_t regno);
int special_unlock(struct walk *walk, uint32_t regno);

/** special_check_unlocked() - where @what is done */
int special_check_unlocked(struct walk *walk, const char *what);
