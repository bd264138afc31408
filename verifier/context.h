/* SPDX-License-Identifier: MIT */
/*
 * What each type of program is handed in r1, and what it may read of that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/**
 * struct context_row - of a program type the verifier covers
 * @first, @end: bytes that may be read, at any size that is aligned
 * @words: only eight at a time
 * @narrow: bytes from which on smaller pieces may be read all the same
 */
struct context_row {
	uint32_t first, end;
	bool words;
	uint32_t narrow;
};

/** context_row() - of programs of @type; NULL for a type that is not covered */
const struct context_row *context_row(uint32_t type);
/** context_reads() - that @size bytes at @off may be read */
bool context_reads(const struct context_row *row, int64_t off, unsigned int size);
