/* SPDX-License-Identifier: MIT */
/*
 * Puts compiled code in place; for daemon and tests, without LLVM. Pure.
 */
#include "vm/code.h"

#include <errno.h>
#include <string.h>

/* How far the target is from where it was when the code was compiled. */
static int moved(uint32_t target, const struct code_map *maps, uint32_t map_cnt,
		 uint64_t *ret_distance)
{
	const uint32_t map = (target - 1) / 2;

	*ret_distance = 0;
	if (target == CODE_RUNTIME)
		return 0;
	if (map >= map_cnt)
		return -EINVAL;
	*ret_distance =
		(target == CODE_MAP_RECORD(map) ? maps[map].record : maps[map].data) - CODE_PLACE;
	return 0;
}

int code_place(void *code, size_t len, const struct code_reloc *relocs, uint32_t reloc_cnt,
	       uint64_t place, const struct code_map *maps, uint32_t map_cnt)
{
	for (uint32_t i = 0; i < reloc_cnt; i++) {
		const struct code_reloc *reloc = &relocs[i];
		unsigned char *at = (unsigned char *)code + reloc->at;
		uint64_t distance;
		int64_t sum;
		int32_t value;
		int r = moved(reloc->target, maps, map_cnt, &distance);

		if (r < 0 || reloc->at > len || len - reloc->at < sizeof(value))
			return -EINVAL;
		memcpy(&value, at, sizeof(value));
		sum = value + (int64_t)(distance - (place - CODE_PLACE));
		value = (int32_t)sum;
		if (value != sum)
			return -ERANGE;
		memcpy(at, &value, sizeof(value));
	}
	return 0;
}
