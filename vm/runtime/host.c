/* SPDX-License-Identifier: MIT */
/*
 * The part of the runtime's library that is for the daemon and tests only and may use libc.
 */
#include "vm/runtime/host.h"

#include <cpuid.h>
#include <stddef.h>
#include <sys/auxv.h>

#include "shim/region.h"
#include "vm/runtime/helpers.h"

#define HWCAP2_FSGSBASE_BIT 2ul /* asm/hwcap2.h */

uint32_t rt_cpu_features(void)
{
	unsigned int a, b, c, d;
	uint32_t features = 0;

	if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && c & bit_RDPID)
		features |= REGION_HAS_RDPID;
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT)
		features |= REGION_HAS_FSGSBASE;
	return features;
}

const char *rt_helper_name(int number)
{
	switch (number) {
#define NAME(nr, name)                                                                             \
	case nr:                                                                                   \
		return "rt_" #name;
		RT_HELPERS(NAME)
	default:
		return NULL;
	}
}
