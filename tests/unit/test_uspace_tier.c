/* SPDX-License-Identifier: MIT */
/*
 * Better code for programs that run: it takes the first one's place wherever the program is
 * attached, and nowhere else. A worker that hangs, crashes or finds no memory leaves the first code
 * running and the next program served; programs and the tenant may go at any time. Needs root, as
 * the daemon does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"
#include "notifier/uspace_plan.h"
#include "tests/programs/worker_modes.h"
#include "tests/unit/fake_uspace.h"

#define TIMEOUT_MS 4000 /* of a worker that has the lowest priority */
#define ATTACHED   3 /* of these, programs 0, 1 and 0 again */

static struct uspace_site site;
static struct plan_site records, older;

static struct region_site *record_at(uint64_t at)
{
	return (void *)(uspace.base + at);
}

static int setup(void **state)
{
	(void)state;
	fake_uspace_init(TIMEOUT_MS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_uspace_deinit();
	return 0;
}

/* r0 = @result; the first code keeps what the better one does not. */
static struct uspace_prog *load(enum stub_mode mode, int32_t result)
{
	struct bpf_insn insns[] = {
		INSN_MOV64_IMM(BPF_REG_0, 0),
		INSN_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, 1),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_0, 0),
		INSN_MOV64_IMM(BPF_REG_0, result),
		INSN_EXIT(),
	};
	const struct verifier_prog prog = {.insns = insns, .cnt = ARRAY_SIZE(insns)};
	struct worker_answer answer;
	struct uspace_prog *made;
	struct reason reason = {0};

	insns[0].imm = (int32_t)(STUB_COMPILER + mode);
	assert_int_equal(uspace_prog_new(&uspace, &prog, NULL, 0, 0, &answer, &made, &reason), 0);
	worker_answer_deinit(&answer);
	assert_string_equal(made->why_not.text, "");
	assert_true(made->code != 0);
	return made;
}

static void write_record(uint64_t at, struct uspace_prog *const *progs)
{
	struct region_site *record = record_at(at);

	record->cnt = ATTACHED;
	for (uint32_t i = 0; i < ATTACHED; i++)
		record->attach[i].code = progs[i % 2]->code;
}

/* A site with a record for all, one for a single process, and one that some process may still have.
 */
static void attach(struct uspace_prog *const progs[2])
{
	static struct plan_filter filter;
	uint64_t at[4];

	for (uint32_t i = 0; i < ARRAY_SIZE(at); i++) {
		at[i] = uspace_space_take(&uspace, &uspace.code, 256);
		assert_true(at[i] != 0);
		write_record(at[i], progs);
	}
	older = (struct plan_site){.want = {.site = at[3]}};
	filter = (struct plan_filter){.pid = 1, .record = at[1], .without_returns = at[2]};
	records = (struct plan_site){.want = {.site = at[0]}, .filters = &filter, .filter_cnt = 1};
	site = (struct uspace_site){.records = &records, .stale = &older};
	list_init(&site.points);
	list_append(&uspace.sites, &site.node);
}

static void detach(void)
{
	pthread_mutex_lock(&uspace.apply);
	list_remove(&site.node);
	pthread_mutex_unlock(&uspace.apply);
}

static void assert_attached(uint64_t code0, uint64_t code1)
{
	const uint64_t at[] = {records.want.site, records.filters[0].record,
			       records.filters[0].without_returns, older.want.site};

	for (uint32_t i = 0; i < ARRAY_SIZE(at); i++) {
		assert_int_equal(record_at(at[i])->attach[0].code, code0);
		assert_int_equal(record_at(at[i])->attach[1].code, code1);
		assert_int_equal(record_at(at[i])->attach[2].code, code0);
	}
}

static void assert_improves(struct uspace_prog *prog)
{
	assert_true(fake_improve(prog));
}

static void assert_stays(struct uspace_prog *prog)
{
	const uint64_t code = prog->code;

	assert_false(fake_improve(prog));
	assert_int_equal(prog->code, code);
}

static void test_swap(void **state)
{
	struct uspace_prog *progs[2] = {load(STUB_ACCEPT, 7), load(STUB_ACCEPT, 8)};
	const uint64_t first[2] = {progs[0]->code, progs[1]->code}, end = uspace.code.next;
	/* mov $7, %eax; ret */
	const unsigned char code[] = {0xb8, 7, 0, 0, 0, 0xc3};

	(void)state;
	attach(progs);
	assert_attached(first[0], first[1]);
	assert_improves(progs[0]);
	assert_int_not_equal(progs[0]->code, first[0]);
	/* Processes map what was in use when the program came to them, and perhaps no more. */
	assert_true(progs[0]->code + progs[0]->size <= end);
	assert_int_equal(progs[0]->room, 0);
	assert_attached(progs[0]->code, first[1]);
	assert_memory_equal(uspace.base + progs[0]->code, code, sizeof(code));
	assert_int_equal(progs[0]->size, sizeof(code));
	/* Some process may be in it. */
	assert_int_equal(progs[0]->first, first[0]);
	assert_null(progs[0]->entry);
	/* Once is enough. */
	assert_improves(progs[0]);
	assert_int_equal(progs[0]->first, first[0]);
	assert_improves(progs[1]);
	assert_attached(progs[0]->code, progs[1]->code);
	detach();
	uspace_prog_unref(progs[0]);
	uspace_prog_unref(progs[1]);
}

static void test_failures(void **state)
{
	const enum stub_mode modes[] = {
		STUB_HANG,
		STUB_CRASH,
		STUB_OPEN,
#ifndef __SANITIZE_ADDRESS__
		STUB_EAT,
#endif
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct uspace_prog *bad = load(modes[i], 7), *good;

		assert_stays(bad);
		good = load(STUB_ACCEPT, 8);
		assert_improves(good);
		uspace_prog_unref(bad);
		uspace_prog_unref(good);
	}
}

/* Nobody's load waits for better code of others. */
static void test_loads_meanwhile(void **state)
{
	struct uspace_prog *slow = load(STUB_HANG, 7), *other;

	(void)state;
	tiers_want(uspace.tiers, slow);
	usleep(200000);
	other = load(STUB_ACCEPT, 8);
	assert_false(fake_is_done(slow));
	assert_true(fake_becomes_done(slow, 10));
	uspace_prog_unref(other);
	uspace_prog_unref(slow);
}

/* Detached and closed while it is being made: what is made then goes with it. */
static void test_freed_meanwhile(void **state)
{
	const uint64_t next = uspace.code.next;
	struct uspace_prog *progs[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(progs); i++) {
		progs[i] = load(STUB_ACCEPT, (int32_t)i);
		tiers_want(uspace.tiers, progs[i]);
		if (i % 3)
			uspace_prog_unref(progs[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(progs); i += 3) {
		assert_true(fake_becomes_done(progs[i], 30));
		uspace_prog_unref(progs[i]);
	}
	/* The first code of each, and the room for the better one. */
	assert_in_range(uspace.code.next - next, 1, 100 * 1024);
}

static void test_ends_meanwhile(void **state)
{
	struct uspace_prog *prog = load(STUB_HANG, 7), *waiting = load(STUB_ACCEPT, 8);
	struct timespec before, after;

	(void)state;
	tiers_want(uspace.tiers, prog);
	tiers_want(uspace.tiers, waiting);
	usleep(100000);
	clock_gettime(CLOCK_MONOTONIC, &before);
	uspace.tiers = tiers_free(uspace.tiers);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000 +
			    (after.tv_nsec - before.tv_nsec) / 1000000 <
		    TIMEOUT_MS);
	assert_true(fake_is_done(prog) && fake_is_done(waiting));
	uspace_prog_unref(prog);
	uspace_prog_unref(waiting);
}

/* What a worker that was taken over may say of the code is checked. */
static void test_nonsense(void **state)
{
	struct uspace_prog *prog = load(STUB_ACCEPT, 7);
	const struct code_reloc relocs[] = {{3, CODE_RUNTIME},
					    {6, CODE_RUNTIME},
					    {UINT32_MAX, 0},
					    {0, CODE_MAP_RECORD(0)},
					    {0, UINT32_MAX}};
	unsigned char code[6] = {0};
	struct worker_answer answer = {.code = code, .code_len = sizeof(code), .reloc_cnt = 1};
	const uint64_t before = prog->code;
	struct reason reason;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(relocs); i++) {
		struct code_reloc reloc = relocs[i];

		answer.relocs = &reloc;
		assert_int_equal(uspace_prog_replace(prog, &answer, &reason), -EINVAL);
		assert_non_null(strstr(reason.text, "cannot be put in place"));
		assert_int_equal(prog->code, before);
	}
	answer.code_len = prog->room_size + 1;
	assert_int_equal(uspace_prog_replace(prog, &answer, &reason), -ENOSPC);
	assert_non_null(strstr(reason.text, "no room"));
	assert_int_equal(prog->code, before);
	uspace_prog_unref(prog);
}

/* Processes "bpfshim-worker" that are children of this one, and the highest nice value among them.
 */
static unsigned count_workers(int *ret_nice)
{
	DIR *dir = opendir("/proc");
	unsigned cnt = 0;

	assert_non_null(dir);
	*ret_nice = -21;
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		char path[300], line[400] = "";
		int pid = atoi(entry->d_name), parent = 0;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = pid ? fopen(path, "re") : NULL;
		if (!file)
			continue;
		if (fgets(line, sizeof(line), file) && strstr(line, "(bpfshim-worker)") &&
		    sscanf(strrchr(line, ')'), ") %*c %d", &parent) == 1 && parent == getpid()) {
			int nice = getpriority(PRIO_PROCESS, (id_t)pid);

			cnt++;
			*ret_nice = nice > *ret_nice ? nice : *ret_nice;
		}
		fclose(file);
	}
	closedir(dir);
	return cnt;
}

/* A second process, with a low priority, while there is something to do and a little longer. */
static void test_process(void **state)
{
	struct uspace_prog *prog = load(STUB_ACCEPT, 7);
	int nice;

	(void)state;
	assert_int_equal(count_workers(&nice), 1);
	assert_int_equal(nice, getpriority(PRIO_PROCESS, 0));
	assert_improves(prog);
	assert_int_equal(count_workers(&nice), 2);
	assert_int_equal(nice, 19);
	for (int i = 0; i < 1000 && count_workers(&nice) > 1; i++)
		usleep(10000);
	assert_int_equal(count_workers(&nice), 1);
	uspace_prog_unref(prog);
	prog = load(STUB_ACCEPT, 8);
	assert_improves(prog);
	uspace_prog_unref(prog);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_swap),
		TEST(test_failures),
		TEST(test_loads_meanwhile),
		TEST(test_freed_meanwhile),
		TEST(test_ends_meanwhile),
		TEST(test_nonsense),
		TEST(test_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
