/* SPDX-License-Identifier: MIT */
/*
 * Exceptions, pthread_exit() and backtraces through functions whose return address was replaced.
 *
 * The unwinder of gcc asks _Unwind_Find_FDE() of each frame by its return address. A jump at its
 * entry leads to the runtime (rt_unwind() in vm/runtime/hit.c), which gives the unwinder the real
 * address in the place of the trampoline's.
 */
#pragma once

#include "shim/apply.h"

/**
 * shim_unwind_check() - where the unwinder in a file is to be entered
 * @file: what is read goes off its budget
 * @ret_want: @offset, @original, @original_len and @displaced are filled in, the rest left alone
 *
 * Errors: -ENOENT it defines no _Unwind_Find_FDE, and those of shim_site_check().
 */
int shim_unwind_check(struct elf_file *file, struct shim_want *ret_want, struct reason *reason);
