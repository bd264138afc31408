/* SPDX-License-Identifier: MIT */
/*
 * A region in the test process, for tests that run compiled code: memory at the offsets of
 * shim/region.h and, instead of the runtime's text, jumps to functions of the test.
 */
#pragma once

#include <Zydis/Zydis.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "vm/jit_unit.h"

#define JIT_REGION_HELPERS 16
#define JIT_REGION_MAPS	   32
#define JIT_REGION_CODE	   (REGION_CODE + 0x1000)
#define JIT_REGION_RECORDS REGION_CODE

/* A map of the region: its record, and where that stands. */
struct jit_map {
	struct region_map map;
	uint64_t offset;
};

/**
 * struct jit_region - the region and what the "runtime" of it has
 * @names, @helpers: runtime functions by name, at REGION_TEXT + 64 * (index + 1)
 */
struct jit_region {
	unsigned char *base;
	struct jit_map maps[JIT_REGION_MAPS];
	uint32_t map_cnt;
	const char *names[JIT_REGION_HELPERS];
	uint32_t helper_cnt;
	struct rt_run run;
	uint32_t zero_stack; /* see struct jit_prog */
	bool constants; /* there are some behind the code: it is not looked at */
	struct reason reason;
};

static inline int jit_region_init(struct jit_region *region)
{
	const int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;

	memset(region, 0, sizeof(*region));
	region->base = mmap(NULL, REGION_SIZE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (region->base == MAP_FAILED ||
	    mprotect(region->base + REGION_TEXT, REGION_CODE_FILE_SIZE, rwx) < 0 ||
	    mprotect(region->base + REGION_SHARED,
		     REGION_CONFIG + 4096 - REGION_SHARED,
		     PROT_READ | PROT_WRITE) < 0)
		return -errno;
	region->run.base = region->base;
	return 0;
}

static inline void jit_region_deinit(struct jit_region *region)
{
	munmap(region->base, REGION_SIZE);
}

/* movabs $function, %rax; jmp *%rax */
static inline void jit_region_helper(struct jit_region *region, const char *name, void *function)
{
	unsigned char *at = region->base + REGION_TEXT + 64 * (region->helper_cnt + 1);

	assert(region->helper_cnt < JIT_REGION_HELPERS);
	region->names[region->helper_cnt++] = name;
	memcpy(at, "\x48\xb8", 2);
	memcpy(at + 2, &function, sizeof(function));
	memcpy(at + 10, "\xff\xe0", 2);
}

static inline uint64_t jit_region_resolve(const char *name, void *data)
{
	const struct jit_region *region = data;

	for (uint32_t i = 0; i < region->helper_cnt; i++)
		if (strcmp(region->names[i], name) == 0)
			return REGION_TEXT + 64 * (i + 1);
	return 0;
}

/** jit_region_map() - add a map whose memory is at @data; Return: its record */
static inline struct region_map *jit_region_map(struct jit_region *region, uint32_t type,
						uint32_t value_size, uint32_t entries,
						uint64_t data)
{
	struct jit_map *map = &region->maps[region->map_cnt];

	assert(region->map_cnt < ARRAY_SIZE(region->maps));
	map->offset = JIT_REGION_RECORDS + sizeof(map->map) * region->map_cnt++;
	map->map = (struct region_map){
		.type = type,
		.key_size = 4,
		.value_size = value_size,
		.max_entries = entries,
		.value_stride = (value_size + 7) / 8 * 8,
		.slots = 1,
		.data = data,
		.data_size = (uint64_t)entries * ((value_size + 7) / 8 * 8),
	};
	return &map->map;
}

static inline bool jit_region_allows(const ZydisDecodedInstruction *insn,
				     const ZydisDecodedOperand *operands)
{
	for (unsigned i = 0; i < insn->operand_count; i++) {
		ZydisRegisterClass class;

		if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		class = ZydisRegisterGetClass(operands[i].reg.value);
		if ((class < ZYDIS_REGCLASS_GPR8 || class > ZYDIS_REGCLASS_GPR64) &&
		    class != ZYDIS_REGCLASS_FLAGS && class != ZYDIS_REGCLASS_IP)
			return false;
	}
	return insn->meta.category != ZYDIS_CATEGORY_STRINGOP;
}

/* The promise of jit.h, where a function takes its stack; the rest is the registers it saves. */
static inline bool jit_region_fits(const ZydisDecodedInstruction *insn,
				   const ZydisDecodedOperand *operands)
{
	return insn->mnemonic != ZYDIS_MNEMONIC_SUB || operands[0].reg.value != ZYDIS_REGISTER_RSP ||
	       (operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
		operands[1].imm.value.s <= 1024 - 64);
}

/*
 * What a hit does not save is not used: no register but the general ones and the flags. And no
 * string instructions, because the application's direction flag is as it left it.
 */
static inline int jit_region_check(struct jit_region *region, const unsigned char *code, size_t len)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (size_t at = 0; at < len; at += insn.length)
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code + at, len - at, &insn,
							 operands)) ||
		    !jit_region_allows(&insn, operands) || !jit_region_fits(&insn, operands))
			return reason_set(&region->reason, -EILSEQ,
					  "code that has no place here: %s",
					  ZydisMnemonicGetString(insn.mnemonic));
	return 0;
}

/* The same tests are run with either: tests/CMakeLists.txt. */
static inline enum jit_tier jit_region_tier(void)
{
	const char *tier = getenv("BPFSHIM_TEST_TIER");

	return tier && strcmp(tier, "full") == 0 ? JIT_FULL : JIT_FAST;
}

/** jit_region_compile() - to JIT_REGION_CODE; 0 or -errno and @region->reason */
static inline int jit_region_compile(struct jit_region *region, const struct bpf_insn *insns,
				     uint32_t cnt)
{
	const struct jit_runtime runtime = {jit_region_resolve, region};
	struct region_map records[ARRAY_SIZE(region->maps)];
	struct code_map places[ARRAY_SIZE(region->maps)];
	const struct jit_prog prog = {
		.insns = insns,
		.cnt = cnt,
		.maps = records,
		.map_cnt = region->map_cnt,
		.zero_stack = region->zero_stack,
		.tier = jit_region_tier(),
	};
	struct link_result result;
	int r;

	for (uint32_t i = 0; i < region->map_cnt; i++) {
		records[i] = region->maps[i].map;
		places[i] = (struct code_map){region->maps[i].offset, records[i].data};
		memcpy(region->base + region->maps[i].offset, &records[i], sizeof(records[i]));
		/* Code does not depend on it. */
		records[i].data = 0;
	}
	r = jit_compile_for(&prog, &runtime, &result, &region->reason);
	if (r < 0)
		return r;
	if (!region->constants)
		r = jit_region_check(region, result.code, result.len);
	if (r == 0)
		r = code_place(result.code, result.len, result.relocs, result.reloc_cnt,
			       JIT_REGION_CODE, places, prog.map_cnt);
	if (r == 0)
		memcpy(region->base + JIT_REGION_CODE, result.code, result.len);
	link_result_deinit(&result);
	return r;
}

/** jit_region_call() - run what was compiled last, with r1 */
static inline uint64_t jit_region_call(struct jit_region *region, void *ctx)
{
	uint64_t (*prog)(void *, struct rt_run *) = NULL;
	void *at = region->base + JIT_REGION_CODE;

	memcpy(&prog, &at, sizeof(at));
	region->run.turns = 0;
	return prog(ctx, &region->run);
}
