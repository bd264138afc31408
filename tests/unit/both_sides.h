/* SPDX-License-Identifier: MIT */
/*
 * One helper call on both sides: by the kernel, in a small program that it runs on demand, and by
 * the runtime. Each side has a map that may be written and one with constants; arguments may point
 * into either. The verifier is asked for its verdict, too. Needs root.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "tests/unit/fake_region.h"
#include "verifier/verifier.h"
#include "vm/runtime/helpers.h"

#define BOTH_WORK 4096u
#define BOTH_TEXT 512u
#define BOTH_SLOT 1

enum both_kind { BOTH_VALUE, BOTH_WORKS, BOTH_TEXTS, BOTH_UNSET };

/** struct both_arg - a number, or an offset in one of the maps, or nothing */
struct both_arg {
	enum both_kind kind;
	uint64_t value;
};

#define VALUE(v)                                                                                   \
	(struct both_arg)                                                                          \
	{                                                                                          \
		BOTH_VALUE, (uint64_t)(v)                                                          \
	}
#define WORK(off)                                                                                  \
	(struct both_arg)                                                                          \
	{                                                                                          \
		BOTH_WORKS, (off)                                                                  \
	}
#define TEXT(off)                                                                                  \
	(struct both_arg)                                                                          \
	{                                                                                          \
		BOTH_TEXTS, (off)                                                                  \
	}

#define UNSET                                                                                      \
	(struct both_arg)                                                                          \
	{                                                                                          \
		BOTH_UNSET, 0                                                                      \
	}

/**
 * struct both - a call
 * @work, @text: what is in the maps before it; @work of each side afterwards
 * @pointers, @pointer_cnt: words of @work, by offset, that get the address of others before it;
 *	they read as 0 afterwards
 * @kernel, @own: results
 * @kernel_verdict, @own_verdict: 0, or why it never was called
 */
struct both {
	uint32_t helper, type, prog_flags;
	struct both_arg args[5];
	unsigned char work[BOTH_WORK], text[BOTH_TEXT];
	struct {
		uint32_t at, to;
	} pointers[12];
	uint32_t pointer_cnt;
	unsigned char kernel_work[BOTH_WORK], own_work[BOTH_WORK];
	uint64_t kernel, own;
	int kernel_verdict, own_verdict;
	char kernel_log[4096], own_log[4096];
};

static struct rt_run both_run;

static inline int both_setup(void **state)
{
	both_run = (struct rt_run){.base = fake_region(4),
				   .slot = BOTH_SLOT,
				   .stack = (uint64_t)__builtin_frame_address(0)};
	return 0;
}

static inline int both_teardown(void **state)
{
	fake_free(both_run.base);
	return 0;
}

static inline unsigned char *both_own(const struct both_arg *arg)
{
	return both_run.base + REGION_ARRAYS + (arg->kind == BOTH_TEXTS ? BOTH_WORK : 0) +
	       arg->value;
}

static inline int both_map(uint32_t size, uint32_t flags)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
			       .key_size = 4,
			       .value_size = size,
			       .max_entries = 1,
			       .map_flags = flags};
	int fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));

	assert_true(fd >= 0);
	return fd;
}

static inline void both_element(int command, int fd, void *value)
{
	uint32_t key = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};

	assert_int_equal(sys_bpf(command, &attr, sizeof(attr)), 0);
}

/* Result and pointers are kept in the last words of the map. */
#define BOTH_RESULT (BOTH_WORK - 8)
#define BOTH_INSNS  128u

/* Map 0: the one that is worked in, map 1: constants. */
static inline uint32_t both_build(const struct both *both, struct bpf_insn *insns)
{
	struct bpf_insn *at = insns;
	uint32_t cnt;

#define ADD(...)                                                                                   \
	do {                                                                                       \
		const struct bpf_insn add_[] = {__VA_ARGS__};                                      \
		memcpy(at, add_, sizeof(add_));                                                    \
		at += sizeof(add_) / sizeof(add_[0]);                                              \
	} while (0)
	for (uint32_t i = 0; i < both->pointer_cnt; i++) {
		ADD(INSN_LD_IMM64_SRC(7, BPF_PSEUDO_MAP_VALUE,
				      (uint64_t)both->pointers[i].to << 32));
		ADD(INSN_LD_IMM64_SRC(6, BPF_PSEUDO_MAP_VALUE, 0));
		ADD(INSN_STX(BPF_DW, 6, 7, (int16_t)both->pointers[i].at));
	}
	for (uint8_t i = 0; i < 5; i++) {
		const struct both_arg *arg = &both->args[i];

		if (arg->kind == BOTH_VALUE)
			ADD(INSN_LD_IMM64((uint8_t)(i + 1), arg->value));
		else if (arg->kind != BOTH_UNSET)
			ADD(INSN_LD_IMM64_SRC((uint8_t)(i + 1), BPF_PSEUDO_MAP_VALUE,
					      arg->value << 32 | (arg->kind == BOTH_TEXTS)));
	}
	ADD(INSN_CALL((int32_t)both->helper));
	ADD(INSN_LD_IMM64_SRC(6, BPF_PSEUDO_MAP_VALUE, 0));
	ADD(INSN_STX(BPF_DW, 6, 0, BOTH_RESULT));
	ADD(INSN_MOV64_IMM(0, 0), INSN_EXIT());
#undef ADD
	cnt = (uint32_t)(at - insns);
	assert_true(cnt <= BOTH_INSNS);
	return cnt;
}

static inline void both_ask(struct both *both, const struct bpf_insn *insns, uint32_t cnt)
{
	const struct verifier_map maps[] = {
		{BPF_MAP_TYPE_ARRAY, 4, BOTH_WORK, 1, 0, NULL},
		{BPF_MAP_TYPE_ARRAY, 4, BOTH_TEXT, 1, BPF_F_RDONLY_PROG, both->text},
	};
	/* What runs on demand only has no context that our verifier knows. */
	const struct verifier_prog prog = {.insns = insns,
					   .cnt = cnt,
					   .type = BPF_PROG_TYPE_KPROBE,
					   .gpl = true,
					   .sleepable = both->prog_flags & BPF_F_SLEEPABLE,
					   .maps = maps,
					   .map_cnt = 2};
	struct verifier_log log = {.level = 1, .buf = both->own_log, .size = sizeof(both->own_log)};
	struct verifier_facts facts;

	both->own_verdict = verifier_check(&prog, &log, &facts);
}

/* Return: descriptor or -errno, which is the verdict as well. */
static inline int both_open(struct both *both, const struct bpf_insn *insns, uint32_t cnt)
{
	union bpf_attr load = {.prog_type = both->type ? both->type : BPF_PROG_TYPE_RAW_TRACEPOINT,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = cnt,
			       .prog_flags = both->prog_flags,
			       .license = (uintptr_t) "GPL",
			       .log_level = 1,
			       .log_buf = (uintptr_t)both->kernel_log,
			       .log_size = sizeof(both->kernel_log)};
	int fd = sys_bpf(BPF_PROG_LOAD, &load, sizeof(load));

	both->kernel_verdict = fd < 0 ? fd : 0;
	return fd;
}

/* The kernel's verdict on a program without maps. */
static inline void both_load(struct both *both, const struct bpf_insn *insns, uint32_t cnt)
{
	close_fd(both_open(both, insns, cnt));
}

static inline void both_kernel(struct both *both, struct bpf_insn *insns, uint32_t cnt)
{
	cleanup_fd int work = both_map(BOTH_WORK, 0);
	cleanup_fd int text = both_map(BOTH_TEXT, BPF_F_RDONLY_PROG);
	union bpf_attr freeze = {.map_fd = (uint32_t)text}, run = {0};
	uint64_t ctx[2] = {0};
	cleanup_fd int prog = -1;

	both_element(BPF_MAP_UPDATE_ELEM, work, both->work);
	both_element(BPF_MAP_UPDATE_ELEM, text, both->text);
	assert_int_equal(sys_bpf(BPF_MAP_FREEZE, &freeze, sizeof(freeze)), 0);
	for (uint32_t i = 0; i < cnt; i++)
		if (insns[i].src_reg == BPF_PSEUDO_MAP_VALUE &&
		    insns[i].code == (BPF_LD | BPF_IMM | BPF_DW))
			insns[i].imm = insns[i].imm ? text : work;
	prog = both_open(both, insns, cnt);
	if (prog < 0)
		return;
	run.test.prog_fd = (uint32_t)prog;
	if (!both->type) {
		run.test.ctx_in = (uintptr_t)ctx;
		run.test.ctx_size_in = sizeof(ctx);
	}
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &run, sizeof(run)), 0);
	both_element(BPF_MAP_LOOKUP_ELEM, work, both->kernel_work);
	memcpy(&both->kernel, both->kernel_work + BOTH_RESULT, 8);
}

typedef uint64_t (*both_helper)(RT_HELPER_ARGS);

static inline both_helper both_find(uint32_t number)
{
	switch (number) {
#define FIND(nr, name)                                                                             \
	case nr:                                                                                   \
		return rt_##name;
		RT_HELPERS(FIND)
#undef FIND
	default:
		return NULL;
	}
}

static inline void both_runtime(struct both *both)
{
	const struct both_arg work = WORK(0), text = TEXT(0);
	unsigned char *memory = both_own(&work);
	uint64_t args[5];

	memcpy(memory, both->work, BOTH_WORK);
	memcpy(both_own(&text), both->text, BOTH_TEXT);
	for (uint32_t i = 0; i < both->pointer_cnt; i++) {
		uint64_t to = (uint64_t)memory + both->pointers[i].to;

		memcpy(memory + both->pointers[i].at, &to, 8);
	}
	for (int i = 0; i < 5; i++)
		args[i] = both->args[i].kind == BOTH_VALUE || both->args[i].kind == BOTH_UNSET
				  ? both->args[i].value
				  : (uint64_t)both_own(&both->args[i]);
	both->own = both_find(both->helper)(args[0], args[1], args[2], args[3], args[4], &both_run);
	memcpy(both->own_work, memory, BOTH_WORK);
	memcpy(both->own_work + BOTH_RESULT, &both->own, 8);
}

/* Fills in what both sides say. */
static inline void both_call(struct both *both)
{
	struct bpf_insn insns[BOTH_INSNS];
	uint32_t cnt = both_build(both, insns);

	both_ask(both, insns, cnt);
	both_kernel(both, insns, cnt);
	if (both->own_verdict == 0)
		both_runtime(both);
	for (uint32_t i = 0; i < both->pointer_cnt; i++) {
		memset(both->kernel_work + both->pointers[i].at, 0, 8);
		memset(both->own_work + both->pointers[i].at, 0, 8);
	}
}

/* The same, and they must say the same. @what is shown if they do not. */
static inline void both_same(struct both *both, const char *what)
{
	both_call(both);
	if (both->kernel_verdict != both->own_verdict)
		fail_msg("%s: verdict %d, kernel's %d\n%s\n%s", what, both->own_verdict,
			 both->kernel_verdict, both->own_log, both->kernel_log);
	if (both->kernel_verdict)
		return;
	if (both->own != both->kernel)
		fail_msg("%s: %lld, kernel %lld", what, (long long)both->own,
			 (long long)both->kernel);
	for (uint32_t i = 0; i < BOTH_WORK; i++)
		if (both->own_work[i] != both->kernel_work[i])
			fail_msg("%s: byte %u is 0x%02x, kernel 0x%02x", what, i, both->own_work[i],
				 both->kernel_work[i]);
}
