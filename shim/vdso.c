/* SPDX-License-Identifier: MIT */
/*
 * The vDSO is a small ELF image; its dynamic symbol table lies in its first pages.
 */
#include "shim/vdso.h"

#include <elf.h>
#include <string.h>

#define IMAGE_MAX 65536u

/* Bounds-checked view of the copied image. */
struct image {
	unsigned char bytes[IMAGE_MAX];
	size_t size;
};

static const void *at(const struct image *image, uint64_t offset, uint64_t len)
{
	return offset <= image->size && len <= image->size - offset ? image->bytes + offset : NULL;
}

/* Value of @name in the symbol table that section @shdr describes, or 0. */
static uint64_t lookup(const struct image *image, const Elf64_Shdr *shdr, const Elf64_Shdr *strings,
		       const char *name)
{
	for (uint64_t i = 0; i < shdr->sh_size / sizeof(Elf64_Sym); i++) {
		const Elf64_Sym *sym =
			at(image, shdr->sh_offset + i * sizeof(*sym), sizeof(Elf64_Sym));
		const char *found;

		if (!sym)
			return 0;
		found = at(image, strings->sh_offset + sym->st_name, strlen(name) + 1);
		if (found && sym->st_value && strcmp(found, name) == 0)
			return sym->st_value;
	}
	return 0;
}

static uint64_t image_symbol(const struct image *image, const char *name)
{
	const Elf64_Ehdr *ehdr = at(image, 0, sizeof(*ehdr));

	if (!ehdr || memcmp(ehdr->e_ident, ELFMAG, SELFMAG) != 0)
		return 0;
	for (uint32_t i = 0; i < ehdr->e_shnum; i++) {
		const Elf64_Shdr *shdr =
			at(image, ehdr->e_shoff + i * sizeof(*shdr), sizeof(Elf64_Shdr));
		const Elf64_Shdr *strings;

		if (!shdr || shdr->sh_type != SHT_DYNSYM)
			continue;
		strings = at(image, ehdr->e_shoff + (uint64_t)shdr->sh_link * sizeof(*strings),
			     sizeof(Elf64_Shdr));
		return strings ? lookup(image, shdr, strings, name) : 0;
	}
	return 0;
}

uint64_t vdso_symbol(const struct tracee *tracee, const struct maps *maps, const char *name)
{
	static struct image image;
	uint64_t value;

	for (uint32_t i = 0; i < maps->cnt; i++) {
		const struct map_entry *entry = &maps->entries[i];

		if (!entry->vdso)
			continue;
		image.size = entry->end - entry->start;
		if (image.size > IMAGE_MAX)
			image.size = IMAGE_MAX;
		if (tracee_read(tracee, entry->start, image.bytes, image.size) < 0)
			return 0;
		value = image_symbol(&image, name);
		return value ? entry->start + value : 0;
	}
	return 0;
}
