/* SPDX-License-Identifier: MIT */
/*
 * Reads .note.stapsdt with libelf, by plain reads: a file that shrinks meanwhile must not raise
 * SIGBUS in the daemon.
 */
#include "kernel-bridge/sdt.h"

#include <gelf.h>
#include <libelf.h>
#include <string.h>

/* Notes are a few kilobytes in real files; a sparse file must not make us allocate its size. */
#define NOTES_MAX  (16u << 20)
#define NT_STAPSDT 3

struct sdt_file {
	Elf *elf;
	Elf_Data *notes;
	uint64_t base; /* address of .stapsdt.base, 0 when absent */
};

static bool sdt_open(struct sdt_file *file, int fd)
{
	Elf_Scn *scn = NULL;
	size_t strings;
	GElf_Shdr shdr;

	*file = (struct sdt_file){0};
	if (elf_version(EV_CURRENT) == EV_NONE)
		return false;
	file->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!file->elf || elf_getshdrstrndx(file->elf, &strings) < 0)
		return false;
	while ((scn = elf_nextscn(file->elf, scn))) {
		const char *name;

		if (!gelf_getshdr(scn, &shdr))
			return false;
		name = elf_strptr(file->elf, strings, shdr.sh_name);
		if (!name)
			continue;
		if (strcmp(name, ".stapsdt.base") == 0)
			file->base = shdr.sh_addr;
		else if (strcmp(name, ".note.stapsdt") == 0 && shdr.sh_type == SHT_NOTE &&
			 shdr.sh_size <= NOTES_MAX)
			file->notes = elf_getdata(scn, NULL);
	}
	return file->notes != NULL;
}

/* Address in the file's own address space to file offset; 0 for none (offset 0 is the header). */
static uint64_t address_to_offset(Elf *elf, uint64_t address)
{
	size_t count;
	GElf_Phdr phdr;

	if (elf_getphdrnum(elf, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (gelf_getphdr(elf, (int)i, &phdr) && phdr.p_type == PT_LOAD &&
		    address >= phdr.p_vaddr && address - phdr.p_vaddr < phdr.p_memsz)
			return address - phdr.p_vaddr + phdr.p_offset;
	return 0;
}

/* A note's description begins with three addresses: probe, base, semaphore. */
static bool note_has_semaphore(const struct sdt_file *file, const void *desc, size_t len,
			       uint64_t offset)
{
	uint64_t words[3];

	if (len < sizeof(words))
		return false;
	memcpy(words, desc, sizeof(words));
	if (!words[2])
		return false;
	if (file->base)
		words[2] += file->base - words[1];
	return address_to_offset(file->elf, words[2]) == offset;
}

bool sdt_is_semaphore(int fd, uint64_t offset)
{
	struct sdt_file file;
	bool found = false;

	if (sdt_open(&file, fd) && gelf_getclass(file.elf) == ELFCLASS64) {
		size_t at = 0, next, name_at, desc_at;
		GElf_Nhdr note;

		while (!found && at < file.notes->d_size &&
		       (next = gelf_getnote(file.notes, at, &note, &name_at, &desc_at)) > 0) {
			if (note.n_type == NT_STAPSDT)
				found = note_has_semaphore(&file,
							   (char *)file.notes->d_buf + desc_at,
							   note.n_descsz, offset);
			at = next;
		}
	}
	if (file.elf)
		elf_end(file.elf);
	return found;
}
