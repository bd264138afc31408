/* SPDX-License-Identifier: MIT */
/*
 * The runtime's helpers and maps for programs that are interpreted: the same functions that
 * compiled code calls, but only with memory that the program may hand them. What a helper gives it
 * to use, a map's value or a record, it may use from then on, to the byte.
 */
#pragma once

#include "vm/interp/interp.h"
#include "vm/runtime/runtime.h"

/**
 * struct interp_grant - bytes that a helper gave to the program
 * @map: the map they belong to; @is_map: what was found in it is a map at @start
 */
struct interp_grant {
	uint64_t start, len;
	const struct region_map *map;
	bool readable, writable, is_map;
};

/**
 * struct interp_runtime - a program's surroundings
 * @run: region and slot, filled in by the caller
 * @maps: records of its maps, by the index that its ld_imm64 have; borrowed
 * @grants: since interp_runtime_begin(); owned
 * @function, @helper, @interp: the callback at hand, the helper that calls it, and for whom
 */
struct interp_runtime {
	struct rt_run run;
	const struct region_map *maps;
	uint32_t map_cnt;
	struct interp_grant *grants;
	uint32_t grant_cnt, grant_cap, last;
	uint64_t function;
	uint32_t helper;
	struct interp_run *interp;
};

/**
 * interp_runtime_begin() - before each run
 * @interp: its helpers, constants, @allows and @data are set; the rest is the caller's
 */
void interp_runtime_begin(struct interp_runtime *runtime, struct interp *interp);
void interp_runtime_deinit(struct interp_runtime *runtime);
