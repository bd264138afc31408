/* SPDX-License-Identifier: MIT */
/*
 * Programs that are loaded again: what comes from the cache is what the worker said and made, for
 * exactly the same request and no other, wherever code and maps are this time. Needs root, as the
 * daemon does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel-bridge/insn_build.h"
#include "tests/programs/worker_modes.h"
#include "tests/unit/fake_uspace.h"
#include "vm/runtime/runtime.h"

#define LOG_SIZE 4096

static int setup(void **state)
{
	(void)state;
	fake_uspace_init(10000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_uspace_deinit();
	return 0;
}

/* What a load is made of. */
struct load {
	struct bpf_insn insns[6];
	struct verifier_prog prog;
	struct verifier_map shape;
	struct uspace_map map, *maps[1];
	unsigned char contents[16];
	uint32_t log_level, log_size;
};

/* r0 = address of the map's record + address of byte 8 of its memory */
static struct load *usual(struct load *load)
{
	const struct bpf_insn insns[] = {
		INSN_LD_IMM64_SRC(BPF_REG_0, BPF_PSEUDO_MAP_FD, 0),
		INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_VALUE, 8ull << 32),
		INSN_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_1),
		INSN_EXIT(),
	};

	memset(load, 0, sizeof(*load));
	memcpy(load->insns, insns, sizeof(insns));
	load->shape = (struct verifier_map){.type = BPF_MAP_TYPE_ARRAY,
					    .key_size = 4,
					    .value_size = 16,
					    .max_entries = 1,
					    .contents = load->contents};
	load->map = (struct uspace_map){
		.refs = 2,
		.uspace = &uspace,
		.record_offset = REGION_CODE + REGION_CODE_SIZE - 4096,
		.record = {.type = BPF_MAP_TYPE_ARRAY,
			   .key_size = 4,
			   .value_size = 16,
			   .value_stride = 16,
			   .max_entries = 1,
			   .slots = 1,
			   .id = 5,
			   .seed = 6,
			   .data = REGION_ARRAYS,
			   .data_size = 16},
	};
	load->maps[0] = &load->map;
	load->prog = (struct verifier_prog){.insns = load->insns,
					    .cnt = ARRAY_SIZE(insns),
					    .type = STUB_ACCEPT,
					    .gpl = true,
					    .maps = &load->shape,
					    .map_cnt = 1};
	load->log_level = 1;
	load->log_size = LOG_SIZE;
	return load;
}

static int try_load(struct load *load, struct worker_answer *ret_answer,
		    struct uspace_prog **ret_prog)
{
	struct reason reason;

	return uspace_prog_new(&uspace, &load->prog, load->maps, load->log_level, load->log_size,
			       ret_answer, ret_prog, &reason);
}

static struct uspace_prog *do_load(struct load *load)
{
	struct worker_answer answer;
	struct uspace_prog *prog;

	assert_int_equal(try_load(load, &answer, &prog), 0);
	assert_int_equal(answer.verdict, 0);
	worker_answer_deinit(&answer);
	assert_true(prog->code != 0);
	return prog;
}

/* From here on only the cache can answer. */
static void break_worker(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	worker_free(uspace.worker);
	assert_int_equal(worker_new(fd, 0, &uspace.worker), 0);
}

static bool is_kept(struct load *load)
{
	struct worker_answer answer;
	struct uspace_prog *prog;
	int r = try_load(load, &answer, &prog);

	assert_true(r == 0 || r == -EIO);
	if (r < 0)
		return false;
	worker_answer_deinit(&answer);
	uspace_prog_unref(prog);
	return true;
}

static uint64_t call(const struct uspace_prog *prog)
{
	struct rt_run run = {.base = uspace.base};
	uint64_t (*entry)(void *ctx, struct rt_run *run) = NULL;
	void *at = uspace.base + prog->code;

	memcpy(&entry, &at, sizeof(at));
	return entry(NULL, &run);
}

static uint64_t expected(const struct load *load)
{
	return 2 * (uint64_t)(uintptr_t)uspace.base + load->map.record_offset +
	       load->map.record.data + 8;
}

static void test_same(void **state)
{
	struct worker_answer first, second;
	struct uspace_prog *progs[2];
	struct load load;

	(void)state;
	assert_int_equal(try_load(usual(&load), &first, &progs[0]), 0);
	break_worker();
	assert_int_equal(try_load(&load, &second, &progs[1]), 0);
	assert_int_equal(second.verdict, 0);
	assert_non_null(strstr(second.log, "insns 6 maps 1"));
	assert_string_equal(second.log, first.log);
	assert_int_equal(second.log_true_size, first.log_true_size);
	assert_memory_equal(&second.facts, &first.facts, sizeof(first.facts));
	assert_int_not_equal(progs[0]->code, progs[1]->code);
	assert_int_equal(progs[0]->size, progs[1]->size);
	assert_int_equal(call(progs[0]), expected(&load));
	assert_int_equal(call(progs[1]), expected(&load));
	worker_answer_deinit(&first);
	worker_answer_deinit(&second);
	uspace_prog_unref(progs[0]);
	uspace_prog_unref(progs[1]);
}

/* The tool comes again: its maps have other places, names and seeds. */
static void test_other_places(void **state)
{
	struct uspace_prog *first, *second;
	struct load load;

	(void)state;
	first = do_load(usual(&load));
	assert_true(fake_improve(first));
	break_worker();
	load.map.record.id++;
	load.map.record.seed++;
	load.map.record.data += 0x123000;
	load.map.record_offset -= 0x4000;
	second = do_load(&load);
	assert_int_equal(call(second), expected(&load));
	/* Nothing is left to be done for it. */
	assert_true(second->full);
	assert_null(second->entry);
	assert_int_equal(second->size, first->size);
	assert_true(fake_improve(second));
	assert_int_equal(second->first, 0);
	uspace_prog_unref(first);
	uspace_prog_unref(second);
}

/* Loaded twice before the first had better code: it is made once. */
static void test_improved_once(void **state)
{
	struct uspace_prog *progs[2];
	struct load load;

	(void)state;
	usual(&load);
	for (int i = 0; i < 2; i++)
		progs[i] = do_load(&load);
	assert_ptr_equal(progs[0]->entry, progs[1]->entry);
	for (int i = 0; i < 2; i++) {
		assert_true(fake_improve(progs[i]));
		assert_int_not_equal(progs[i]->first, 0);
		assert_int_equal(call(progs[i]), expected(&load));
		uspace_prog_unref(progs[i]);
	}
}

static void change(struct load *load, unsigned what)
{
	switch (what) {
	case 0:
		load->insns[3].imm++;
		break;
	case 1:
		load->prog.cnt--;
		break;
	case 2:
		load->prog.attach_type = 1;
		break;
	case 3:
		load->prog.gpl = false;
		break;
	case 4:
		load->log_level++;
		break;
	case 5:
		load->log_size++;
		break;
	case 6:
		load->shape.max_entries++;
		break;
	case 7:
		load->shape.contents = NULL;
		break;
	case 8:
		load->contents[15]++;
		break;
	case 9:
		load->map.record.slots++;
		break;
	case 10:
		load->prog.map_cnt = 0;
		break;
	case 11:
		load->prog.type = STUB_REFUSE;
		break;
	case 12:
		load->shape.inner.flags++;
		break;
	case 13:
		load->prog.sleepable = true;
		break;
	}
}
#define CHANGES 14u

static void test_different(void **state)
{
	struct load load;

	(void)state;
	uspace_prog_unref(do_load(usual(&load)));
	break_worker();
	assert_true(is_kept(&load));
	for (unsigned i = 0; i < CHANGES; i++) {
		usual(&load);
		change(&load, i);
		if (is_kept(&load))
			fail_msg("change %u makes no difference", i);
	}
	/* Nothing of that has changed what is kept. */
	assert_true(is_kept(usual(&load)));
}

static void test_refused(void **state)
{
	struct worker_answer answer;
	struct uspace_prog *prog;
	struct load load;

	(void)state;
	usual(&load)->prog.type = STUB_REFUSE;
	assert_int_equal(try_load(&load, &answer, &prog), 0);
	assert_int_equal(answer.verdict, -EACCES);
	worker_answer_deinit(&answer);
	uspace_prog_unref(prog);
	assert_true(list_empty(&uspace.cache.entries));
	break_worker();
	assert_false(is_kept(&load));
}

#define LONG 10000u

/* A long program, which is the only one of its number. */
static struct load *make_long(struct load *load, struct bpf_insn *insns, int32_t number,
			      uint32_t cnt)
{
	usual(load);
	for (uint32_t i = 0; i < cnt - 1; i++)
		insns[i] = (struct bpf_insn)INSN_MOV64_IMM(BPF_REG_0, number);
	insns[cnt - 1] = (struct bpf_insn)INSN_EXIT();
	load->prog.insns = insns;
	load->prog.cnt = cnt;
	load->prog.map_cnt = 0;
	return load;
}

static void test_bounded(void **state)
{
	struct bpf_insn *insns = malloc(20 * LONG * sizeof(*insns));
	const int32_t cnt = CACHE_SIZE / (LONG * sizeof(*insns));
	struct load load;

	(void)state;
	assert_non_null(insns);
	for (int32_t i = 0; i < cnt + 5; i++) {
		uspace_prog_unref(do_load(make_long(&load, insns, i, LONG)));
		assert_true(uspace.cache.size <= CACHE_SIZE);
		/* Number 0 is used all the time. */
		uspace_prog_unref(do_load(make_long(&load, insns, 0, LONG)));
	}
	/* Too long to be kept, and no reason to forget others. */
	uspace_prog_unref(do_load(make_long(&load, insns, 0, 20 * LONG)));
	break_worker();
	assert_false(is_kept(&load));
	assert_true(is_kept(make_long(&load, insns, 0, LONG)));
	assert_true(is_kept(make_long(&load, insns, cnt + 4, LONG)));
	assert_false(is_kept(make_long(&load, insns, 1, LONG)));
	free(insns);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_same),      TEST(test_other_places), TEST(test_improved_once),
		TEST(test_different), TEST(test_refused),      TEST(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
