/* SPDX-License-Identifier: MIT */
/*
 * The region's first bytes, and the two ways into the runtime.
 *
 * Both keep every register, the condition flags, the x87 and the vector state: what follows uses general
 * registers only. Flags travel through lahf and seto, which is several times cheaper than pushf and
 * popf; the direction flag is taken to be clear, as the ABI has it wherever a compiler put a call.
 *
 * Frame, from the stack pointer up: struct pt_regs (168 bytes), saved ax with the flags in it, 8 unused.
 */
#include "vm/runtime/entry.h"

	.section .header, "a"
	.globl	__region_base
__region_base:
	.long	REGION_VERSION_ASM, 0, 0, 0
	.quad	0, 0	/* the daemon fills in the rest: see struct region_header */
	.quad	0, 0, 0, 0

	.text

/* Registers to the frame. Flags are untouched until lahf has them. */
.macro SAVE
	lea	-FRAME(%rsp), %rsp
	mov	%rax, PT_AX(%rsp)
	lahf
	seto	%al
	mov	%rax, FRAME_FLAGS(%rsp)
	mov	%r15, PT_R15(%rsp)
	mov	%r14, PT_R14(%rsp)
	mov	%r13, PT_R13(%rsp)
	mov	%r12, PT_R12(%rsp)
	mov	%rbp, PT_BP(%rsp)
	mov	%rbx, PT_BX(%rsp)
	mov	%r11, PT_R11(%rsp)
	mov	%r10, PT_R10(%rsp)
	mov	%r9, PT_R9(%rsp)
	mov	%r8, PT_R8(%rsp)
	mov	%rcx, PT_CX(%rsp)
	mov	%rdx, PT_DX(%rsp)
	mov	%rsi, PT_SI(%rsp)
	mov	%rdi, PT_DI(%rsp)
	movq	$-1, PT_ORIG_AX(%rsp)
	movq	$0x33, PT_CS(%rsp)
	movq	$0x2b, PT_SS(%rsp)
	/* SF ZF AF PF CF as lahf gave them, OF from seto, IF and the bit that is always 1. */
	movzbl	FRAME_FLAGS+1(%rsp), %ecx
	movzbl	FRAME_FLAGS(%rsp), %edx
	shl	$11, %edx
	lea	0x200(%rcx,%rdx), %ecx
	or	$2, %ecx
	mov	%rcx, PT_FLAGS(%rsp)
.endm

/* What C does not preserve by itself comes back from the frame, flags last but ax. */
.macro RESTORE
	mov	PT_BX(%rsp), %rbx
	mov	PT_R11(%rsp), %r11
	mov	PT_R10(%rsp), %r10
	mov	PT_R9(%rsp), %r9
	mov	PT_R8(%rsp), %r8
	mov	PT_CX(%rsp), %rcx
	mov	PT_DX(%rsp), %rdx
	mov	PT_SI(%rsp), %rsi
	mov	PT_DI(%rsp), %rdi
	mov	FRAME_FLAGS(%rsp), %rax
	add	$0x7f, %al		/* overflows exactly when seto gave 1 */
	sahf
	mov	PT_AX(%rsp), %rax
	lea	FRAME(%rsp), %rsp
.endm

/*
 * Called by a stub (struct region_stub) whose red zone skip lies above the return address. Calls
 * rt_hit(regs, stub).
 */
	.globl	rt_enter
	.p2align 6
rt_enter:
	SAVE
	mov	FRAME(%rsp), %rsi
	sub	$REGION_STUB_BACK_ASM, %rsi
	mov	REGION_STUB_IP(%rsi), %rax
	mov	%rax, PT_IP(%rsp)
	lea	FRAME+8+128(%rsp), %rax
	mov	%rax, PT_SP(%rsp)
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	rt_hit
	mov	%rbx, %rsp
	RESTORE
	ret

/*
 * Where a function returns to whose return address was replaced: the stack slot it was in lies just
 * below the stack pointer. Calls rt_hit_return(regs, slot), which gives the address that belongs there.
 */
	.globl	rt_return
	.p2align 6
rt_return:
	lea	-8(%rsp), %rsp
	SAVE
	lea	FRAME(%rsp), %rsi
	lea	FRAME+8(%rsp), %rax
	mov	%rax, PT_SP(%rsp)
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	rt_hit_return
	mov	%rbx, %rsp
	mov	%rax, FRAME(%rsp)
	RESTORE
	ret

	.section .note.GNU-stack, "", @progbits
