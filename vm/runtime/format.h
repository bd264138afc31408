/* SPDX-License-Identifier: MIT */
/*
 * Format strings as bpf_snprintf() and bpf_trace_printk() take them: the verifier looks at those
 * that are constant, the runtime at all. Source: bpf_bprintf_prepare(), kernel/bpf/helpers.c,
 * Linux 6.12.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vm/runtime/ctype.h"

#define FORMAT_ARGS_MAX	 12u /* MAX_BPRINTF_VARARGS */
#define FORMAT_UNBOUNDED UINT32_MAX

enum format_kind {
	FORMAT_END,	/* of the string */
	FORMAT_TEXT,	/* characters that stand for themselves */
	FORMAT_PERCENT, /* %% */
	FORMAT_NUMBER,
	FORMAT_CHAR,
	FORMAT_STRING,
	FORMAT_POINTER, /* %p, and %px, %pK, ... see @pointer */
	FORMAT_BAD,
};

#define FORMAT_LEFT   1u
#define FORMAT_PLUS   2u
#define FORMAT_SPACE  4u
#define FORMAT_ZERO   8u
#define FORMAT_SIGNED 16u
#define FORMAT_UPPER  32u
#define FORMAT_HEX    64u

/**
 * struct format_item - a piece of a format string
 * @flags: FORMAT_LEFT, ...
 * @size: of a number (bytes)
 * @pointer: what follows %p: 'k' and 'u' of a string; 'i' and 'I' of an address; 'x', 'K', 's',
 *'S', 'B'; 0 for none of these
 * @version: of an internet protocol, '4' or '6'
 * @width: -1: not said
 * @len: bytes of the string that this is
 */
struct format_item {
	uint8_t kind, flags, size;
	char pointer, version;
	int32_t width;
	uint32_t len;
};

/* Once each: whoever changes the string meanwhile does not change what was decided. */
static inline unsigned char format_byte(const char *fmt, uint64_t at, uint32_t max)
{
	return at < max ? *(const volatile unsigned char *)&fmt[at] : 0;
}

static inline uint8_t format_flag(unsigned char c)
{
	switch (c) {
	case '0':
		return FORMAT_ZERO;
	case '+':
		return FORMAT_PLUS;
	case '-':
		return FORMAT_LEFT;
	case ' ':
		return FORMAT_SPACE;
	default:
		return 0;
	}
}

/* What may follow a string or a pointer. */
static inline bool format_ends(unsigned char c)
{
	return c == 0 || ctype_is_space(c) || ctype_is_punct(c);
}

/* Behind %p, at @at. Return: how many more characters belong to it. */
static inline uint32_t format_pointer(const char *fmt, uint64_t at, uint32_t max,
				      struct format_item *item)
{
	const unsigned char c = format_byte(fmt, at, max);
	unsigned char next;

	item->kind = FORMAT_POINTER;
	if (format_ends(c))
		return 0;
	item->pointer = (char)c;
	switch (c) {
	case 'x':
	case 'K':
	case 's':
	case 'S':
	case 'B':
		return 1;
	case 'k':
	case 'u':
		next = format_byte(fmt, at + 1, max);
		if (next != 's' || !format_ends(format_byte(fmt, at + 2, max)))
			item->kind = FORMAT_BAD;
		return 2;
	case 'i':
	case 'I':
		next = format_byte(fmt, at + 1, max);
		item->version = (char)next;
		if (next != '4' && next != '6')
			item->kind = FORMAT_BAD;
		return 2;
	default:
		item->kind = FORMAT_BAD;
		return 1;
	}
}

static inline uint32_t format_number(const char *fmt, uint64_t at, uint32_t max,
				     struct format_item *item)
{
	uint32_t len = 1;

	item->kind = FORMAT_NUMBER;
	item->size = 4;
	for (; len <= 2 && format_byte(fmt, at + len - 1, max) == 'l'; len++)
		item->size = 8;
	switch (format_byte(fmt, at + len - 1, max)) {
	case 'd':
	case 'i':
		item->flags |= FORMAT_SIGNED;
		break;
	case 'u':
		break;
	case 'X':
		item->flags |= FORMAT_HEX | FORMAT_UPPER;
		break;
	case 'x':
		item->flags |= FORMAT_HEX;
		break;
	default:
		item->kind = FORMAT_BAD;
	}
	return len;
}

/* A conversion, behind its '%'. */
static inline void format_conversion(const char *fmt, uint64_t at, uint32_t max,
				     struct format_item *item)
{
	uint32_t width = 0, len = 0;
	unsigned char c;

	for (; format_flag(format_byte(fmt, at + len, max)); len++)
		item->flags |= format_flag(format_byte(fmt, at + len, max));
	for (; (c = format_byte(fmt, at + len, max)) >= '0' && c <= '9'; len++) {
		width = width * 10 + (c - '0');
		item->width = (int32_t)width;
	}
	switch (c) {
	case 'p':
		len += 1 + format_pointer(fmt, at + len + 1, max, item);
		break;
	case 's':
		item->kind = format_ends(format_byte(fmt, at + len + 1, max)) ? FORMAT_STRING
									      : FORMAT_BAD;
		len++;
		break;
	case 'c':
		item->kind = FORMAT_CHAR;
		len++;
		break;
	default:
		len += format_number(fmt, at + len, max, item);
	}
	item->len = len + 1;
}

/**
 * format_next() - the piece that begins at @at
 * @max: bytes of @fmt at most, if it has no end before
 */
static inline struct format_item format_next(const char *fmt, uint64_t at, uint32_t max)
{
	struct format_item item = {.kind = FORMAT_END, .width = -1};
	unsigned char c = format_byte(fmt, at, max);

	if (!c)
		return item;
	item.kind = FORMAT_TEXT;
	item.len = 1;
	if (c >= 0x80 || ctype_is_print(c) || ctype_is_space(c)) {
		if (c != '%')
			return item;
		if (format_byte(fmt, at + 1, max) == '%') {
			item.kind = FORMAT_PERCENT;
			item.len = 2;
			return item;
		}
		format_conversion(fmt, at + 1, max, &item);
		return item;
	}
	item.kind = FORMAT_BAD;
	return item;
}

/** format_takes() - whether it takes an argument */
static inline bool format_takes(const struct format_item *item)
{
	return item->kind >= FORMAT_NUMBER && item->kind <= FORMAT_POINTER;
}

/** format_check() - Return: whether @fmt, which ends within @max bytes, is one for @cnt arguments
 */
static inline bool format_check(const char *fmt, uint32_t max, uint32_t cnt)
{
	uint64_t at = 0;
	uint32_t taken = 0;

	for (;;) {
		struct format_item item = format_next(fmt, at, max);

		if (item.kind == FORMAT_END)
			return true;
		if (item.kind == FORMAT_BAD || (format_takes(&item) && taken++ >= cnt))
			return false;
		at += item.len;
	}
}
