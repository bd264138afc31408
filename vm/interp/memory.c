/* SPDX-License-Identifier: MIT */
/*
 * Loads, stores and atomic operations, each on bytes that are known to be there. Memory may be
 * shared with others who change it: each instruction looks once. Source: RFC 9669 section 5.
 */
#include <errno.h>
#include <string.h>

#include "vm/interp/run.h"

static unsigned int size_of(const struct bpf_insn *insn)
{
	static const uint8_t sizes[] = {
		[BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1, [BPF_DW >> 3] = 8};

	return sizes[BPF_SIZE(insn->code) >> 3];
}

static bool is_inside(uint64_t address, uint64_t size, uint64_t start, uint64_t len)
{
	return address >= start && address - start <= len && len - (address - start) >= size;
}

bool interp_allows(const struct interp_run *run, uint64_t address, uint64_t len, bool write)
{
	const struct interp *interp = run->interp;

	/* A function sees the stacks of those that called it. */
	if (len == 0 ||
	    is_inside(address, len, (uint64_t)run->stack, (run->frame + 1ull) * INTERP_STACK))
		return true;
	for (uint32_t i = 0; i < interp->memory_cnt; i++)
		if ((interp->memory[i].writable || !write) &&
		    is_inside(address, len, interp->memory[i].start, interp->memory[i].len))
			return true;
	return interp->allows && interp->allows(interp->data, address, len, write);
}

/* The bytes at register + offset, or NULL with the error set in @ret_error. */
static unsigned char *place(struct interp_run *run, const struct bpf_insn *insn, unsigned int reg,
			    bool write, int *ret_error)
{
	const unsigned int size = size_of(insn);
	const uint64_t address = run->regs[reg] + (uint64_t)(int64_t)insn->off;

	if (interp_allows(run, address, size, write))
		return (unsigned char *)address;
	*ret_error =
		interp_fail(run, -EFAULT, "%s of %u bytes at %#llx, which is not the program's",
			    write ? "a write" : "a read", size, (unsigned long long)address);
	return NULL;
}

int interp_load(struct interp_run *run, const struct bpf_insn *insn)
{
	const unsigned int bits = size_of(insn) * 8;
	const bool extends = BPF_MODE(insn->code) == INTERP_MEMSX;
	const unsigned char *from;
	uint64_t value = 0;
	int error;

	if (insn->dst_reg == BPF_REG_10)
		return interp_fail(run, -EINVAL, "the frame pointer is read only");
	if (BPF_MODE(insn->code) != BPF_MEM && (!extends || bits == 64))
		return interp_fail(run, -EINVAL, "no such load: code 0x%02x", insn->code);
	from = place(run, insn, insn->src_reg, false, &error);
	if (!from)
		return error;
	memcpy(&value, from, bits / 8);
	if (extends)
		value = (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
	run->regs[insn->dst_reg] = value;
	return 0;
}

int interp_store(struct interp_run *run, const struct bpf_insn *insn)
{
	const uint64_t value = BPF_CLASS(insn->code) == BPF_STX ? run->regs[insn->src_reg]
								: (uint64_t)(int64_t)insn->imm;
	unsigned char *to;
	int error;

	if (BPF_MODE(insn->code) != BPF_MEM)
		return interp_fail(run, -EINVAL, "no such store: code 0x%02x", insn->code);
	to = place(run, insn, insn->dst_reg, true, &error);
	if (!to)
		return error;
	memcpy(to, &value, size_of(insn));
	return 0;
}

#define ATOMIC(type)                                                                               \
	static int atomic_##type(void *at, int op, type value, type expected, type *ret_old)       \
	{                                                                                          \
		type *place = at;                                                                  \
                                                                                                   \
		switch (op) {                                                                      \
		case BPF_ADD:                                                                      \
			*ret_old = __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST);             \
			return 0;                                                                  \
		case BPF_OR:                                                                       \
			*ret_old = __atomic_fetch_or(place, value, __ATOMIC_SEQ_CST);              \
			return 0;                                                                  \
		case BPF_AND:                                                                      \
			*ret_old = __atomic_fetch_and(place, value, __ATOMIC_SEQ_CST);             \
			return 0;                                                                  \
		case BPF_XOR:                                                                      \
			*ret_old = __atomic_fetch_xor(place, value, __ATOMIC_SEQ_CST);             \
			return 0;                                                                  \
		case BPF_XCHG & ~BPF_FETCH:                                                        \
			*ret_old = __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST);            \
			return 0;                                                                  \
		case BPF_CMPXCHG & ~BPF_FETCH:                                                     \
			__atomic_compare_exchange_n(place, &expected, value, false,                \
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);           \
			*ret_old = expected;                                                       \
			return 0;                                                                  \
		default:                                                                           \
			return -EINVAL;                                                            \
		}                                                                                  \
	}
ATOMIC(uint32_t)
ATOMIC(uint64_t)

/* Load-acquire and store-release have every size, and no alignment that could be missed. */
static int ordered(struct interp_run *run, const struct bpf_insn *insn)
{
	const bool load = insn->imm == INTERP_LOAD_ACQUIRE;
	uint64_t value = run->regs[insn->src_reg];
	unsigned char *at;
	int error;

	if (load && insn->dst_reg == BPF_REG_10)
		return interp_fail(run, -EINVAL, "the frame pointer is read only");
	at = place(run, insn, load ? insn->src_reg : insn->dst_reg, !load, &error);
	if (!at)
		return error;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (load) {
		value = 0;
		memcpy(&value, at, size_of(insn));
		run->regs[insn->dst_reg] = value;
	} else {
		memcpy(at, &value, size_of(insn));
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return 0;
}

int interp_atomic(struct interp_run *run, const struct bpf_insn *insn)
{
	const int op = insn->imm & ~BPF_FETCH;
	const bool compares = op == (BPF_CMPXCHG & ~BPF_FETCH);
	const bool fetches = insn->imm & BPF_FETCH;
	const unsigned int size = size_of(insn);
	const uint64_t value = run->regs[insn->src_reg], expected = run->regs[BPF_REG_0];
	uint64_t old = 0;
	uint32_t old32 = 0;
	void *at;
	int r;

	if (insn->imm == INTERP_LOAD_ACQUIRE || insn->imm == INTERP_STORE_RELEASE)
		return ordered(run, insn);
	if (size < 4 || ((op == (BPF_XCHG & ~BPF_FETCH) || compares) && !fetches))
		return interp_fail(run, -EINVAL, "no such atomic operation: %#x", insn->imm);
	if (fetches && !compares && insn->src_reg == BPF_REG_10)
		return interp_fail(run, -EINVAL, "the frame pointer is read only");
	at = place(run, insn, insn->dst_reg, true, &r);
	if (!at)
		return r;
	if ((uint64_t)at % size)
		return interp_fail(run, -EINVAL, "an atomic operation at an odd address");
	if (size == 8)
		r = atomic_uint64_t(at, op, value, expected, &old);
	else
		r = atomic_uint32_t(at, op, (uint32_t)value, (uint32_t)expected, &old32);
	if (r < 0)
		return interp_fail(run, r, "no such atomic operation: %#x", insn->imm);
	if (fetches)
		run->regs[compares ? (unsigned int)BPF_REG_0 : insn->src_reg] =
			size == 8 ? old : old32;
	return 0;
}
