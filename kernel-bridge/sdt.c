/* SPDX-License-Identifier: MIT */
/*
 * Notes of .note.stapsdt, one after the other.
 *
 * Source: the format's description in systemtap's wiki, "UserSpaceProbeImplementation".
 */
#include "kernel-bridge/sdt.h"

#include <string.h>

#include "base/elf_file.h"

/* Notes are a few kilobytes in real files. */
#define READ_MAX   (16u << 20)
#define NT_STAPSDT 3

struct sdt_file {
	struct elf_file elf;
	const Elf64_Shdr *notes;
	uint64_t base; /* address of .stapsdt.base, 0 when absent */
};

/* A note of ours as far as it matters: addresses of probe, base and semaphore begin its
 * description. */
struct sdt_note {
	Elf64_Nhdr header;
	char owner[8];
	unsigned char words[3 * sizeof(uint64_t)];
};

static bool find_sections(struct sdt_file *file)
{
	const Elf64_Shdr *base;

	if (elf_section_find(&file->elf, ".note.stapsdt", &file->notes) < 0 ||
	    file->notes->sh_type != SHT_NOTE)
		return false;
	if (elf_section_find(&file->elf, ".stapsdt.base", &base) == 0)
		file->base = base->sh_addr;
	return true;
}

/* Address in the file's own address space to file offset; 0 for none (offset 0 is the header). */
static uint64_t address_to_offset(const struct elf_file *elf, uint64_t address)
{
	for (uint32_t i = 0; i < elf->segment_cnt; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		/* A semaphore may lie behind what the file has of its segment. */
		if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
		    address - segment->p_vaddr < segment->p_memsz)
			return address - segment->p_vaddr + segment->p_offset;
	}
	return 0;
}

static bool note_has_semaphore(const struct sdt_file *file, const struct sdt_note *note,
			       uint64_t offset)
{
	uint64_t words[3];

	memcpy(words, note->words, sizeof(words));
	if (note->header.n_type != NT_STAPSDT || note->header.n_namesz != sizeof(note->owner) ||
	    memcmp(note->owner, "stapsdt", sizeof(note->owner)) != 0 ||
	    note->header.n_descsz < sizeof(words) || !words[2])
		return false;
	if (file->base)
		words[2] += file->base - words[1];
	return address_to_offset(&file->elf, words[2]) == offset;
}

static uint64_t padded(uint32_t size)
{
	return (size + 3ull) & ~3ull;
}

static bool has_semaphore(struct sdt_file *file, uint64_t offset)
{
	struct sdt_note note;

	for (uint64_t at = 0;
	     elf_section_read(&file->elf, file->notes, at, &note, sizeof(note)) == 0;
	     at +=
	     sizeof(note.header) + padded(note.header.n_namesz) + padded(note.header.n_descsz))
		if (note_has_semaphore(file, &note, offset))
			return true;
	return false;
}

bool sdt_is_semaphore(int fd, uint64_t offset)
{
	struct sdt_file file = {0};
	bool found;

	if (elf_file_open(&file.elf, fd, READ_MAX) < 0)
		return false;
	found = find_sections(&file) && has_semaphore(&file, offset);
	elf_file_close(&file.elf);
	return found;
}
