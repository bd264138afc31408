/* SPDX-License-Identifier: MIT */
/*
 * Files of others: what libelf finds in honest ones is found, and what a dishonest one claims costs
 * neither memory nor more time than the budget allows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <sys/resource.h>

#include "base/elf_file.h"
#include "kernel-bridge/sdt.h"
#include "tests/unit/elf_image.h"

#define MB (1ull << 20)

static struct elf_image image;
static struct elf_file file;

static int setup(void **state)
{
	image_init(&image);
	return 0;
}

/* Read a file of the image; the caller closes it. */
static int open_image(uint64_t size, uint64_t budget)
{
	int fd = image_file(&image, (off_t)size), r;

	assert_true(fd >= 0);
	r = elf_file_open(&file, fd, budget);
	if (r < 0)
		close(fd);
	return r;
}

static void close_image(void)
{
	close(file.fd);
	elf_file_close(&file);
}

static long peak_mb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss / 1024;
}

/* All symbols in order, as one number. */
struct sum {
	uint64_t hash, cnt;
};

static void sum_add(struct sum *sum, const char *name, uint64_t value, uint64_t size)
{
	for (; *name; name++)
		sum->hash = (sum->hash ^ (unsigned char)*name) * 0x100000001b3ull;
	sum->hash = (sum->hash ^ value ^ size << 40) * 0x100000001b3ull;
	sum->cnt++;
}

static int sum_ours(struct elf_file *of, const Elf64_Shdr *table, const Elf64_Sym *symbol,
		    void *data)
{
	char name[4096];

	assert_int_equal(elf_symbol_name(of, table, symbol, name, sizeof(name)), 0);
	sum_add(data, name, symbol->st_value, symbol->st_size);
	return 0;
}

static void sum_table(Elf *elf, uint32_t type, struct sum *sum)
{
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr shdr;
		GElf_Sym symbol;

		assert_non_null(gelf_getshdr(scn, &shdr));
		if (shdr.sh_type != type)
			continue;
		for (int i = 0; gelf_getsym(elf_getdata(scn, NULL), i, &symbol); i++)
			sum_add(sum, elf_strptr(elf, shdr.sh_link, symbol.st_name), symbol.st_value,
				symbol.st_size);
	}
}

static void compare_file(const char *path, const char *function)
{
	struct sum ours = {0}, theirs = {0};
	int fd = open(path, O_RDONLY);
	Elf64_Sym symbol;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	assert_int_equal(elf_file_open(&file, fd, ELF_FILE_BUDGET), 0);
	sum_table(elf, SHT_SYMTAB, &theirs);
	sum_table(elf, SHT_DYNSYM, &theirs);
	assert_int_equal(elf_symbols_each(&file, sum_ours, &ours), 0);
	print_message("%s: %lu symbols\n", path, (unsigned long)ours.cnt);
	assert_true(ours.cnt > 100);
	assert_int_equal(ours.cnt, theirs.cnt);
	assert_int_equal(ours.hash, theirs.hash);
	assert_int_equal(elf_symbol_find(&file, function, &symbol), 0);
	assert_true(symbol.st_value && symbol.st_size);
	assert_int_equal(elf_symbol_find(&file, "no such symbol", &symbol), -ENOENT);
	elf_file_close(&file);
	elf_end(elf);
	close(fd);
}

static void test_honest(void **state)
{
	Dl_info info;

	compare_file("/proc/self/exe", "main");
	assert_true(dladdr((void *)qsort, &info) && info.dli_fname[0] == '/');
	compare_file(info.dli_fname, "qsort");
}

/* A name that only the end of what is read at once cuts in two is found, wherever it is cut. */
static void test_pieces(void **state)
{
	const char name[] = "function";
	const off_t strings = 4 * MB;
	Elf64_Sym symbol;

	image.sections[IMAGE_STRINGS].sh_offset = (uint64_t)strings;
	image.sections[IMAGE_STRINGS].sh_size = MB;
	for (uint32_t at = (96 << 10) - 12; at < (96 << 10) + 3; at++) {
		image.symbols[1].st_name = at;
		assert_int_equal(open_image(5 * MB, ELF_FILE_BUDGET), 0);
		assert_int_equal(pwrite(file.fd, name, sizeof(name), strings + at), sizeof(name));
		assert_int_equal(elf_symbol_find(&file, name, &symbol), 0);
		assert_int_equal(symbol.st_value, IMAGE_VADDR + IMAGE_FUNCTION);
		close_image();
	}
	/* At the very end, and without one. */
	image.symbols[1].st_name = MB - sizeof(name);
	assert_int_equal(open_image(5 * MB, ELF_FILE_BUDGET), 0);
	assert_int_equal(pwrite(file.fd, name, sizeof(name), strings + MB - sizeof(name)),
			 sizeof(name));
	assert_int_equal(elf_symbol_find(&file, name, &symbol), 0);
	file.sections[IMAGE_STRINGS].sh_size--;
	assert_int_equal(elf_symbol_find(&file, name, &symbol), -ENOENT);
	close_image();
}

static void test_headers(void **state)
{
	image.ehdr.e_shnum = ELF_FILE_HEADERS_MAX + 1;
	assert_int_equal(open_image(4 * MB, ELF_FILE_BUDGET), -E2BIG);
	image.ehdr.e_shnum = IMAGE_SECTIONS;
	image.ehdr.e_phnum = 0xffff;
	assert_int_equal(open_image(4 * MB, ELF_FILE_BUDGET), -E2BIG);
	image.ehdr.e_phnum = 1;
	image.ehdr.e_shentsize = 63;
	assert_int_equal(open_image(4 * MB, ELF_FILE_BUDGET), -EINVAL);
	image.ehdr.e_shentsize = 64;
	image.ehdr.e_shoff = UINT64_MAX - 63;
	assert_int_equal(open_image(4 * MB, ELF_FILE_BUDGET), -EINVAL);
	image.ehdr.e_shoff = 4 * MB;
	assert_int_equal(open_image(4 * MB, ELF_FILE_BUDGET), -EINVAL);
	image.ehdr.e_shoff = offsetof(struct elf_image, sections);
	image.ehdr.e_machine = EM_386;
	assert_int_equal(open_image(4 * MB, ELF_FILE_BUDGET), -EINVAL);
	image.ehdr.e_machine = EM_X86_64;
	assert_int_equal(open_image(100, ELF_FILE_BUDGET), -EINVAL);
	assert_int_equal(open_image(4 * MB, 100), -E2BIG);
	/* Without sections it still is one. */
	image.ehdr.e_shnum = 0;
	assert_int_equal(open_image(4 * MB, ELF_FILE_BUDGET), 0);
	close_image();
}

static int count_one(struct elf_file *of, const Elf64_Shdr *table, const Elf64_Sym *symbol,
		     void *data)
{
	++*(uint64_t *)data;
	return 0;
}

/* Tables of gigabytes that take no room in the file take none in memory either; of many tables one
 * is read; and what goes beyond the budget is an error, and not a symbol that is not there. */
static void test_sparse(void **state)
{
	const struct elf_image honest = image;
	long before = peak_mb();
	uint64_t cnt = 0;
	Elf64_Sym symbol;

	for (int i = 0; i < IMAGE_SECTIONS; i++)
		if (i != IMAGE_SYMBOLS && i != IMAGE_STRINGS)
			image.sections[i] = image.sections[IMAGE_SYMBOLS];
	image.sections[IMAGE_NONE].sh_offset = sizeof(image);
	image.sections[IMAGE_NONE].sh_size = 240 * MB;
	assert_int_equal(open_image(2000 * MB, 300 * MB), 0);
	assert_int_equal(elf_symbols_each(&file, count_one, &cnt), 0);
	assert_int_equal(cnt, 10 * MB);
	close_image();

	image = honest;
	image.sections[IMAGE_STRINGS].sh_size = 2000 * MB;
	assert_int_equal(open_image(4000 * MB, 500 * MB), 0);
	assert_int_equal(elf_symbol_find(&file, "nowhere", &symbol), -E2BIG);
	assert_int_equal(elf_symbol_find(&file, "function", &symbol), -E2BIG);
	close_image();
	assert_int_equal(open_image(4000 * MB, 3000 * MB), 0);
	assert_int_equal(elf_symbol_find(&file, "nowhere", &symbol), -ENOENT);
	close_image();
	/* Ends before its time. */
	assert_int_equal(open_image(1000 * MB, 3000 * MB), 0);
	assert_int_equal(elf_symbol_find(&file, "nowhere", &symbol), -EINVAL);
	close_image();

	image = honest;
	image.sections[IMAGE_SYMBOLS].sh_size = UINT64_MAX;
	image.sections[IMAGE_SYMBOLS].sh_offset = UINT64_MAX;
	assert_int_equal(open_image(4000 * MB, 3000 * MB), 0);
	assert_int_equal(elf_symbols_each(&file, count_one, &cnt), -EINVAL);
	close_image();
	assert_true(peak_mb() - before < 32);
}

/* A name that stands in many places, as the end of longer ones. */
static void test_many_places(void **state)
{
	Elf64_Sym symbol;

	for (size_t i = 0; i < sizeof(image.code); i += 2)
		memcpy(image.code + i, "x", 2);
	image.sections[IMAGE_STRINGS].sh_offset = offsetof(struct elf_image, code);
	image.sections[IMAGE_STRINGS].sh_size = sizeof(image.code);
	assert_int_equal(open_image(sizeof(image), ELF_FILE_BUDGET), 0);
	assert_int_equal(elf_symbol_find(&file, "x", &symbol), -E2BIG);
	close_image();
}

static bool is_semaphore(uint64_t offset, uint64_t size)
{
	int fd = image_file(&image, (off_t)size);
	bool is = sdt_is_semaphore(fd, offset);

	close(fd);
	return is;
}

static void test_semaphores(void **state)
{
	const uint64_t offset = offsetof(struct elf_image, code) + 512;
	const struct elf_image honest = image;
	long before = peak_mb();

	assert_true(is_semaphore(offset, sizeof(image)));
	assert_false(is_semaphore(offset + 1, sizeof(image)));
	assert_false(is_semaphore(0, sizeof(image)));
	image.note.owner[0] = 'S';
	assert_false(is_semaphore(offset, sizeof(image)));
	image = honest;
	image.note.header.n_descsz = 16;
	assert_false(is_semaphore(offset, sizeof(image)));
	image.note.header.n_descsz = UINT32_MAX;
	assert_false(is_semaphore(offset + 1, sizeof(image)));
	/* Sizes that nobody has: what comes first is looked at, no more. */
	image = honest;
	image.sections[IMAGE_NOTES].sh_size = 4000 * MB;
	assert_true(is_semaphore(offset, 8000 * MB));
	assert_false(is_semaphore(offset + 1, 8000 * MB));
	/* Names of sections in a hole, and notes behind one. */
	image = honest;
	image.sections[IMAGE_NAMES].sh_size = 4000 * MB;
	image.sections[IMAGE_NONE].sh_name = 3000u << 20;
	assert_true(is_semaphore(offset, 8000 * MB));
	for (int i = 0; i < IMAGE_NOTES; i++)
		if (i != IMAGE_NAMES)
			image.sections[i] = image.sections[IMAGE_NOTES];
	image.sections[IMAGE_NONE].sh_offset = sizeof(image);
	image.sections[IMAGE_NONE].sh_size = 16 * MB;
	assert_false(is_semaphore(offset, 8000 * MB));
	assert_true(peak_mb() - before < 32);
}

/* Anything at all: no read outside of buffers (built with sanitizers this finds them). */
static void test_scribbled(void **state)
{
	unsigned char *bytes = (unsigned char *)&image;
	const struct elf_image honest = image;
	const size_t headers = offsetof(struct elf_image, code);
	uint64_t seed = 11, cnt = 0;
	Elf64_Sym symbol;

	for (int i = 0; i < 20000; i++) {
		image = honest;
		for (int k = 0; k < 1 + i % 8; k++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			bytes[4 + (seed >> 20) % (headers - 4)] = (unsigned char)(seed >> 12);
		}
		is_semaphore(0x100, sizeof(image) + MB);
		if (open_image(sizeof(image) + MB, 4 * MB) < 0)
			continue;
		elf_symbol_find(&file, "function", &symbol);
		elf_symbols_each(&file, count_one, &cnt);
		close_image();
	}
	assert_true(cnt > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_honest, setup),
		cmocka_unit_test_setup(test_pieces, setup),
		cmocka_unit_test_setup(test_headers, setup),
		cmocka_unit_test_setup(test_sparse, setup),
		cmocka_unit_test_setup(test_many_places, setup),
		cmocka_unit_test_setup(test_semaphores, setup),
		cmocka_unit_test_setup(test_scribbled, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
