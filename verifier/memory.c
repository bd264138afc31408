/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores: context, stack, map values.
 */
#include <errno.h>
#include <string.h>

#include "verifier/internal.h"

const char *reg_type_name(enum reg_type type)
{
	static const char *const names[] = {"?",	 "scalar",	     "ctx", "fp", "map_ptr",
					    "map_value", "map_value_or_null"};

	return names[type];
}

int read_reg(struct walk *walk, uint32_t regno)
{
	if (walk->state.regs[regno].type == REG_NONE)
		return walk_fail(walk, -EACCES, "R%u !read_ok\n", regno);
	return 0;
}

static unsigned int size_of(uint8_t code)
{
	switch (BPF_SIZE(code)) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

/* Offset of a stack access from the top, which is negative; constant here. */
static int stack_offset(struct walk *walk, const struct reg *reg, uint32_t regno, int insn_off,
			uint64_t size, bool write, int *ret_off)
{
	int64_t off = (int64_t)reg->off + insn_off;

	if (off >= 0 || off < -STACK_MAX || off + (int64_t)size > 0)
		return walk_fail(walk, off >= 0 || off < -STACK_MAX ? -EACCES : -EINVAL,
				 "invalid %s stack R%u off=%lld size=%llu\n",
				 write ? "write to" : "read from", regno, (long long)off,
				 (unsigned long long)size);
	if ((uint32_t)-off > walk->facts->stack_depth)
		walk->facts->stack_depth = (uint32_t)-off;
	*ret_off = (int)off;
	return 0;
}

/* The same for an instruction: a slot's bytes are looked at in their natural groups. */
static int stack_access(struct walk *walk, uint32_t regno, int insn_off, unsigned int size,
			bool write, int *ret_off)
{
	const struct reg *reg = &walk->state.regs[regno];

	if ((reg->off + insn_off) % (int)size)
		return walk_fail(walk, -EACCES, "misaligned stack access off %d size %u\n",
				 reg->off + insn_off, size);
	return stack_offset(walk, reg, regno, insn_off, size, write, ret_off);
}

static uint8_t *stack_byte(struct state *state, int off)
{
	struct slot *slot = state_slot(state, off);

	/* Slot N holds the bytes from -8 * (N + 1) up. */
	return slot ? &slot->bytes[7 - ((-off - 1) % 8)] : NULL;
}

/* A spilled register of which a byte is replaced is a register no more. */
static void break_spill(struct state *state, int off)
{
	struct slot *slot = state_slot(state, off);

	for (int i = 0; slot && i < 8; i++)
		if (slot->bytes[i] == BYTE_SPILL)
			slot->bytes[i] = BYTE_MISC;
}

static int stack_set(struct walk *walk, int off, unsigned int size, uint8_t type)
{
	for (unsigned int i = 0; i < size; i++) {
		uint8_t *byte;

		break_spill(&walk->state, off + (int)i);
		byte = stack_byte(&walk->state, off + (int)i);
		if (!byte)
			return -ENOMEM;
		*byte = type;
	}
	return 0;
}

static int stack_store(struct walk *walk, int off, unsigned int size, const struct reg *value)
{
	struct slot *slot;
	bool zero = value->type == REG_SCALAR && range_is_const(&value->r64) && !value->r64.umin;

	if (size != 8 && reg_is_pointer(value))
		return walk_fail(walk, -EACCES, "invalid size of register spill\n");
	if (size != 8 || off % 8)
		return stack_set(walk, off, size, zero ? BYTE_ZERO : BYTE_MISC);
	slot = state_slot(&walk->state, off);
	if (!slot)
		return -ENOMEM;
	memset(slot->bytes, BYTE_SPILL, sizeof(slot->bytes));
	slot->spilled = *value;
	return 0;
}

static int stack_load(struct walk *walk, int off, unsigned int size, bool is_signed,
		      struct reg *ret)
{
	struct slot *slot = state_slot(&walk->state, off);
	bool zero = true;

	if (!slot)
		return -ENOMEM;
	if (size == 8 && off % 8 == 0 && slot->bytes[0] == BYTE_SPILL) {
		*ret = slot->spilled;
		return 0;
	}
	if (slot->bytes[0] == BYTE_SPILL && reg_is_pointer(&slot->spilled))
		return walk_fail(walk, -EACCES, "invalid size of register fill\n");
	for (unsigned int i = 0; i < size; i++) {
		const uint8_t *byte = stack_byte(&walk->state, off + (int)i);

		if (!byte)
			return -ENOMEM;
		if (*byte == BYTE_NONE)
			return walk_fail(walk, -EACCES,
					 "invalid read from stack off %d+%u size %u\n", off, i,
					 size);
		zero = zero && *byte == BYTE_ZERO;
	}
	if (zero)
		reg_set_const(ret, 0);
	else
		reg_set_bounded(ret, size, is_signed);
	return 0;
}

/* That @size bytes at @reg + @insn_off lie in the map's value. */
static int value_access(struct walk *walk, const struct reg *reg, uint32_t regno, int insn_off,
			uint64_t size, bool write)
{
	const struct verifier_map *map = &walk->prog->maps[reg->map];
	int64_t min = reg->off + insn_off + reg->r64.smin;
	int64_t max = (int64_t)((uint64_t)(reg->off + insn_off) + reg->r64.umax);

	if (write && (map->flags & BPF_F_RDONLY_PROG))
		return walk_fail(walk, -EACCES,
				 "write into map forbidden, value_size=%u off=%lld size=%llu\n",
				 map->value_size, (long long)min, (unsigned long long)size);
	if (!write && (map->flags & BPF_F_WRONLY_PROG))
		return walk_fail(walk, -EACCES,
				 "read from map forbidden, value_size=%u off=%lld size=%llu\n",
				 map->value_size, (long long)min, (unsigned long long)size);
	if (min < 0)
		return walk_fail(walk, -EACCES,
				 "R%u min value is negative, either use unsigned index or do a if "
				 "(index >=0) check.\n",
				 regno);
	/* An offset that may be below zero, made good by a constant: the kernel does not see that.
	 */
	if (reg->r64.umax >= VAR_OFF_MAX)
		return walk_fail(walk, -EACCES,
				 "R%u unbounded memory access, make sure to bounds check any such "
				 "access\n",
				 regno);
	if (max + (int64_t)size > (int64_t)map->value_size)
		return walk_fail(walk, -EACCES,
				 "invalid access to map value, value_size=%u off=%lld size=%llu\n",
				 map->value_size, (long long)max, (unsigned long long)size);
	return 0;
}

static int context_load(struct walk *walk, const struct reg *reg, int insn_off, unsigned int size,
			struct reg *ret)
{
	int64_t off = (int64_t)reg->off + insn_off;

	if (reg->off)
		return walk_fail(walk, -EACCES,
				 "dereference of modified ctx ptr off=%d disallowed\n", reg->off);
	if (off < 0 || off % size || off + size > CTX_SIZE)
		return walk_fail(walk, -EACCES, "invalid bpf_context access off=%lld size=%u\n",
				 (long long)off, size);
	reg_set_bounded(ret, size, false);
	return 0;
}

static int bad_access(struct walk *walk, uint32_t regno, enum reg_type type)
{
	return walk_fail(walk, -EACCES, "R%u invalid mem access '%s'\n", regno,
			 reg_type_name(type));
}

/* The context may be of another shape than memory is: one instruction is for the one or the other.
 */
static int touch(struct walk *walk, enum reg_type type)
{
	uint8_t what = type == REG_CTX ? TOUCHED_CTX : TOUCHED_MEMORY;

	if (walk->touched[walk->at] && walk->touched[walk->at] != what)
		return walk_fail(walk, -EINVAL,
				 "same insn cannot be used with different pointers\n");
	walk->touched[walk->at] = what;
	return 0;
}

int memory_load(struct walk *walk, const struct bpf_insn *insn)
{
	bool is_signed = BPF_MODE(insn->code) == 0x80; /* BPF_MEMSX */
	unsigned int size = size_of(insn->code);
	struct reg reg, *dst = &walk->state.regs[insn->dst_reg];
	int r = read_reg(walk, insn->src_reg), off = 0;

	if (r < 0)
		return r;
	if (insn->dst_reg == 10)
		return walk_fail(walk, -EACCES, "frame pointer is read only\n");
	reg = walk->state.regs[insn->src_reg];
	r = touch(walk, reg.type);
	if (r < 0)
		return r;
	switch (reg.type) {
	case REG_CTX:
		if (is_signed)
			return walk_fail(walk, -EACCES,
					 "invalid bpf_context access off=%d size=%u\n", insn->off,
					 size);
		return context_load(walk, &reg, insn->off, size, dst);
	case REG_STACK:
		r = stack_access(walk, insn->src_reg, insn->off, size, false, &off);
		return r < 0 ? r : stack_load(walk, off, size, is_signed, dst);
	case REG_VALUE:
		r = value_access(walk, &reg, insn->src_reg, insn->off, size, false);
		if (r == 0)
			reg_set_bounded(dst, size, is_signed);
		return r;
	default:
		return bad_access(walk, insn->src_reg, reg.type);
	}
}

int memory_store(struct walk *walk, const struct bpf_insn *insn)
{
	unsigned int size = size_of(insn->code);
	struct reg value, reg;
	int r = read_reg(walk, insn->dst_reg), off = 0;

	if (r == 0 && BPF_CLASS(insn->code) == BPF_STX)
		r = read_reg(walk, insn->src_reg);
	if (r < 0)
		return r;
	if (BPF_CLASS(insn->code) == BPF_ST ? insn->src_reg : insn->imm)
		return walk_fail(walk, -EINVAL, "%s uses reserved fields\n",
				 BPF_CLASS(insn->code) == BPF_ST ? "BPF_ST" : "BPF_STX");
	if (BPF_CLASS(insn->code) == BPF_STX)
		value = walk->state.regs[insn->src_reg];
	else
		reg_set_const(&value, (uint64_t)(int64_t)insn->imm);
	reg = walk->state.regs[insn->dst_reg];
	switch (reg.type) {
	case REG_STACK:
		r = stack_access(walk, insn->dst_reg, insn->off, size, true, &off);
		return r < 0 ? r : stack_store(walk, off, size, &value);
	case REG_VALUE:
		return value_access(walk, &reg, insn->dst_reg, insn->off, size, true);
	case REG_CTX:
		return walk_fail(walk, -EACCES, "invalid bpf_context access off=%d size=%u\n",
				 insn->off, size);
	default:
		return bad_access(walk, insn->dst_reg, reg.type);
	}
}

#define LOAD_ACQUIRE  0x100
#define STORE_RELEASE 0x110

static int check_atomic_op(struct walk *walk, const struct bpf_insn *insn, bool *ret_fetch)
{
	if (insn->imm == LOAD_ACQUIRE || insn->imm == STORE_RELEASE)
		return walk_fail(walk, -EOPNOTSUPP, "not supported by this verifier: %s\n",
				 insn->imm == LOAD_ACQUIRE ? "load-acquire" : "store-release");
	switch (insn->imm & ~BPF_FETCH) {
	case BPF_ADD:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
		*ret_fetch = insn->imm & BPF_FETCH;
		return 0;
	case BPF_XCHG & ~BPF_FETCH:
	case BPF_CMPXCHG & ~BPF_FETCH:
		*ret_fetch = true;
		if (insn->imm & BPF_FETCH)
			return 0;
		break;
	default:
		break;
	}
	return walk_fail(walk, -EINVAL, "BPF_ATOMIC uses invalid atomic opcode %02x\n", insn->imm);
}

/* Where it may act: on what a program owns, and aligned, so that it is one access. */
static int atomic_place(struct walk *walk, const struct bpf_insn *insn, unsigned int size)
{
	struct reg reg = walk->state.regs[insn->dst_reg], old;
	int r, off = 0;

	switch (reg.type) {
	case REG_STACK:
		r = stack_access(walk, insn->dst_reg, insn->off, size, true, &off);
		if (r == 0)
			r = stack_load(walk, off, size, false, &old);
		return r < 0 ? r : stack_set(walk, off, size, BYTE_MISC);
	case REG_VALUE:
		if ((reg.off + insn->off) % (int)size ||
		    ((reg.r64.t.value | reg.r64.t.mask) & (size - 1)))
			return walk_fail(walk, -EACCES, "misaligned value access off %d size %u\n",
					 reg.off + insn->off, size);
		r = value_access(walk, &reg, insn->dst_reg, insn->off, size, true);
		return r < 0 ? r : value_access(walk, &reg, insn->dst_reg, insn->off, size, false);
	case REG_CTX:
		return walk_fail(walk, -EACCES, "BPF_ATOMIC stores into R%d ctx is not allowed\n",
				 insn->dst_reg);
	default:
		return bad_access(walk, insn->dst_reg, reg.type);
	}
}

int memory_atomic(struct walk *walk, const struct bpf_insn *insn)
{
	unsigned int size = size_of(insn->code);
	bool fetch = false, exchange = insn->imm == BPF_CMPXCHG;
	struct reg *out = &walk->state.regs[exchange ? 0 : insn->src_reg];
	int r;

	r = check_atomic_op(walk, insn, &fetch);
	if (r == 0 && size < 4)
		r = walk_fail(walk, -EINVAL, "invalid atomic operand size\n");
	if (r == 0)
		r = read_reg(walk, insn->src_reg);
	if (r == 0)
		r = read_reg(walk, insn->dst_reg);
	if (r == 0 && exchange)
		r = read_reg(walk, 0);
	if (r < 0)
		return r;
	if (reg_is_pointer(&walk->state.regs[insn->src_reg]) ||
	    (exchange && reg_is_pointer(&walk->state.regs[0])))
		return walk_fail(walk, -EACCES, "R%d leaks addr into mem\n", insn->src_reg);
	if (fetch && !exchange && insn->src_reg == 10)
		return walk_fail(walk, -EACCES, "frame pointer is read only\n");
	r = atomic_place(walk, insn, size);
	if (r == 0 && fetch)
		reg_set_bounded(out, size, false);
	return r;
}

static int stack_initialised(struct walk *walk, uint32_t regno, int off, uint64_t size)
{
	for (uint64_t i = 0; i < size; i++) {
		const uint8_t *byte = stack_byte(&walk->state, off + (int)i);

		if (!byte)
			return -ENOMEM;
		if (*byte == BYTE_NONE)
			return walk_fail(walk, -EACCES,
					 "invalid read from stack R%u off %d+%llu size %llu\n",
					 regno, off, (unsigned long long)i,
					 (unsigned long long)size);
	}
	return 0;
}

static int stack_range(struct walk *walk, const struct reg *reg, uint32_t regno, uint64_t min,
		       uint64_t max, bool write)
{
	int off = 0, r = stack_offset(walk, reg, regno, 0, max, write, &off);

	/* What is written for sure need not have been written before. */
	if (r == 0 && (!write || min != max))
		r = stack_initialised(walk, regno, off, max);
	if (r == 0 && write)
		r = stack_set(walk, off, (unsigned int)max, BYTE_MISC);
	return r;
}

int memory_range(struct walk *walk, uint32_t regno, uint64_t min, uint64_t max, bool write)
{
	const struct reg reg = walk->state.regs[regno];

	switch (reg.type) {
	case REG_STACK:
		return stack_range(walk, &reg, regno, min, max, write);
	case REG_VALUE:
		return value_access(walk, &reg, regno, 0, max, write);
	default:
		return walk_fail(walk, -EACCES, "R%u type=%s expected=fp, map_value\n", regno,
				 reg_type_name(reg.type));
	}
}
