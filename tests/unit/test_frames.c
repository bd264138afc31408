/* SPDX-License-Identifier: MIT */
/*
 * Functions by frame descriptions: of this program and of the C library they are what the symbols
 * say; of a file that is cut or scribbled on they are anything, but found without harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/frames.h"

struct tally {
	unsigned int same, inside, none;
};

/* One symbol table against the descriptions. */
static void compare(Elf *elf, Elf_Scn *scn, const GElf_Shdr *shdr, struct tally *tally)
{
	Elf_Data *data = elf_getdata(scn, NULL);

	for (size_t i = 0; data && i < shdr->sh_size / shdr->sh_entsize; i++) {
		uint64_t start, end, next;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym) || GELF_ST_TYPE(sym.st_info) != STT_FUNC ||
		    !sym.st_value || !sym.st_size || sym.st_shndx == SHN_UNDEF)
			continue;
		if (frames_find(elf, sym.st_value, &start, &end, &next) < 0) {
			tally->none++;
			continue;
		}
		assert_true(start <= sym.st_value && sym.st_value < end && next >= end);
		tally->same += start == sym.st_value && end == sym.st_value + sym.st_size;
		tally->inside++;
	}
}

static struct tally compare_file(const char *path)
{
	struct tally tally = {0};
	Elf_Scn *scn = NULL;
	int fd = open(path, O_RDONLY);
	Elf *elf;

	assert_true(fd >= 0);
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr shdr;

		if (gelf_getshdr(scn, &shdr) &&
		    (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM))
			compare(elf, scn, &shdr, &tally);
	}
	elf_end(elf);
	close(fd);
	print_message("%s: %u as the symbol says, %u of other extent, %u without\n", path,
		      tally.same, tally.inside - tally.same, tally.none);
	return tally;
}

static void test_symbols(void **state)
{
	struct tally tally;
	Dl_info info;

	tally = compare_file("/proc/self/exe");
	assert_true(tally.same > 5 && tally.same > 9 * (tally.none + tally.inside - tally.same));
	assert_true(dladdr((void *)qsort, &info) && info.dli_fname[0] == '/');
	tally = compare_file(info.dli_fname);
	assert_true(tally.same > 2000 && tally.same > 19 * (tally.none + tally.inside - tally.same));
}

/* A copy of this program in memory. */
static unsigned char *load(size_t *ret_size)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	unsigned char *bytes;
	struct stat st;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	bytes = malloc((size_t)st.st_size);
	assert_non_null(bytes);
	assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return bytes;
}

static void look(unsigned char *bytes, size_t size, uint64_t vaddr)
{
	Elf *elf = elf_memory((char *)bytes, size);
	uint64_t start, end, next;

	if (elf && elf_kind(elf) == ELF_K_ELF && frames_find(elf, vaddr, &start, &end, &next) == 0)
		assert_true(vaddr >= start && vaddr < end);
	elf_end(elf);
}

static void test_hostile(void **state)
{
	uint64_t seed = 7;
	size_t size;
	unsigned char *bytes = load(&size), *copy = malloc(size);

	assert_non_null(copy);
	elf_version(EV_CURRENT);
	for (int i = 0; i < 3000; i++) {
		memcpy(copy, bytes, size);
		for (int k = 0; k < 200; k++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			copy[(seed >> 20) % size] = (unsigned char)(seed >> 12);
		}
		look(copy, i % 3 ? size : (seed >> 30) % size, (seed >> 40) % size);
	}
	free(copy);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_symbols),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
