/* SPDX-License-Identifier: MIT */
/*
 * Line numbers for JSON text. json-c reports neither where a value stood nor that a key came twice,
 * so the text it accepted is scanned once more for just that.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"

/* Keys of one object that are compared with each other. No object of a policy has as many, so in a
 * longer one the reader meets an unknown key before it could meet an unnoticed duplicate. */
#define LINES_KEYS_MAX 32u

/**
 * struct lines - line of every value, in the order of the text
 * @lines: an object's or array's own line comes before those of its members; a member of an object
 *	has the line of its key
 * @cnt: number of values
 */
struct lines {
	uint32_t *lines;
	uint32_t cnt, cap;
};

/**
 * lines_scan() - collect the lines of @text
 * @text: accepted by json-c in strict mode
 * @ret_lines: owned by the caller (lines_deinit()); untouched on failure
 *
 * Keys with escapes are refused: no key of a policy needs one, and they would hide duplicates.
 *
 * Errors: -EINVAL duplicate or escaped key (see @reason), -ENOMEM.
 */
int lines_scan(const char *name, const char *text, size_t len, struct lines *ret_lines,
	       struct reason *reason);

/** lines_deinit() - leaves an empty list */
void lines_deinit(struct lines *lines);

/** lines_at() - number of the line that @offset is in, from 1 */
uint32_t lines_at(const char *text, size_t len, size_t offset);

/** lines_printable() - copy of a name fit for a terminal: other bytes become '?'. Return: @buf. */
const char *lines_printable(char *buf, size_t size, const char *name, size_t len);
