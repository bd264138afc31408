/* SPDX-License-Identifier: MIT */
/*
 * What the kernel makes of a program's license.
 */
#pragma once

#include <stdbool.h>

/**
 * license_is_gpl() - whether a program under @license may call GPL-only helpers
 * @license: may be NULL
 *
 * Source: include/linux/license.h license_is_gpl_compatible(), Linux 6.18.
 */
bool license_is_gpl(const char *license);
