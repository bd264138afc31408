/* SPDX-License-Identifier: MIT */
/*
 * Compiled code on its way from the worker to a region: it may stand anywhere, with its maps
 * anywhere; what depends on that is listed. The daemon puts it in place, so that the same code can
 * be used again.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "shim/region.h"

/** CODE_PLACE - where code is compiled for, and where all maps are then (bytes from the base) */
#define CODE_PLACE REGION_CODE

/**
 * struct code_reloc - a distance in the code, of 32 bits, from its own place
 * @at: bytes from the code's beginning
 * @target: to what: CODE_RUNTIME, or the record or memory of a map
 */
struct code_reloc {
	uint32_t at, target;
};
#define CODE_RUNTIME	     0u
#define CODE_MAP_RECORD(map) (1u + 2u * (map))
#define CODE_MAP_DATA(map)   (2u + 2u * (map))

/**
 * struct code_map - where a map of the program stands; bytes from the region's base
 */
struct code_map {
	uint64_t record, data;
};

/**
 * code_place() - @code, compiled for CODE_PLACE, becomes code for @place
 * @code: @len bytes, changed
 * @relocs: @reloc_cnt, checked here: they may come from a worker that somebody took over
 * @maps: @map_cnt
 *
 * Errors: -EINVAL a place outside of the code or no such map, -ERANGE a distance that does not fit;
 * @code is of no use then.
 */
int code_place(void *code, size_t len, const struct code_reloc *relocs, uint32_t reloc_cnt,
	       uint64_t place, const struct code_map *maps, uint32_t map_cnt);
