/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores: context, map values and keys, records; the stack's are in stack.c.
 */
#include <errno.h>
#include <string.h>

#include "verifier/context.h"
#include "verifier/internal.h"
#include "verifier/packet.h"
#include "verifier/special.h"

const char *reg_type_name(uint8_t type)
{
	static const char *const names[] = {
		[REG_NONE] = "?",
		[REG_SCALAR] = "scalar",
		[REG_CTX] = "ctx",
		[REG_STACK] = "fp",
		[REG_MAP] = "map_ptr",
		[REG_FUNC] = "func",
		[REG_KEY] = "map_key",
		[REG_VALUE] = "map_value",
		[REG_VALUE_OR_NULL] = "map_value_or_null",
		[REG_RECORD] = "ringbuf_mem",
		[REG_RECORD_OR_NULL] = "ringbuf_mem_or_null",
		[REG_SLICE] = "mem",
		[REG_SLICE_OR_NULL] = "mem_or_null",
		[REG_DYNPTR] = "dynptr_ptr",
		[REG_PACKET] = "pkt",
		[REG_PACKET_META] = "pkt_meta",
		[REG_PACKET_END] = "pkt_end",
	};

	return names[type];
}

int read_reg(struct walk *walk, uint32_t regno)
{
	if (walk_reg(walk, regno)->type == REG_NONE)
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

/**
 * struct block - memory that a program may use
 * @name: as the messages call it
 */
struct block {
	const char *name;
	uint32_t size;
	bool readable, writable;
};

static struct block block_of(const struct walk *walk, const struct reg *reg)
{
	struct verifier_map map;

	if (reg->type == REG_RECORD || reg->type == REG_SLICE)
		return (struct block){"memory, mem", reg->size, true, true};
	map = walk_map(walk, reg);
	if (reg->type == REG_KEY)
		return (struct block){"map key, key", map.key_size, true, false};
	return (struct block){"map value, value", map.value_size, !(map.flags & BPF_F_WRONLY_PROG),
			      !(map.flags & BPF_F_RDONLY_PROG)};
}

/* That @size bytes at @reg + @insn_off lie in the memory it points to. */
static int block_access(struct walk *walk, const struct reg *reg, uint32_t regno, int insn_off,
			uint64_t size, bool write)
{
	const struct block block = block_of(walk, reg);
	int64_t min = reg->off + insn_off + reg->r64.smin;
	int64_t max = (int64_t)((uint64_t)(reg->off + insn_off) + reg->r64.umax);

	if (write && !block.writable && reg->type == REG_KEY)
		return walk_fail(walk, -EACCES, "write to change key R%u not allowed\n", regno);
	if (!(write ? block.writable : block.readable))
		return walk_fail(walk, -EACCES,
				 "%s map forbidden, value_size=%u off=%lld size=%llu\n",
				 write ? "write into" : "read from", block.size, (long long)min,
				 (unsigned long long)size);
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
	if (max + (int64_t)size > (int64_t)block.size) {
		bool at_least = min + (int64_t)size > (int64_t)block.size;

		return walk_fail(walk, -EACCES,
				 "invalid access to %s_size=%u off=%lld size=%llu\n"
				 "R%u %s value is outside of the allowed memory range\n",
				 block.name, block.size, (long long)(at_least ? min : max),
				 (unsigned long long)size, regno, at_least ? "min" : "max");
	}
	if (reg->type != REG_VALUE || reg->inner)
		return 0;
	return special_check_access(walk, &walk->prog->maps[reg->map].fields, min,
				    max + (int64_t)size);
}

/* @ret_access: what kind of thing it is, CONTEXT_YES for a number */
static int context_reach(struct walk *walk, const struct reg *reg, int insn_off, unsigned int size,
			 bool write, enum context_access *ret_access)
{
	int64_t off = (int64_t)reg->off + insn_off;

	if (reg->off)
		return walk_fail(walk, -EACCES,
				 "dereference of modified ctx ptr off=%d disallowed\n", reg->off);
	*ret_access = context_access(walk->prog, off, size, write);
	if (off >= 0 && off + size > walk->facts->ctx_size)
		walk->facts->ctx_size = (uint32_t)(off + size);
	switch (*ret_access) {
	case CONTEXT_YES:
	case CONTEXT_PACKET:
	case CONTEXT_PACKET_META:
	case CONTEXT_PACKET_END:
		return 0;
	case CONTEXT_POINTER:
		return walk_fail(
			walk, -EOPNOTSUPP,
			"not supported by this verifier: address in the context, off=%lld\n",
			(long long)off);
	default:
		return walk_fail(walk, -EACCES, "invalid bpf_context access off=%lld size=%u\n",
				 (long long)off, size);
	}
}

static void context_value(enum context_access access, unsigned int size, bool is_signed,
			  struct reg *ret)
{
	reg_set_bounded(ret, size, is_signed);
	if (access == CONTEXT_YES)
		return;
	*ret = (struct reg){.type = access == CONTEXT_PACKET	    ? REG_PACKET
				    : access == CONTEXT_PACKET_META ? REG_PACKET_META
								    : REG_PACKET_END,
			    .r64 = range_const(0, 64)};
}

static int bad_access(struct walk *walk, uint32_t regno, uint8_t type)
{
	return walk_fail(walk, -EACCES, "R%u invalid mem access '%s'\n", regno,
			 reg_type_name(type));
}

/* The context may be of another shape than memory is: one instruction is for the one or the other.
 */
static int touch(struct walk *walk, uint8_t type)
{
	uint8_t what = type == REG_CTX ? TOUCHED_CTX : TOUCHED_MEMORY;

	if (walk->insns[walk->at].touched && walk->insns[walk->at].touched != what)
		return walk_fail(walk, -EINVAL,
				 "same insn cannot be used with different pointers\n");
	walk->insns[walk->at].touched = what;
	return 0;
}

/* What stands in a map that nobody changes any more. Return: whether it is known. */
static bool read_contents(const struct walk *walk, const struct reg *reg, int insn_off,
			  unsigned int size, bool is_signed, struct reg *ret)
{
	const struct verifier_map *map = &walk->prog->maps[reg->map];
	uint64_t value = 0;

	if (reg->type != REG_VALUE || reg->inner || !map->contents || !range_is_const(&reg->r64))
		return false;
	memcpy(&value, map->contents + reg->off + insn_off + reg->r64.smin, size);
	if (is_signed)
		value = (uint64_t)((int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size));
	reg_set_const(ret, value);
	return true;
}

int memory_load(struct walk *walk, const struct bpf_insn *insn)
{
	bool is_signed = BPF_MODE(insn->code) == 0x80; /* BPF_MEMSX */
	unsigned int size = size_of(insn->code);
	struct reg reg, *dst = walk_reg(walk, insn->dst_reg);
	enum context_access access;
	int r = read_reg(walk, insn->src_reg);

	if (r < 0)
		return r;
	if (insn->dst_reg == 10)
		return walk_fail(walk, -EACCES, "frame pointer is read only\n");
	reg = *walk_reg(walk, insn->src_reg);
	r = touch(walk, reg.type);
	if (r < 0)
		return r;
	switch (reg.type) {
	case REG_CTX:
		if (is_signed && !context_is_memory(walk->prog->type))
			return walk_fail(walk, -EACCES,
					 "invalid bpf_context access off=%d size=%u\n", insn->off,
					 size);
		r = context_reach(walk, &reg, insn->off, size, false, &access);
		if (r == 0)
			context_value(access, size, is_signed, dst);
		return r;
	case REG_PACKET:
	case REG_PACKET_META:
		r = packet_access(walk, &reg, insn->src_reg, insn->off, size, false);
		if (r == 0)
			reg_set_bounded(dst, size, is_signed);
		return r;
	case REG_STACK:
		return stack_load(walk, &reg, insn->src_reg, insn->off, size, is_signed, dst);
	case REG_KEY:
	case REG_VALUE:
	case REG_RECORD:
	case REG_SLICE:
		r = block_access(walk, &reg, insn->src_reg, insn->off, size, false);
		if (r == 0 && !read_contents(walk, &reg, insn->off, size, is_signed, dst))
			reg_set_bounded(dst, size, is_signed);
		return r;
	default:
		return bad_access(walk, insn->src_reg, reg.type);
	}
}

int memory_store(struct walk *walk, const struct bpf_insn *insn)
{
	unsigned int size = size_of(insn->code);
	enum context_access access;
	struct reg value, reg;
	int r = read_reg(walk, insn->dst_reg);

	if (r == 0 && BPF_CLASS(insn->code) == BPF_STX)
		r = read_reg(walk, insn->src_reg);
	if (r < 0)
		return r;
	if (BPF_CLASS(insn->code) == BPF_ST ? insn->src_reg : insn->imm)
		return walk_fail(walk, -EINVAL, "%s uses reserved fields\n",
				 BPF_CLASS(insn->code) == BPF_ST ? "BPF_ST" : "BPF_STX");
	if (BPF_CLASS(insn->code) == BPF_STX) {
		link_scalar(walk, walk_reg(walk, insn->src_reg));
		value = *walk_reg(walk, insn->src_reg);
	} else {
		reg_set_const(&value, (uint64_t)(int64_t)insn->imm);
	}
	reg = *walk_reg(walk, insn->dst_reg);
	switch (reg.type) {
	case REG_STACK:
		return stack_store(walk, &reg, insn->dst_reg, insn->off, size, &value);
	case REG_KEY:
	case REG_VALUE:
	case REG_RECORD:
	case REG_SLICE:
		return block_access(walk, &reg, insn->dst_reg, insn->off, size, true);
	case REG_CTX:
		return context_reach(walk, &reg, insn->off, size, true, &access);
	case REG_PACKET:
	case REG_PACKET_META:
		return packet_access(walk, &reg, insn->dst_reg, insn->off, size, true);
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
	struct reg reg = *walk_reg(walk, insn->dst_reg), any;
	int r;

	reg_set_unknown(&any);
	switch (reg.type) {
	case REG_STACK: {
		struct reg old;

		r = stack_load(walk, &reg, insn->dst_reg, insn->off, size, false, &old);
		return r < 0 ? r : stack_store(walk, &reg, insn->dst_reg, insn->off, size, &any);
	}
	case REG_KEY:
	case REG_VALUE:
	case REG_RECORD:
		if ((reg.off + insn->off) % (int)size ||
		    ((reg.r64.t.value | reg.r64.t.mask) & (size - 1)))
			return walk_fail(walk, -EACCES, "misaligned value access off %d size %u\n",
					 reg.off + insn->off, size);
		r = block_access(walk, &reg, insn->dst_reg, insn->off, size, true);
		return r < 0 ? r : block_access(walk, &reg, insn->dst_reg, insn->off, size, false);
	case REG_SLICE:
		/* It may begin anywhere, and one across two cache lines stops the machine. */
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: atomic operation on memory of a "
				 "dynptr\n");
	case REG_CTX:
	case REG_PACKET:
	case REG_PACKET_META:
		return walk_fail(walk, -EACCES, "BPF_ATOMIC stores into R%d %s is not allowed\n",
				 insn->dst_reg, reg_type_name(reg.type));
	default:
		return bad_access(walk, insn->dst_reg, reg.type);
	}
}

int memory_atomic(struct walk *walk, const struct bpf_insn *insn)
{
	unsigned int size = size_of(insn->code);
	bool fetch = false, exchange = insn->imm == BPF_CMPXCHG;
	struct reg *out = walk_reg(walk, exchange ? 0 : insn->src_reg);
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
	/* What it fetches would take the address's place before it is used. */
	if (fetch && insn->dst_reg == (exchange ? 0 : insn->src_reg))
		return walk_fail(walk, -EACCES, "R%d invalid mem access 'scalar'\n", insn->dst_reg);
	if (fetch && !exchange && insn->src_reg == 10)
		return walk_fail(walk, -EACCES, "frame pointer is read only\n");
	r = atomic_place(walk, insn, size);
	if (r == 0 && fetch)
		reg_set_bounded(out, size, false);
	return r;
}

int memory_range(struct walk *walk, uint32_t regno, uint64_t min, uint64_t max, bool write)
{
	const struct reg reg = *walk_reg(walk, regno);

	switch (reg.type) {
	case REG_STACK:
		return stack_range(walk, &reg, regno, min, max, write);
	case REG_KEY:
	case REG_VALUE:
	case REG_RECORD:
	case REG_SLICE:
		return block_access(walk, &reg, regno, 0, max, write);
	case REG_PACKET:
	case REG_PACKET_META:
		return packet_access(walk, &reg, regno, 0, max, write);
	default:
		return walk_fail(walk, -EACCES, "R%u type=%s expected=fp, map_value\n", regno,
				 reg_type_name(reg.type));
	}
}

int memory_context(struct walk *walk, uint32_t regno, uint32_t size)
{
	const struct reg *reg = walk_reg(walk, regno);
	enum context_access access;
	int r = 0;

	/* That the last byte is in it. */
	if (size)
		r = context_reach(walk, reg, (int)size - 1, 1, false, &access);
	return r < 0 || !size ? r : context_reach(walk, reg, (int)size - 1, 1, true, &access);
}
