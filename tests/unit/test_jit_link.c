/* SPDX-License-Identifier: MIT */
/*
 * The linker, on objects made here: a section of code, one of constants, and relocations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "vm/link.h"

#define PLACE 0x20040ull

enum {
	SECTION_NULL,
	SECTION_TEXT,
	SECTION_RODATA,
	SECTION_RELA,
	SECTION_SYMTAB,
	SECTION_NAMES,
	SECTION_CNT
};

static const char names[] = "\0.text\0.rodata\0.rela.text\0.symtab\0.strtab\0prog\0table\0outside";
#define NAME(text)                                                                                 \
	((uint32_t)((const char *)memmem(names, sizeof(names), "\0" text, sizeof(text) + 1) -      \
		    names + 1))

/* An object as LLVM writes them, in one struct. */
struct object {
	Elf64_Ehdr header;
	unsigned char text[32];
	unsigned char rodata[16];
	Elf64_Rela relas[2];
	Elf64_Sym symbols[4];
	char names[sizeof(names)];
	_Alignas(8) Elf64_Shdr sections[SECTION_CNT];
};

#define SECTION(member, kind, alloc, align)                                                        \
	{                                                                                          \
		.sh_type = (kind), .sh_flags = (alloc),                                            \
		.sh_offset = offsetof(struct object, member),                                      \
		.sh_size = sizeof(((struct object *)0)->member), .sh_addralign = (align)           \
	}

static struct object make_object(void)
{
	struct object o = {
		.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64},
			   .e_type = ET_REL,
			   .e_machine = EM_X86_64,
			   .e_shoff = offsetof(struct object, sections),
			   .e_shentsize = sizeof(Elf64_Shdr),
			   .e_shnum = SECTION_CNT,
			   .e_shstrndx = SECTION_NAMES},
		.relas = {{.r_offset = 4, .r_info = ELF64_R_INFO(2, R_X86_64_PC32), .r_addend = -4},
			  {.r_offset = 12,
			   .r_info = ELF64_R_INFO(3, R_X86_64_PLT32),
			   .r_addend = -4}},
		.symbols = {{0},
			    {.st_name = NAME("prog"),
			     .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
			     .st_shndx = SECTION_TEXT},
			    {.st_name = NAME("table"), .st_shndx = SECTION_RODATA, .st_value = 8},
			    {.st_name = NAME("outside")}},
		.sections = {[SECTION_TEXT] =
				     SECTION(text, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 16),
			     [SECTION_RODATA] = SECTION(rodata, SHT_PROGBITS, SHF_ALLOC, 16),
			     [SECTION_RELA] = SECTION(relas, SHT_RELA, 0, 8),
			     [SECTION_SYMTAB] = SECTION(symbols, SHT_SYMTAB, 0, 8),
			     [SECTION_NAMES] = SECTION(names, SHT_STRTAB, 0, 1)},
	};

	memset(o.text, 0x90, sizeof(o.text));
	memset(o.rodata, 0x11, sizeof(o.rodata));
	memcpy(o.names, names, sizeof(names));
	o.sections[SECTION_TEXT].sh_name = NAME(".text");
	o.sections[SECTION_RODATA].sh_name = NAME(".rodata");
	o.sections[SECTION_RELA].sh_info = SECTION_TEXT;
	o.sections[SECTION_RELA].sh_link = SECTION_SYMTAB;
	o.sections[SECTION_SYMTAB].sh_link = SECTION_NAMES;
	return o;
}

static uint64_t resolve(const char *name, void *data)
{
	return strcmp(name, "outside") == 0 ? *(uint64_t *)data : 0;
}

/* Links from memory that ends where the object does. */
static int link_it(const struct object *o, uint64_t outside, void **ret_code, size_t *ret_len,
		   struct reason *reason)
{
	struct link_request request = {
		.size = sizeof(*o),
		.entry = "prog",
		.place = PLACE,
		.resolve = resolve,
		.data = &outside,
	};
	struct link_result result;
	cleanup_free void *copy = malloc(sizeof(*o));
	int r;

	assert_non_null(copy);
	memcpy(copy, o, sizeof(*o));
	request.object = copy;
	r = link_object(&request, &result, reason);
	if (r == 0) {
		assert_int_equal(result.reloc_cnt, 0);
		*ret_code = result.code;
		*ret_len = result.len;
	}
	return r;
}

static void refused(const struct object *o, int error, const char *why)
{
	struct reason reason = {0};
	size_t len;
	void *code;

	assert_int_equal(link_it(o, 0x1000, &code, &len, &reason), error);
	if (!strstr(reason.text, why))
		fail_msg("\"%s\" is not in \"%s\"", why, reason.text);
}

static int32_t field(const void *code, size_t at)
{
	int32_t value;

	memcpy(&value, (const unsigned char *)code + at, sizeof(value));
	return value;
}

static void test_layout(void **state)
{
	struct object o = make_object();
	cleanup_free unsigned char *code = NULL;
	struct reason reason = {0};
	void *linked;
	size_t len;

	assert_int_equal(link_it(&o, 0x1000, &linked, &len, &reason), 0);
	code = linked;
	assert_int_equal(len, 32 + 16);
	assert_int_equal(code[0], 0x90);
	assert_int_equal(code[32], 0x11);
	/* Distances count from the end of the field. */
	assert_int_equal(field(code, 4), 32 + 8 - 8);
	assert_int_equal(field(code, 12), 0x1000 - (int64_t)(PLACE + 16));
}

static void test_wide_relocation(void **state)
{
	struct object o = make_object();
	cleanup_free unsigned char *code = NULL;
	struct reason reason = {0};
	int64_t value;
	void *linked;
	size_t len;

	o.relas[1].r_info = ELF64_R_INFO(3, R_X86_64_PC64);
	o.relas[1].r_addend = 0;
	assert_int_equal(link_it(&o, 1ull << 40, &linked, &len, &reason), 0);
	code = linked;
	memcpy(&value, code + 12, sizeof(value));
	assert_int_equal(value, (1ll << 40) - (int64_t)(PLACE + 12));
}

static void test_unknown(void **state)
{
	struct object o = make_object();

	o.relas[0].r_info = ELF64_R_INFO(2, R_X86_64_64);
	refused(&o, -EOPNOTSUPP, "a relocation of type 1");
	o = make_object();
	memcpy(o.names + NAME("outside"), "nowhere", 7);
	refused(&o, -EOPNOTSUPP, "refers to nowhere");
	o = make_object();
	o.sections[SECTION_RODATA].sh_flags |= SHF_WRITE;
	refused(&o, -EOPNOTSUPP, "a section .rodata");
	o = make_object();
	o.sections[SECTION_RODATA].sh_type = SHT_NOBITS;
	refused(&o, -EOPNOTSUPP, "a section .rodata");
	o = make_object();
	memcpy(o.names + NAME(".rodata"), ".secret", 7);
	refused(&o, -EOPNOTSUPP, "a section .secret");
	o = make_object();
	o.sections[SECTION_RODATA].sh_flags = 0;
	refused(&o, -EOPNOTSUPP, "in a section that was dropped");
}

static void test_too_far(void **state)
{
	struct object o = make_object();
	struct reason reason = {0};
	size_t len;
	void *code;

	assert_int_equal(link_it(&o, 1ull << 32, &code, &len, &reason), -ERANGE);
}

static void test_malformed(void **state)
{
	struct object o = make_object();

	o.header.e_machine = EM_386;
	refused(&o, -EINVAL, "not an x86-64 object");
	o = make_object();
	o.header.e_shoff = sizeof(o) - 8;
	refused(&o, -EINVAL, "section table");
	o = make_object();
	o.sections[SECTION_TEXT].sh_size = UINT64_MAX;
	refused(&o, -EINVAL, "section outside");
	o = make_object();
	o.relas[1].r_offset = 29;
	refused(&o, -EINVAL, "relocation outside");
	o = make_object();
	o.relas[1].r_info = ELF64_R_INFO(4, R_X86_64_PC32);
	refused(&o, -EINVAL, "symbol");
	o = make_object();
	o.symbols[1].st_value = 16;
	refused(&o, -EINVAL, "does not come first");
	o = make_object();
	o.symbols[1].st_name = NAME("table");
	refused(&o, -EINVAL, "no entry");
	o = make_object();
	o.sections[SECTION_TEXT].sh_addralign = 48;
	refused(&o, -EINVAL, "alignment");
}

/* Whatever stands in the object, nothing outside of it is touched (run with ASan to see it). */
static void test_noise(void **state)
{
	unsigned linked = 0;

	srand(1);
	for (unsigned i = 0; i < 20000; i++) {
		struct object o = make_object();
		unsigned char *bytes = (unsigned char *)&o;
		struct reason reason = {0};
		size_t len;
		void *code;

		for (int j = rand() % 4; j >= 0; j--)
			bytes[(size_t)rand() % sizeof(o)] = (unsigned char)rand();
		if (link_it(&o, 0x1000, &code, &len, &reason) == 0) {
			linked++;
			free(code);
		}
	}
	assert_in_range(linked, 100, 19900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),	  cmocka_unit_test(test_wide_relocation),
		cmocka_unit_test(test_unknown),	  cmocka_unit_test(test_too_far),
		cmocka_unit_test(test_malformed), cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
