/* SPDX-License-Identifier: MIT */
/*
 * Functions of the vDSO of a process.
 */
#pragma once

#include <stdint.h>

#include "shim/tracee.h"

/** vdso_symbol() - address of a function in the process, or 0 */
uint64_t vdso_symbol(const struct tracee *tracee, const struct maps *maps, const char *name);
