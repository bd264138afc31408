/* SPDX-License-Identifier: MIT */
/*
 * Functions of files without symbols: what exceptions need to know of each is in .eh_frame, also in
 * a stripped file.
 */
#pragma once

#include <stdint.h>

#include "base/elf_file.h"

/**
 * frames_find() - the function around an address
 * @ret_start, @ret_end: virtual addresses
 * @ret_next: where the next function starts, UINT64_MAX behind the last
 *
 * What the file says is taken for a hint by its owner: a wrong one misplaces a jump in programs
 * made of that file, and in nobody else's. @ret_start <= @vaddr < @ret_end always holds.
 *
 * Errors: -ENOENT it has no table (.eh_frame_hdr with encodings that compilers for x86-64 use), or
 * no function there; -EINVAL it is cut off; -E2BIG as elf_file_read().
 * Source: Linux Standard Base Core 5.0, 10.6 "Exception Frames".
 */
int frames_find(struct elf_file *file, uint64_t vaddr, uint64_t *ret_start, uint64_t *ret_end,
		uint64_t *ret_next);
