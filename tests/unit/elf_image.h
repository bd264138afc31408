/* SPDX-License-Identifier: MIT */
/*
 * A small ELF file whose headers a test may falsify: one function, in one segment, with one symbol.
 */
#pragma once

#include <elf.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGE_VADDR    0x401000ull
#define IMAGE_FUNCTION 64u /* where in @code */

enum { IMAGE_NONE, IMAGE_NAMES, IMAGE_STRINGS, IMAGE_SYMBOLS, IMAGE_NOTES, IMAGE_SECTIONS };

struct elf_image {
	Elf64_Ehdr ehdr;
	Elf64_Phdr segment;
	Elf64_Shdr sections[IMAGE_SECTIONS];
	char names[64], strings[64];
	Elf64_Sym symbols[2];
	struct {
		Elf64_Nhdr header;
		char owner[8];
		unsigned char words[24];
	} note;
	unsigned char code[4096];
};

static void image_section(struct elf_image *image, int nr, uint32_t type, size_t at, size_t size)
{
	static const char names[] = "\0.names\0.strings\0.symbols\0.note.stapsdt";
	static const uint32_t name_at[] = {0, 1, 8, 17, 26};

	memcpy(image->names, names, sizeof(names));
	image->sections[nr] = (Elf64_Shdr){
		.sh_name = name_at[nr], .sh_type = type, .sh_offset = at, .sh_size = size};
}

#define IMAGE_SECTION(image, nr, type, member)                                                     \
	image_section(image, nr, type, offsetof(struct elf_image, member), sizeof((image)->member))

static void image_init(struct elf_image *image)
{
	/* Eight bytes that can be moved, and the end. */
	static const unsigned char function[] = {0x90, 0x90, 0x90, 0x90, 0x90,
						 0x90, 0x90, 0x90, 0xc3};
	uint64_t semaphore = IMAGE_VADDR + 512;

	*image = (struct elf_image){
		.ehdr = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_phoff = offsetof(struct elf_image, segment),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1,
			 .e_shoff = offsetof(struct elf_image, sections),
			 .e_shentsize = sizeof(Elf64_Shdr),
			 .e_shnum = IMAGE_SECTIONS,
			 .e_shstrndx = IMAGE_NAMES},
		.segment = {.p_type = PT_LOAD,
			    .p_flags = PF_R | PF_X,
			    .p_offset = offsetof(struct elf_image, code),
			    .p_vaddr = IMAGE_VADDR,
			    .p_filesz = sizeof(image->code),
			    .p_memsz = sizeof(image->code)},
		.strings = "\0function\0other",
		.symbols = {[1] = {.st_name = 1,
				   .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
				   .st_shndx = 1,
				   .st_value = IMAGE_VADDR + IMAGE_FUNCTION,
				   .st_size = sizeof(function)}},
		.note = {.header = {8, sizeof(image->note.words), 3}, .owner = "stapsdt"},
	};
	memset(image->code, 0xcc, sizeof(image->code));
	memcpy(image->code + IMAGE_FUNCTION, function, sizeof(function));
	memcpy(image->note.words + 16, &semaphore, sizeof(semaphore));
	IMAGE_SECTION(image, IMAGE_NAMES, SHT_STRTAB, names);
	IMAGE_SECTION(image, IMAGE_STRINGS, SHT_STRTAB, strings);
	IMAGE_SECTION(image, IMAGE_SYMBOLS, SHT_SYMTAB, symbols);
	IMAGE_SECTION(image, IMAGE_NOTES, SHT_NOTE, note);
	image->sections[IMAGE_SYMBOLS].sh_link = IMAGE_STRINGS;
	image->sections[IMAGE_SYMBOLS].sh_entsize = sizeof(Elf64_Sym);
}

/* A file of it, @size bytes long: zeros, in a hole, are behind it. */
static int image_file(const struct elf_image *image, off_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (pwrite(fd, image, sizeof(*image), 0) != sizeof(*image) || ftruncate(fd, size) < 0)
		return -1;
	return fd;
}
