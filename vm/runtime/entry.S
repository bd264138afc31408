/* SPDX-License-Identifier: MIT */
/*
 * Where the application enters the runtime: rt_enter from a stub, rt_return through a return
 * address that was replaced. Both build a struct pt_regs as the kernel would show it, call C, and
 * leave every register and the condition flags as they were.
 *
 * The flags are kept by lahf/seto (ah: SF ZF AF PF CF as in the low byte of rflags, al: OF) and come
 * back by an addition that overflows or not, and sahf, because pushf/popf cost as much as all the
 * rest here. x87 and vector registers are never
 * touched. C preserves rbx, rbp and r12 to r15; rbx holds the stack pointer meanwhile.
 */
#include <asm/unistd.h>

#include "vm/runtime/entry.h"

/* struct pt_regs */
#define R15	 0
#define R14	 8
#define R13	 16
#define R12	 24
#define RBP	 32
#define RBX	 40
#define R11	 48
#define R10	 56
#define R9	 64
#define R8	 72
#define RAX	 80
#define RCX	 88
#define RDX	 96
#define RSI	 104
#define RDI	 112
#define ORIG_RAX 120
#define RIP	 128
#define CS	 136
#define RFLAGS	 144
#define RSP	 152
#define SS	 160
#define FRAME	 176 /* 168, and the alignment of the stack */

#define USER_CS	   0x33
#define USER_SS	   0x2b
#define RFLAGS_ALL 0x202 /* interrupts on, and the bit that always is */

/*
 * Saves all registers but rip and rsp below an aligned stack pointer. Afterwards rbx is the stack
 * pointer of before, with the caller's rbx there; rdi points to the frame. Changes rax and rdi.
 */
.macro SAVE
	push	%rbx
	mov	%rsp, %rbx
	push	%rax
	lahf
	seto	%al
	lea	-FRAME(%rsp), %rsp
	and	$-16, %rsp
	mov	%rdi, RDI(%rsp)
	mov	%rsi, RSI(%rsp)
	mov	%rdx, RDX(%rsp)
	mov	%rcx, RCX(%rsp)
	mov	%r8, R8(%rsp)
	mov	%r9, R9(%rsp)
	mov	%r10, R10(%rsp)
	mov	%r11, R11(%rsp)
	mov	%rbp, RBP(%rsp)
	mov	%r12, R12(%rsp)
	mov	%r13, R13(%rsp)
	mov	%r14, R14(%rsp)
	mov	%r15, R15(%rsp)
	movzbl	%al, %edx
	movzbl	%ah, %eax
	shl	$11, %edx
	and	$~2, %eax
	lea	RFLAGS_ALL(%rax, %rdx), %eax
	mov	%rax, RFLAGS(%rsp)
	mov	-8(%rbx), %rax
	mov	(%rbx), %rdi
	mov	%rax, RAX(%rsp)
	mov	%rdi, RBX(%rsp)
	movq	$-1, ORIG_RAX(%rsp)
	movq	$USER_CS, CS(%rsp)
	movq	$USER_SS, SS(%rsp)
	mov	%rsp, %rdi
.endm

/* Undoes it, but for the pop of rbx. */
.macro RESTORE
	mov	RFLAGS(%rsp), %eax
	mov	RDI(%rsp), %rdi
	mov	RSI(%rsp), %rsi
	mov	RDX(%rsp), %rdx
	mov	RCX(%rsp), %rcx
	mov	R8(%rsp), %r8
	mov	R9(%rsp), %r9
	mov	R10(%rsp), %r10
	mov	R11(%rsp), %r11
	rol	$8, %ax	   /* ah: SF to CF, al: 2 (interrupts) and OF * 8 */
	add	$0x76, %al /* overflows if al is 10 */
	sahf
	mov	RAX(%rsp), %rax
	mov	%rbx, %rsp
.endm

	.section .header, "a"
	.globl	rt_header
rt_header:
	.long	ENTRY_VERSION, 0, 0, 0
	.quad	rt_enter - rt_header
	.quad	rt_return - rt_header
	.fill	4, 8, 0
	.quad	rt_enter_small - rt_header
	.quad	rt_test_run_enter - rt_header
	.quad	rt_test_run_end - rt_header
	.quad	0
	.if	. - rt_header - 96
	.error	"struct region_header"
	.endif

	.section .text.hot, "ax"
	.balign	64
	.globl	rt_enter
	.type	rt_enter, @function
rt_enter:
	SAVE
	mov	8(%rbx), %rsi
	lea	16 + ENTRY_RED_ZONE(%rbx), %rax /* rbx, return address, the red zone the stub skipped */
	lea	-ENTRY_STUB_BACK(%rsi), %rsi
	mov	%rax, RSP(%rsp)
	mov	ENTRY_STUB_IP(%rsi), %rax
	mov	%rax, RIP(%rsp)
	call	rt_hit
	RESTORE
	pop	%rbx
	ret
	.size	rt_enter, . - rt_enter

/*
 * The same on a stack that has room for the frame and not for more: the rest runs on one of the
 * region's, 32 of them, each taken by setting its bit. Whoever holds one is in a program, which
 * ends; so one that finds none waits.
 */
	.balign	64
	.globl	rt_enter_small
	.type	rt_enter_small, @function
rt_enter_small:
	SAVE
	mov	8(%rbx), %rsi
	lea	16 + ENTRY_RED_ZONE(%rbx), %rax
	lea	-ENTRY_STUB_BACK(%rsi), %rsi
	mov	%rax, RSP(%rsp)
	mov	ENTRY_STUB_IP(%rsi), %rax
	mov	%rax, RIP(%rsp)
	mov	%rsp, %r13
	lea	rt_header + ENTRY_CACHE_STACKS(%rip), %r14
1:	mov	(%r14), %eax
	not	%eax
	bsf	%eax, %r12d
	jz	2f
	lock bts %r12d, (%r14)
	jc	1b
	lea	1(%r12), %rax
	shl	$ENTRY_STACK_SHIFT, %rax
	lea	rt_header + ENTRY_STACKS(%rip), %rsp
	add	%rax, %rsp
	call	rt_hit
	lock btr %r12d, (%r14)
	mov	%r13, %rsp
	mov	R12(%rsp), %r12
	mov	R13(%rsp), %r13
	mov	R14(%rsp), %r14
	RESTORE
	pop	%rbx
	ret
2:	mov	$__NR_sched_yield, %eax
	syscall
	mov	%r13, %rdi
	jmp	1b
	.size	rt_enter_small, . - rt_enter_small

/*
 * The stack slot that held the return address has just been popped; the real address goes back
 * into it, and the jump through it leaves the processor's return predictor in step with the
 * callers'. Nothing needs a red zone here: what is below was the function's that returned.
 */
	.balign	64
	.globl	rt_return
	.type	rt_return, @function
rt_return:
	lea	-8(%rsp), %rsp
	SAVE
	lea	8(%rbx), %rsi
	lea	16(%rbx), %rax
	mov	%rax, RSP(%rsp)
	call	rt_hit_return
	mov	%rax, 8(%rbx)
	RESTORE
	pop	%rbx
	lea	8(%rsp), %rsp
	jmp	*-8(%rsp)
	.size	rt_return, . - rt_return

/*
 * A thread whose tracer has it run a program: rdi is a struct region_test_run, on a stack made for
 * it. The last system call is what the tracer waits for. If nobody does any more, the frame leads
 * the thread back to what it did.
 */
	.globl	rt_test_run_enter
	.type	rt_test_run_enter, @function
rt_test_run_enter:
	mov	%rdi, %rbx
	call	rt_test_run
	mov	ENTRY_TEST_RUN_FRAME(%rbx), %rsp
	mov	$__NR_getpid, %eax
	syscall
	.globl	rt_test_run_end
rt_test_run_end:
	ret
	.size	rt_test_run_enter, . - rt_test_run_enter

	.section .note.GNU-stack, "", @progbits
