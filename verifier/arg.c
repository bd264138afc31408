/* SPDX-License-Identifier: MIT */
/*
 * Arguments of helpers that are more than a register: constant strings, formats, numbers to fill
 * in.
 */
#include <errno.h>
#include <string.h>

#include "verifier/internal.h"
#include "vm/runtime/format.h"

#define LONG_SIZE 8u

int arg_long_out(struct walk *walk, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);
	/* The stack's end and values are aligned to 8. */
	const uint64_t low = reg->r64.t.value | reg->r64.t.mask | (uint64_t)(int64_t)reg->off;

	if (reg_is_pointer(reg) && low % LONG_SIZE)
		return walk_fail(walk, -EACCES, "misaligned access of R%u off %d size %u\n", regno,
				 reg->off, LONG_SIZE);
	return memory_range(walk, regno, LONG_SIZE, LONG_SIZE, true);
}

/* Where the string of @regno is. Source: check_reg_const_str(), Linux 6.12. Return: 0 or -errno */
static int find_string(struct walk *walk, uint32_t regno, const char **ret_text, uint32_t *ret_max)
{
	const struct reg *reg = walk_reg(walk, regno);
	const struct verifier_map *map;
	int64_t off;

	if (reg->type != REG_VALUE)
		return walk_fail(walk, -EACCES, "R%u type=%s expected=map_value\n", regno,
				 reg_type_name(reg->type));
	map = &walk->prog->maps[reg->map];
	if (!map->contents)
		return walk_fail(walk, -EACCES, "R%u does not point to a readonly map'\n", regno);
	if (!range_is_const(&reg->r64))
		return walk_fail(walk, -EACCES, "R%u is not a constant address'\n", regno);
	off = reg->off + (int64_t)reg->r64.umin;
	if (off < 0 || off >= map->value_size)
		return walk_fail(walk, -EACCES,
				 "invalid access to map value, value_size=%u off=%lld size=%lld\n",
				 map->value_size, (long long)off, (long long)map->value_size - off);
	*ret_text = (const char *)map->contents + off;
	*ret_max = map->value_size - (uint32_t)off;
	return 0;
}

int arg_const_str(struct walk *walk, uint32_t regno)
{
	const char *text;
	uint32_t max;
	int r = find_string(walk, regno, &text, &max);

	if (r == 0 && !memchr(text, '\0', max))
		r = walk_fail(walk, -EINVAL, "string is not zero-terminated\n");
	return r;
}

/* Source: check_bpf_snprintf_call(), Linux 6.12. */
int arg_format(struct walk *walk, uint32_t format, uint32_t len)
{
	const struct reg *bytes = walk_reg(walk, len);
	const char *text;
	uint32_t max;
	int r = find_string(walk, format, &text, &max);

	if (r < 0)
		return r;
	need_value(walk, bytes);
	if (bytes->r64.t.value % 8)
		return -EINVAL;
	if (!format_check(text, max, (uint32_t)(bytes->r64.t.value / 8)))
		return walk_fail(walk, -EINVAL, "Invalid format string\n");
	return 0;
}
