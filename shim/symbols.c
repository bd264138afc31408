/* SPDX-License-Identifier: MIT */
/*
 * Looks through .symtab and .dynsym.
 */
#include "shim/symbols.h"

#include <string.h>

static bool search(Elf *elf, Elf_Scn *scn, const GElf_Shdr *shdr, const char *name,
		   GElf_Sym *ret_sym)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t cnt = shdr->sh_entsize ? shdr->sh_size / shdr->sh_entsize : 0;

	for (size_t i = 0; data && i < cnt; i++) {
		const char *found;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym) || sym.st_shndx == SHN_UNDEF)
			continue;
		found = elf_strptr(elf, shdr->sh_link, sym.st_name);
		if (!found || strcmp(found, name) != 0)
			continue;
		*ret_sym = sym;
		return true;
	}
	return false;
}

bool symbols_find(Elf *elf, const char *name, GElf_Sym *ret_sym)
{
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr shdr;

		if (gelf_getshdr(scn, &shdr) &&
		    (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM) &&
		    search(elf, scn, &shdr, name, ret_sym))
			return true;
	}
	return false;
}
