/* SPDX-License-Identifier: MIT */
/*
 * See disasm.h. The forms are those of logs of Linux 6.12 and 6.18.
 */
#include "verifier/disasm.h"

#include <stdio.h>

#include "verifier/helpers.h"
#include "verifier/internal.h"

#define MEMSX 0x80 /* BPF_MEMSX, include/uapi/linux/bpf.h, Linux 6.12 */

static const char *size_name(uint8_t code)
{
	static const char *const names[] = {"u32", "u16", "u8", "u64"};

	return names[BPF_SIZE(code) >> 3];
}

static const char *alu_name(const struct bpf_insn *insn)
{
	static const char *const names[16] = {
		"+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", NULL, "%=", "^=", "=", "s>>="};
	uint8_t op = BPF_OP(insn->code);

	if (insn->off == 1 && op == BPF_DIV)
		return "s/=";
	if (insn->off == 1 && op == BPF_MOD)
		return "s%=";
	return names[op >> 4];
}

static void show_alu(const struct bpf_insn *insn, char *buf, size_t size)
{
	bool wide = BPF_CLASS(insn->code) == BPF_ALU64;
	char letter = wide ? 'r' : 'w';
	const char *name = alu_name(insn);

	if (BPF_OP(insn->code) == BPF_END) {
		snprintf(buf, size, "r%d = %s%d r%d", insn->dst_reg,
			 wide				? "bswap"
			 : BPF_SRC(insn->code) == BPF_X ? "be"
							: "le",
			 insn->imm, insn->dst_reg);
	} else if (BPF_OP(insn->code) == BPF_NEG) {
		snprintf(buf, size, "%c%d = -%c%d", letter, insn->dst_reg, letter, insn->dst_reg);
	} else if (!name) {
		return;
	} else if (BPF_SRC(insn->code) == BPF_K) {
		snprintf(buf, size, "%c%d %s %d", letter, insn->dst_reg, name, insn->imm);
	} else if (BPF_OP(insn->code) == BPF_MOV && insn->off) {
		snprintf(buf, size, "%c%d = (s%d)%c%d", letter, insn->dst_reg, insn->off, letter,
			 insn->src_reg);
	} else {
		snprintf(buf, size, "%c%d %s %c%d", letter, insn->dst_reg, name, letter,
			 insn->src_reg);
	}
}

static void show_atomic(const struct bpf_insn *insn, char *buf, size_t size)
{
	static const char *const names[16] = {"add", NULL, NULL, NULL, "or", "and"};
	const char *name = names[(insn->imm & 0xf0) >> 4], *prefix;

	prefix = BPF_SIZE(insn->code) == BPF_DW ? "atomic64" : "atomic";
	name = (insn->imm & 0xf0) == BPF_XOR ? "xor" : name;
	if (insn->imm == BPF_CMPXCHG)
		snprintf(buf, size, "r0 = %s_cmpxchg((%s *)(r%d %+d), r0, r%d)", prefix,
			 size_name(insn->code), insn->dst_reg, insn->off, insn->src_reg);
	else if (insn->imm == BPF_XCHG)
		snprintf(buf, size, "r%d = %s_xchg((%s *)(r%d %+d), r%d)", insn->src_reg, prefix,
			 size_name(insn->code), insn->dst_reg, insn->off, insn->src_reg);
	else if (name && (insn->imm & BPF_FETCH))
		snprintf(buf, size, "r%d = %s_fetch_%s((%s *)(r%d %+d), r%d)", insn->src_reg,
			 prefix, name, size_name(insn->code), insn->dst_reg, insn->off,
			 insn->src_reg);
	else if (name)
		snprintf(buf, size, "lock *(%s *)(r%d %+d) %c= r%d", size_name(insn->code),
			 insn->dst_reg, insn->off,
			 insn->imm == BPF_ADD	? '+'
			 : insn->imm == BPF_OR	? '|'
			 : insn->imm == BPF_AND ? '&'
						: '^',
			 insn->src_reg);
}

static void show_store(const struct bpf_insn *insn, char *buf, size_t size)
{
	if (BPF_CLASS(insn->code) == BPF_ST)
		snprintf(buf, size, "*(%s *)(r%d %+d) = %d", size_name(insn->code), insn->dst_reg,
			 insn->off, insn->imm);
	else if (BPF_MODE(insn->code) == BPF_ATOMIC)
		show_atomic(insn, buf, size);
	else
		snprintf(buf, size, "*(%s *)(r%d %+d) = r%d", size_name(insn->code), insn->dst_reg,
			 insn->off, insn->src_reg);
}

static void show_load(const struct bpf_insn *insn, char *buf, size_t size)
{
	const char *name = size_name(insn->code);

	if (BPF_CLASS(insn->code) == BPF_LDX)
		snprintf(buf, size, "r%d = *(%s%s *)(r%d %+d)", insn->dst_reg,
			 BPF_MODE(insn->code) == MEMSX ? "s" : "u", name + 1, insn->src_reg,
			 insn->off);
	else if (insn_is_ld_imm64(insn))
		snprintf(buf, size, "r%d = 0x%llx", insn->dst_reg,
			 (unsigned long long)(uint32_t)insn[1].imm << 32 | (uint32_t)insn->imm);
	else if (BPF_MODE(insn->code) == BPF_ABS)
		snprintf(buf, size, "r0 = *(%s *)skb[%d]", name, insn->imm);
	else if (BPF_MODE(insn->code) == BPF_IND)
		snprintf(buf, size, "r0 = *(%s *)skb[r%d + %d]", name, insn->src_reg, insn->imm);
}

static void show_call(const struct bpf_insn *insn, char *buf, size_t size)
{
	const struct helper_row *row = insn->src_reg ? NULL : helper_row((uint32_t)insn->imm);

	if (insn_calls(insn))
		snprintf(buf, size, "call pc%+d", insn->imm);
	else if (insn->src_reg)
		snprintf(buf, size, "call kernel-function");
	else if (row)
		snprintf(buf, size, "call bpf_%s#%d", row->name, insn->imm);
	else
		snprintf(buf, size, "call unknown#%d", insn->imm);
}

static void show_jump(const struct bpf_insn *insn, char *buf, size_t size)
{
	static const char *const names[16] = {NULL,  "==", ">",	 ">=", "&",  "!=", "s>",
					      "s>=", NULL, NULL, "<",  "<=", "s<", "s<="};
	const char *name = names[BPF_OP(insn->code) >> 4];
	bool wide = BPF_CLASS(insn->code) == BPF_JMP;
	char letter = wide ? 'r' : 'w';

	if (BPF_OP(insn->code) == BPF_CALL)
		show_call(insn, buf, size);
	else if (BPF_OP(insn->code) == BPF_EXIT)
		snprintf(buf, size, "exit");
	else if (insn_is_may_goto(insn))
		snprintf(buf, size, "may_goto pc%+d", insn->off);
	else if (BPF_OP(insn->code) == BPF_JA)
		snprintf(buf, size, wide ? "goto pc%+d" : "gotol pc%+d",
			 wide ? insn->off : insn->imm);
	else if (name && BPF_SRC(insn->code) == BPF_X)
		snprintf(buf, size, "if %c%d %s %c%d goto pc%+d", letter, insn->dst_reg, name,
			 letter, insn->src_reg, insn->off);
	else if (name)
		snprintf(buf, size, "if %c%d %s 0x%x goto pc%+d", letter, insn->dst_reg, name,
			 (uint32_t)insn->imm, insn->off);
}

void disasm(const struct bpf_insn *insn, char *buf, size_t size)
{
	int len = snprintf(buf, size, "(%02x) ", insn->code);

	if (len < 0 || (size_t)len >= size)
		return;
	buf += len;
	size -= (size_t)len;
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		show_alu(insn, buf, size);
		break;
	case BPF_LD:
	case BPF_LDX:
		show_load(insn, buf, size);
		break;
	case BPF_ST:
	case BPF_STX:
		show_store(insn, buf, size);
		break;
	default:
		show_jump(insn, buf, size);
	}
}
