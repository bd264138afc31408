/* SPDX-License-Identifier: MIT */
/*
 * Finding gcc's unwinder in a file.
 */
#include "shim/unwind.h"

#include <errno.h>
#include <gelf.h>

#include "shim/symbols.h"

#define ENTRY "_Unwind_Find_FDE"

static int to_offset(Elf *elf, uint64_t vaddr, uint64_t *ret_offset)
{
	size_t cnt = 0;

	elf_getphdrnum(elf, &cnt);
	for (size_t i = 0; i < cnt; i++) {
		GElf_Phdr phdr;

		if (!gelf_getphdr(elf, (int)i, &phdr) || phdr.p_type != PT_LOAD ||
		    vaddr < phdr.p_vaddr || vaddr - phdr.p_vaddr >= phdr.p_filesz)
			continue;
		*ret_offset = vaddr - phdr.p_vaddr + phdr.p_offset;
		return 0;
	}
	return -ENOENT;
}

static int find(Elf *elf, uint64_t *ret_offset)
{
	GElf_Sym sym;

	if (!symbols_find(elf, ENTRY, &sym) || GELF_ST_TYPE(sym.st_info) != STT_FUNC)
		return -ENOENT;
	return to_offset(elf, sym.st_value, ret_offset);
}

int shim_unwind_check(int file_fd, struct shim_want *ret_want, struct reason *reason)
{
	int r = -ENOENT;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_begin(file_fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF && gelf_getclass(elf) == ELFCLASS64)
		r = find(elf, &ret_want->offset);
	elf_end(elf);
	return r < 0 ? r : shim_site_check(file_fd, ret_want, reason);
}
