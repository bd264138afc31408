/* SPDX-License-Identifier: MIT */
/*
 * Offsets that entry.S shares with C; checked against the structs in hit.c.
 */
#pragma once

#define REGION_VERSION_ASM   1
#define REGION_STUB_BACK_ASM 43
#define REGION_STUB_IP	     8

/* struct pt_regs as eBPF programs see it. Source: arch/x86/include/asm/ptrace.h, Linux 6.18. */
#define PT_R15	   0
#define PT_R14	   8
#define PT_R13	   16
#define PT_R12	   24
#define PT_BP	   32
#define PT_BX	   40
#define PT_R11	   48
#define PT_R10	   56
#define PT_R9	   64
#define PT_R8	   72
#define PT_AX	   80
#define PT_CX	   88
#define PT_DX	   96
#define PT_SI	   104
#define PT_DI	   112
#define PT_ORIG_AX 120
#define PT_IP	   128
#define PT_CS	   136
#define PT_FLAGS   144
#define PT_SP	   152
#define PT_SS	   160
#define PT_SIZE	   168

#define FRAME_FLAGS PT_SIZE
#define FRAME	    (PT_SIZE + 16)
