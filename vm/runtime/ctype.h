/* SPDX-License-Identifier: MIT */
/*
 * Kinds of characters as the kernel sees them, which takes text for Latin-1. Source: lib/ctype.c,
 * Linux 6.12.
 */
#pragma once

#include <stdbool.h>

static inline bool ctype_is_space(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0;
}

static inline bool ctype_is_alnum(unsigned char c)
{
	if (c >= 0xc0)
		return c != 0xd7 && c != 0xf7;
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c < 0x80);
}

static inline bool ctype_is_print(unsigned char c)
{
	return (c >= ' ' && c < 0x7f) || c >= 0xa0;
}

static inline bool ctype_is_punct(unsigned char c)
{
	return ctype_is_print(c) && !ctype_is_alnum(c) && !ctype_is_space(c);
}
