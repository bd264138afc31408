/* SPDX-License-Identifier: MIT */
/*
 * Loads, stores and atomics, called by jit_flow.c.
 *
 * Anything but the program's own stack may be map memory, which others change at any time: such an
 * access happens exactly once and as written, so that what was checked is what is used. Nothing is
 * promised about alignment: x86 needs none, and the verifier's rules are not this file's.
 */
#include <errno.h>

#include "vm/jit_unit.h"

struct place {
	LLVMValueRef pointer;
	LLVMTypeRef type;
	bool shared; /* may be seen by others */
};

static unsigned access_bits(uint8_t code)
{
	switch (BPF_SIZE(code)) {
	case BPF_B:
		return 8;
	case BPF_H:
		return 16;
	case BPF_W:
		return 32;
	default:
		return 64;
	}
}

/* Where [@reg + @off] is. The stack proper is told apart only where that is certain. */
static struct place place_of(struct jit_unit *unit, unsigned reg, int16_t off, uint8_t code)
{
	const struct jit_tag *tag = &unit->tags[reg];
	const unsigned bits = access_bits(code);
	struct place place = {.type = LLVMIntTypeInContext(unit->context, bits)};
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef at;
	int32_t from;

	if (tag->kind == JIT_TAG_STACK) {
		from = JIT_STACK + tag->value + off;
		if (from >= 0 && from + (int32_t)(bits / 8) <= JIT_STACK) {
			at = jit_const(unit, (uint64_t)from);
			place.pointer = LLVMBuildGEP2(b, unit->i8, unit->stack, &at, 1, "");
			return place;
		}
	}
	at = LLVMBuildAdd(b, jit_get(unit, reg), jit_const(unit, (uint64_t)(int64_t)off), "");
	place.pointer = LLVMBuildIntToPtr(b, at, unit->pointer, "");
	place.shared = true;
	return place;
}

static LLVMValueRef load_from(struct jit_unit *unit, const struct place *place)
{
	LLVMValueRef load = LLVMBuildLoad2(unit->builder, place->type, place->pointer, "");

	LLVMSetAlignment(load, 1);
	LLVMSetVolatile(load, place->shared);
	if (place->shared)
		return load;
	return LLVMBuildFreeze(unit->builder, load, "");
}

static void store_to(struct jit_unit *unit, const struct place *place, LLVMValueRef value)
{
	LLVMValueRef narrow = LLVMBuildTrunc(unit->builder, value, place->type, "");
	LLVMValueRef store = LLVMBuildStore(unit->builder, narrow, place->pointer);

	LLVMSetAlignment(store, 1);
	LLVMSetVolatile(store, place->shared);
}

LLVMValueRef jit_read(struct jit_unit *unit, unsigned reg, int16_t off, uint8_t size)
{
	const struct place place = place_of(unit, reg, off, size);

	return load_from(unit, &place);
}

int jit_load(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	const unsigned mode = BPF_MODE(insn->code);
	LLVMValueRef value;

	if (mode != BPF_MEM && (mode != JIT_MEMSX || BPF_SIZE(insn->code) == BPF_DW))
		return jit_refuse(unit, at, "a kind of load");
	value = jit_read(unit, insn->src_reg, insn->off, insn->code);
	value = mode == BPF_MEM ? LLVMBuildZExt(unit->builder, value, unit->i64, "")
				: LLVMBuildSExt(unit->builder, value, unit->i64, "");
	jit_set(unit, insn->dst_reg, value);
	return 0;
}

int jit_store(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	struct place place;
	LLVMValueRef value;

	if (BPF_MODE(insn->code) != BPF_MEM)
		return jit_refuse(unit, at, "a kind of store");
	place = place_of(unit, insn->dst_reg, insn->off, insn->code);
	if (BPF_CLASS(insn->code) == BPF_ST)
		value = jit_const(unit, (uint64_t)(int64_t)insn->imm);
	else
		value = jit_get(unit, insn->src_reg);
	store_to(unit, &place, value);
	return 0;
}

/* The value before the operation goes to @reg, extended with zeros. */
static void set_old(struct jit_unit *unit, unsigned reg, LLVMValueRef old)
{
	jit_set(unit, reg, LLVMBuildZExt(unit->builder, old, unit->i64, ""));
}

static void compare_exchange(struct jit_unit *unit, const struct place *place, LLVMValueRef new)
{
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef expected = LLVMBuildTrunc(b, jit_get(unit, BPF_REG_0), place->type, "");
	LLVMValueRef pair = LLVMBuildAtomicCmpXchg(b, place->pointer, expected, new,
						   LLVMAtomicOrderingSequentiallyConsistent,
						   LLVMAtomicOrderingSequentiallyConsistent, false);

	LLVMSetVolatile(pair, true);
	set_old(unit, BPF_REG_0, LLVMBuildExtractValue(b, pair, 0, ""));
}

static int load_acquire(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	struct place place = place_of(unit, insn->src_reg, insn->off, insn->code);
	LLVMValueRef load = LLVMBuildLoad2(unit->builder, place.type, place.pointer, "");

	LLVMSetAlignment(load, access_bits(insn->code) / 8);
	LLVMSetOrdering(load, LLVMAtomicOrderingAcquire);
	LLVMSetVolatile(load, true);
	if (!place.shared)
		load = LLVMBuildFreeze(unit->builder, load, "");
	set_old(unit, insn->dst_reg, load);
	return 0;
}

static int store_release(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	struct place place = place_of(unit, insn->dst_reg, insn->off, insn->code);
	LLVMValueRef value =
		LLVMBuildTrunc(unit->builder, jit_get(unit, insn->src_reg), place.type, "");
	LLVMValueRef store = LLVMBuildStore(unit->builder, value, place.pointer);

	LLVMSetAlignment(store, access_bits(insn->code) / 8);
	LLVMSetOrdering(store, LLVMAtomicOrderingRelease);
	LLVMSetVolatile(store, true);
	return 0;
}

static int read_modify_write(struct jit_unit *unit, uint32_t at, LLVMAtomicRMWBinOp op)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	struct place place = place_of(unit, insn->dst_reg, insn->off, insn->code);
	LLVMValueRef value =
		LLVMBuildTrunc(unit->builder, jit_get(unit, insn->src_reg), place.type, "");
	LLVMValueRef old = LLVMBuildAtomicRMW(unit->builder, op, place.pointer, value,
					      LLVMAtomicOrderingSequentiallyConsistent, false);

	LLVMSetVolatile(old, true);
	if (insn->imm & BPF_FETCH)
		set_old(unit, insn->src_reg, old);
	return 0;
}

int jit_atomic(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	struct place place;

	if (insn->imm == JIT_LOAD_ACQUIRE)
		return load_acquire(unit, at);
	if (insn->imm == JIT_STORE_RELEASE)
		return store_release(unit, at);
	if (access_bits(insn->code) < 32)
		return jit_refuse(unit, at, "an atomic operation of that width");
	switch (insn->imm) {
	case BPF_ADD:
	case BPF_ADD | BPF_FETCH:
		return read_modify_write(unit, at, LLVMAtomicRMWBinOpAdd);
	case BPF_OR:
	case BPF_OR | BPF_FETCH:
		return read_modify_write(unit, at, LLVMAtomicRMWBinOpOr);
	case BPF_AND:
	case BPF_AND | BPF_FETCH:
		return read_modify_write(unit, at, LLVMAtomicRMWBinOpAnd);
	case BPF_XOR:
	case BPF_XOR | BPF_FETCH:
		return read_modify_write(unit, at, LLVMAtomicRMWBinOpXor);
	case BPF_XCHG:
		return read_modify_write(unit, at, LLVMAtomicRMWBinOpXchg);
	case BPF_CMPXCHG:
		place = place_of(unit, insn->dst_reg, insn->off, insn->code);
		compare_exchange(unit, &place,
				 LLVMBuildTrunc(unit->builder, jit_get(unit, insn->src_reg),
						place.type, ""));
		return 0;
	default:
		return jit_refuse(unit, at, "an atomic operation");
	}
}
