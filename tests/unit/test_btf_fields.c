/* SPDX-License-Identifier: MIT */
/*
 * Locks and the like in map values: found where the kernel finds them, and nothing is read outside
 * of BTF that is wild. Needs root (and fails without).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/btf_fields.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "tests/unit/btf_build.h"

#define PAGE 4096

static struct btf_build build;
static uint32_t word, lock; /* int of 4 bytes; struct bpf_spin_lock */

static void begin(void)
{
	memset(&build, 0, sizeof(build));
	word = btf_int(&build, "int", 4);
	lock = btf_struct(&build, "bpf_spin_lock", 1, 4);
	btf_member(&build, word, 0);
}

static struct btf_fields fields_of(uint32_t type)
{
	struct btf_fields fields = {.lock_off = 1234};

	assert_int_equal(btf_fields(&build.out, btf_finish(&build), type, &fields), 0);
	return fields;
}

static int load(void)
{
	union bpf_attr attr = {.btf = (uintptr_t)&build.out, .btf_size = btf_finish(&build)};

	return sys_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
}

/* Return: a map with such values, or -errno */
static int make_map(uint32_t type, uint32_t size)
{
	cleanup_fd int btf = load();
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
			       .key_size = 4,
			       .value_size = size,
			       .max_entries = 1,
			       .btf_fd = (uint32_t)btf,
			       .btf_key_type_id = word,
			       .btf_value_type_id = type};

	assert_true(btf >= 0);
	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

/*
 * Whether the kernel has a lock in such values, and where: BPF_F_LOCK is for these alone, and a
 * lookup shows zeroes where it is.
 */
static void assert_kernel_has(uint32_t type, uint32_t size, const struct btf_fields *fields)
{
	cleanup_fd int map = make_map(type, size);
	unsigned char value[64], expected[64];
	uint32_t zero = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)map,
			       .key = (uintptr_t)&zero,
			       .value = (uintptr_t)value,
			       .flags = BPF_F_LOCK};

	assert_true(map >= 0 && size <= sizeof(value));
	memset(value, 0xee, sizeof(value));
	memset(expected, 0xee, sizeof(expected));
	if (!(fields->kinds & BTF_FIELD_SPIN_LOCK)) {
		assert_int_equal(sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)), -EINVAL);
		return;
	}
	assert_int_equal(sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	assert_int_equal(sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)), 0);
	memset(expected + fields->lock_off, 0, 4);
	assert_memory_equal(value, expected, size);
}

static void test_locks(void **state)
{
	struct btf_fields fields;
	uint32_t value, inner, type;

	(void)state;
	begin();
	inner = btf_struct(&build, "inner", 2, 16);
	btf_member(&build, word, 0);
	btf_member(&build, lock, 8);
	value = btf_struct(&build, "value", 3, 32);
	btf_member(&build, word, 0);
	btf_member(&build, inner, 12);
	btf_member(&build, word, 28);
	type = btf_type(&build, "value_t", BTF_KIND_TYPEDEF, 0, value);
	fields = fields_of(type);
	assert_int_equal(fields.kinds, BTF_FIELD_SPIN_LOCK);
	assert_int_equal(fields.lock_off, 20);
	assert_kernel_has(type, 32, &fields);

	/* By another name it is data. */
	begin();
	type = btf_type(&build, "lock_t", BTF_KIND_TYPEDEF, 0, lock);
	value = btf_struct(&build, "value", 2, 8);
	btf_member(&build, word, 0);
	btf_member(&build, type, 4);
	fields = fields_of(value);
	assert_int_equal(fields.kinds, 0);
	assert_kernel_has(value, 8, &fields);

	/* So it is alone, and in an array of none. */
	fields = fields_of(lock);
	assert_int_equal(fields.kinds, 0);
	assert_kernel_has(lock, 4, &fields);
	type = btf_array(&build, lock, word, 0);
	value = btf_struct(&build, "value", 2, 8);
	btf_member(&build, word, 0);
	btf_member(&build, type, 4);
	fields = fields_of(value);
	assert_int_equal(fields.kinds, 0);
	assert_kernel_has(value, 8, &fields);
}

static void test_others(void **state)
{
	static const struct {
		const char *name;
		uint32_t kind;
	} others[] = {{"bpf_timer", BTF_FIELD_TIMER},	{"bpf_wq", BTF_FIELD_WORKQUEUE},
		      {"bpf_rb_root", BTF_FIELD_ROOT},	{"bpf_list_head", BTF_FIELD_ROOT},
		      {"bpf_rb_node", BTF_FIELD_OTHER}, {"bpf_spin_lock2", 0}};
	uint32_t value, type, tag;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		begin();
		type = btf_struct(&build, others[i].name, 0, 16);
		type = btf_array(&build, type, word, 2);
		value = btf_struct(&build, "value", 1, 32);
		btf_member(&build, type, 0);
		assert_int_equal(fields_of(value).kinds, others[i].kind);
	}
	/* Pointers: with a tag they are the kernel's. */
	begin();
	tag = btf_type(&build, "kptr", BTF_KIND_TYPE_TAG, 0, lock);
	type = btf_type(&build, NULL, BTF_KIND_PTR, 0, tag);
	value = btf_struct(&build, "value", 1, 8);
	btf_member(&build, type, 0);
	assert_int_equal(fields_of(value).kinds, BTF_FIELD_POINTER);
	type = btf_type(&build, NULL, BTF_KIND_PTR, 0, lock);
	value = btf_struct(&build, "value", 1, 8);
	btf_member(&build, type, 0);
	assert_int_equal(fields_of(value).kinds, 0);
}

/* Structures without bytes can be in each other as often as one likes. Return: the outermost. */
static uint32_t nest(uint32_t levels)
{
	uint32_t type, next;

	begin();
	type = btf_struct(&build, "leaf", 0, 0);
	for (uint32_t i = 0; i < levels; i++) {
		next = btf_struct(&build, "node", 2, 0);
		btf_member(&build, type, 0);
		btf_member(&build, type, 0);
		type = next;
	}
	next = btf_struct(&build, "value", 2, 4);
	btf_member(&build, lock, 0);
	btf_member(&build, type, 4);
	return next;
}

static void test_bounded(void **state)
{
	struct btf_fields fields;
	cleanup_fd int map = -1;
	uint32_t value = nest(8), type;

	(void)state;
	assert_int_equal(btf_is_bounded(&build.out, btf_finish(&build)), 0);
	fields = fields_of(value);
	assert_int_equal(fields.kinds, BTF_FIELD_SPIN_LOCK);
	map = make_map(value, 4);
	assert_true(map >= 0);
	value = nest(30);
	assert_int_equal(btf_is_bounded(&build.out, btf_finish(&build)), -E2BIG);
	assert_int_equal(btf_fields(&build.out, btf_finish(&build), value, &fields), -E2BIG);
	value = nest(100);
	assert_int_equal(btf_is_bounded(&build.out, btf_finish(&build)), -E2BIG);
	assert_int_equal(btf_fields(&build.out, btf_finish(&build), value, &fields), -E2BIG);
	/* In itself: the kernel refuses that as what it is. */
	begin();
	value = btf_struct(&build, "value", 1, 4);
	btf_member(&build, value, 0);
	assert_int_equal(btf_is_bounded(&build.out, btf_finish(&build)), -EINVAL);
	assert_int_equal(btf_fields(&build.out, btf_finish(&build), value, &fields), -E2BIG);
	assert_true(load() < 0);
	/* And an array of itself. */
	begin();
	type = btf_array(&build, build.cnt + 1, word, 1);
	assert_int_equal(btf_is_bounded(&build.out, btf_finish(&build)), -EINVAL);
	assert_true(load() < 0);
	(void)type;
	begin();
	btf_type(&build, "new", 25, 0, 4);
	assert_int_equal(btf_is_bounded(&build.out, btf_finish(&build)), -EOPNOTSUPP);
}

/* Bytes that end where a mapping does. */
static const void *at_edge(unsigned char *edge, const void *bytes, uint32_t len)
{
	return memcpy(edge - len, bytes, len);
}

static void test_wild(void **state)
{
	unsigned char *map = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		      *edge = map + 2 * PAGE;
	unsigned char copy[PAGE];
	struct btf_fields fields;
	uint32_t len, value;

	(void)state;
	assert_true(map != MAP_FAILED && mprotect(edge, PAGE, PROT_NONE) == 0);
	value = nest(8);
	btf_array(&build, value, word, 3);
	len = btf_finish(&build);
	assert_true(len <= sizeof(copy));
	for (uint32_t i = 0; i < len; i++) {
		const void *at = at_edge(edge, &build.out, i);

		assert_int_equal(btf_fields(at, i, value, &fields), -EINVAL);
		assert_int_equal(btf_is_bounded(at, i), -EINVAL);
	}
	for (uint32_t i = 0; i < len * 8; i++) {
		const void *at;

		memcpy(copy, &build.out, len);
		copy[i / 8] ^= (unsigned char)(1 << i % 8);
		at = at_edge(edge, copy, len);
		for (uint32_t type = 0; type < build.cnt + 2; type++)
			btf_fields(at, len, type, &fields);
		btf_is_bounded(at, len);
	}
	munmap(map, 3 * PAGE);
}

/* What the kernel has of itself is large, and is looked at all the same. */
static void test_large(void **state)
{
	const int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	unsigned char *bytes;
	struct stat file;
	size_t len = 0;
	ssize_t r = 1;

	(void)state;
	assert_int_equal(fstat(fd, &file), 0);
	bytes = malloc((size_t)file.st_size);
	assert_non_null(bytes);
	for (; r > 0; len += (size_t)r)
		r = read(fd, bytes + len, (size_t)file.st_size - len);
	assert_int_equal(len, file.st_size);
	assert_int_equal(btf_is_bounded(bytes, len), 0);
	free(bytes);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locks),	cmocka_unit_test(test_others),
		cmocka_unit_test(test_bounded), cmocka_unit_test(test_wild),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
