/* SPDX-License-Identifier: MIT */
/*
 * Stubs in an area that somebody else writes to: the test's own memory is the target, and what is
 * written to it is undone at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/stub.h"

#define REGION 0x7a0000000000ull
#define CODE   "\x55\x48\x89\xe5\x90\x90\x90\xc3"
#define LEN    5

static struct region_stub *area;
static uint64_t undo;
static unsigned int forgotten;

/* What shim/tracee.c writes by. */
ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	ssize_t n = syscall(SYS_pwrite64, fd, buf, len, offset);
	uint64_t ip = (uint64_t)&area[1].ip;

	if ((uint64_t)offset == ip && len == sizeof(undo)) {
		forgotten++;
		if (undo)
			syscall(SYS_pwrite64, fd, &undo, sizeof(undo), offset);
	}
	return n;
}

static unsigned char *setup_area(struct tracee *ret_tracee, struct maps *ret_maps)
{
	unsigned char *site =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(site != MAP_FAILED);
	memcpy(site, CODE, 8);
	area = mmap(NULL, STUB_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	assert_true(area != MAP_FAILED);
	area[0] = (struct region_stub){.ip = STUB_AREA_MARK, .enter = REGION};
	area[1] = (struct region_stub){.ip = (uint64_t)site, .enter = REGION + 1};
	assert_int_equal(mprotect(area, STUB_AREA_SIZE, PROT_READ | PROT_EXEC), 0);
	*ret_tracee = (struct tracee){.pid = getpid(), .mem_fd = open("/proc/self/mem", O_RDWR)};
	assert_true(ret_tracee->mem_fd >= 0);
	assert_int_equal(maps_read(getpid(), ret_maps), 0);
	forgotten = 0;
	return site;
}

static int make(bool undone, uint64_t *ret_moved)
{
	struct shim_want want = {.displaced = LEN};
	struct tracee tracee;
	struct move_map map;
	struct maps maps;
	unsigned char jump[5], *site = setup_area(&tracee, &maps);
	int r;

	undo = undone ? (uint64_t)site : 0;
	memcpy(want.original, CODE, LEN);
	r = stub_new(&tracee, &maps, (uint64_t)site, &want, REGION, REGION + 64, 8, jump, ret_moved,
		     &map);
	maps_deinit(&maps);
	close(tracee.mem_fd);
	munmap(site, 4096);
	return r;
}

/* A record that was made for other code is left alone: a thread may be in it. */
static void test_other_code(void **state)
{
	uint64_t moved;

	assert_int_equal(make(false, &moved), 0);
	assert_int_equal(forgotten, 1);
	assert_int_equal(area[1].ip, 0);
	assert_int_equal(area[1].enter, REGION + 1);
	assert_int_equal(area[2].enter, REGION + 64);
	assert_int_equal(moved, (uint64_t)area[2].code + REGION_STUB_DISPLACED);
	munmap(area, STUB_AREA_SIZE);
}

static void test_never_forgotten(void **state)
{
	uint64_t moved;

	assert_int_equal(make(true, &moved), -EBUSY);
	assert_true(forgotten > 0 && forgotten < 100);
	munmap(area, STUB_AREA_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_code),
		cmocka_unit_test(test_never_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
