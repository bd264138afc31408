/* SPDX-License-Identifier: MIT */
/*
 * Instruction literals, for initialisers of struct bpf_insn arrays. Names and order of operands
 * follow the kernel's own macros (include/linux/filter.h), which it does not export.
 */
#pragma once

#include <linux/bpf.h>

#define INSN_RAW(c, d, s, o, i)                                                                    \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})

#define INSN_ALU64_REG(op, d, s)    INSN_RAW(BPF_ALU64 | (op) | BPF_X, d, s, 0, 0)
#define INSN_ALU64_IMM(op, d, i)    INSN_RAW(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define INSN_ALU32_REG(op, d, s)    INSN_RAW(BPF_ALU | (op) | BPF_X, d, s, 0, 0)
#define INSN_ALU32_IMM(op, d, i)    INSN_RAW(BPF_ALU | (op) | BPF_K, d, 0, 0, i)
#define INSN_MOV64_REG(d, s)	    INSN_ALU64_REG(BPF_MOV, d, s)
#define INSN_MOV64_IMM(d, i)	    INSN_ALU64_IMM(BPF_MOV, d, i)
#define INSN_LDX(size, d, s, o)	    INSN_RAW(BPF_LDX | (size) | BPF_MEM, d, s, o, 0)
#define INSN_STX(size, d, s, o)	    INSN_RAW(BPF_STX | (size) | BPF_MEM, d, s, o, 0)
#define INSN_ST(size, d, o, i)	    INSN_RAW(BPF_ST | (size) | BPF_MEM, d, 0, o, i)
#define INSN_JMP_REG(op, d, s, o)   INSN_RAW(BPF_JMP | (op) | BPF_X, d, s, o, 0)
#define INSN_JMP_IMM(op, d, i, o)   INSN_RAW(BPF_JMP | (op) | BPF_K, d, 0, o, i)
#define INSN_JMP32_IMM(op, d, i, o) INSN_RAW(BPF_JMP32 | (op) | BPF_K, d, 0, o, i)
#define INSN_JA(o)		    INSN_RAW(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define INSN_GOTOL(i)		    INSN_RAW(BPF_JMP32 | BPF_JA, 0, 0, 0, i)
#define INSN_CALL(helper)	    INSN_RAW(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define INSN_CALL_REL(i)	    INSN_RAW(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, i)
#define INSN_EXIT()		    INSN_RAW(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* Two instructions: src_reg tells what the constant is (0: a number). */
#define INSN_LD_IMM64_SRC(d, s, v)                                                                 \
	INSN_RAW(BPF_LD | BPF_IMM | BPF_DW, d, s, 0, (int32_t)(uint32_t)(v)),                      \
		INSN_RAW(0, 0, 0, 0, (int32_t)((uint64_t)(v) >> 32))
#define INSN_LD_IMM64(d, v) INSN_LD_IMM64_SRC(d, 0, v)
