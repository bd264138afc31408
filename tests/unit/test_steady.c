/* SPDX-License-Identifier: MIT */
/*
 * Which memory of this process is said to stay, and that nothing else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/steady.h"

static char zeros[3 * 4096]; /* behind the file's part */
static int variable = 1;

static bool is_steady(const void *p)
{
	struct steady steady;
	struct maps maps;
	bool found = false;

	assert_int_equal(maps_read(getpid(), &maps), 0);
	steady_find(&maps, true, &steady);
	for (uint32_t i = 0; i < steady.cnt; i++) {
		const struct region_range *range = &steady.ranges[i];

		/* Whatever is said is mapped. */
		assert_true(range->start < range->end);
		for (uint64_t at = range->start; at < range->end; at += 4096) {
			const struct map_entry *entry = maps_find(&maps, at);

			assert_non_null(entry);
			assert_true(entry->readable);
		}
		found |= (uint64_t)p >= range->start && (uint64_t)p < range->end;
	}
	maps_deinit(&maps);
	return found;
}

static void test_what_stays(void **state)
{
	char local[8] = "on stack";

	assert_true(is_steady("a literal"));
	assert_true(is_steady(local));
	assert_true(is_steady(environ[0]));
	assert_true(is_steady(strerrordesc_np(1)));
	assert_true(is_steady((const void *)(uintptr_t)cmocka_set_message_output));
}

static void test_what_goes(void **state)
{
	char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *heap = malloc(100), *big = malloc(1 << 20);

	assert_ptr_not_equal(page, MAP_FAILED);
	/* Pages of these may be protected for a while. */
	assert_false(is_steady(&variable));
	assert_false(is_steady(&zeros[4096]));
	assert_false(is_steady(heap));
	assert_false(is_steady(big));
	assert_false(is_steady(page));
	assert_false(is_steady(NULL));
	free(heap);
	free(big);
	munmap(page, 4096);
}

/* What was opened by name may be closed; what is linked to stays, also if it is opened again. */
static void test_opened(void **state)
{
	void *extra = dlopen("libBrokenLocale.so.1", RTLD_NOW);
	void *again = dlopen("libc.so.6", RTLD_NOW), *symbol;

	assert_non_null(extra);
	assert_non_null(again);
	symbol = dlsym(extra, "__ctype_get_mb_cur_max");
	assert_non_null(symbol);
	assert_false(is_steady(symbol));
	assert_true(is_steady(strerrordesc_np(1)));
	dlclose(extra);
	dlclose(again);
}

/* Two of one name: one of them can be closed. */
static void test_namesakes(void **state)
{
	void *other = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);

	assert_non_null(other);
	assert_false(is_steady(dlsym(other, "strerrordesc_np")));
	assert_false(is_steady(strerrordesc_np(1)));
	assert_true(is_steady("a literal"));
	dlclose(other);
}

/* A file that is looked at, and not loaded, is none of the objects, and does not hide one. */
static void test_looked_at(void **state)
{
	int fd = open("/lib/x86_64-linux-gnu/libc.so.6", O_RDONLY | O_CLOEXEC);
	char *file;

	assert_true(fd >= 0);
	file = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	assert_ptr_not_equal(file, MAP_FAILED);
	assert_false(is_steady(file));
	assert_true(is_steady(strerrordesc_np(1)));
	munmap(file, 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_stays), cmocka_unit_test(test_what_goes),
		cmocka_unit_test(test_opened),	   cmocka_unit_test(test_namesakes),
		cmocka_unit_test(test_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
