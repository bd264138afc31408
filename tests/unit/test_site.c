/* SPDX-License-Identifier: MIT */
/*
 * Sites of files whose headers lie: a symbol or a segment that wraps around, or is not where its
 * file has bytes, misleads nobody beyond what was read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "shim/apply.h"
#include "shim/unwind.h"
#include "tests/unit/elf_image.h"

#define SITE (offsetof(struct elf_image, code) + IMAGE_FUNCTION)

static struct elf_image image;

static int setup(void **state)
{
	image_init(&image);
	return 0;
}

/* What is said of @offset of a file of @size bytes. */
static int check_at(uint64_t offset, off_t size, struct shim_want *ret_want, struct reason *reason)
{
	int fd = image_file(&image, size);
	struct elf_file file;
	int r;

	assert_true(fd >= 0);
	*ret_want = (struct shim_want){.offset = offset};
	r = elf_file_open(&file, fd, ELF_FILE_BUDGET);
	if (r == 0) {
		r = shim_site_check(&file, ret_want, reason);
		elf_file_close(&file);
	}
	close(fd);
	return r;
}

static void expect_refused(const char *why)
{
	struct reason reason = {0};
	struct shim_want want;

	assert_int_equal(check_at(SITE, sizeof(image), &want, &reason), -EOPNOTSUPP);
	assert_non_null(strstr(reason.text, why));
}

static void expect_fits(void)
{
	struct reason reason = {0};
	struct shim_want want;

	assert_int_equal(check_at(SITE, sizeof(image), &want, &reason), 0);
	assert_int_equal(want.displaced, 5);
	assert_memory_equal(want.original, image.code + IMAGE_FUNCTION, 5);
}

static void test_fits(void **state)
{
	struct shim_want want;

	expect_fits();
	assert_int_equal(check_at(sizeof(image), 2 * sizeof(image), &want, NULL), -EINVAL);
	assert_int_equal(check_at(0, sizeof(image), &want, NULL), -EINVAL);
}

static void test_symbols(void **state)
{
	static const uint64_t sizes[] = {UINT64_MAX,
					 UINT64_MAX - IMAGE_VADDR - IMAGE_FUNCTION,
					 UINT64_MAX - IMAGE_VADDR - IMAGE_FUNCTION + 1,
					 INT64_MAX,
					 sizeof(image.code) - IMAGE_FUNCTION + 1,
					 0};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		image.symbols[1].st_size = sizes[i];
		expect_refused("neither a symbol nor");
		/* It does not hide one that can be. */
		image.symbols[0] = image.symbols[1];
		image.symbols[1].st_size = 9;
		expect_fits();
		image.symbols[0] = (Elf64_Sym){0};
	}
	/* Begins in front of the segment. */
	image.symbols[1].st_value = IMAGE_VADDR - 1;
	image.symbols[1].st_size = IMAGE_FUNCTION + 10;
	expect_refused("neither a symbol nor");
	image.symbols[1].st_value = 0;
	expect_refused("neither a symbol nor");
	/* All of the segment. */
	image.symbols[1].st_value = IMAGE_VADDR;
	image.symbols[1].st_size = sizeof(image.code);
	expect_fits();
}

static void test_segments(void **state)
{
	struct shim_want want;

	image.segment.p_vaddr = UINT64_MAX - sizeof(image.code) + 1;
	assert_int_equal(check_at(SITE, sizeof(image), &want, NULL), -EINVAL);
	image.segment.p_vaddr = IMAGE_VADDR;
	image.segment.p_filesz = UINT64_MAX;
	assert_int_equal(check_at(SITE, sizeof(image), &want, NULL), -EINVAL);
	image.segment.p_filesz = sizeof(image.code);
	image.segment.p_offset = UINT64_MAX - 100;
	assert_int_equal(check_at(UINT64_MAX - 50, sizeof(image), &want, NULL), -EINVAL);
	/* Longer than the file: what is there is used. */
	image.segment.p_offset = offsetof(struct elf_image, code);
	image.segment.p_filesz = 1ull << 40;
	image.symbols[1].st_size = 1 << 20;
	assert_int_equal(check_at(SITE, sizeof(image), &want, NULL), -EINVAL);
	image.symbols[1].st_size = 9;
	expect_fits();
}

/* A short function, and nothing for more than is looked through. */
static void test_far_from_next(void **state)
{
	struct reason reason = {0};
	struct shim_want want;

	image.segment.p_filesz = 64 << 20;
	image.symbols[1].st_size = 1;
	memset(image.code + IMAGE_FUNCTION, 0xcc, 9);
	image.code[IMAGE_FUNCTION] = 0xc3;
	assert_int_equal(check_at(SITE, 64 << 20, &want, &reason), 0);
	assert_int_equal(want.displaced, 5);
	image.code[IMAGE_FUNCTION + 4] = 0x90;
	assert_int_equal(check_at(SITE, 64 << 20, &want, &reason), 0);
	image.code[IMAGE_FUNCTION + 4] = 0xc3;
	assert_int_equal(check_at(SITE, 64 << 20, &want, &reason), -EOPNOTSUPP);
	assert_non_null(strstr(reason.text, "no room"));
	image.symbols[1].st_size = 32 << 20;
	assert_int_equal(check_at(SITE, 64 << 20, &want, &reason), -EOPNOTSUPP);
	assert_non_null(strstr(reason.text, "its function is larger"));
}

static void test_names(void **state)
{
	struct shim_want want = {0};
	int fd = image_file(&image, sizeof(image));
	struct elf_file file;

	assert_int_equal(elf_file_open(&file, fd, ELF_FILE_BUDGET), 0);
	assert_int_equal(shim_file_traits(&file, NULL), 0);
	assert_int_equal(shim_unwind_check(&file, &want, NULL), -ENOENT);
	elf_file_close(&file);
	strcpy(image.strings + 1, "_Unwind_Find_FDE");
	strcpy(image.strings + 20, "__cxa_throw");
	strcpy(image.names + 8, ".gopclntab");
	image.symbols[0] = image.symbols[1];
	image.symbols[0].st_name = 20;
	assert_int_equal(pwrite(fd, &image, sizeof(image), 0), sizeof(image));
	assert_int_equal(elf_file_open(&file, fd, ELF_FILE_BUDGET), 0);
	assert_int_equal(shim_file_traits(&file, NULL), SHIM_TRAIT_GO | SHIM_TRAIT_THROWS);
	assert_int_equal(shim_unwind_check(&file, &want, NULL), 0);
	assert_int_equal(want.offset, SITE);
	elf_file_close(&file);
	close(fd);
}

/* More symbols than may be read: said so, and the memory is not that large. */
static void test_too_much(void **state)
{
	struct reason reason = {0};
	struct shim_want want;

	image.sections[IMAGE_SYMBOLS].sh_size = 6ull << 30;
	assert_int_equal(check_at(SITE, 7ull << 30, &want, &reason), -EOPNOTSUPP);
	assert_non_null(strstr(reason.text, "too much would have to be read"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_fits, setup),
		cmocka_unit_test_setup(test_symbols, setup),
		cmocka_unit_test_setup(test_segments, setup),
		cmocka_unit_test_setup(test_far_from_next, setup),
		cmocka_unit_test_setup(test_names, setup),
		cmocka_unit_test_setup(test_too_much, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
