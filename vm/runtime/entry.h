/* SPDX-License-Identifier: MIT */
/*
 * The few numbers of shim/region.h that entry.S needs; hit.c checks that they are the same.
 */
#pragma once

#define ENTRY_VERSION	1
#define ENTRY_STUB_BACK 43
#define ENTRY_STUB_IP	8
#define ENTRY_RED_ZONE	0x80

#define ENTRY_TEST_RUN_FRAME 0

#define ENTRY_CACHE_STACKS 0x20001050 /* from the region's base: struct region_cache.stacks */
#define ENTRY_STACKS	   0x20042000
#define ENTRY_STACK_SHIFT  16
