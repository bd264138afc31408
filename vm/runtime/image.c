/* SPDX-License-Identifier: MIT */
/*
 * Names of the image's functions, from a table that the build makes of it.
 */
#include "vm/runtime/image.h"

#include <string.h>

static const struct {
	const char *name;
	uint64_t offset;
} symbols[] = {
#include "runtime_symbols.inc"
};

uint64_t runtime_symbol(const char *name)
{
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
		if (strcmp(symbols[i].name, name) == 0)
			return symbols[i].offset;
	return 0;
}
