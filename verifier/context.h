/* SPDX-License-Identifier: MIT */
/*
 * What each type of program is handed in r1, and what it may read of that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/**
 * enum context_access - whether bytes of it may be read, or written
 * @CONTEXT_POINTER: they are an address of a kind that the verifier does not know
 */
enum context_access { CONTEXT_NO, CONTEXT_YES, CONTEXT_POINTER };

/** context_is_covered() - whether the verifier knows what programs of @type are handed */
bool context_is_covered(uint32_t type);
/** context_access() - @size bytes at @off of what programs of @type are handed */
enum context_access context_access(uint32_t type, int64_t off, unsigned int size, bool write);
