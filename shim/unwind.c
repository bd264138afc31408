/* SPDX-License-Identifier: MIT */
/*
 * Finding gcc's unwinder in a file.
 */
#include "shim/unwind.h"

#include <errno.h>

#define ENTRY "_Unwind_Find_FDE"

static int to_offset(const struct elf_file *file, uint64_t vaddr, uint64_t *ret_offset)
{
	for (uint32_t i = 0; i < file->segment_cnt; i++) {
		const Elf64_Phdr *segment = &file->segments[i];

		if (segment->p_type != PT_LOAD || !elf_segment_has(segment, vaddr, 1))
			continue;
		*ret_offset = vaddr - segment->p_vaddr + segment->p_offset;
		return 0;
	}
	return -ENOENT;
}

int shim_unwind_check(struct elf_file *file, struct shim_want *ret_want, struct reason *reason)
{
	Elf64_Sym symbol;
	int r = elf_symbol_find(file, ENTRY, &symbol);

	if (r == 0)
		r = ELF64_ST_TYPE(symbol.st_info) == STT_FUNC
			    ? to_offset(file, symbol.st_value, &ret_want->offset)
			    : -ENOENT;
	return r < 0 ? shim_file_error(r, reason) : shim_site_check(file, ret_want, reason);
}
