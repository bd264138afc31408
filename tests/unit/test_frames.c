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
#include <gelf.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/frames.h"

struct tally {
	unsigned int same, inside, none;
};

/* One symbol table against the descriptions. */
static void compare(struct elf_file *file, Elf_Scn *scn, const GElf_Shdr *shdr, struct tally *tally)
{
	Elf_Data *data = elf_getdata(scn, NULL);

	for (size_t i = 0; data && i < shdr->sh_size / shdr->sh_entsize; i++) {
		uint64_t start, end, next;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym) || GELF_ST_TYPE(sym.st_info) != STT_FUNC ||
		    !sym.st_value || !sym.st_size || sym.st_shndx == SHN_UNDEF)
			continue;
		if (frames_find(file, sym.st_value, &start, &end, &next) < 0) {
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
	struct elf_file file;
	Elf *elf;

	assert_true(fd >= 0);
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	assert_int_equal(elf_file_open(&file, fd, ELF_FILE_BUDGET), 0);
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr shdr;

		if (gelf_getshdr(scn, &shdr) &&
		    (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM))
			compare(&file, scn, &shdr, &tally);
	}
	elf_end(elf);
	elf_file_close(&file);
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

static void look(int fd, const unsigned char *bytes, size_t size, uint64_t vaddr)
{
	uint64_t start, end, next;
	struct elf_file file;

	assert_int_equal(pwrite(fd, bytes, size, 0), size);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	if (elf_file_open(&file, fd, ELF_FILE_BUDGET) < 0)
		return;
	if (frames_find(&file, vaddr, &start, &end, &next) == 0)
		assert_true(vaddr >= start && vaddr < end);
	elf_file_close(&file);
}

static void test_hostile(void **state)
{
	int fd = memfd_create("hostile", MFD_CLOEXEC);
	uint64_t seed = 7;
	size_t size;
	unsigned char *bytes = load(&size), *copy = malloc(size);

	assert_true(fd >= 0);
	assert_non_null(copy);
	for (int i = 0; i < 3000; i++) {
		memcpy(copy, bytes, size);
		for (int k = 0; k < 200; k++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			copy[(seed >> 20) % size] = (unsigned char)(seed >> 12);
		}
		look(fd, copy, i % 3 ? size : (seed >> 30) % size, (seed >> 40) % size);
	}
	close(fd);
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
