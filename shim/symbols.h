/* SPDX-License-Identifier: MIT */
/*
 * Symbols of a file by name.
 */
#pragma once

#include <gelf.h>
#include <stdbool.h>

/** symbols_find() - whether one of the symbol tables defines @name; then it is in @ret_sym */
bool symbols_find(Elf *elf, const char *name, GElf_Sym *ret_sym);
