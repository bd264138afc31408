/* SPDX-License-Identifier: MIT */
/*
 * Licenses by name.
 */
#include "base/license.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

bool license_is_gpl(const char *license)
{
	static const char *const compatible[] = {
		"GPL",		"GPL v2",	"GPL and additional rights",
		"Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};

	for (size_t i = 0; license && i < ARRAY_SIZE(compatible); i++)
		if (strcmp(license, compatible[i]) == 0)
			return true;
	return false;
}
