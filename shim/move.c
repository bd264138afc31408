/* SPDX-License-Identifier: MIT */
/*
 * Relocation of displaced instructions, with Zydis.
 */
#include "shim/move.h"

#include <errno.h>
#include <string.h>

#include <Zydis/Zydis.h>

/* The code under construction: @at is the address of its next byte. */
struct out {
	unsigned char *bytes;
	uint32_t len;
	uint64_t base;
};

static void put(struct out *out, const void *bytes, uint32_t len)
{
	if (out->len + len <= MOVE_MAX)
		memcpy(out->bytes + out->len, bytes, len);
	out->len += len;
}

static int put_rel32(struct out *out, uint64_t target)
{
	int64_t distance = (int64_t)(target - (out->base + out->len + 4));
	int32_t rel = (int32_t)distance;

	if (distance != rel)
		return -ERANGE;
	put(out, &rel, sizeof(rel));
	return 0;
}

static int put_jump(struct out *out, uint64_t target)
{
	put(out, "\xe9", 1);
	return put_rel32(out, target);
}

static bool is_call(const ZydisDecodedInstruction *insn)
{
	return insn->mnemonic == ZYDIS_MNEMONIC_CALL;
}

static bool is_relative(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	return insn->operand_count && operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
	       operands[0].imm.is_relative;
}

static bool is_jcc(const ZydisDecodedInstruction *insn)
{
	return insn->meta.category == ZYDIS_CATEGORY_COND_BR && insn->opcode_map < 2 &&
	       ((insn->opcode & 0xf0) == 0x70 || (insn->opcode & 0xf0) == 0x80);
}

static int decode(const unsigned char *bytes, uint64_t left, ZydisDecodedInstruction *ret_insn,
		  ZydisDecodedOperand *ret_operands)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, left, ret_insn, ret_operands))
		       ? 0
		       : -EOPNOTSUPP;
}

int move_check(const unsigned char *bytes, uint64_t left, uint32_t *len, bool *ret_ends,
	       uint32_t wanted, struct reason *reason)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	bool relative;

	if (decode(bytes, left, &insn, operands) < 0)
		return reason_set(reason, -EOPNOTSUPP, "byte %u of the site is no instruction",
				  *len);
	relative = is_relative(&insn, operands);
	if (is_call(&insn) && (!relative || *len + insn.length < wanted))
		return reason_set(reason, -EOPNOTSUPP, "a call among the first bytes");
	if (relative && !is_call(&insn) && !is_jcc(&insn) && insn.mnemonic != ZYDIS_MNEMONIC_JMP)
		return reason_set(reason, -EOPNOTSUPP, "%s cannot be moved",
				  ZydisMnemonicGetString(insn.mnemonic));
	/* It would push or show the wrong address, or end in a place that it does not expect. */
	if (insn.mnemonic == ZYDIS_MNEMONIC_SYSCALL || insn.mnemonic == ZYDIS_MNEMONIC_INT3 ||
	    insn.mnemonic == ZYDIS_MNEMONIC_INT || insn.mnemonic == ZYDIS_MNEMONIC_XBEGIN)
		return reason_set(reason, -EOPNOTSUPP, "%s cannot be moved",
				  ZydisMnemonicGetString(insn.mnemonic));
	*len += insn.length;
	*ret_ends = insn.mnemonic == ZYDIS_MNEMONIC_RET || insn.mnemonic == ZYDIS_MNEMONIC_JMP ||
		    insn.mnemonic == ZYDIS_MNEMONIC_UD2 || insn.mnemonic == ZYDIS_MNEMONIC_HLT;
	return 0;
}

/* A call that pushes the address it would have pushed at its old place. */
static int move_call(struct out *out, uint64_t target, uint64_t back)
{
	/* push *8(%rip) over the jump and the padding to the literal; jmp target; literal */
	int r;

	put(out, "\xff\x35\x05\x00\x00\x00", 6);
	r = put_jump(out, target);
	put(out, &back, sizeof(back));
	return r;
}

static int move_relative(struct out *out, const ZydisDecodedInstruction *insn, uint64_t target,
			 uint64_t back)
{
	unsigned char jcc[2] = {0x0f, (unsigned char)(0x80 | (insn->opcode & 0x0f))};

	if (is_call(insn))
		return move_call(out, target, back);
	if (insn->mnemonic == ZYDIS_MNEMONIC_JMP)
		return put_jump(out, target);
	put(out, jcc, sizeof(jcc));
	return put_rel32(out, target);
}

/* Everything else is copied; a displacement from the instruction pointer is adjusted. */
static int move_plain(struct out *out, const ZydisDecodedInstruction *insn,
		      const unsigned char *code, uint64_t from)
{
	uint64_t to = out->base + out->len;
	unsigned char copy[ZYDIS_MAX_INSTRUCTION_LENGTH];
	int64_t distance;
	int32_t disp;

	memcpy(copy, code, insn->length);
	if (insn->attributes & ZYDIS_ATTRIB_IS_RELATIVE) {
		if (insn->raw.disp.size != 32)
			return -EOPNOTSUPP;
		distance = insn->raw.disp.value + (int64_t)(from - to);
		disp = (int32_t)distance;
		if (disp != distance)
			return -ERANGE;
		memcpy(copy + insn->raw.disp.offset, &disp, sizeof(disp));
	}
	put(out, copy, insn->length);
	return 0;
}

int move_code(const unsigned char *code, uint32_t len, uint64_t from, uint64_t to,
	      unsigned char *ret_code, uint32_t *ret_len, struct move_map *ret_map)
{
	struct out out = {.bytes = ret_code, .base = to};
	bool ends = false;
	int r = 0;

	*ret_map = (struct move_map){0};
	for (uint32_t at = 0; at < len && r == 0 && !ends;) {
		ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction insn;
		ZyanU64 target = 0;

		r = decode(code + at, len - at, &insn, operands);
		if (r < 0 || ret_map->cnt == 8)
			return -EOPNOTSUPP;
		ret_map->at[ret_map->cnt].from = (uint8_t)at;
		ret_map->at[ret_map->cnt++].to = (uint8_t)out.len;
		if (is_relative(&insn, operands)) {
			ZydisCalcAbsoluteAddress(&insn, &operands[0], from + at, &target);
			r = move_relative(&out, &insn, target, from + at + insn.length);
		} else {
			r = move_plain(&out, &insn, code + at, from + at);
		}
		at += insn.length;
		ends = insn.mnemonic == ZYDIS_MNEMONIC_RET || insn.mnemonic == ZYDIS_MNEMONIC_JMP ||
		       is_call(&insn);
	}
	if (r == 0 && !ends)
		r = put_jump(&out, from + len);
	if (r == 0 && out.len > MOVE_MAX)
		r = -ERANGE;
	*ret_len = out.len;
	return r;
}
