/* SPDX-License-Identifier: MIT */
/*
 * Engines whose maps are in a region: the interpreter, and compiled code as targets run it.
 */
#pragma once

#include <linux/bpf.h>

#include "tests/unit/engines_side.h"
#include "tests/unit/fake_region.h"
#include "vm/interp/runtime.h"
#include "vm/jit.h"
#include "vm/runtime/table.h"

#define SIDE_RECORDS   REGION_CODE
#define SIDE_CODE      (REGION_CODE + FAKE_PAGE)
#define SIDE_TABLES    (SIDE_RECORDS + FAKE_PAGE / 2)
#define SIDE_CODE_SIZE 0x20000u
#define SIDE_BUDGET    (1ull << 24)

/**
 * struct region_side
 * @used: bytes of map memory, and of what is between
 * @mix: what is interpreted; borrowed until the next is loaded
 */
struct region_side {
	struct side side;
	unsigned char *base;
	struct region_map *maps;
	uint64_t used;
	const struct mix *mix;
	struct interp_runtime runtime;
	unsigned char record[REGION_EVENT_MAX];
};

static inline struct region_side *region_side(struct side *side)
{
	return container_of(side, struct region_side, side);
}

/* Bytes that end, to 64, where a page does, and a page behind them that is nobody's. */
static inline uint64_t region_side_place(struct region_side *r, uint64_t size)
{
	const uint64_t pages = (size + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE;

	r->used += pages + FAKE_PAGE;
	fake_check(mprotect(r->base + REGION_MAPS + r->used - FAKE_PAGE, FAKE_PAGE, PROT_NONE) == 0,
		   "mprotect of a page between maps");
	return REGION_MAPS + r->used - FAKE_PAGE - (size + 63) / 64 * 64;
}

/* Maps of maps stand where only the daemon writes. */
static inline void region_side_tables(struct region_side *r)
{
	uint64_t at = SIDE_TABLES;

	for (uint32_t i = MIX_OUTER; i <= MIX_OUTER_HASH; i++) {
		struct region_map *map = &r->maps[i];

		map->data = at;
		at += map->data_size;
		fake_check(at <= SIDE_CODE, "room for tables");
		for (uint32_t key = 0; key < ARRAY_SIZE(mix_inner); key++) {
			const uint64_t word = SIDE_RECORDS + mix_inner[key] * sizeof(*map);

			if (!mix_inner[key])
				continue;
			if (i == MIX_OUTER)
				table_array_write(r->base, map, key, word);
			else
				table_hash_write(
					r->base, map,
					(uint32_t)table_hash_find(r->base, map, &key, true), &key,
					word);
		}
	}
}

static inline void region_side_init(struct region_side *r, uint32_t slots)
{
	r->base = fake_region(slots);
	r->maps = (void *)(r->base + SIDE_RECORDS);
	for (uint32_t i = 0; i < MIX_MAPS; i++) {
		struct region_map *map = &r->maps[i];

		*map = (struct region_map){.type = mix_maps[i].type,
					   .key_size = mix_maps[i].key_size,
					   .value_size = mix_maps[i].value_size,
					   .max_entries = mix_maps[i].max_entries,
					   .flags = mix_maps[i].flags & ~(uint32_t)BPF_F_MMAPABLE,
					   .id = i + 1,
					   .seed = 12345 + i};
		fake_check(rt_map_layout(map, slots) == 0, "a map's layout");
		if (mix_is_outer(i))
			continue;
		map->data = region_side_place(r, map->data_size);
		if (map->type == BPF_MAP_TYPE_RINGBUF)
			map->extra = (uint32_t)region_side_place(r, sizeof(struct region_ringbuf));
	}
	region_side_tables(r);
	r->runtime = (struct interp_runtime){.run = {.base = r->base, .stack = (uint64_t)&slots},
					     .maps = r->maps,
					     .map_cnt = MIX_MAPS};
}

static inline void region_side_deinit(struct region_side *r)
{
	interp_runtime_deinit(&r->runtime);
	fake_free(r->base);
}

static inline void region_side_reset(struct side *side)
{
	struct region_side *r = region_side(side);

	for (uint32_t i = 0; i < MIX_OUTER; i++)
		memset(r->base + r->maps[i].data, 0, r->maps[i].data_size);
	memset(r->base + r->maps[MIX_RING].extra, 0, sizeof(struct region_ringbuf));
}

static inline int interp_side_load(struct side *side, const struct mix *mix,
				   const struct verifier_facts *facts)
{
	(void)facts;
	region_side(side)->mix = mix;
	return 0;
}

static inline int interp_side_run(struct side *side, const uint64_t *ctx, uint64_t *ret_r0)
{
	struct region_side *r = region_side(side);
	const struct interp_memory memory = {(uint64_t)ctx, MIX_CTX * 8, false};
	struct interp interp = {.budget = SIDE_BUDGET, .memory = &memory, .memory_cnt = 1};
	const uint64_t args[5] = {(uint64_t)ctx};
	struct reason reason = {0};
	int error;

	interp_runtime_begin(&r->runtime, &interp);
	error = interp_run(&interp, r->mix->insns, r->mix->cnt, args, ret_r0, &reason);
	if (error < 0)
		snprintf(side->why, sizeof(side->why), "%s", reason.text);
	return error;
}

/* To @at in the region. */
static inline int jit_side_compile(struct side *side, const struct mix *mix,
				   const struct verifier_facts *facts, enum jit_tier tier,
				   uint64_t at)
{
	struct region_side *r = region_side(side);
	struct code_map places[MIX_MAPS];
	const struct jit_prog prog = {
		.insns = mix->insns,
		.cnt = mix->cnt,
		.maps = r->maps,
		.map_cnt = MIX_MAPS,
		.zero_stack = facts->reads_unwritten ? facts->stack_depth : 0,
		.tier = tier,
	};
	struct reason reason = {0};
	struct link_result result;
	int error;

	for (uint32_t i = 0; i < MIX_MAPS; i++)
		places[i] = (struct code_map){SIDE_RECORDS + i * sizeof(*r->maps), r->maps[i].data};
	error = jit_compile(&prog, &result, &reason);
	if (error < 0) {
		snprintf(side->why, sizeof(side->why), "%s", reason.text);
		return error;
	}
	fake_check(result.len <= SIDE_CODE_SIZE, "room for the code");
	fake_check(code_place(result.code, result.len, result.relocs, result.reloc_cnt, at, places,
			      MIX_MAPS) == 0,
		   "code in its place");
	memcpy(r->base + at, result.code, result.len);
	link_result_deinit(&result);
	return 0;
}

static inline int fast_side_load(struct side *side, const struct mix *mix,
				 const struct verifier_facts *facts)
{
	return jit_side_compile(side, mix, facts, JIT_FAST, SIDE_CODE);
}

static inline int full_side_load(struct side *side, const struct mix *mix,
				 const struct verifier_facts *facts)
{
	return jit_side_compile(side, mix, facts, JIT_FULL, SIDE_CODE);
}

static inline uint64_t jit_side_run_at(struct region_side *r, uint64_t offset, const uint64_t *ctx)
{
	uint64_t (*prog)(const uint64_t *, struct rt_run *) = NULL;
	void *at = r->base + offset;

	memcpy(&prog, &at, sizeof(at));
	r->runtime.run.turns = 0;
	return prog(ctx, &r->runtime.run);
}

static inline int jit_side_run(struct side *side, const uint64_t *ctx, uint64_t *ret_r0)
{
	*ret_r0 = jit_side_run_at(region_side(side), SIDE_CODE, ctx);
	return 0;
}

static inline const unsigned char *region_side_value(struct side *side, uint32_t map)
{
	struct region_side *r = region_side(side);

	return r->base + r->maps[map].data;
}

static inline int region_side_next_key(struct side *side, uint32_t map, const void *key,
				       void *ret_key)
{
	struct region_side *r = region_side(side);

	return rt_map_next_key(r->base, &r->maps[map], key, ret_key);
}

static inline int region_side_read(struct side *side, uint32_t map, const void *key,
				   void *ret_value)
{
	struct region_side *r = region_side(side);

	return rt_map_read(r->base, &r->maps[map], key, ret_value);
}

static inline int region_side_pop(struct side *side, uint32_t map, void *ret_value)
{
	struct region_side *r = region_side(side);

	return rt_map_pop(r->base, &r->maps[map], ret_value, RT_ALL_SLOTS);
}

/* As the daemon does, with a reader that has read it at once. */
static inline const unsigned char *region_side_record_of(struct side *side, uint32_t slot,
							 uint32_t *ret_size)
{
	struct region_side *r = region_side(side);
	uint64_t *consumer = (void *)(r->base + r->maps[MIX_RING].data);
	struct region_event event;

	while (rt_ring_read(r->base, slot, &event, r->record)) {
		if (!event.map)
			continue;
		*consumer += region_ringbuf_need(event.size);
		*ret_size = event.size;
		if (!(event.flags & REGION_RECORD_DISCARD))
			return r->record;
	}
	return NULL;
}

static inline const unsigned char *region_side_record(struct side *side, uint32_t *ret_size)
{
	return region_side_record_of(side, 0, ret_size);
}

#define REGION_SIDE(engine, load_it, run_it)                                                       \
	{                                                                                          \
		.name = (engine), .reset = region_side_reset, .load = (load_it), .run = (run_it),  \
		.value = region_side_value, .next_key = region_side_next_key,                      \
		.read = region_side_read, .pop = region_side_pop, .record = region_side_record,    \
	}
