/* SPDX-License-Identifier: MIT */
/*
 * Finding gcc's unwinder in a file.
 */
#include "shim/unwind.h"

#include <errno.h>
#include <gelf.h>
#include <string.h>

#define ENTRY "_Unwind_Find_FDE"

/* Virtual address of the function in one symbol table, or 0. */
static uint64_t search(Elf *elf, Elf_Scn *scn, const GElf_Shdr *shdr)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t cnt = shdr->sh_entsize ? shdr->sh_size / shdr->sh_entsize : 0;

	for (size_t i = 0; data && i < cnt; i++) {
		const char *name;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym) || GELF_ST_TYPE(sym.st_info) != STT_FUNC ||
		    sym.st_shndx == SHN_UNDEF)
			continue;
		name = elf_strptr(elf, shdr->sh_link, sym.st_name);
		if (name && strcmp(name, ENTRY) == 0)
			return sym.st_value;
	}
	return 0;
}

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
	Elf_Scn *scn = NULL;
	uint64_t vaddr = 0;

	while (!vaddr && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr shdr;

		if (gelf_getshdr(scn, &shdr) &&
		    (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM))
			vaddr = search(elf, scn, &shdr);
	}
	return vaddr ? to_offset(elf, vaddr, ret_offset) : -ENOENT;
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
