/* SPDX-License-Identifier: MIT */
/*
 * Every length and offset in here is the tenant's: each is compared with what contains it before it
 * is used, and what is read is charged first.
 *
 * Source: System V gABI 4.1, chapter 4, and its supplement for AMD64.
 */
#include "base/elf_file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE (96u << 10) /* whole symbols */
#define PLACES_MAX  64u		/* of one name in a table of strings: it may end longer names */
#define NAME_SIZE   64u		/* of a section, as far as anybody asks */

static_assert(BUFFER_SIZE % sizeof(Elf64_Sym) == 0, "whole symbols");

int elf_file_charge(struct elf_file *file, uint64_t cost)
{
	if (cost > file->budget) {
		file->budget = 0;
		return -E2BIG;
	}
	file->budget -= cost;
	return 0;
}

int elf_file_read(struct elf_file *file, uint64_t at, void *ret_bytes, size_t size)
{
	int r = elf_file_charge(file, size);

	if (r < 0)
		return r;
	if (at > INT64_MAX || size > INT64_MAX - at)
		return -EINVAL;
	for (size_t done = 0; done < size;) {
		ssize_t n =
			pread(file->fd, (char *)ret_bytes + done, size - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EINVAL;
		done += (size_t)n;
	}
	return 0;
}

int elf_section_read(struct elf_file *file, const Elf64_Shdr *section, uint64_t at, void *ret_bytes,
		     size_t size)
{
	if (section->sh_type == SHT_NOBITS || at > section->sh_size ||
	    size > section->sh_size - at || section->sh_offset > UINT64_MAX - at)
		return -EINVAL;
	return elf_file_read(file, section->sh_offset + at, ret_bytes, size);
}

/* A table of headers, owned by the caller; NULL for none. */
static int read_headers(struct elf_file *file, uint64_t at, uint32_t cnt, uint32_t size,
			uint32_t wanted_size, void *ret_headers)
{
	void *headers;
	int r;

	if (!at || !cnt)
		return 0;
	if (size != wanted_size)
		return -EINVAL;
	if (cnt > ELF_FILE_HEADERS_MAX)
		return -E2BIG;
	headers = calloc(cnt, size);
	if (!headers)
		return -ENOMEM;
	*(void **)ret_headers = headers;
	r = elf_file_read(file, at, headers, (size_t)cnt * size);
	return r < 0 ? r : (int)cnt;
}

static bool is_sound(const Elf64_Phdr *segment)
{
	return segment->p_filesz <= INT64_MAX &&
	       segment->p_offset <= INT64_MAX - segment->p_filesz &&
	       segment->p_vaddr <= UINT64_MAX - segment->p_filesz;
}

static int read_all_headers(struct elf_file *file)
{
	Elf64_Ehdr ehdr;
	int r = elf_file_read(file, 0, &ehdr, sizeof(ehdr));

	if (r < 0)
		return r;
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 || ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr.e_ident[EI_DATA] != ELFDATA2LSB || ehdr.e_machine != EM_X86_64)
		return -EINVAL;
	r = read_headers(file, ehdr.e_phoff, ehdr.e_phnum, ehdr.e_phentsize, sizeof(Elf64_Phdr),
			 &file->segments);
	if (r < 0)
		return r;
	file->segment_cnt = (uint32_t)r;
	for (uint32_t i = 0; i < file->segment_cnt; i++)
		if (!is_sound(&file->segments[i]))
			return -EINVAL;
	r = read_headers(file, ehdr.e_shoff, ehdr.e_shnum, ehdr.e_shentsize, sizeof(Elf64_Shdr),
			 &file->sections);
	if (r < 0)
		return r;
	file->section_cnt = (uint32_t)r;
	if (ehdr.e_shstrndx < file->section_cnt)
		file->names = &file->sections[ehdr.e_shstrndx];
	return 0;
}

int elf_file_open(struct elf_file *file, int fd, uint64_t budget)
{
	int r;

	*file = (struct elf_file){.fd = fd, .budget = budget, .buffer = malloc(BUFFER_SIZE)};
	r = file->buffer ? read_all_headers(file) : -ENOMEM;
	if (r < 0)
		elf_file_close(file);
	return r;
}

void elf_file_close(struct elf_file *file)
{
	free(file->segments);
	free(file->sections);
	free(file->buffer);
	*file = (struct elf_file){.fd = -1};
}

/* What fits of a string of a table of strings; empty when @at is not in it. */
static int read_string(struct elf_file *file, const Elf64_Shdr *strings, uint64_t at,
		       char *ret_string, size_t size)
{
	uint64_t left = at < strings->sh_size ? strings->sh_size - at : 0;
	size_t len = left < size - 1 ? left : size - 1;

	ret_string[len] = '\0';
	return len ? elf_section_read(file, strings, at, ret_string, len) : 0;
}

int elf_section_find(struct elf_file *file, const char *name, const Elf64_Shdr **ret_section)
{
	char found[NAME_SIZE];

	for (uint32_t i = 0; file->names && i < file->section_cnt; i++) {
		int r = read_string(file, file->names, file->sections[i].sh_name, found,
				    sizeof(found));

		if (r < 0)
			return r;
		if (strcmp(found, name) != 0)
			continue;
		*ret_section = &file->sections[i];
		return 0;
	}
	return -ENOENT;
}

bool elf_segment_has(const Elf64_Phdr *segment, uint64_t vaddr, uint64_t size)
{
	return vaddr >= segment->p_vaddr && vaddr - segment->p_vaddr <= segment->p_filesz &&
	       size <= segment->p_filesz - (vaddr - segment->p_vaddr);
}

/* The one table of symbols of a type that is looked at, or NULL. */
static const Elf64_Shdr *symbol_table(const struct elf_file *file, uint32_t type)
{
	for (uint32_t i = 0; i < file->section_cnt; i++)
		if (file->sections[i].sh_type == type)
			return file->sections[i].sh_entsize == sizeof(Elf64_Sym)
				       ? &file->sections[i]
				       : NULL;
	return NULL;
}

static int each_in(struct elf_file *file, uint32_t type, elf_symbol_fn *fn, void *data)
{
	const Elf64_Shdr *table = symbol_table(file, type);
	uint64_t size = table ? table->sh_size - table->sh_size % sizeof(Elf64_Sym) : 0;
	int r = 0;

	for (uint64_t at = 0; at < size && r == 0; at += BUFFER_SIZE) {
		size_t len = size - at < BUFFER_SIZE ? size - at : BUFFER_SIZE;

		r = elf_section_read(file, table, at, file->buffer, len);
		for (size_t i = 0; i < len && r == 0; i += sizeof(Elf64_Sym)) {
			Elf64_Sym symbol;

			memcpy(&symbol, file->buffer + i, sizeof(symbol));
			r = fn(file, table, &symbol, data);
		}
	}
	return r;
}

int elf_symbols_each(struct elf_file *file, elf_symbol_fn *fn, void *data)
{
	int r = each_in(file, SHT_SYMTAB, fn, data);

	return r ? r : each_in(file, SHT_DYNSYM, fn, data);
}

static const Elf64_Shdr *strings_of(const struct elf_file *file, const Elf64_Shdr *table)
{
	return table && table->sh_link < file->section_cnt &&
			       file->sections[table->sh_link].sh_type == SHT_STRTAB
		       ? &file->sections[table->sh_link]
		       : NULL;
}

int elf_symbol_name(struct elf_file *file, const Elf64_Shdr *table, const Elf64_Sym *symbol,
		    char *ret_name, size_t size)
{
	const Elf64_Shdr *strings = strings_of(file, table);

	ret_name[0] = '\0';
	return strings ? read_string(file, strings, symbol->st_name, ret_name, size) : 0;
}

/* Where a name stands in a table of strings: symbols are compared by that, so that neither table
 * has to be held in memory. */
struct places {
	uint64_t at[PLACES_MAX];
	uint32_t cnt;
	Elf64_Sym *ret_symbol;
};

static int find_places(struct elf_file *file, const Elf64_Shdr *strings, const char *name,
		       struct places *places)
{
	const size_t wanted = strlen(name) + 1;
	uint64_t at = 0;

	while (at < strings->sh_size && strings->sh_size - at >= wanted) {
		uint64_t left = strings->sh_size - at;
		size_t len = left < BUFFER_SIZE ? left : BUFFER_SIZE;
		const unsigned char *found = file->buffer;
		int r = elf_section_read(file, strings, at, file->buffer, len);

		if (r < 0)
			return r;
		while ((found = memmem(found, len - (size_t)(found - file->buffer), name,
				       wanted))) {
			if (places->cnt == PLACES_MAX)
				return -E2BIG;
			places->at[places->cnt++] = at + (size_t)(found++ - file->buffer);
		}
		/* The name may be cut by the end of the buffer. */
		at += len - (wanted - 1);
	}
	return 0;
}

static int compare(struct elf_file *file, const Elf64_Shdr *table, const Elf64_Sym *symbol,
		   void *data)
{
	const struct places *places = data;

	for (uint32_t i = 0; i < places->cnt; i++)
		if (symbol->st_name == places->at[i] && symbol->st_shndx != SHN_UNDEF) {
			*places->ret_symbol = *symbol;
			return 1;
		}
	return 0;
}

int elf_symbol_find(struct elf_file *file, const char *name, Elf64_Sym *ret_symbol)
{
	static const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const Elf64_Shdr *strings = strings_of(file, symbol_table(file, types[i]));
		struct places places = {.ret_symbol = ret_symbol};
		int r = strings ? find_places(file, strings, name, &places) : 0;

		if (r == 0 && places.cnt)
			r = each_in(file, types[i], compare, &places);
		if (r)
			return r < 0 ? r : 0;
	}
	return -ENOENT;
}
