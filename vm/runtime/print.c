/* SPDX-License-Identifier: MIT */
/*
 * Printing. Source of what each conversion looks like: bstr_printf(), lib/vsprintf.c, Linux 6.18.
 */
#include "vm/runtime/print.h"

#include "vm/runtime/bytes.h"

#define ERRNO_MAX     4095ull /* MAX_ERRNO: the last addresses stand for errors */
#define POINTER_WIDTH 16

/** struct out - where the text goes; @len counts what had no room, too */
struct out {
	unsigned char *to;
	uint64_t size, len;
};

static void put(struct out *out, unsigned char c)
{
	if (out->len < out->size)
		*(volatile unsigned char *)&out->to[out->len] = c;
	out->len++;
}

/* However wide a field is, only what has room costs time. */
static void pad(struct out *out, unsigned char c, int64_t cnt)
{
	uint64_t end;

	if (cnt <= 0)
		return;
	end = out->len + (uint64_t)cnt;
	while (out->len < out->size && out->len < end)
		put(out, c);
	out->len = end;
}

static void put_bytes(struct out *out, const unsigned char *text, uint64_t len, int64_t width,
		      uint8_t flags)
{
	if (!(flags & FORMAT_LEFT))
		pad(out, ' ', width - (int64_t)len);
	for (uint64_t i = 0; i < len; i++)
		put(out, rt_get8(text + i));
	if (flags & FORMAT_LEFT)
		pad(out, ' ', width - (int64_t)len);
}

/* Backwards. Return: how many */
static uint32_t digits_of(uint64_t value, uint32_t base, bool upper, unsigned char *ret)
{
	uint32_t cnt = 0;

	do {
		uint32_t digit = (uint32_t)(value % base);

		ret[cnt++] = (unsigned char)(digit < 10 ? '0' + digit
							: (upper ? 'A' : 'a') + digit - 10);
		value /= base;
	} while (value);
	return cnt;
}

static unsigned char sign_of(uint8_t flags, bool negative)
{
	if (!(flags & FORMAT_SIGNED))
		return 0;
	if (negative)
		return '-';
	if (flags & FORMAT_PLUS)
		return '+';
	return flags & FORMAT_SPACE ? ' ' : 0;
}

static void put_number(struct out *out, uint64_t value, int64_t width, uint8_t flags)
{
	const bool negative = flags & FORMAT_SIGNED && (int64_t)value < 0;
	const unsigned char sign = sign_of(flags, negative);
	unsigned char digits[24];
	uint32_t cnt = digits_of(negative ? -value : value, flags & FORMAT_HEX ? 16 : 10,
				 flags & FORMAT_UPPER, digits);

	width -= (int64_t)cnt + (sign != 0);
	if (!(flags & (FORMAT_LEFT | FORMAT_ZERO)))
		pad(out, ' ', width);
	if (sign)
		put(out, sign);
	if ((flags & (FORMAT_LEFT | FORMAT_ZERO)) == FORMAT_ZERO)
		pad(out, '0', width);
	while (cnt)
		put(out, digits[--cnt]);
	if (flags & FORMAT_LEFT)
		pad(out, ' ', width);
}

uint32_t print_hex(uint64_t value, unsigned char *to)
{
	struct out out = {.to = to, .size = 18};

	put(&out, '0');
	put(&out, 'x');
	put_number(&out, value, -1, FORMAT_HEX);
	to[out.len] = '\0';
	return (uint32_t)out.len;
}

uint32_t print_address(const struct format_item *item, const unsigned char *address,
		       unsigned char *to)
{
	struct out out = {.to = to, .size = PRINT_ADDRESS_MAX - 1};
	const bool plain = item->pointer == 'I';

	if (item->version == '4') {
		for (uint32_t i = 0; i < 4; i++) {
			if (i)
				put(&out, '.');
			put_number(&out, address[i], plain ? -1 : 3, FORMAT_ZERO);
		}
	} else {
		for (uint32_t i = 0; i < 16; i++) {
			if (plain && i && i % 2 == 0)
				put(&out, ':');
			put_number(&out, address[i], 2, FORMAT_ZERO | FORMAT_HEX);
		}
	}
	to[out.len] = '\0';
	return (uint32_t)out.len;
}

/** struct bin - arguments as they were gathered; what is behind the end is 0 */
struct bin {
	const unsigned char *bytes;
	uint32_t at;
};

static uint64_t bin_number(struct bin *bin, uint32_t size)
{
	uint64_t value;

	bin->at = (bin->at + 3) & ~3u;
	if (bin->at + size > PRINT_BIN_MAX)
		return 0;
	value = size == 8 ? rt_get64(bin->bytes + bin->at) : rt_get32(bin->bytes + bin->at);
	bin->at += size;
	return value;
}

static unsigned char bin_char(struct bin *bin)
{
	return bin->at < PRINT_BIN_MAX ? rt_get8(bin->bytes + bin->at++) : 0;
}

static uint32_t bin_string(struct bin *bin, const unsigned char **ret_text)
{
	uint32_t len = 0;

	*ret_text = bin->bytes + bin->at;
	while (bin->at + len < PRINT_BIN_MAX && rt_get8(*ret_text + len))
		len++;
	bin->at += len;
	bin->at += bin->at < PRINT_BIN_MAX;
	return len;
}

/* Addresses are hashed, so that they tell things apart and nothing else. */
static uint64_t hashed(uint64_t pointer)
{
	if (!pointer || pointer >= -ERRNO_MAX)
		return pointer;
	return (uint32_t)(rt_mix(pointer ^ 0x9e3779b97f4a7c15ull, 0x6a09e667f3bcc909ull) >> 16);
}

static void put_pointer(struct out *out, const struct format_item *item, struct bin *bin)
{
	uint8_t flags = item->flags & (FORMAT_LEFT | FORMAT_ZERO);
	unsigned char symbol[20];
	const unsigned char *text;
	uint32_t len;
	uint64_t value;

	switch (item->pointer) {
	case 'k':
	case 'u':
	case 'i':
	case 'I':
	case 'B':
		/* Text already. The kernel leaves it where it is when it has no room at all. */
		if (out->len >= out->size)
			return;
		len = bin_string(bin, &text);
		put_bytes(out, text, len, -1, 0);
		return;
	case 's':
	case 'S':
		/* There is no kernel here that would have a symbol for it. */
		len = print_hex(bin_number(bin, 8), symbol);
		put_bytes(out, symbol, len, item->width, flags);
		return;
	default:
		value = bin_number(bin, 8);
		if (item->width == -1)
			flags |= FORMAT_ZERO;
		put_number(out, item->pointer == 'x' ? value : hashed(value),
			   item->width == -1 ? POINTER_WIDTH : item->width, flags | FORMAT_HEX);
	}
}

static void put_char(struct out *out, const struct format_item *item, struct bin *bin)
{
	unsigned char c = bin_char(bin);

	put_bytes(out, &c, 1, item->width, item->flags);
}

static void put_item(struct out *out, const struct format_item *item, struct bin *bin)
{
	const unsigned char *text;
	uint64_t value;
	uint32_t len;

	switch (item->kind) {
	case FORMAT_PERCENT:
		put(out, '%');
		return;
	case FORMAT_CHAR:
		put_char(out, item, bin);
		return;
	case FORMAT_STRING:
		len = bin_string(bin, &text);
		put_bytes(out, text, len, item->width, item->flags);
		return;
	case FORMAT_POINTER:
		put_pointer(out, item, bin);
		return;
	default:
		value = bin_number(bin, item->size);
		if (item->flags & FORMAT_SIGNED && item->size == 4)
			value = (uint64_t)(int64_t)(int32_t)value;
		put_number(out, value, item->width, item->flags);
	}
}

/* The kernel takes whatever letters and digits follow a pointer for a part of it. */
static uint32_t tail_of(const struct format_item *item, const char *fmt, uint64_t at, uint32_t max)
{
	uint32_t len = 0;

	if (item->kind == FORMAT_POINTER)
		while (ctype_is_alnum(format_byte(fmt, at + len, max)))
			len++;
	return len;
}

int32_t print_text(const char *fmt, uint32_t max, const unsigned char *bytes, unsigned char *to,
		   uint32_t size)
{
	struct out out = {.to = to, .size = size};
	struct bin bin = {.bytes = bytes};
	uint64_t at = 0;

	for (;;) {
		struct format_item item = format_next(fmt, at, max);

		if (item.kind == FORMAT_END || item.kind == FORMAT_BAD)
			break;
		if (item.kind == FORMAT_TEXT)
			put(&out, format_byte(fmt, at, max));
		else
			put_item(&out, &item, &bin);
		at += item.len;
		at += tail_of(&item, fmt, at, max);
	}
	if (size)
		*(volatile unsigned char *)&to[out.len < size ? out.len : size - 1u] = '\0';
	return (int32_t)out.len;
}
