/* SPDX-License-Identifier: MIT */
/*
 * What the verifier claims is so: generated programs are interpreted with numbers that are random
 * and often at the edge, and before each instruction every register, and what the stack holds, must
 * be what one of the states says that the verifier walked through there.
 *
 * With two numbers as its arguments it tries programs from the first on for so many seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "tests/unit/edges.h"
#include "tests/unit/verifier_cases.h"
#include "tests/unit/verifier_gen.h"
#include "vm/runtime/dynptr.h"
#include "vm/runtime/helpers.h"
#include "verifier/watch.h"
#include "vm/interp/run.h"

#define SECONDS	   8 /* a slow machine does fewer programs */
#define RUNS	   24
#define CTX_SIZE   168
#define CLAIMS_MAX 6000 /* of one program; one with more is left out */
#define VALUE_MAX  128

/** struct claim - one state; @next: another at the same instruction */
struct claim {
	struct claim *next;
	uint32_t frame;
	struct reg regs[REGS];
	struct slot slots[SLOTS];
	uint32_t slot_cnt;
};

static uint32_t first, seconds = SECONDS;
static uint64_t seed = 1;
static struct claim claims[CLAIMS_MAX];
static uint32_t claim_cnt;
static struct claim *claims_at[GEN_INSNS];
static _Alignas(8) unsigned char values[CASE_MAPS][VALUE_MAX];
static _Alignas(8) unsigned char ring[16]; /* one record, of the longest */
static uint64_t ctx[CTX_SIZE / 8];
static uint64_t steps, checked;
static uint32_t wrong_at;
static int spoilt = -1; /* register of which a wrong claim is made */

static int record(void *data, uint32_t at, const struct state *state)
{
	struct claim *claim = &claims[claim_cnt];
	const struct frame *top = &state->top;

	(void)data;
	if (claim_cnt == CLAIMS_MAX)
		return -E2BIG;
	claim_cnt++;
	claim->frame = state->caller_cnt;
	memcpy(claim->regs, top->regs, sizeof(claim->regs));
	claim->slot_cnt = top->slot_cnt;
	if (top->slot_cnt)
		memcpy(claim->slots, top->slots, top->slot_cnt * sizeof(top->slots[0]));
	if (spoilt >= 0 && claim->regs[spoilt].type == REG_SCALAR)
		claim->regs[spoilt].r64 = range_const(claim->regs[spoilt].r64.umax + 1, 64);
	claim->next = claims_at[at];
	claims_at[at] = claim;
	return 0;
}

/* An address, less where it was counted from, is one of the offsets. */
static bool pointer_holds(const struct reg *reg, uint64_t value, uint64_t from)
{
	return range_has(&reg->r64, value - from - (uint64_t)(int64_t)reg->off, 64);
}

/* Of a value or of the record, all of it. */
static bool is_memory(uint64_t start, uint64_t len)
{
	for (uint32_t i = 0; i < CASE_MAPS; i++)
		if (start - (uint64_t)values[i] <= case_maps[i].value_size &&
		    case_maps[i].value_size - (start - (uint64_t)values[i]) >= len)
			return true;
	return start - (uint64_t)ring <= sizeof(ring) &&
	       sizeof(ring) - (start - (uint64_t)ring) >= len;
}

/* Where it begins is known when it was not moved by a number. */
static bool slice_holds(const struct reg *reg, uint64_t value)
{
	return !range_is_const(&reg->r64) ||
	       is_memory(value - (uint64_t)(int64_t)reg->off - reg->r64.umin, reg->size);
}

static bool dynptr_holds(const struct reg *half, const unsigned char *bytes)
{
	struct rt_dynptr dynptr;

	if (half->off)
		return true;
	memcpy(&dynptr, bytes, sizeof(dynptr));
	return !dynptr.data || is_memory(dynptr.data, dynptr.size);
}

static bool reg_holds(const struct reg *reg, uint64_t value, const struct interp_step *step)
{
	const uint64_t frame = step->regs[10];

	switch (reg->type) {
	case REG_SCALAR:
		return range_has(&reg->r64, value, 64) && range_has(&reg->r32, (uint32_t)value, 32);
	case REG_CTX:
		return pointer_holds(reg, value, (uint64_t)ctx);
	case REG_STACK:
		return pointer_holds(reg, value,
				     frame - (uint64_t)(step->frame - reg->frame) * INTERP_STACK);
	case REG_MAP:
		return value == (reg->inner ? (uint64_t)values[reg->map]
					    : (uint64_t)&case_maps[reg->map]);
	case REG_VALUE_OR_NULL:
		return !value || pointer_holds(reg, value, (uint64_t)values[reg->map]);
	case REG_VALUE:
		return pointer_holds(reg, value, (uint64_t)values[reg->map]);
	case REG_SLICE_OR_NULL:
		return !value || slice_holds(reg, value);
	case REG_SLICE:
		return slice_holds(reg, value);
	case REG_NONE:
		return true;
	default:
		return false; /* these programs have no other */
	}
}

static bool slot_holds(const struct slot *slot, const unsigned char *bytes,
		       const struct interp_step *step)
{
	const unsigned int spilled = slot_spilled(slot);
	struct reg part = slot->spilled;
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		if (slot->bytes[i] == BYTE_ZERO && bytes[i])
			return false;
	if (slot->bytes[0] == BYTE_DYNPTR)
		return dynptr_holds(&slot->spilled, bytes);
	if (!spilled)
		return true;
	memcpy(&value, bytes, spilled);
	if (spilled == 8)
		return reg_holds(&slot->spilled, value, step);
	part.r64 = range_truncate(&part.r64, 64, spilled * 8);
	return range_has(&part.r64, value, spilled * 8) &&
	       (spilled != 4 || range_has(&part.r32, value, 32));
}

/* Without what was added to it. */
static uint64_t base_of(const struct reg *reg, uint64_t value)
{
	value -= (uint64_t)(int64_t)reg->off;
	return reg->added == ADDED_32 ? (uint32_t)value : value;
}

/* Numbers that are said to be linked are. */
static bool links_hold(const struct claim *claim, const struct interp_step *step)
{
	for (uint32_t i = 0; i < REGS; i++)
		for (uint32_t k = 0; k < i; k++)
			if (claim->regs[i].type == REG_SCALAR && claim->regs[i].id &&
			    claim->regs[k].type == REG_SCALAR &&
			    claim->regs[k].id == claim->regs[i].id &&
			    base_of(&claim->regs[k], step->regs[k]) !=
				    base_of(&claim->regs[i], step->regs[i]))
				return false;
	return true;
}

static bool claim_holds(const struct claim *claim, const struct interp_step *step)
{
	const unsigned char *top = (const unsigned char *)step->regs[10];

	if (claim->frame != step->frame || !links_hold(claim, step))
		return false;
	for (uint32_t i = 0; i < REGS; i++)
		if (!reg_holds(&claim->regs[i], step->regs[i], step))
			return false;
	for (uint32_t i = 0; i < claim->slot_cnt; i++)
		if (!slot_holds(&claim->slots[i], top - 8 * (i + 1), step))
			return false;
	return true;
}

static int check_step(void *data, const struct interp_step *step)
{
	(void)data;
	for (const struct claim *claim = claims_at[step->at]; claim; claim = claim->next) {
		checked++;
		if (claim_holds(claim, step)) {
			steps++;
			return 0;
		}
	}
	wrong_at = step->at;
	return -EDOM;
}

/* What stands in a map of maps is named by the value that is in it. */
static uint64_t lookup(struct interp_run *run, const uint64_t args[5])
{
	const uint64_t inner = (args[0] - (uint64_t)values) / sizeof(values[0]);
	const bool is_inner = inner < CASE_MAPS && args[0] == (uint64_t)values[inner];
	const uint64_t map =
		is_inner ? inner : (args[0] - (uint64_t)case_maps) / sizeof(case_maps[0]);

	if (map >= CASE_MAPS ||
	    !interp_allows(run, args[1],
			   is_inner ? case_maps[map].inner.key_size : case_maps[map].key_size,
			   false))
		return interp_refuse(run, -EFAULT, "a lookup of something else");
	return edge_random(&seed) >> 63 ? (uint64_t)values[map] : 0;
}

static uint64_t write_all(struct interp_run *run, const uint64_t args[5])
{
	if (!interp_allows(run, args[0], args[1], true))
		return interp_refuse(run, -EFAULT, "a helper writes what is not the program's");
	edge_fill(&seed, (void *)args[0], args[1]);
	return edge_any(&seed);
}

static uint64_t reserve_dynptr(struct interp_run *run, const uint64_t args[5])
{
	struct rt_dynptr *made = (void *)args[3];

	if (!interp_allows(run, args[3], sizeof(*made), true) || args[1] > sizeof(ring))
		return interp_refuse(run, -EFAULT, "a dynptr where none can be");
	*made = (struct rt_dynptr){0};
	if (edge_random(&seed) >> 62 == 0)
		return (uint64_t)-EINVAL;
	*made = (struct rt_dynptr){.data = (uint64_t)ring, .size = (uint32_t)args[1]};
	return 0;
}

static bool is_dynptr(struct interp_run *run, uint64_t address)
{
	const struct rt_dynptr *at = (const void *)address;

	return interp_allows(run, address, sizeof(*at), true) &&
	       (!at->data || is_memory(at->data, at->size));
}

static uint64_t end_dynptr(struct interp_run *run, const uint64_t args[5])
{
	if (!is_dynptr(run, args[0]))
		return interp_refuse(run, -EFAULT, "no dynptr ends");
	*(struct rt_dynptr *)args[0] = (struct rt_dynptr){0};
	return edge_any(&seed);
}

static uint64_t dynptr_from_mem(struct interp_run *run, const uint64_t args[5])
{
	if (!is_memory(args[0], args[1]) ||
	    !interp_allows(run, args[3], sizeof(struct rt_dynptr), true))
		return interp_refuse(run, -EFAULT, "a dynptr of what is no value");
	return rt_dynptr_from_mem(args[0], args[1], args[2], args[3], 0, NULL);
}

static uint64_t dynptr_read(struct interp_run *run, const uint64_t args[5])
{
	if (!interp_allows(run, args[0], args[1], true) || !is_dynptr(run, args[2]))
		return interp_refuse(run, -EFAULT, "a read of no dynptr");
	return rt_dynptr_read(args[0], args[1], args[2], args[3], args[4], NULL);
}

static uint64_t dynptr_data(struct interp_run *run, const uint64_t args[5])
{
	if (!is_dynptr(run, args[0]))
		return interp_refuse(run, -EFAULT, "bytes of no dynptr");
	return rt_dynptr_data(args[0], args[1], args[2], 0, 0, NULL);
}

static uint64_t number(struct interp_run *run, const uint64_t args[5])
{
	(void)run, (void)args;
	return edge_any(&seed);
}

/* 32 bits wide in the kernel as well. */
static uint64_t small_number(struct interp_run *run, const uint64_t args[5])
{
	(void)run, (void)args;
	return (uint32_t)edge_any(&seed);
}

static uint64_t result_of_copy(struct interp_run *run, const uint64_t args[5])
{
	write_all(run, args);
	return edge_random(&seed) >> 63 ? (uint64_t)-EFAULT : 0;
}

static int constant(void *data, const struct bpf_insn *insn, uint64_t *ret_value)
{
	(void)data;
	if ((uint32_t)insn->imm >= CASE_MAPS)
		return -EBADF;
	*ret_value = insn->src_reg == BPF_PSEUDO_MAP_FD
			     ? (uint64_t)&case_maps[insn->imm]
			     : (uint64_t)values[insn->imm] + (uint32_t)insn[1].imm;
	return 0;
}

static int run(const struct bpf_insn *insns, uint32_t cnt, struct reason *reason)
{
	static const interp_helper helpers[INTERP_HELPERS] = {
		[BPF_FUNC_map_lookup_elem] = lookup,
		[BPF_FUNC_probe_read_user] = result_of_copy,
		[BPF_FUNC_get_current_comm] = result_of_copy,
		[BPF_FUNC_ktime_get_ns] = number,
		[BPF_FUNC_dynptr_from_mem] = dynptr_from_mem,
		[BPF_FUNC_dynptr_read] = dynptr_read,
		[BPF_FUNC_dynptr_data] = dynptr_data,
		[BPF_FUNC_ringbuf_reserve_dynptr] = reserve_dynptr,
		[BPF_FUNC_ringbuf_submit_dynptr] = end_dynptr,
		[BPF_FUNC_ringbuf_discard_dynptr] = end_dynptr,
		[BPF_FUNC_get_prandom_u32] = small_number,
		[BPF_FUNC_get_current_pid_tgid] = number,
	};
	struct interp_memory memory[CASE_MAPS + 2] = {
		{(uint64_t)ctx, CTX_SIZE, false},
		[CASE_MAPS + 1] = {(uint64_t)ring, sizeof(ring), true}};
	const struct interp interp = {.budget = 100000,
				      .helpers = helpers,
				      .memory = memory,
				      .memory_cnt = ARRAY_SIZE(memory),
				      .constant = constant,
				      .step = check_step};
	const uint64_t args[5] = {(uint64_t)ctx};
	uint64_t r0;

	for (uint32_t i = 0; i < CASE_MAPS; i++) {
		const struct verifier_map *map = &case_maps[i];
		const uint32_t flags = map->inner.type ? map->inner.flags : map->flags;

		memory[1 + i] = (struct interp_memory){
			(uint64_t)values[i],
			map->inner.type ? map->inner.value_size : map->value_size,
			!(flags & BPF_F_RDONLY_PROG)};
		edge_fill(&seed, values[i], sizeof(values[i]));
	}
	edge_fill(&seed, ctx, sizeof(ctx));
	return interp_run(&interp, insns, cnt, args, &r0, reason);
}

/* Return: whether it is accepted, with all its claims. */
static bool claim_all(const struct bpf_insn *insns, uint32_t cnt)
{
	const struct verifier_prog prog = {.insns = insns,
					   .cnt = cnt,
					   .type = BPF_PROG_TYPE_KPROBE,
					   .gpl = true,
					   .maps = case_maps,
					   .map_cnt = CASE_MAPS};
	const struct verifier_watch watch = {.state = record};
	struct verifier_log log = {.level = 0};
	struct verifier_facts facts;

	memset(claims_at, 0, sizeof(claims_at));
	claim_cnt = 0;
	return verifier_watch(&prog, &log, &watch, &facts) == 0;
}

static void test_programs(void **state)
{
	const time_t end = time(NULL) + (time_t)seconds;
	uint32_t ran = 0, number_of;
	struct reason reason;

	(void)state;
	for (number_of = first; time(NULL) < end; number_of++) {
		struct gen gen;

		gen_program(&gen, number_of);
		seed = number_of + 1;
		if (!claim_all(gen.insns, gen.cnt))
			continue;
		for (uint32_t i = 0; i < RUNS; i++) {
			int r = run(gen.insns, gen.cnt, &reason);

			if (r == -EDOM)
				fail_msg("program %u, run %u: nothing like it was claimed at "
					 "instruction %u",
					 number_of, i, wrong_at);
			if (r < 0)
				fail_msg("program %u, run %u: %s", number_of, i, reason.text);
		}
		ran++;
	}
	print_message("%u programs, %u of them run %u times, %lu instructions, %lu claims\n",
		      number_of - first, ran, RUNS, steps, checked);
	assert_true(ran > 100);
}

/* A claim that is wrong is noticed. */
static void test_wrong(void **state)
{
	const struct bpf_insn insns[] = {INSN_LDX(BPF_DW, 2, 1, 0), INSN_ALU64_IMM(BPF_AND, 2, 7),
					 INSN_MOV64_REG(0, 2), INSN_EXIT()};
	struct reason reason;

	(void)state;
	assert_true(claim_all(insns, ARRAY_SIZE(insns)));
	assert_int_equal(run(insns, ARRAY_SIZE(insns), &reason), 0);
	spoilt = 2;
	assert_true(claim_all(insns, ARRAY_SIZE(insns)));
	spoilt = -1;
	assert_int_equal(run(insns, ARRAY_SIZE(insns), &reason), -EDOM);
	assert_int_equal(wrong_at, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_programs),
	};

	if (argc > 2) {
		first = (uint32_t)strtoul(argv[1], NULL, 0);
		seconds = (uint32_t)strtoul(argv[2], NULL, 0);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
