/* SPDX-License-Identifier: MIT */
/*
 * Lays out one relocatable object; called by the JIT. The object comes from LLVM in the same
 * process, but after it has read a hostile program: every offset in it is checked before use.
 */
#include "vm/link.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

/* One program; LLVM turns the longest one the kernel takes into less than this. */
#define LINK_SIZE_MAX (16u << 20)
#define CODE_INSIDE   UINT32_MAX /* no target: it moves with the rest */

struct linker {
	const struct link_request *request;
	const unsigned char *object;
	const Elf64_Shdr *sections;
	uint32_t section_cnt;
	const char *section_names;
	size_t section_names_len;
	const Elf64_Sym *symbols;
	size_t symbol_cnt;
	const char *names;
	size_t names_len;
	uint64_t *places; /* by section: place in the region, 0 when it was dropped */
	unsigned char *code;
	size_t len;
	struct code_reloc *relocs;
	uint32_t reloc_cnt, reloc_room;
	struct reason *reason;
};

static bool in_object(const struct linker *l, uint64_t offset, uint64_t len)
{
	return offset <= l->request->size && len <= l->request->size - offset;
}

/* A string of a string table, or NULL when it does not end inside of it. */
static const char *name_at(const char *table, size_t len, uint64_t at)
{
	if (at >= len || !memchr(table + at, '\0', len - at))
		return NULL;
	return table + at;
}

static const char *section_name(const struct linker *l, const Elf64_Shdr *section)
{
	const char *name = name_at(l->section_names, l->section_names_len, section->sh_name);

	return name ? name : "?";
}

static int malformed(struct linker *l, const char *what)
{
	return reason_set(l->reason, -EINVAL, "compiled object is malformed: %s", what);
}

static int read_header(struct linker *l)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)l->object;
	const Elf64_Shdr *names;

	if (l->request->size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
	    header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64 ||
	    header->e_type != ET_REL)
		return malformed(l, "not an x86-64 object");
	if (header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shoff % 8 != 0 ||
	    !in_object(l, header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr)) ||
	    header->e_shstrndx >= header->e_shnum)
		return malformed(l, "section table");
	l->sections = (const Elf64_Shdr *)(l->object + header->e_shoff);
	l->section_cnt = header->e_shnum;
	for (uint32_t i = 0; i < l->section_cnt; i++)
		if (l->sections[i].sh_type != SHT_NOBITS &&
		    !in_object(l, l->sections[i].sh_offset, l->sections[i].sh_size))
			return malformed(l, "section outside of the file");
	names = &l->sections[header->e_shstrndx];
	l->section_names = (const char *)l->object + names->sh_offset;
	l->section_names_len = names->sh_size;
	return 0;
}

static int read_symbols(struct linker *l)
{
	for (uint32_t i = 0; i < l->section_cnt; i++) {
		const Elf64_Shdr *section = &l->sections[i];

		if (section->sh_type != SHT_SYMTAB)
			continue;
		if (section->sh_link >= l->section_cnt || section->sh_offset % 8 != 0)
			return malformed(l, "symbol table");
		l->symbols = (const Elf64_Sym *)(l->object + section->sh_offset);
		l->symbol_cnt = section->sh_size / sizeof(Elf64_Sym);
		l->names = (const char *)l->object + l->sections[section->sh_link].sh_offset;
		l->names_len = l->sections[section->sh_link].sh_size;
		return 0;
	}
	return malformed(l, "no symbol table");
}

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* What is needed at run time. The unwinder's tables are not: nothing unwinds through programs. */
static int wanted(struct linker *l, const Elf64_Shdr *section, bool *ret_code, bool *ret_constants)
{
	const char *name = section_name(l, section);

	*ret_code = *ret_constants = false;
	if (!(section->sh_flags & SHF_ALLOC) || section->sh_size == 0 ||
	    strcmp(name, ".eh_frame") == 0)
		return 0;
	if (section->sh_type != SHT_PROGBITS || (section->sh_flags & (SHF_WRITE | SHF_TLS)))
		return reason_set(l->reason, -EOPNOTSUPP, "compiled object has a section %s", name);
	*ret_code = has_prefix(name, ".text");
	*ret_constants = has_prefix(name, ".rodata");
	if (!*ret_code && !*ret_constants)
		return reason_set(l->reason, -EOPNOTSUPP, "compiled object has a section %s", name);
	return 0;
}

static int place_section(struct linker *l, uint32_t index)
{
	const Elf64_Shdr *section = &l->sections[index];
	uint64_t align = section->sh_addralign ? section->sh_addralign : 1;
	uint64_t at;

	/* The result as a whole stands at a multiple of 64, so no more can be promised. */
	if (align > 64 || (align & (align - 1)))
		return malformed(l, "alignment");
	at = (l->len + align - 1) & ~(align - 1);
	if (section->sh_size > LINK_SIZE_MAX || at + section->sh_size > LINK_SIZE_MAX)
		return reason_set(l->reason, -EOPNOTSUPP, "compiled program is too long");
	l->places[index] = l->request->place + at;
	l->len = at + section->sh_size;
	return 0;
}

/* All code, then all constants: one run of bytes, one copy into the region. */
static int place_sections(struct linker *l)
{
	bool code, constants;
	int r;

	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < l->section_cnt; i++) {
			r = wanted(l, &l->sections[i], &code, &constants);
			if (r == 0 && (pass == 0 ? code : constants))
				r = place_section(l, i);
			if (r < 0)
				return r;
		}
	}
	return l->len ? 0 : malformed(l, "no code");
}

static int copy_sections(struct linker *l)
{
	l->code = malloc(l->len);
	if (!l->code)
		return -ENOMEM;
	/* Gaps trap. */
	memset(l->code, 0xcc, l->len);
	for (uint32_t i = 0; i < l->section_cnt; i++)
		if (l->places[i])
			memcpy(l->code + (l->places[i] - l->request->place),
			       l->object + l->sections[i].sh_offset, l->sections[i].sh_size);
	return 0;
}

/* @ret_target: set for a symbol from outside, if anybody asks. */
static int symbol_place(struct linker *l, uint64_t index, uint64_t *ret_place,
			uint32_t *ret_target)
{
	const Elf64_Sym *symbol;
	const char *name;

	if (index >= l->symbol_cnt)
		return malformed(l, "symbol");
	symbol = &l->symbols[index];
	name = name_at(l->names, l->names_len, symbol->st_name);
	if (!name)
		return malformed(l, "symbol name");
	if (symbol->st_shndx == SHN_UNDEF) {
		if (l->request->target)
			*ret_target = l->request->target(name, l->request->data);
		*ret_place = l->request->resolve(name, l->request->data);
		if (*ret_place == 0)
			return reason_set(l->reason, -EOPNOTSUPP,
					  "compiled program refers to %s, which the runtime does "
					  "not have",
					  *name ? name : "nothing");
		return 0;
	}
	if (symbol->st_shndx >= l->section_cnt || !l->places[symbol->st_shndx])
		return reason_set(l->reason, -EOPNOTSUPP,
				  "compiled program refers to %s in a section that was dropped",
				  name);
	*ret_place = l->places[symbol->st_shndx] + symbol->st_value;
	return 0;
}

static int remember(struct linker *l, uint64_t at, uint32_t target)
{
	if (l->reloc_cnt == l->reloc_room) {
		uint32_t room = l->reloc_room ? l->reloc_room * 2 : 64;
		struct code_reloc *grown = realloc(l->relocs, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->relocs = grown;
		l->reloc_room = room;
	}
	l->relocs[l->reloc_cnt++] = (struct code_reloc){(uint32_t)at, target};
	return 0;
}

static int relocate(struct linker *l, uint32_t target, const Elf64_Rela *rela)
{
	const uint32_t type = ELF64_R_TYPE(rela->r_info);
	const size_t width = type == R_X86_64_PC64 ? 8 : 4;
	uint64_t symbol, at;
	uint32_t outside = CODE_INSIDE;
	int64_t distance;
	int r;

	if (type != R_X86_64_PC32 && type != R_X86_64_PLT32 && type != R_X86_64_PC64)
		return reason_set(l->reason, -EOPNOTSUPP,
				  "compiled object has a relocation of type %u", type);
	if (rela->r_offset > l->sections[target].sh_size ||
	    width > l->sections[target].sh_size - rela->r_offset)
		return malformed(l, "relocation outside of its section");
	r = symbol_place(l, ELF64_R_SYM(rela->r_info), &symbol, &outside);
	if (r < 0)
		return r;
	at = l->places[target] - l->request->place + rela->r_offset;
	if (outside != CODE_INSIDE && width != 4)
		return malformed(l, "relocation of a width that cannot be moved");
	distance =
		(int64_t)(symbol + (uint64_t)rela->r_addend - (l->places[target] + rela->r_offset));
	if (width == 4 && distance != (int32_t)distance)
		return reason_set(l->reason, -ERANGE,
				  "compiled program is too far from what it "
				  "refers to");
	memcpy(l->code + at, &distance, width);
	return outside == CODE_INSIDE ? 0 : remember(l, at, outside);
}

static int relocate_section(struct linker *l, const Elf64_Shdr *section)
{
	const Elf64_Rela *relas = (const Elf64_Rela *)(l->object + section->sh_offset);
	int r;

	if (section->sh_info >= l->section_cnt || !l->places[section->sh_info])
		return 0;
	if (section->sh_type == SHT_REL || section->sh_offset % 8 != 0)
		return malformed(l, "relocations");
	for (size_t i = 0; i < section->sh_size / sizeof(*relas); i++) {
		r = relocate(l, section->sh_info, &relas[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_entry(struct linker *l)
{
	for (size_t i = 0; i < l->symbol_cnt; i++) {
		const Elf64_Sym *symbol = &l->symbols[i];
		const char *name = name_at(l->names, l->names_len, symbol->st_name);

		if (!name || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC ||
		    strcmp(name, l->request->entry) != 0)
			continue;
		if (symbol->st_shndx >= l->section_cnt || symbol->st_value != 0 ||
		    l->places[symbol->st_shndx] != l->request->place)
			return malformed(l, "the entry does not come first");
		return 0;
	}
	return malformed(l, "no entry");
}

static int lay_out(struct linker *l)
{
	int r;

	r = place_sections(l);
	if (r == 0)
		r = check_entry(l);
	if (r == 0)
		r = copy_sections(l);
	for (uint32_t i = 0; r == 0 && i < l->section_cnt; i++)
		if (l->sections[i].sh_type == SHT_RELA || l->sections[i].sh_type == SHT_REL)
			r = relocate_section(l, &l->sections[i]);
	return r;
}

void link_result_deinit(struct link_result *result)
{
	free(result->code);
	free(result->relocs);
	*result = (struct link_result){0};
}

int link_object(const struct link_request *request, struct link_result *ret_result,
		struct reason *reason)
{
	struct linker l = {.request = request, .object = request->object, .reason = reason};
	cleanup_free uint64_t *places = NULL;
	int r;

	/* A place of 0 marks what was dropped; the region's text stands there anyway. */
	if (request->place == 0 || request->place % 64 != 0)
		return reason_set(reason, -EINVAL, "no place for a program");
	r = read_header(&l);
	if (r == 0)
		r = read_symbols(&l);
	if (r < 0)
		return r;
	places = calloc(l.section_cnt, sizeof(*places));
	if (!places)
		return -ENOMEM;
	l.places = places;
	r = lay_out(&l);
	if (r < 0) {
		free(l.code);
		free(l.relocs);
		return r;
	}
	*ret_result = (struct link_result){l.code, l.len, l.relocs, l.reloc_cnt};
	return 0;
}
