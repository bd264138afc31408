/* SPDX-License-Identifier: MIT */
/*
 * Formatted text: arguments gathered as the kernel gathers them, then printed. Memory of arguments
 * is hostile: it spoils what is printed, no more.
 */
#pragma once

#include "vm/runtime/format.h"
#include "vm/runtime/internal.h"

#define PRINT_BIN_MAX  512u  /* bytes of arguments, MAX_BPRINTF_BIN_ARGS */
#define PRINT_TEXT_MAX 1024u /* MAX_BPRINTF_BUF */

/**
 * print_gather() - look at the format and its arguments, before a byte is printed
 * @max: as in format_next()
 * @raw: @cnt arguments
 * @bin: PRINT_BIN_MAX bytes for what they say
 *
 * Return: 0, -EINVAL no such format, or more arguments than @cnt; -ENOSPC more than fits @bin
 */
int print_gather(const struct rt_run *run, const char *fmt, uint32_t max, const uint64_t *raw,
		 uint32_t cnt, unsigned char *bin);

/**
 * print_text() - print what was gathered
 * @to, @size: gets the text, cut so that it ends there with a zero; 0: nothing
 *
 * Return: length of the text when nothing is cut.
 */
int32_t print_text(const char *fmt, uint32_t max, const unsigned char *bin, unsigned char *to,
		   uint32_t size);

/**
 * print_address() - an internet address
 * @item: says which and how
 * @to: PRINT_ADDRESS_MAX bytes
 *
 * Return: length without its end.
 */
#define PRINT_ADDRESS_MAX 40u
uint32_t print_address(const struct format_item *item, const unsigned char *address,
		       unsigned char *to);
/** print_hex() - "0x" and digits; @to has room for 19 bytes. Return: length without its end. */
uint32_t print_hex(uint64_t value, unsigned char *to);
