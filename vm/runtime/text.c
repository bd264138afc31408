/* SPDX-License-Identifier: MIT */
/*
 * Helpers about text in a program's own memory: numbers, comparison.
 */
#include <errno.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/ctype.h"
#include "vm/runtime/helpers.h"

#define BASE_MASK  0x1full /* BPF_STRTOX_BASE_MASK */
#define NUMBER_MAX 63u	   /* bytes of a number that are looked at, __bpf_strtoull() */

/**
 * struct number - as it is read
 * @text: what follows blanks and sign, terminated
 */
struct number {
	unsigned char text[NUMBER_MAX + 1];
	uint64_t value;
	bool negative;
};

/* Of a digit in any base up to 16; others have more than any base. */
static uint32_t digit_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16u;
}

static uint32_t find_base(const unsigned char *text, uint32_t base)
{
	if (base)
		return base;
	if (text[0] != '0')
		return 10;
	return (text[1] | 0x20) == 'x' && digit_value(text[2]) < 16 ? 16 : 8;
}

/* Return: bytes of @text that were a number, 0: none; -ERANGE */
static int64_t read_digits(struct number *number, uint32_t base)
{
	const unsigned char *text = number->text;
	uint32_t at, start;
	bool fits = true;

	base = find_base(text, base);
	start = base == 16 && text[0] == '0' && (text[1] | 0x20) == 'x' ? 2 : 0;
	number->value = 0;
	for (at = start; digit_value(text[at]) < base; at++) {
		uint32_t value = digit_value(text[at]);

		if (number->value > (UINT64_MAX - value) / base)
			fits = false;
		number->value = number->value * base + value;
	}
	if (!fits)
		return -ERANGE;
	return at > start ? at : 0;
}

/* Return: bytes read, or -errno */
static int64_t read_number(const unsigned char *from, uint64_t len, uint64_t flags,
			   struct number *number)
{
	const uint32_t base = flags & BASE_MASK;
	uint64_t at = 0, rest;
	int64_t digits;

	if (flags & ~BASE_MASK || (base != 0 && base != 8 && base != 10 && base != 16))
		return -EINVAL;
	while (at < len && ctype_is_space(rt_get8(from + at)))
		at++;
	number->negative = at < len && rt_get8(from + at) == '-';
	at += number->negative;
	rest = len - at < NUMBER_MAX ? len - at : NUMBER_MAX;
	if (!rest)
		return -EINVAL;
	rt_copy(number->text, from + at, rest);
	number->text[rest] = '\0';
	digits = read_digits(number, base);
	if (digits <= 0)
		return digits ? digits : -EINVAL;
	return (int64_t)at + digits;
}

/* r1 text, r2 its length, r3 base, r4 where the number goes: 0 if there is none. */
uint64_t rt_strtol(RT_HELPER_ARGS)
{
	struct number number;
	int64_t read;

	rt_put64((void *)r4, 0);
	read = read_number((const void *)r1, r2, r3, &number);
	if (read < 0)
		return (uint64_t)read;
	if (number.value > INT64_MAX + (uint64_t)number.negative)
		return (uint64_t)-ERANGE;
	rt_put64((void *)r4, number.negative ? -number.value : number.value);
	return (uint64_t)read;
}

uint64_t rt_strtoul(RT_HELPER_ARGS)
{
	struct number number;
	int64_t read;

	rt_put64((void *)r4, 0);
	read = read_number((const void *)r1, r2, r3, &number);
	if (read < 0)
		return (uint64_t)read;
	if (number.negative)
		return (uint64_t)-EINVAL;
	rt_put64((void *)r4, number.value);
	return (uint64_t)read;
}

/* r1 text, r2 its size, r3 a constant string, whose end the verifier has seen. */
uint64_t rt_strncmp(RT_HELPER_ARGS)
{
	const unsigned char *a = (const void *)r1, *b = (const void *)r3;

	for (uint64_t left = (uint32_t)r2; left; left--, a++, b++) {
		unsigned char x = rt_get8(a), y = rt_get8(b);

		if (x != y)
			return x < y ? (uint64_t)-1 : 1;
		if (!x)
			break;
	}
	return 0;
}
