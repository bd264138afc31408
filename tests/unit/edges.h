/* SPDX-License-Identifier: MIT */
/*
 * Random numbers that tell bounds apart, from a seed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t edge_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dull;
}

/** edge_any() - around powers of two, negative, small, or anything */
static inline uint64_t edge_any(uint64_t *seed)
{
	uint64_t at = 1ull << (edge_random(seed) >> 32) % 64;
	uint64_t near = (edge_random(seed) >> 32) % 5 - 2;

	switch ((edge_random(seed) >> 32) % 6) {
	case 0:
		return edge_random(seed);
	case 1:
		return at + near;
	case 2:
		return 0 - at + near;
	case 3:
		return (edge_random(seed) >> 32) % 80;
	case 4:
		return edge_random(seed) << 32 | (uint32_t)(at + near);
	default:
		return (at + near) << 32 | (edge_random(seed) >> 32) % 80;
	}
}

static inline void edge_fill(uint64_t *seed, void *to, size_t size)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t value = edge_any(seed);

		memcpy((char *)to + i, &value, size - i < 8 ? size - i : 8);
	}
}
